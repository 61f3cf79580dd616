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
            buf_printf(&p->log, "%s%s mails=%u\n", ev.idle ? " idle" : "", ev.charged ? " charged" : "",
                       ev.mails);
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
    CHECK(count >= 2);
}
