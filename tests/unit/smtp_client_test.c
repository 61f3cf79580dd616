/* smtp_client_test.c - dialogues against the client, written as transcripts, and every phase against every
 * fault.
 *
 * tests/golden/smtp_client.txt holds the dialogues. "=== name" opens one. A line without indent is done to
 * the client, the indented lines behind it are all that the client must answer:
 *
 *     conf KEY=VALUE ...     before anything else: tls=none|opportunistic|require, pipelining=no,
 * already_tls=yes S: text                the server sends text and CRLF; \r \n \0 are escapes; s: is without
 * CRLF mail NAME [key=value]  a mail from s@a.test to NAME@b.test: from, rcpt, raw, size, 8bit=yes, utf8=yes,
 * body (the last key: takes the rest of the line, is stuffed; without it a promised body) lost eof|reset open
 * quit   tls ok|fail   wait DURATION   room   deadline hold / flush [N]       the owner stops reporting bytes
 * as written / reports N more, or all */
#include "base/words.h"
#include "delivery/smtp_client.h"
#include "test.h"

#include <stdlib.h>

struct named_mail {
    struct smtp_mail mail;
    struct slice name, body;
};

struct play {
    struct smtp_client *c;
    struct smtp_client_conf conf;
    struct named_mail mails[8];
    size_t nmails;
    struct buf log, line;
    struct arena arena;
    int64_t now;
    uint64_t wrote, reported;
    bool hold;
};

static const char *const hows[] = {"reply", "lost", "timeout", "protocol", "local", "quit"};

static void log_written(struct play *p, struct slice bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        buf_addc(&p->line, bytes.p[i]);
        if (bytes.p[i] != '\n')
            continue;
        struct slice whole = buf_slice(&p->line);
        bool crlf = slice_ends(whole, S("\r\n"));
        buf_printf(&p->log, "  C: %.*s%s\n", (int)(whole.n - (crlf ? 2 : 1)), whole.p, crlf ? "" : " <LF>");
        buf_clear(&p->line);
    }
}

static void log_why(struct play *p, const struct smtp_event *ev)
{
    buf_printf(&p->log, " %s %s", hows[ev->how], smtp_phase_name(ev->phase));
    if (ev->reply)
        buf_printf(&p->log, " \"%.*s\"", SLICE_FMT(ev->reply->text));
    if (ev->err)
        buf_printf(&p->log, " (%s)", err_name(ev->err));
    if (ev->text[0])
        buf_printf(&p->log, " [%s]", ev->text);
}

static struct slice name_of(const struct smtp_mail *m)
{
    return ((const struct named_mail *)m->user)->name;
}

static void take_events(struct play *p)
{
    struct smtp_event ev;
    while (smtp_client_poll(p->c, &ev))
        switch (ev.type) {
        case SMTP_EV_WRITE:
            log_written(p, ev.bytes);
            p->wrote += ev.bytes.n;
            break;
        case SMTP_EV_WRITE_BODY:
            buf_printf(&p->log, "  body %.*s\n", SLICE_FMT(name_of(ev.mail)));
            for (size_t i = 0; i < ev.mail->nbody; i++)
                p->wrote += ev.mail->body[i].n;
            break;
        case SMTP_EV_STARTTLS:
            buf_adds(&p->log, S("  starttls\n"));
            break;
        case SMTP_EV_READY:
            buf_printf(&p->log, "  ready%s\n", ev.tls_refused ? " tls_refused" : "");
            break;
        case SMTP_EV_BEGIN:
            buf_printf(&p->log, "  begin %.*s\n", SLICE_FMT(name_of(ev.mail)));
            break;
        case SMTP_EV_OUTCOME:
            buf_printf(&p->log, "  outcome %.*s", SLICE_FMT(name_of(ev.mail)));
            log_why(p, &ev);
            buf_printf(&p->log, "%s%s%s%s%s\n", ev.delivered ? " delivered" : "",
                       ev.ambiguous ? " ambiguous" : "", ev.not_taken ? " not_taken" : "",
                       ev.begun ? "" : " never_begun", ev.used_raw_rcpt ? " raw" : "");
            break;
        case SMTP_EV_CLOSED:
            buf_adds(&p->log, S("  closed"));
            log_why(p, &ev);
            buf_printf(&p->log, "%s%s%s mails=%u\n", ev.idle ? " idle" : "", ev.charged ? " charged" : "",
                       ev.drop ? " drop" : "", ev.mails);
            break;
        }
    if (p->line.n) {
        buf_printf(&p->log, "  C: %.*s <cut>\n", SLICE_FMT(buf_slice(&p->line)));
        buf_clear(&p->line);
    }
    if (!p->hold && p->reported < p->wrote)
        smtp_client_written(p->c, p->reported = p->wrote, p->now);
}

