/* smtp_server_test.c - dialogues against the sink's side, written as transcripts; what its judge remembers.
 *
 * tests/golden/smtp_server.txt holds the dialogues. "=== name" opens one. A line without indent is done to
 * the server, the indented lines behind it are all that it must answer:
 *
 *     isp FIELDS             before anything else: the ISP's table as in a world file
 *     open [tls] [ADDRESS]   a session (the one before is lost); tls: there is a certificate; the peer's
 * address C: text                the client sends text and CRLF; \r \n \0 are escapes; c: is without CRLF
 *     flood                  far too much without an end of line
 *     tls ok|fail   lost   wait DURATION   wants   deadline   refuse (what comes next will not be stored) */
#include "base/words.h"
#include "smtp_server.h"
#include "test.h"

#include <stdlib.h>

struct stage {
    struct world *w;
    struct smtp_judge *judge;
    struct smtp_server *s, *other;
    struct buf log, line, body;
    int64_t now;
    uint64_t luck;
    bool refuse;
};

static uint64_t luck(void *data)
{
    struct stage *st = data;
    return st->luck = st->luck * 6364136223846793005u + 1442695040888963407u;
}

static void log_escaped(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r')
            buf_adds(out, S("\\r"));
        else if (s.p[i] == '\n')
            buf_adds(out, S("\\n"));
        else if ((unsigned char)s.p[i] < 32 || (unsigned char)s.p[i] > 126)
            buf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
        else
            buf_addc(out, s.p[i]);
}

static void log_written(struct stage *st, struct slice bytes)
{
    buf_adds(&st->line, bytes);
    struct slice rest = buf_slice(&st->line);
    while (rest.n) {
        struct slice one = slice_cut(rest, '\n', &rest);
        buf_adds(&st->log, S("  S: "));
        log_escaped(&st->log, slice_ends(one, S("\r")) ? slice_of(one.p, one.n - 1) : one);
        buf_addc(&st->log, '\n');
    }
    buf_clear(&st->line);
}

static void log_transaction(struct stage *st, const struct smtp_server_tx *tx)
{
    buf_printf(&st->log, "  transaction <%.*s>", SLICE_FMT(tx->from));
    for (size_t i = 0; i < tx->nrcpts; i++)
        buf_printf(&st->log, " <%.*s>=%d", SLICE_FMT(tx->rcpts[i].address), tx->rcpts[i].code);
    for (int i = SMTP_PHASE_MAIL; i <= SMTP_PHASE_EOD; i++)
        if (tx->codes[i])
            buf_printf(&st->log, " %s=%d", smtp_phase_name((enum smtp_phase)i), tx->codes[i]);
    buf_printf(&st->log, " size=%llu%s%s\n", (unsigned long long)tx->size_bytes, tx->taken ? " taken" : "",
               tx->tls ? " tls" : "");
}

static void take_events(struct stage *st)
{
    struct smtp_server_event ev;
    while (st->s && smtp_server_poll(st->s, &ev))
        switch (ev.type) {
        case SMTP_SERVER_WRITE:
            log_written(st, ev.bytes);
            break;
        case SMTP_SERVER_STARTTLS:
            buf_adds(&st->log, S("  starttls\n"));
            break;
        case SMTP_SERVER_BODY:
            buf_adds(&st->body, ev.bytes);
            break;
        case SMTP_SERVER_MESSAGE:
            buf_adds(&st->log, S("  message "));
            log_escaped(&st->log, buf_slice(&st->body));
            buf_addc(&st->log, '\n');
            if (st->refuse)
                smtp_server_refuse(st->s);
            st->refuse = false;
            break;
        case SMTP_SERVER_TRANSACTION:
            log_transaction(st, ev.tx);
            buf_clear(&st->body);
            break;
        case SMTP_SERVER_CLOSE:
            buf_adds(&st->log, S("  close\n"));
            break;
        }
}

static void feed(struct stage *st, struct slice s, bool crlf)
{
    struct buf b = {0};
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\\' && i + 1 < s.n)
            buf_addc(&b, s.p[++i] == 'r' ? '\r' : s.p[i] == 'n' ? '\n' : s.p[i] == '0' ? '\0' : s.p[i]);
        else
            buf_addc(&b, s.p[i]);
    if (crlf)
        buf_adds(&b, S("\r\n"));
    smtp_server_feed(st->s, buf_slice(&b), st->now);
    take_events(st);
    buf_free(&b); /* what was fed is borrowed only until poll says false */
}

static void set_isp(struct stage *st, struct slice fields)
{
    struct buf source = {0};
    struct err e = {0};
    buf_printf(&source, "return { isps = { x = { domains = { \"b.test\" }, mx = { \"mx.b.test\" }, ");
    buf_printf(&source, "address = \"127.0.0.1\", %.*s } } }", SLICE_FMT(fields));
    if (world_parse(&st->w, "dialogue", buf_slice(&source), &e))
        buf_printf(&st->log, "  %s\n", e.text);
    buf_free(&source);
}

