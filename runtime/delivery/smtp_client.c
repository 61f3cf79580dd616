/* smtp_client.c - the state machine of a sending SMTP session (RFC 5321), with PIPELINING across mails.
 *
 * It stands between two queues: what it asked and is owed replies to (smtp_asks.h), and what it has to say
 * (smtp_output.h). A reply always answers the head of the first, a 421 too; a reply to an empty queue is
 * unasked for and ends the session.
 *
 *     new -> greeting (banner, EHLO, HELO, STARTTLS asks) -> ready -> quitting -> closed
 *                 |   ^                                                             (from everywhere)
 *                 v   |
 *                  tls (the owner shakes hands)
 *
 * Two mails at most: cur and next. The head of the queue always belongs to cur, because next begins only when
 * all that is left of cur is the reply to its body. A mail's life:
 *
 *     held -> begun: MAIL, RCPT, DATA asked, one by one or at once -> 354: body, dot -> EOD asked -> settled
 *
 * A mail refused before its body is settled at once, while replies to what was pipelined behind may still be
 * owed (`settled` with asks left: draining). Where the server answers such a DATA with 354 it gets a lone
 * dot (RFC 2920 3.1). A refusal leaves the server inside a transaction, so a RSET goes before the next MAIL.
 *
 * 1. Every mail sent has exactly one OUTCOME before CLOSED.
 * 2. delivered only with a 2xx that came after the last byte of the body had left.
 * 3. ambiguous if and only if the last byte had left and nothing usable came; so no mail is doubled unseen.
 * 4. Input is read one reply at a time and only when all events of the one before were taken: so what events
 *    point at stays true without copies. */
#include "delivery/smtp_client.h"

#include "delivery/smtp_asks.h"
#include "delivery/smtp_output.h"

#include <stdio.h>
#include <stdlib.h>

enum state { ST_NEW, ST_GREETING, ST_TLS, ST_READY, ST_QUITTING, ST_CLOSED };

struct tx {
    const struct smtp_mail *mail; /* not touched once settled */
    bool used, begun, settled;
    bool ahead;     /* begun before the mail in front had its reply */
    bool answered;  /* MAIL had a reply that is about this mail */
    bool mail_ok;   /* the server is inside a transaction */
    bool raw;       /* RCPT was asked with rcpt_raw */
    bool data_sent; /* DATA was asked */
};

enum { IN_MAX = 1 << 20, PATH_BYTES_MAX = 500 };

struct smtp_client {
    struct smtp_client_conf conf;
    enum state state;
    int64_t now;
    struct smtp_ehlo ehlo;
    bool in_tls, tls_refused, pipelining, need_rset, quit_wanted;
    unsigned mails;

    struct smtp_asks asks;
    struct smtp_output out;
    struct tx cur, next;

    struct buf in;
    size_t in_used;
    uint64_t in_total, reply_from; /* bytes fed so far; of those, where the reply in hand began */
    bool flooded;
    int lost;
    struct smtp_reply_parser parser;
};