static struct slice unescape(struct play *p, struct slice s, struct slice tail)
{
    struct buf b = {0};
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\\' && i + 1 < s.n)
            buf_addc(&b, s.p[++i] == 'r' ? '\r' : s.p[i] == 'n' ? '\n' : s.p[i] == '0' ? '\0' : s.p[i]);
        else
            buf_addc(&b, s.p[i]);
    buf_adds(&b, tail);
    struct slice out = arena_copy(&p->arena, buf_slice(&b));
    buf_free(&b);
    return out;
}

static void send_mail(struct play *p, struct slice args)
{
    if (smtp_client_room(p->c) == 0) {
        buf_adds(&p->log, S("  no room\n"));
        return;
    }
    struct named_mail *m = &p->mails[p->nmails++];
    struct slice rest;
    *m = (struct named_mail){.name = slice_cut(args, ' ', &rest), .body = S("Subject: x\r\n\r\nbody\r\n")};
    m->mail = (struct smtp_mail){.from = S("s@a.test"),
                                 .rcpt_raw = SLICE_NONE,
                                 .body = &m->body,
                                 .nbody = 1,
                                 .no_leading_dots = true,
                                 .user = m};
    m->mail.rcpt = slice_cstr(arena_printf(&p->arena, "%.*s@b.test", SLICE_FMT(m->name)));
    while (rest.n) {
        struct slice value, key;
        if (slice_starts(rest, S("body="))) {
            m->body = unescape(p, slice_of(rest.p + 5, rest.n - 5), SLICE_NONE);
            m->mail.no_leading_dots = false;
            break;
        }
        value = slice_cut(rest, ' ', &rest);
        key = slice_cut(value, '=', &value);
        if (slice_eq(key, S("from")))
            m->mail.from = unescape(p, value, SLICE_NONE);
        else if (slice_eq(key, S("rcpt")))
            m->mail.rcpt = unescape(p, value, SLICE_NONE);
        else if (slice_eq(key, S("raw")))
            m->mail.rcpt_raw = value;
        else if (slice_eq(key, S("size")))
            slice_u64(value, &m->mail.size_bytes);
        else if (slice_eq(key, S("8bit")))
            m->mail.body_8bit = true;
        else if (slice_eq(key, S("utf8")))
            m->mail.needs_smtputf8 = true;
        else
            buf_printf(&p->log, "unknown key %.*s\n", SLICE_FMT(key));
    }
    smtp_client_send(p->c, &m->mail, p->now);
}

static void configure(struct play *p, struct slice args)
{
    while (args.n) {
        struct slice one = slice_cut(args, ' ', &args);
        if (slice_eq(one, S("tls=none")))
            p->conf.tls = SMTP_TLS_NONE;
        else if (slice_eq(one, S("tls=require")))
            p->conf.tls = SMTP_TLS_REQUIRE;
        else if (slice_eq(one, S("pipelining=no")))
            p->conf.allow_pipelining = false;
        else if (slice_eq(one, S("already_tls=yes")))
            p->conf.already_tls = true;
        else
            buf_printf(&p->log, "unknown setting %.*s\n", SLICE_FMT(one));
    }
}