static void open_session(struct stage *st, struct slice args)
{
    struct smtp_server_conf conf = {
        .hostname = S("mx.b.test"), .peer = ip_v4(192, 0, 2, 1), .want_body = true};
    if (!st->w)
        set_isp(st, SLICE_NONE);
    if (!st->judge)
        st->judge = smtp_judge_new(&st->w->isps[0], luck, st);
    while (args.n) {
        struct slice one = slice_cut(args, ' ', &args);
        if (slice_eq(one, S("tls")))
            conf.can_tls = true;
        else if (ip_parse(one, &conf.peer))
            buf_printf(&st->log, "  bad peer %.*s\n", SLICE_FMT(one));
    }
    conf.judge = st->judge;
    smtp_server_free(st->s);
    st->s = smtp_server_new(&conf, st->now);
}

static void act(struct stage *st, struct slice line)
{
    struct slice args, verb = slice_cut(line, ' ', &args);
    int64_t ms;
    if (slice_eq(verb, S("isp"))) {
        set_isp(st, args);
    } else if (slice_eq(verb, S("open"))) {
        open_session(st, args);
    } else if (slice_eq(verb, S("beside"))) {
        st->other = st->s;
        st->s = NULL;
        open_session(st, args);
    } else if (slice_eq(verb, S("C:")) || slice_eq(verb, S("c:"))) {
        feed(st, args, verb.p[0] == 'C');
    } else if (slice_eq(verb, S("tls"))) {
        smtp_server_tls(st->s, slice_eq(args, S("ok")) ? 0 : ERR_TLS, st->now);
    } else if (slice_eq(verb, S("lost"))) {
        smtp_server_lost(st->s, st->now);
    } else if (slice_eq(verb, S("flood"))) {
        for (int i = 0; i < 100; i++)
            feed(st,
                 S("ten bytes times ten is a hundred bytes without any end of line, and so on, and so on, "
                   "and on"),
                 false);
    } else if (slice_eq(verb, S("refuse"))) {
        st->refuse = true;
    } else if (slice_eq(verb, S("wants"))) {
        buf_printf(&st->log, "  %s\n", smtp_server_wants(st->s) ? "yes" : "no");
    } else if (slice_eq(verb, S("deadline"))) {
        int64_t due = smtp_server_deadline(st->s);
        buf_adds(&st->log, S("  "));
        if (due == INT64_MAX)
            buf_adds(&st->log, S("none"));
        else
            words_duration_text(&st->log, due - st->now);
        buf_addc(&st->log, '\n');
    } else if (slice_eq(verb, S("wait")) && words_duration(args, &ms) == 0) {
        st->now += ms;
        smtp_server_tick(st->s, st->now);
    } else {
        buf_printf(&st->log, "unknown line %.*s\n", SLICE_FMT(line));
    }
    take_events(st);
}

static void stage_free(struct stage *st)
{
    smtp_server_free(st->s);
    smtp_server_free(st->other);
    smtp_judge_free(st->judge);
    world_free(st->w);
    buf_free(&st->log);
    buf_free(&st->line);
    buf_free(&st->body);
}

TEST(smtp_server_follows_every_dialogue_to_the_letter)
{
    struct slice rest = test_file("tests/golden/smtp_server.txt");
    int count = 0;
    while (rest.n && !slice_starts(rest, S("===")))
        slice_cut(rest, '\n', &rest);
    while (rest.n) {
        struct slice title = slice_cut(rest, '\n', &rest), script = rest;
        struct stage st = {.now = 1000, .luck = 1};
        while (rest.n && !slice_starts(rest, S("==="))) {
            struct slice line = slice_cut(rest, '\n', &rest);
            if (slice_starts(line, S("  ")) || line.n == 0)
                continue;
            buf_printf(&st.log, "%.*s\n", SLICE_FMT(line));
            act(&st, line);
        }
        script.n = (size_t)(rest.p - script.p);
        struct slice got = slice_trim(buf_slice(&st.log)), want = slice_trim(script);
        if (!slice_eq(got, want))
            test_fail(__FILE__, __LINE__, "%.*s\n--- got\n%.*s\n--- want\n%.*s", SLICE_FMT(title),
                      SLICE_FMT(got), SLICE_FMT(want));
        stage_free(&st);
        count++;
    }
    CHECK_INT(count, 38);
}

TEST(no_window_holds_more_than_the_rate_allows)
{
    struct stage st = {.luck = 7};
    struct world_rate rate = {.messages = 10, .window_ms = 1000};
    struct world_isp isp = {.accept = &rate, .n_accept = 1};
    struct ip peer = ip_v4(192, 0, 2, 1), other = ip_v4(192, 0, 2, 2);
    static int64_t taken[20000];
    size_t ntaken = 0, under_way = 0;
    st.judge = smtp_judge_new(&isp, luck, &st);
    struct judge_source *s = smtp_judge_connect(st.judge, &peer);
    for (int64_t now = 0; now < 60000; now += (int64_t)(luck(&st) >> 60)) {
        if (smtp_judge_reserve(st.judge, s, now))
            under_way++;
        if (under_way && luck(&st) >> 63) {
            under_way--;
            smtp_judge_release(s);
            if (luck(&st) >> 62) {
                smtp_judge_taken(st.judge, s, now);
                taken[ntaken++] = now;
            }
        }
    }
    CHECK(ntaken > 500);
    for (size_t i = 10; i < ntaken; i++)
        CHECK(taken[i] - taken[i - 10] >= 1000);
    struct judge_source *o = smtp_judge_connect(st.judge, &other);
    CHECK(o != s && smtp_judge_reserve(st.judge, o, 0));
    smtp_judge_free(st.judge);
}