/* --- what we say ourselves, in a server's words --- */
#define LOCAL(name, c, a, b, d, words)                                                                       \
    static const struct slice name##_lines[] = {{words, sizeof(words) - 1}};                                 \
    static const struct smtp_reply name = {.code = c,                                                        \
                                           .has_enhanced = true,                                             \
                                           .enhanced = {a, b, d},                                            \
                                           .text = {#c " " words, sizeof(#c " " words) - 1},                 \
                                           .lines = name##_lines,                                            \
                                           .nlines = 1}
LOCAL(too_big, 552, 5, 3, 4, "5.3.4 message is larger than the server's SIZE");
LOCAL(no_utf8, 553, 5, 6, 7, "5.6.7 server does not offer SMTPUTF8, which this address needs");
LOCAL(no_8bit, 554, 5, 6, 3, "5.6.3 server does not offer 8BITMIME, which this message needs");
LOCAL(bad_path, 553, 5, 1, 3, "5.1.3 address cannot be written in SMTP");
LOCAL(no_tls, 454, 4, 7, 4, "4.7.4 TLS is required, but the server does not offer it");

/* --- small parts --- */
static void set_state(struct smtp_client *c, enum state to)
{
    static const unsigned char from[] = {
        [ST_NEW] = 0,
        [ST_GREETING] = 1 << ST_NEW | 1 << ST_TLS,
        [ST_TLS] = 1 << ST_GREETING,
        [ST_READY] = 1 << ST_GREETING,
        [ST_QUITTING] = 1 << ST_READY,
        [ST_CLOSED] = 1 << ST_NEW | 1 << ST_GREETING | 1 << ST_TLS | 1 << ST_READY | 1 << ST_QUITTING,
    };
    INVARIANT(from[to] & 1 << c->state);
    c->state = to;
}

static void moment(struct smtp_client *c, int64_t now_ms)
{
    if (now_ms > c->now)
        c->now = now_ms;
}

static struct smtp_event *push(struct smtp_client *c, enum smtp_event_type type, const struct smtp_mail *mail)
{
    return smtp_output_push(&c->out, type, mail);
}

static void put(struct smtp_client *c, struct slice bytes)
{
    smtp_output_put(&c->out, bytes);
}

static void ask(struct smtp_client *c, enum smtp_ask what)
{
    smtp_asks_add(&c->asks, what, c->in_total, c->now);
}

static bool body_left(const struct smtp_client *c)
{
    return smtp_output_body_may_have_left(&c->out, c->in_tls);
}

/* --- ends --- */
struct why {
    enum smtp_how how;
    enum smtp_phase phase;
    const struct smtp_reply *reply;
    int err;
    const char *text;
};

static void fill(struct smtp_event *ev, const struct why *why)
{
    ev->how = why->how;
    ev->phase = why->phase;
    ev->reply = why->reply;
    ev->err = why->err;
    ev->text = why->text ? why->text : "";
}

static void settle(struct smtp_client *c, struct tx *tx, const struct why *why, bool delivered,
                   bool ambiguous)
{
    struct smtp_event *ev = push(c, SMTP_EV_OUTCOME, tx->mail);
    fill(ev, why);
    ev->delivered = delivered;
    ev->ambiguous = ambiguous;
    ev->begun = tx->begun;
    ev->used_raw_rcpt = tx->raw;
    tx->settled = true;
    c->mails += tx->begun;
}

static void not_taken(struct smtp_client *c, struct tx *tx, const struct why *why)
{
    struct smtp_event *ev = push(c, SMTP_EV_OUTCOME, tx->mail);
    fill(ev, why);
    ev->phase = SMTP_PHASE_MAIL;
    ev->not_taken = true;
    ev->begun = tx->begun;
    *tx = (struct tx){0};
}

/* `head` is what the end answers; ASK_COUNT: nothing was asked. */
static void end_session(struct smtp_client *c, enum smtp_ask head, const struct why *why)
{
    bool charged = false, idle = head == ASK_COUNT && c->state == ST_READY;
    struct tx *cur = &c->cur;
    if (cur->used && !cur->settled) {
        /* A session kept open may be closed by the server at the moment we use it again: that is the
         * session's end, not an answer to the mail. On a fresh session it would be one. */
        bool reused_and_gone = why->how == SMTP_HOW_LOST && c->mails > 0;
        bool whole_body_left = head == ASK_EOD && body_left(c);
        if (!cur->begun || head == ASK_RSET || (!cur->answered && (cur->ahead || reused_and_gone))) {
            not_taken(c, cur, why);
        } else {
            settle(c, cur, why, false, whole_body_left && why->how != SMTP_HOW_REPLY);
            charged = true;
        }
    }
    if (c->next.used)
        not_taken(c, &c->next, why);
    struct smtp_event *ev = push(c, SMTP_EV_CLOSED, NULL);
    fill(ev, why);
    if (head == ASK_QUIT)
        ev->how = SMTP_HOW_QUIT; /* we were leaving; how well does not matter */
    ev->idle = idle;
    ev->charged = charged;
    ev->mails = c->mails;
    ev->drop = why->how == SMTP_HOW_LOST || why->how == SMTP_HOW_TIMEOUT || smtp_output_body_waits(&c->out);
    c->cur = (struct tx){0};
    c->asks.n = 0;
    c->out.stuffing = NULL;
    set_state(c, ST_CLOSED);
}

static void protocol_error(struct smtp_client *c, enum smtp_ask head, const struct smtp_reply *r,
                           const char *text)
{
    end_session(c, head, &(struct why){SMTP_HOW_PROTOCOL, smtp_ask_phase(head), r, 0, text});
}

/* A reply that ends the session. RFC 5321 3.1: who is refused still says QUIT; after 421 nobody listens. */
static void refused(struct smtp_client *c, enum smtp_ask head, const struct smtp_reply *r)
{
    if (r->code != 421 && c->state == ST_GREETING)
        put(c, S("QUIT\r\n"));
    end_session(c, head, &(struct why){.how = SMTP_HOW_REPLY, .phase = smtp_ask_phase(head), .reply = r});
}

/* --- greeting --- */
static void say_hello(struct smtp_client *c, enum smtp_ask as)
{
    put(c, as == ASK_EHLO ? S("EHLO ") : S("HELO "));
    put(c, c->conf.ehlo);
    put(c, S("\r\n"));
    ask(c, as);
}

static void ready(struct smtp_client *c)
{
    set_state(c, ST_READY);
    c->pipelining = c->ehlo.pipelining && c->conf.allow_pipelining;
    push(c, SMTP_EV_READY, NULL)->tls_refused = c->tls_refused;
}

static void on_hello(struct smtp_client *c, enum smtp_ask head, const struct smtp_reply *r)
{
    memset(&c->ehlo, 0, sizeof c->ehlo);
    if (r->code / 100 == 2) {
        if (head == ASK_EHLO)
            smtp_ehlo_read(r, &c->ehlo);
        if (c->in_tls || c->conf.tls == SMTP_TLS_NONE) {
            ready(c);
        } else if (c->ehlo.starttls) {
            put(c, S("STARTTLS\r\n"));
            ask(c, ASK_STARTTLS);
        } else if (c->conf.tls == SMTP_TLS_REQUIRE) {
            put(c, S("QUIT\r\n"));
            end_session(c, ASK_STARTTLS, &(struct why){SMTP_HOW_LOCAL, SMTP_PHASE_STARTTLS, &no_tls, 0, ""});
        } else {
            ready(c);
        }
    } else if (head == ASK_EHLO && r->code / 100 == 5) {
        say_hello(c, ASK_HELO); /* RFC 5321 3.2 */
    } else if (r->code / 100 == 3) {
        protocol_error(c, head, r, "3xx is no answer to a greeting");
    } else {
        refused(c, head, r);
    }
}

static void on_starttls(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code / 100 == 2) {
        /* RFC 3207 4.2: what came in clear text behind this reply is not from the server we are about to
         * know. */
        set_state(c, ST_TLS);
        c->asks.since_ms = c->now;
        c->in_used = c->in.n;
        push(c, SMTP_EV_STARTTLS, NULL);
    } else if (r->code / 100 == 3) {
        protocol_error(c, ASK_STARTTLS, r, "3xx is no answer to STARTTLS");
    } else if (c->conf.tls == SMTP_TLS_REQUIRE || r->code == 421) {
        refused(c, ASK_STARTTLS, r);
    } else {
        c->tls_refused = true;
        ready(c);
    }
}