static void act(struct play *p, struct slice line)
{
    struct slice args, verb = slice_cut(line, ' ', &args);
    int64_t ms;
    if (slice_eq(verb, S("conf"))) {
        configure(p, args);
        return;
    }
    if (!p->c)
        p->c = smtp_client_new(&p->conf, p->now);
    if (slice_eq(verb, S("open"))) {
        smtp_client_open(p->c, p->now);
    } else if (slice_eq(verb, S("S:"))) {
        smtp_client_feed(p->c, unescape(p, args, S("\r\n")), p->now);
    } else if (slice_eq(verb, S("s:"))) {
        smtp_client_feed(p->c, unescape(p, args, SLICE_NONE), p->now);
    } else if (slice_eq(verb, S("S:eof"))) {
        smtp_client_feed(p->c, unescape(p, args, S("\r\n")), p->now);
        smtp_client_lost(p->c, ERR_EOF, p->now);
    } else if (slice_eq(verb, S("mail"))) {
        send_mail(p, args);
    } else if (slice_eq(verb, S("lost"))) {
        smtp_client_lost(p->c, slice_eq(args, S("reset")) ? ERR_RESET : ERR_EOF, p->now);
    } else if (slice_eq(verb, S("tls"))) {
        smtp_client_tls(p->c, slice_eq(args, S("ok")) ? 0 : ERR_TLS, p->now);
    } else if (slice_eq(verb, S("quit"))) {
        smtp_client_quit(p->c, p->now);
    } else if (slice_eq(verb, S("wait")) && words_duration(args, &ms) == 0) {
        p->now += ms;
        smtp_client_tick(p->c, p->now);
    } else if (slice_eq(verb, S("room"))) {
        buf_printf(&p->log, "  room %d\n", smtp_client_room(p->c));
    } else if (slice_eq(verb, S("deadline"))) {
        int64_t due = smtp_client_deadline(p->c);
        buf_adds(&p->log, S("  deadline "));
        if (due == INT64_MAX)
            buf_adds(&p->log, S("none"));
        else
            words_duration_text(&p->log, due - p->now);
        buf_addc(&p->log, '\n');
    } else if (slice_eq(verb, S("hold"))) {
        p->hold = true;
    } else if (slice_eq(verb, S("flush"))) {
        uint64_t n;
        p->hold = slice_u64(args, &n) == 0;
        smtp_client_written(p->c, p->reported = p->hold ? p->reported + n : p->wrote, p->now);
    } else {
        buf_printf(&p->log, "unknown line %.*s\n", SLICE_FMT(line));
    }
    take_events(p);
}

static void play_init(struct play *p)
{
    *p = (struct play){.now = 1000};
    p->conf = (struct smtp_client_conf){
        .ehlo = S("me.test"), .tls = SMTP_TLS_OPPORTUNISTIC, .allow_pipelining = true};
}

static void play_free(struct play *p)
{
    smtp_client_free(p->c);
    buf_free(&p->log);
    buf_free(&p->line);
    arena_free(&p->arena);
}

TEST(smtp_client_follows_every_dialogue_to_the_letter)
{
    struct slice rest = test_file("tests/golden/smtp_client.txt");
    int count = 0;
    while (rest.n && !slice_starts(rest, S("===")))
        slice_cut(rest, '\n', &rest);
    while (rest.n) {
        struct slice title = slice_cut(rest, '\n', &rest);
        struct slice script = rest;
        struct play p;
        play_init(&p);
        while (rest.n && !slice_starts(rest, S("==="))) {
            struct slice line = slice_cut(rest, '\n', &rest);
            if (slice_starts(line, S("  ")) || line.n == 0)
                continue;
            buf_printf(&p.log, "%.*s\n", SLICE_FMT(line));
            act(&p, line);
        }
        script.n = (size_t)(rest.p - script.p);
        struct slice got = slice_trim(buf_slice(&p.log)), want = slice_trim(script);
        if (!slice_eq(got, want))
            test_fail(__FILE__, __LINE__, "%.*s\n--- got\n%.*s\n--- want\n%.*s", SLICE_FMT(title),
                      SLICE_FMT(got), SLICE_FMT(want));
        play_free(&p);
        count++;
    }
    CHECK_INT(count, 83);
}

