/* fuzz_smtp_client.c - any bytes from a server, at any pace: each mail has one outcome, and no mail counts as
 * delivered or ambiguous unless all of it had left.
 *
 * The first byte is the configuration. Then bytes of the server; 0xfe and a byte behind it is something else
 * that happens (see act). */
#include "delivery/smtp_client.h"

#include <stdlib.h>

enum { MAILS = 6 };

struct run {
    struct smtp_client *c;
    struct smtp_mail mails[MAILS];
    int sent, outcomes[MAILS];
    bool begun[MAILS], body_asked[MAILS], closed, hold;
    uint64_t wrote, reported, body_end[MAILS];
    int64_t now;
    bool tls_wanted, tls;
};

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

static void report(struct run *r, uint64_t total)
{
    r->reported = total;
    smtp_client_written(r->c, total, r->now);
}

static void on_outcome(struct run *r, const struct smtp_event *ev)
{
    long i = ev->mail - r->mails;
    MUST(i >= 0 && i < r->sent && ++r->outcomes[i] == 1);
    MUST(ev->begun == r->begun[i]);
    MUST((ev->how == SMTP_HOW_REPLY || ev->how == SMTP_HOW_LOCAL) ? ev->reply != NULL : true);
    MUST(!(ev->delivered && (ev->ambiguous || ev->not_taken || ev->how != SMTP_HOW_REPLY)));
    MUST(!(ev->ambiguous && (ev->not_taken || ev->phase != SMTP_PHASE_EOD)));
    /* A body with dots is among the WRITEs; under TLS the count may be short by the overhead. */
    if ((ev->delivered || ev->ambiguous) && ev->mail->no_leading_dots)
        MUST(r->body_asked[i] && r->reported + (r->tls ? 64 : 0) >= r->body_end[i]);
    if (ev->not_taken)
        MUST(!r->body_asked[i]);
}

static void pump(struct run *r)
{
    struct smtp_event ev;
    long body_of = -1;
    while (smtp_client_poll(r->c, &ev)) {
        MUST(!r->closed);
        switch (ev.type) {
        case SMTP_EV_WRITE:
            r->wrote += ev.bytes.n;
            if (body_of >= 0)
                r->body_end[body_of] = r->wrote - ev.bytes.n + 1; /* at least the first byte behind it */
            body_of = -1;
            break;
        case SMTP_EV_WRITE_BODY:
            body_of = ev.mail - r->mails;
            MUST(r->begun[body_of] && r->outcomes[body_of] == 0);
            r->body_asked[body_of] = true;
            for (size_t i = 0; i < ev.mail->nbody; i++)
                r->wrote += ev.mail->body[i].n;
            break;
        case SMTP_EV_STARTTLS:
            r->tls_wanted = true;
            break;
        case SMTP_EV_READY:
            break;
        case SMTP_EV_BEGIN:
            r->begun[ev.mail - r->mails] = true;
            break;
        case SMTP_EV_OUTCOME:
            on_outcome(r, &ev);
            break;
        case SMTP_EV_CLOSED:
            r->closed = true;
            for (int i = 0; i < r->sent; i++)
                MUST(r->outcomes[i] == 1);
            break;
        }
    }
    if (!r->hold)
        report(r, r->wrote);
    if (r->closed)
        MUST(smtp_client_deadline(r->c) == INT64_MAX && smtp_client_room(r->c) == 0);
}

static void act(struct run *r, uint8_t what)
{
    switch (what % 9) {
    case 0:
        smtp_client_lost(r->c, what & 16 ? ERR_RESET : ERR_EOF, r->now);
        break;
    case 1:
        r->now += 1000 * (int64_t)what;
        smtp_client_tick(r->c, r->now);
        break;
    case 2:
        if (smtp_client_deadline(r->c) != INT64_MAX)
            r->now = smtp_client_deadline(r->c);
        smtp_client_tick(r->c, r->now);
        break;
    case 3:
        if (r->tls_wanted)
            r->tls = true, smtp_client_tls(r->c, what & 16 ? ERR_TLS : 0, r->now);
        break;
    case 4:
        smtp_client_quit(r->c, r->now);
        break;
    case 5:
        r->hold = true;
        break;
    case 6:
        if (r->reported < r->wrote)
            report(r, r->reported + 1 + (r->wrote - r->reported - 1) / 2);
        break;
    case 7:
        r->hold = false;
        break;
    case 8:
        if (r->sent < MAILS && smtp_client_room(r->c)) {
            struct smtp_mail *m = &r->mails[r->sent++];
            m->rcpt_raw = what & 16 ? S("a..b@b.test") : SLICE_NONE;
            m->size_bytes = what & 32 ? 100000 : 10;
            m->needs_smtputf8 = what & 64;
            smtp_client_send(r->c, m, r->now);
        }
        break;
    }
    pump(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct slice plain[] = {{"Subject: x\r\n", 12}, {"\r\nbody", 6}}, dots[] = {{".\n.\r", 4}};
    if (size < 1)
        return 0;
    uint8_t flags = data[0];
    struct run r = {.now = 1, .tls = flags & 4};
    struct smtp_client_conf conf = {.ehlo = S("me.test"),
                                    .tls = (enum tls_use)(flags % 3),
                                    .already_tls = flags & 4,
                                    .allow_pipelining = !(flags & 8)};
    r.c = smtp_client_new(&conf, r.now);
    for (int i = 0; i < MAILS; i++)
        r.mails[i] = (struct smtp_mail){.from = S("s@a.test"),
                                        .rcpt = S("\"a..b\"@b.test"),
                                        .body = flags & 16 ? dots : plain,
                                        .nbody = flags & 16 ? COUNT(dots) : COUNT(plain),
                                        .no_leading_dots = !(flags & 16)};
    smtp_client_open(r.c, r.now);
    for (size_t i = 1, from = 1; i <= size; i++) {
        if (i < size && data[i] != 0xfe)
            continue;
        if (i > from) {
            for (size_t at = from; at < i;) {
                size_t n = flags & 32 ? 1 : i - at;
                smtp_client_feed(r.c, slice_of(data + at, n), r.now);
                pump(&r);
                at += n;
            }
        }
        if (i + 1 < size)
            act(&r, data[++i]);
        from = i + 1;
    }
    smtp_client_lost(r.c, ERR_EOF, r.now);
    if (!r.closed)
        pump(&r);
    smtp_client_tls(r.c, ERR_TLS, r.now);
    pump(&r);
    MUST(r.closed);
    smtp_client_free(r.c);
    return 0;
}