/* --- one mail --- */
static void say_rcpt(struct smtp_client *c, struct tx *tx)
{
    put(c, S("RCPT TO:<"));
    put(c, tx->raw ? tx->mail->rcpt_raw : tx->mail->rcpt);
    put(c, S(">\r\n"));
    ask(c, ASK_RCPT);
}

static void say_data(struct smtp_client *c, struct tx *tx)
{
    put(c, S("DATA\r\n"));
    ask(c, ASK_DATA);
    tx->data_sent = true;
}

static void begin(struct smtp_client *c, struct tx *tx, bool ahead)
{
    const struct smtp_mail *m = tx->mail;
    if (c->need_rset) {
        put(c, S("RSET\r\n"));
        ask(c, ASK_RSET);
        c->need_rset = false;
        if (!c->pipelining)
            return; /* on its reply we come here again */
    }
    tx->begun = true;
    tx->ahead = ahead;
    push(c, SMTP_EV_BEGIN, m);
    put(c, S("MAIL FROM:<"));
    put(c, m->from);
    put(c, S(">"));
    if (c->ehlo.size_offered && m->size_bytes) {
        char size[32];
        int n = snprintf(size, sizeof size, " SIZE=%llu", (unsigned long long)m->size_bytes);
        put(c, slice_of(size, (size_t)n));
    }
    if (m->body_8bit)
        put(c, S(" BODY=8BITMIME"));
    if (m->needs_smtputf8)
        put(c, S(" SMTPUTF8"));
    put(c, S("\r\n"));
    ask(c, ASK_MAIL);
    if (c->pipelining) {
        say_rcpt(c, tx);
        if (m->rcpt_raw.n == 0) /* a second RCPT may have to come before DATA */
            say_data(c, tx);
    }
}