/* --- every phase against every fault --- */
enum fault { F_421, F_4XX, F_5XX, F_EOF, F_RESET, F_SILENCE, F_GARBAGE, F_512_LINES, F_ENDLESS, F_COUNT };

struct trial {
    enum smtp_phase phase;
    enum fault fault;
    bool pipelining, bytewise;
    /* what came of it */
    struct smtp_client *c;
    int64_t now;
    uint64_t wrote;
    struct buf line;
    bool in_body, armed, dead, closed, ready;
    int outcomes[2], delivered[2];
    struct smtp_event outcome, end; /* of the first mail; slices in them are stale */
    int outcome_code, end_code;
    struct smtp_mail mails[2];
    int sent;
};

static void feed(struct trial *t, struct slice bytes);
static void pump(struct trial *t);

static void fail_here(struct trial *t)
{
    struct buf b = {0};
    t->armed = false;
    t->dead = t->fault == F_EOF || t->fault == F_RESET || t->fault == F_SILENCE;
    switch (t->fault) {
    case F_421:
        feed(t, S("421 4.3.2 closing\r\n"));
        break;
    case F_4XX:
        feed(t, S("451 4.3.0 later\r\n"));
        break;
    case F_5XX:
        feed(t, S("550 5.7.1 never\r\n"));
        break;
    case F_EOF:
        smtp_client_lost(t->c, ERR_EOF, t->now);
        break;
    case F_RESET:
        smtp_client_lost(t->c, ERR_RESET, t->now);
        break;
    case F_SILENCE:
        t->now = smtp_client_deadline(t->c);
        smtp_client_tick(t->c, t->now);
        break;
    case F_GARBAGE:
        feed(t, S("\x01\xff <html>\r\n"));
        break;
    case F_512_LINES:
        for (int i = 0; i < 511; i++)
            buf_printf(&b, "%d-line %d\r\n", t->phase == SMTP_PHASE_DATA ? 354 : 250, i);
        buf_printf(&b, "%d end\r\n", t->phase == SMTP_PHASE_DATA ? 354 : 250);
        feed(t, buf_slice(&b));
        break;
    case F_ENDLESS:
        for (int i = 0; i < 2000; i++)
            buf_adds(&b, S("250-and so on\r\n"));
        feed(t, buf_slice(&b));
        break;
    case F_COUNT:
        break;
    }
    buf_free(&b);
    pump(t);
}

static void reply(struct trial *t, enum smtp_phase phase, struct slice text)
{
    if (t->armed && t->phase == phase)
        fail_here(t);
    else
        feed(t, text);
}

