/* smtp_asks.c - see smtp_asks.h. */
#include "delivery/smtp_asks.h"

void smtp_asks_add(struct smtp_asks *q, enum smtp_ask what, uint64_t after, int64_t now_ms)
{
    INVARIANT(q->n < ASKS_MAX);
    if (q->n == 0)
        q->since_ms = now_ms;
    unsigned at = (q->first + q->n++) % ASKS_MAX;
    q->v[at].what = what;
    q->v[at].after = after;
}

enum smtp_ask smtp_asks_head(const struct smtp_asks *q)
{
    return q->n ? q->v[q->first].what : ASK_COUNT;
}

enum smtp_ask smtp_asks_pop(struct smtp_asks *q, int64_t now_ms)
{
    enum smtp_ask head = smtp_asks_head(q);
    q->first = (q->first + 1) % ASKS_MAX;
    q->n--;
    q->since_ms = now_ms;
    return head;
}

bool smtp_asks_too_early(const struct smtp_asks *q, uint64_t reply_from)
{
    return reply_from < q->v[q->first].after;
}

enum smtp_phase smtp_ask_phase(enum smtp_ask what)
{
    static const enum smtp_phase phases[] = {
        [ASK_BANNER] = SMTP_PHASE_BANNER,     [ASK_EHLO] = SMTP_PHASE_EHLO, [ASK_HELO] = SMTP_PHASE_EHLO,
        [ASK_STARTTLS] = SMTP_PHASE_STARTTLS, [ASK_RSET] = SMTP_PHASE_MAIL, [ASK_MAIL] = SMTP_PHASE_MAIL,
        [ASK_RCPT] = SMTP_PHASE_RCPT,         [ASK_DATA] = SMTP_PHASE_DATA, [ASK_EOD] = SMTP_PHASE_EOD,
        [ASK_DOT] = SMTP_PHASE_EOD,           [ASK_QUIT] = SMTP_PHASE_QUIT, [ASK_COUNT] = SMTP_PHASE_MAIL,
    };
    return phases[what];
}

static int64_t or_else(int64_t value, int64_t standard)
{
    return value > 0 ? value : standard;
}

int64_t smtp_ask_limit_ms(const struct smtp_client_conf *conf, enum smtp_ask what)
{
    enum { MINUTE = 60000 };
    switch (what) {
    case ASK_BANNER:
        return or_else(conf->banner_ms, 5 * MINUTE);
    case ASK_EHLO:
    case ASK_HELO:
        return or_else(conf->ehlo_ms, 5 * MINUTE);
    case ASK_STARTTLS:
        return or_else(conf->starttls_ms, 2 * MINUTE);
    case ASK_MAIL:
        return or_else(conf->mail_ms, 5 * MINUTE);
    case ASK_RCPT:
        return or_else(conf->rcpt_ms, 5 * MINUTE);
    case ASK_DATA:
        return or_else(conf->data_ms, 2 * MINUTE);
    case ASK_EOD:
    case ASK_DOT:
        /* RFC 5321 4.5.3.2.6: less than 10 minutes doubles mail. */
        return conf->eod_ms > 10 * MINUTE ? conf->eod_ms : 10 * MINUTE;
    case ASK_RSET:
    case ASK_QUIT:
    case ASK_COUNT:
        break;
    }
    return or_else(conf->quit_ms, 5000);
}