/* All that is left of the mail in front is the reply to its body. */
static bool only_eod_is_owed(const struct smtp_client *c)
{
    return !c->cur.settled && c->asks.n == 1 && smtp_asks_head(&c->asks) == ASK_EOD;
}

/* Whatever can go on without an answer goes on. */
static void advance(struct smtp_client *c)
{
    if (c->state != ST_READY || c->out.stuffing)
        return;
    if (c->cur.used && c->cur.settled && c->asks.n == 0)
        c->cur = (struct tx){0};
    if (!c->cur.used && c->next.used) {
        c->cur = c->next;
        c->next = (struct tx){0};
    }
    if (c->cur.used && !c->cur.begun && c->asks.n == 0)
        begin(c, &c->cur, false);
    if (c->next.used && !c->next.begun && c->pipelining && only_eod_is_owed(c))
        begin(c, &c->next, true);
    if (c->quit_wanted && !c->cur.used && c->asks.n == 0) {
        put(c, S("QUIT\r\n"));
        ask(c, ASK_QUIT);
        set_state(c, ST_QUITTING);
    }
}

static void on_mail_reply(struct smtp_client *c, enum smtp_ask head, const struct smtp_reply *r)
{
    struct tx *tx = &c->cur;
    int cls = r->code / 100;
    struct why why = {.how = SMTP_HOW_REPLY, .phase = smtp_ask_phase(head), .reply = r};
    if (r->code == 421) {
        refused(c, head, r);
        return;
    }
    if (cls == 3 && head != ASK_DATA) {
        protocol_error(c, head, r, "3xx, but not to DATA");
        return;
    }
    switch (head) {
    case ASK_MAIL:
        tx->answered = true;
        tx->mail_ok = cls == 2;
        if (cls != 2)
            settle(c, tx, &why, false, false);
        else if (!c->pipelining)
            say_rcpt(c, tx);
        break;
    case ASK_RCPT:
        if (tx->settled)
            break;
        if (cls == 2) {
            if (!tx->data_sent)
                say_data(c, tx);
        } else if (cls == 5 && !tx->raw && tx->mail->rcpt_raw.n) {
            tx->raw = true;
            say_rcpt(c, tx);
            if (c->pipelining)
                say_data(c, tx);
        } else {
            settle(c, tx, &why, false, false);
        }
        break;
    case ASK_DATA:
        if (cls == 2) {
            protocol_error(c, head, r, "2xx to DATA");
        } else if (cls == 3 && tx->settled) {
            /* RFC 2920 3.1: it wants a message that has no recipient. */
            put(c, S(".\r\n"));
            ask(c, ASK_DOT);
        } else if (cls == 3) {
            if (smtp_output_body(&c->out, tx->mail, c->now))
                ask(c, ASK_EOD);
        } else if (!tx->settled) {
            settle(c, tx, &why, false, false);
        }
        break;
    case ASK_EOD:
        tx->mail_ok = false;
        if (body_left(c)) {
            settle(c, tx, &why, cls == 2, false);
            *tx = (struct tx){0};
        } else if (cls == 2) {
            protocol_error(c, head, r, "2xx before the message was sent");
        } else {
            /* Refused while we still talk: what is left of the body would be read as commands. */
            refused(c, head, r);
        }
        break;
    case ASK_DOT:
        tx->mail_ok = false;
        break;
    default:
        INVARIANT(!"an ask of a mail");
    }
    if (c->state == ST_READY && tx->settled && c->asks.n == 0)
        c->need_rset = tx->mail_ok;
}

static void on_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    if (c->asks.n == 0) {
        if (r->code >= 400)
            refused(c, ASK_COUNT, r);
        else
            protocol_error(c, ASK_COUNT, r, "a reply that nothing asked for");
        return;
    }
    if (r->code < 400 && smtp_asks_too_early(&c->asks, c->reply_from)) {
        protocol_error(c, smtp_asks_head(&c->asks), r, "a reply that came before its command");
        return;
    }
    enum smtp_ask head = smtp_asks_pop(&c->asks, c->now);
    switch (head) {
    case ASK_BANNER:
        if (r->code / 100 == 2)
            say_hello(c, ASK_EHLO);
        else if (r->code / 100 == 3)
            protocol_error(c, head, r, "3xx is no greeting");
        else
            refused(c, head, r);
        break;
    case ASK_EHLO:
    case ASK_HELO:
        on_hello(c, head, r);
        break;
    case ASK_STARTTLS:
        on_starttls(c, r);
        break;
    case ASK_RSET:
        if (r->code == 421)
            refused(c, head, r);
        else if (r->code / 100 != 2)
            protocol_error(c, head, r, "RSET refused");
        break;
    case ASK_QUIT:
        end_session(c, head, &(struct why){.how = SMTP_HOW_QUIT, .phase = SMTP_PHASE_QUIT, .reply = r});
        break;
    case ASK_MAIL:
    case ASK_RCPT:
    case ASK_DATA:
    case ASK_EOD:
    case ASK_DOT:
        on_mail_reply(c, head, r);
        break;
    case ASK_COUNT:
        INVARIANT(!"ASK_COUNT is never asked");
    }
    advance(c);
}