static void on_client_line(struct trial *t, struct slice line)
{
    if (t->in_body) {
        t->in_body = !slice_eq(line, S(".\r\n"));
        if (!t->in_body)
            reply(t, SMTP_PHASE_EOD, S("250 taken\r\n"));
    } else if (slice_starts(line, S("EHLO"))) {
        struct buf b = {0};
        buf_adds(&b, S("250-hi\r\n"));
        if (t->pipelining)
            buf_adds(&b, S("250-PIPELINING\r\n"));
        if (t->phase == SMTP_PHASE_STARTTLS)
            buf_adds(&b, S("250-STARTTLS\r\n"));
        buf_adds(&b, S("250 HELP\r\n"));
        reply(t, SMTP_PHASE_EHLO, buf_slice(&b));
        buf_free(&b);
    } else if (slice_starts(line, S("STARTTLS"))) {
        reply(t, SMTP_PHASE_STARTTLS, S("220 go\r\n"));
    } else if (slice_starts(line, S("MAIL"))) {
        reply(t, SMTP_PHASE_MAIL, S("250 ok\r\n"));
    } else if (slice_starts(line, S("RCPT"))) {
        reply(t, SMTP_PHASE_RCPT, S("250 ok\r\n"));
    } else if (slice_starts(line, S("DATA"))) {
        bool refused = t->outcomes[0] == 1 && t->sent == 1;
        t->in_body = !refused && !(t->armed && t->phase == SMTP_PHASE_DATA && t->fault != F_512_LINES);
        reply(t, SMTP_PHASE_DATA, refused ? S("503 no recipient\r\n") : S("354 go\r\n"));
    } else if (slice_starts(line, S("QUIT"))) {
        reply(t, SMTP_PHASE_QUIT, S("221 bye\r\n"));
    } else { /* HELO, RSET */
        feed(t, S("250 ok\r\n"));
    }
}

static void pump(struct trial *t)
{
    struct smtp_event ev;
    struct buf todo = {0};
    while (smtp_client_poll(t->c, &ev))
        switch (ev.type) {
        case SMTP_EV_WRITE:
            buf_adds(&todo, ev.bytes);
            t->wrote += ev.bytes.n;
            break;
        case SMTP_EV_WRITE_BODY:
            for (size_t i = 0; i < ev.mail->nbody; i++) {
                buf_adds(&todo, ev.mail->body[i]);
                t->wrote += ev.mail->body[i].n;
            }
            break;
        case SMTP_EV_STARTTLS:
            smtp_client_tls(t->c, 0, t->now);
            break;
        case SMTP_EV_READY:
            t->ready = true;
            break;
        case SMTP_EV_BEGIN:
            break;
        case SMTP_EV_OUTCOME: {
            long which = ev.mail - t->mails;
            t->outcomes[which]++;
            t->delivered[which] += ev.delivered;
            if (which == 0) {
                t->outcome = ev;
                t->outcome_code = ev.reply ? ev.reply->code : 0;
            }
            break;
        }
        case SMTP_EV_CLOSED:
            t->closed = true;
            t->end = ev;
            t->end_code = ev.reply ? ev.reply->code : 0;
            break;
        }
    smtp_client_written(t->c, t->wrote, t->now);
    struct slice rest = buf_slice(&todo);
    while (rest.n && !t->closed && !t->dead) {
        struct slice line = slice_cut(rest, '\n', &rest);
        on_client_line(t, slice_of(line.p, line.n + 1));
    }
    buf_free(&todo);
}

static void feed(struct trial *t, struct slice bytes)
{
    for (size_t i = 0; t->bytewise && i < bytes.n; i++) {
        smtp_client_feed(t->c, slice_of(bytes.p + i, 1), t->now);
        pump(t);
    }
    if (!t->bytewise) {
        smtp_client_feed(t->c, bytes, t->now);
        pump(t);
    }
}

static void offer(struct trial *t)
{
    if (t->sent < 2 && smtp_client_room(t->c)) {
        smtp_client_send(t->c, &t->mails[t->sent++], t->now);
        pump(t);
    }
}