/* --- time --- */
int64_t smtp_client_deadline(const struct smtp_client *c)
{
    if (c->state == ST_TLS)
        return c->asks.since_ms + smtp_ask_limit_ms(&c->conf, ASK_STARTTLS);
    if (c->asks.n == 0)
        return INT64_MAX;
    enum smtp_ask head = smtp_asks_head(&c->asks);
    if (head == ASK_EOD && smtp_output_body_waits(&c->out))
        return c->out.progress_ms + (c->conf.block_ms > 0 ? c->conf.block_ms : 3 * 60000);
    return c->asks.since_ms + smtp_ask_limit_ms(&c->conf, head);
}

/* Lost or too late: of the input nothing is left that could say otherwise. */
static void give_up(struct smtp_client *c, enum smtp_how how)
{
    enum smtp_ask head = smtp_asks_head(&c->asks);
    struct why why = {.how = how, .phase = SMTP_PHASE_MAIL};
    if (head != ASK_COUNT)
        why.phase = smtp_ask_phase(head);
    else if (c->state == ST_NEW)
        why.phase = SMTP_PHASE_CONNECT;
    else if (c->state == ST_TLS)
        why.phase = SMTP_PHASE_STARTTLS;
    if (how == SMTP_HOW_LOST) {
        why.err = c->lost;
        why.text = c->lost == ERR_EOF ? "closed by the server" : err_name(c->lost);
    } else {
        why.text = head == ASK_EOD && smtp_output_body_waits(&c->out) ? "the server stopped reading"
                                                                      : "no answer in time";
    }
    end_session(c, head, &why);
}

/* --- face --- */
struct smtp_client *smtp_client_new(const struct smtp_client_conf *conf, int64_t now_ms)
{
    struct smtp_client *c = mem_zalloc(sizeof *c);
    c->conf = *conf;
    c->conf.ehlo = slice_of(mem_dup(conf->ehlo.p, conf->ehlo.n), conf->ehlo.n);
    c->in_tls = conf->already_tls;
    c->now = now_ms;
    return c;
}

void smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    free((char *)c->conf.ehlo.p);
    smtp_reply_free(&c->parser);
    buf_free(&c->in);
    smtp_output_free(&c->out);
    free(c);
}

void smtp_client_open(struct smtp_client *c, int64_t now_ms)
{
    moment(c, now_ms);
    if (c->state != ST_NEW)
        return;
    set_state(c, ST_GREETING);
    ask(c, ASK_BANNER);
}

void smtp_client_feed(struct smtp_client *c, struct slice bytes, int64_t now_ms)
{
    moment(c, now_ms);
    if (c->state == ST_NEW || c->state == ST_TLS || c->state == ST_CLOSED)
        return;
    if (c->in_used == c->in.n) {
        buf_clear(&c->in);
        c->in_used = 0;
    }
    if (bytes.n > IN_MAX - c->in.n) {
        c->flooded = true;
    } else {
        buf_adds(&c->in, bytes);
        c->in_total += bytes.n;
    }
}

void smtp_client_tls(struct smtp_client *c, int status, int64_t now_ms)
{
    moment(c, now_ms);
    if (c->state != ST_TLS)
        return;
    if (status) {
        c->lost = status;
        give_up(c, SMTP_HOW_LOST);
        return;
    }
    c->in_tls = true;
    smtp_reply_reset(&c->parser);
    set_state(c, ST_GREETING);
    say_hello(c, ASK_EHLO);
}

void smtp_client_lost(struct smtp_client *c, int reason, int64_t now_ms)
{
    moment(c, now_ms);
    if (!c->lost)
        c->lost = reason ? reason : ERR_EOF;
}