static bool try(struct trial *t)
{
    static const struct slice text = {"x\r\n", 3};
    struct smtp_client_conf conf = {
        .ehlo = S("me.test"), .tls = SMTP_TLS_OPPORTUNISTIC, .allow_pipelining = true};
    static const enum smtp_how hows_of[] = {SMTP_HOW_REPLY,    SMTP_HOW_REPLY, SMTP_HOW_REPLY,
                                            SMTP_HOW_LOST,     SMTP_HOW_LOST,  SMTP_HOW_TIMEOUT,
                                            SMTP_HOW_PROTOCOL, SMTP_HOW_REPLY, SMTP_HOW_PROTOCOL};
    for (int i = 0; i < 2; i++)
        t->mails[i] = (struct smtp_mail){.from = S("s@a.test"),
                                         .rcpt = S("r@b.test"),
                                         .rcpt_raw = SLICE_NONE,
                                         .body = &text,
                                         .nbody = 1,
                                         .no_leading_dots = true};
    t->armed = true;
    t->c = smtp_client_new(&conf, 0);
    smtp_client_open(t->c, 0);
    reply(t, SMTP_PHASE_BANNER, S("220 hi\r\n"));
    pump(t);
    offer(t);
    pump(t);
    offer(t);
    pump(t);
    if (!t->closed)
        smtp_client_quit(t->c, t->now);
    pump(t);
    bool ok = t->closed && !t->armed;
    enum smtp_how how = hows_of[t->fault];
    bool refusal = t->fault <= F_5XX, soft = t->fault == F_4XX || t->fault == F_5XX;
    for (int i = 0; i < 2; i++)
        ok = ok && t->outcomes[i] == (i < t->sent);
    if (t->phase <= SMTP_PHASE_STARTTLS) {
        bool goes_on = t->fault == F_512_LINES || (t->phase == SMTP_PHASE_EHLO && t->fault == F_5XX) ||
                       (t->phase == SMTP_PHASE_STARTTLS && soft);
        ok = ok && t->ready == goes_on && t->delivered[0] == goes_on && t->delivered[1] == goes_on;
        if (!goes_on)
            ok = ok && t->end.phase == t->phase && t->end.how == how && (t->end_code > 0) == refusal;
    } else if (t->phase == SMTP_PHASE_QUIT || t->fault == F_512_LINES) {
        ok = ok && t->delivered[0] && t->delivered[1] && t->end.how == SMTP_HOW_QUIT;
    } else {
        ok = ok && !t->delivered[0] && t->outcome.phase == t->phase && t->outcome.how == how &&
             (t->outcome_code > 0) == refusal && !t->outcome.not_taken && t->outcome.begun &&
             t->outcome.ambiguous == (t->phase == SMTP_PHASE_EOD && !refusal) && t->delivered[1] == soft;
        ok = ok && (soft ? t->end.how == SMTP_HOW_QUIT : t->end.charged && t->end.how == how);
    }
    smtp_client_free(t->c);
    buf_free(&t->line);
    return ok;
}

TEST(every_fault_in_every_phase_has_its_one_meaning)
{
    static const enum smtp_phase phases[] = {SMTP_PHASE_BANNER, SMTP_PHASE_EHLO, SMTP_PHASE_STARTTLS,
                                             SMTP_PHASE_MAIL,   SMTP_PHASE_RCPT, SMTP_PHASE_DATA,
                                             SMTP_PHASE_EOD,    SMTP_PHASE_QUIT};
    for (size_t i = 0; i < COUNT(phases); i++)
        for (int fault = 0; fault < F_COUNT; fault++)
            for (int variant = 0; variant < 4; variant++) {
                struct trial t = {.phase = phases[i],
                                  .fault = (enum fault)fault,
                                  .pipelining = variant & 1,
                                  .bytewise = variant & 2};
                if (!try(&t))
                    test_fail(
                        __FILE__, __LINE__,
                        "%s fault %d variant %d: outcomes %d %d delivered %d %d, outcome %s %s%s, end %s %s",
                        smtp_phase_name(t.phase), fault, variant, t.outcomes[0], t.outcomes[1],
                        t.delivered[0], t.delivered[1], hows[t.outcome.how], smtp_phase_name(t.outcome.phase),
                        t.outcome.ambiguous ? " ambiguous" : "", hows[t.end.how],
                        smtp_phase_name(t.end.phase));
            }
}