void smtp_client_written(struct smtp_client *c, uint64_t total_bytes, int64_t now_ms)
{
    moment(c, now_ms);
    if (smtp_output_written(&c->out, total_bytes, c->now))
        c->asks.since_ms = c->now; /* the wait for the reply to the final dot begins */
}

void smtp_client_tick(struct smtp_client *c, int64_t now_ms)
{
    moment(c, now_ms);
}

int smtp_client_room(const struct smtp_client *c)
{
    if (c->state != ST_READY || c->quit_wanted || c->lost || c->next.used)
        return 0;
    if (!c->cur.used || c->cur.settled)
        return 1;
    return c->pipelining && c->mails > 0;
}

bool smtp_client_begins(const struct smtp_client *c)
{
    return smtp_client_room(c) && !c->out.stuffing && (c->asks.n == 0 || only_eod_is_owed(c));
}

static bool path_is_writable(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
            return false;
    return s.n <= PATH_BYTES_MAX;
}

void smtp_client_send(struct smtp_client *c, const struct smtp_mail *mail, int64_t now_ms)
{
    moment(c, now_ms);
    INVARIANT(smtp_client_room(c) > 0);
    const struct smtp_reply *no = NULL;
    if (!path_is_writable(mail->from) || !path_is_writable(mail->rcpt) || !path_is_writable(mail->rcpt_raw) ||
        mail->rcpt.n == 0)
        no = &bad_path;
    else if (c->ehlo.size_max && mail->size_bytes > c->ehlo.size_max)
        no = &too_big;
    else if (mail->needs_smtputf8 && !c->ehlo.smtputf8)
        no = &no_utf8;
    else if (mail->body_8bit && !c->ehlo.eightbitmime)
        no = &no_8bit;
    if (no) {
        struct tx tx = {.mail = mail, .used = true};
        struct why why = {SMTP_HOW_LOCAL, SMTP_PHASE_MAIL, no, 0, ""};
        if (no == &bad_path && path_is_writable(mail->from))
            why.phase = SMTP_PHASE_RCPT;
        settle(c, &tx, &why, false, false);
        return;
    }
    struct tx *tx = c->cur.used ? &c->next : &c->cur;
    *tx = (struct tx){.mail = mail, .used = true};
    advance(c);
}

void smtp_client_quit(struct smtp_client *c, int64_t now_ms)
{
    moment(c, now_ms);
    if (c->state == ST_CLOSED || c->quit_wanted)
        return;
    c->quit_wanted = true;
    struct why why = {.how = SMTP_HOW_QUIT, .phase = SMTP_PHASE_QUIT};
    if (c->state != ST_READY) {
        if (c->state == ST_GREETING)
            put(c, S("QUIT\r\n"));
        end_session(c, ASK_QUIT, &why);
        return;
    }
    if (c->cur.used && !c->cur.begun)
        not_taken(c, &c->cur, &why);
    if (c->next.used && !c->next.begun)
        not_taken(c, &c->next, &why);
    advance(c);
}

bool smtp_client_poll(struct smtp_client *c, struct smtp_event *ev)
{
    for (;;) {
        if (smtp_output_take(&c->out, ev))
            return true;
        if (c->state == ST_CLOSED)
            return false;
        if (c->out.stuffing) {
            if (smtp_output_stuff(&c->out))
                ask(c, ASK_EOD);
            advance(c);
            continue;
        }
        if (c->in_used < c->in.n) {
            struct slice in = slice_of(c->in.p + c->in_used, c->in.n - c->in_used);
            const struct smtp_reply *r;
            if (!smtp_reply_begun(&c->parser))
                c->reply_from = c->in_total - in.n;
            int rc = smtp_reply_next(&c->parser, &in, &r);
            c->in_used = c->in.n - in.n;
            if (rc == 0) {
                on_reply(c, r);
                continue;
            }
            if (rc != ERR_AGAIN) {
                protocol_error(c, smtp_asks_head(&c->asks), NULL,
                               rc == ERR_LIMIT ? "a reply without end" : "not an SMTP reply");
                continue;
            }
        }
        if (c->flooded)
            protocol_error(c, smtp_asks_head(&c->asks), NULL, "more replies than were asked for");
        else if (c->lost)
            give_up(c, SMTP_HOW_LOST);
        else if (c->now >= smtp_client_deadline(c))
            give_up(c, SMTP_HOW_TIMEOUT);
        else
            return false;
    }
}

const struct smtp_ehlo *smtp_client_ehlo(const struct smtp_client *c)
{
    return &c->ehlo;
}
