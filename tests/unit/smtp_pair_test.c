/* smtp_pair_test.c - the client against the server, both without sockets: thousands of worlds, links that
 * chop, stall and break. What the client believes must be what the server knows. */
#include "delivery/smtp_client.h"
#include "smtp_server.h"
#include "test.h"

#include <stdlib.h>

enum { MAILS = 8, SESSIONS = 40 };

struct pair {
    uint64_t rng;
    int64_t now;
    struct smtp_judge *judge;
    struct smtp_client *c;
    struct smtp_server *s;
    struct buf c_out;      /* the client's, not yet in the kernel */
    struct buf to_s, to_c; /* on the wire */
    uint64_t c_written;
    bool c_tls, s_tls, s_gone, c_closed, s_closed, break_soon;
    struct buf message; /* at the server */
    struct {
        struct smtp_mail mail;
        char rcpt[32];
        struct buf text;
        struct slice piece[2];
        int offered, outcomes, taken, ambiguous, session;
        bool taken_now, settled, delivered; /* taken_now: since it was offered last */
    } mails[MAILS];
    int sessions;
    const char *wrong;
    int wrong_mail;
};

static uint64_t draw(void *data)
{
    struct pair *p = data;
    uint64_t z = p->rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static unsigned below(struct pair *p, unsigned n)
{
    return (unsigned)(draw(p) % n);
}

static void blame(struct pair *p, int mail, const char *what)
{
    if (!p->wrong) {
        p->wrong = what;
        p->wrong_mail = mail;
    }
}

/* What the server must have: CRLF line ends, and one at the end. */
static struct slice normal(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n')
            i++;
        if (in.p[i] == '\r' || in.p[i] == '\n')
            buf_adds(out, S("\r\n"));
        else
            buf_addc(out, in.p[i]);
    }
    if (out->n && !slice_ends(buf_slice(out), S("\r\n")))
        buf_adds(out, S("\r\n"));
    return buf_slice(out);
}

static void on_transaction(struct pair *p, const struct smtp_server_tx *tx)
{
    if (tx->taken) {
        uint64_t i = MAILS;
        if (tx->nrcpts && slice_u64(slice_of(tx->rcpts[tx->nrcpts - 1].address.p + 1, 1), &i) == 0 &&
            i < MAILS) {
            struct buf want = {0};
            if (!slice_eq(buf_slice(&p->message), normal(buf_slice(&p->mails[i].text), &want)))
                blame(p, (int)i, "the server took other bytes than were offered");
            if (tx->size_bytes != p->message.n)
                blame(p, (int)i, "size in the log");
            if (p->mails[i].taken_now)
                blame(p, (int)i, "taken twice at one offer");
            p->mails[i].taken_now = true;
            p->mails[i].taken++;
            buf_free(&want);
        } else {
            blame(p, -1, "the server took something nobody sent");
        }
    }
    buf_clear(&p->message);
}

static void on_outcome(struct pair *p, const struct smtp_event *ev)
{
    int i = (int)(size_t)ev->mail->user;
    bool taken = p->mails[i].taken_now;
    if (++p->mails[i].outcomes != p->mails[i].offered)
        blame(p, i, "one offer, one outcome");
    if (ev->delivered && !taken)
        blame(p, i, "delivered, but the server never took it");
    if (!ev->delivered && !ev->ambiguous && taken)
        blame(p, i, "taken, but the client knows nothing of it");
    if (ev->not_taken && ev->ambiguous)
        blame(p, i, "not taken and ambiguous");
    p->mails[i].ambiguous += ev->ambiguous;
    p->mails[i].delivered = ev->delivered;
    p->mails[i].settled =
        ev->delivered || ev->how == SMTP_HOW_LOCAL || (ev->reply && ev->reply->code / 100 == 5);
}

static void client_events(struct pair *p)
{
    struct smtp_event ev;
    while (smtp_client_poll(p->c, &ev))
        switch (ev.type) {
        case SMTP_EV_WRITE:
            buf_adds(&p->c_out, ev.bytes);
            break;
        case SMTP_EV_WRITE_BODY:
            for (size_t i = 0; i < ev.mail->nbody; i++)
                buf_adds(&p->c_out, ev.mail->body[i]);
            break;
        case SMTP_EV_STARTTLS:
            p->c_tls = true;
            break;
        case SMTP_EV_READY:
        case SMTP_EV_BEGIN:
            break;
        case SMTP_EV_OUTCOME:
            on_outcome(p, &ev);
            break;
        case SMTP_EV_CLOSED:
            p->c_closed = true;
            break;
        }
}

static void server_events(struct pair *p)
{
    struct smtp_server_event ev;
    while (smtp_server_poll(p->s, &ev))
        switch (ev.type) {
        case SMTP_SERVER_WRITE:
            buf_adds(&p->to_c, ev.bytes);
            break;
        case SMTP_SERVER_STARTTLS:
            p->s_tls = true;
            break;
        case SMTP_SERVER_BODY:
            buf_adds(&p->message, ev.bytes);
            break;
        case SMTP_SERVER_MESSAGE:
            if (below(p, 50) == 0)
                smtp_server_refuse(p->s);
            break;
        case SMTP_SERVER_TRANSACTION:
            on_transaction(p, ev.tx);
            break;
        case SMTP_SERVER_CLOSE:
            p->s_closed = true;
            break;
        }
}

static void offer(struct pair *p)
{
    int room = smtp_client_room(p->c);
    for (int i = 0; i < MAILS && room; i++) {
        if (p->mails[i].settled || p->mails[i].session == p->sessions || below(p, 3) == 0)
            continue;
        p->mails[i].session = p->sessions; /* at most one try in each */
        p->mails[i].offered++;
        p->mails[i].taken_now = false;
        smtp_client_send(p->c, &p->mails[i].mail, p->now);
        client_events(p);
        room = smtp_client_room(p->c);
    }
}

/* One thing that can happen happens; false: nothing can but time. */
static bool move(struct pair *p)
{
    if (p->c_tls && (p->s_tls || p->s_closed)) {
        bool fails = p->s_closed || below(p, 8) == 0;
        p->c_tls = p->s_tls = false;
        buf_clear(&p->to_c);
        if (!p->s_closed) {
            smtp_server_tls(p->s, fails ? ERR_TLS : 0, p->now);
            server_events(p);
        }
        smtp_client_tls(p->c, fails ? ERR_TLS : 0, p->now);
        client_events(p);
        return true;
    }
    switch (below(p, 3)) {
    case 0:
        if (p->c_out.n) { /* into the kernel */
            size_t n = 1 + below(p, (unsigned)p->c_out.n);
            buf_add(&p->to_s, p->c_out.p, n);
            buf_drop_front(&p->c_out, n);
            smtp_client_written(p->c, p->c_written += n, p->now);
            client_events(p);
            return true;
        }
        break;
    case 1:
        if (p->to_s.n && !p->s_closed && smtp_server_wants(p->s)) {
            size_t n = 1 + below(p, (unsigned)p->to_s.n);
            char *copy = mem_dup(p->to_s.p, n); /* exactly n bytes, so that reading beyond is seen */
            smtp_server_feed(p->s, slice_of(copy, n), p->now);
            server_events(p);
            buf_drop_front(&p->to_s, n);
            free(copy);
            return true;
        }
        break;
    case 2:
        if (p->to_c.n) {
            size_t n = 1 + below(p, (unsigned)p->to_c.n);
            smtp_client_feed(p->c, slice_of(p->to_c.p, n), p->now);
            client_events(p);
            buf_drop_front(&p->to_c, n);
            return true;
        }
        if (p->s_closed && !p->s_gone) {
            p->s_gone = true;
            smtp_client_lost(p->c, ERR_EOF, p->now);
            client_events(p);
            return true;
        }
        break;
    }
    return p->c_out.n || (p->to_s.n && !p->s_closed && smtp_server_wants(p->s)) || p->to_c.n ||
           (p->s_closed && !p->s_gone);
}

static void pass_time(struct pair *p)
{
    int64_t due = smtp_client_deadline(p->c);
    if (!p->s_closed && smtp_server_deadline(p->s) < due)
        due = smtp_server_deadline(p->s);
    if (due == INT64_MAX || due < p->now)
        blame(p, -1, "time stands still");
    p->now = due;
    if (!p->s_closed) {
        smtp_server_tick(p->s, p->now);
        server_events(p);
    }
    smtp_client_tick(p->c, p->now);
    client_events(p);
}

static void session(struct pair *p)
{
    struct smtp_client_conf cc = {
        .ehlo = S("me.test"), .tls = (enum tls_use)below(p, 3), .allow_pipelining = below(p, 4) > 0};
    struct smtp_server_conf sc = {.judge = p->judge,
                                  .hostname = S("mx.b.test"),
                                  .peer = ip_v4(192, 0, 2, 1),
                                  .can_tls = below(p, 4) > 0,
                                  .want_body = true};
    unsigned cut = below(p, 3) ? 0 : 1 + below(p, 400);
    p->c_tls = p->s_tls = p->s_gone = p->c_closed = p->s_closed = false;
    p->c_written = 0;
    p->sessions++;
    p->c = smtp_client_new(&cc, p->now);
    p->s = smtp_server_new(&sc, p->now);
    smtp_client_open(p->c, p->now);
    server_events(p);
    for (int steps = 0; !p->c_closed && !p->wrong; steps++) {
        offer(p);
        if (cut && --cut == 0) { /* the link breaks: what was on the wire may be lost */
            if (!p->s_closed && p->to_s.n && below(p, 2)) {
                smtp_server_feed(p->s, slice_of(p->to_s.p, below(p, (unsigned)p->to_s.n + 1)), p->now);
                server_events(p);
            }
            smtp_client_lost(p->c, ERR_RESET, p->now);
            client_events(p);
        } else if (!move(p)) {
            if (below(p, 20) == 0)
                smtp_client_quit(p->c, p->now);
            client_events(p);
            if (!p->c_closed && !move(p) && !p->c_out.n && !p->to_c.n)
                pass_time(p);
        }
        if (steps > 200000)
            blame(p, -1, "a session without end");
    }
    if (!p->s_closed) {
        smtp_server_lost(p->s, p->now);
        server_events(p);
        if (!p->s_closed)
            blame(p, -1, "the server did not close");
    }
    smtp_client_free(p->c);
    smtp_server_free(p->s);
    buf_clear(&p->c_out);
    buf_clear(&p->to_s);
    buf_clear(&p->to_c);
    buf_clear(&p->message);
    p->now += 1000;
}

static void make_mail(struct pair *p, int i)
{
    static const char *const lines[] = {"hello\r\n", "\r\n", "a.b.c\r\n", "some longer line of text\r\n"};
    static const char *const wild[] = {".\r\n", "..\n", ".", "\r", "\n", "x", "\r\n.\r\n", "bare\n.\n"};
    struct smtp_mail *m = &p->mails[i].mail;
    bool promised = below(p, 2);
    buf_printf(&p->mails[i].text, "X-Mail: %d\r\n", i);
    for (unsigned n = below(p, 30); n; n--)
        buf_adds(&p->mails[i].text,
                 slice_cstr(promised ? lines[below(p, COUNT(lines))] : wild[below(p, COUNT(wild))]));
    if (promised && below(p, 3) == 0)
        buf_adds(&p->mails[i].text, S("no end of line"));
    struct slice all = buf_slice(&p->mails[i].text);
    size_t half = below(p, (unsigned)all.n + 1);
    p->mails[i].piece[0] = slice_of(all.p, half);
    p->mails[i].piece[1] = slice_of(all.p + half, all.n - half);
    snprintf(p->mails[i].rcpt, sizeof p->mails[i].rcpt, "m%d@b.test", i);
    *m = (struct smtp_mail){.from = below(p, 4) ? S("s@a.test") : S(""),
                            .rcpt = slice_cstr(p->mails[i].rcpt),
                            .rcpt_raw = below(p, 4) ? SLICE_NONE : slice_cstr(p->mails[i].rcpt),
                            .body = p->mails[i].piece,
                            .nbody = 2,
                            .size_bytes = all.n,
                            .body_8bit = below(p, 20) == 0,
                            .needs_smtputf8 = below(p, 20) == 0,
                            .no_leading_dots = promised,
                            .user = (void *)(size_t)i};
}

static const char *play(uint64_t seed, int *mail, int *delivered, int *doubled)
{
    static const struct slice answers[] = {{"421 4.7.0 go\r\n", 14},
                                           {"450 4.2.0 no\r\n", 14},
                                           {"550-5.1.1 no\r\n550 never\r\n", 25},
                                           {"354 what\r\n", 10},
                                           {"250 fine\r\n", 10}};
    static const int codes[] = {421, 450, 550, 354, 250};
    static const enum smtp_phase overs[] = {SMTP_PHASE_CONNECT, SMTP_PHASE_BANNER, SMTP_PHASE_EHLO,
                                            SMTP_PHASE_RCPT,    SMTP_PHASE_DATA,   SMTP_PHASE_EOD};
    struct pair p = {.rng = seed, .now = 1000000};
    struct world_reply replies[6] = {0};
    struct world_rate rate = {.window_ms = 20000};
    struct world_isp isp = {
        .name = S("x"), .extensions = (unsigned)draw(&p), .replies = replies, .accept = &rate};
    isp.size_limit = below(&p, 4) ? 0 : 200;
    isp.tls = (enum world_tls)below(&p, 4);
    isp.per_connection = below(&p, 3);
    isp.delay_ms = below(&p, 2) * below(&p, 50);
    isp.bytes_per_second = below(&p, 8) ? 0 : 100 + below(&p, 1000);
    isp.greylist_ms = below(&p, 4) ? 0 : 5000;
    isp.n_accept = below(&p, 4) == 0;
    rate.messages = 1 + below(&p, 5);
    unsigned over = below(&p, 2);
    isp.over = (struct world_reply){.phase = below(&p, 2) ? SMTP_PHASE_MAIL : overs[below(&p, COUNT(overs))],
                                    .to = SLICE_NONE,
                                    .share_ppm = 1000000,
                                    .answer = {codes[over], answers[over]},
                                    .disconnect = below(&p, 3) == 0};
    for (isp.n_replies = 0; isp.n_replies < below(&p, COUNT(replies)); isp.n_replies++) {
        struct world_reply *r = &replies[isp.n_replies];
        unsigned which = below(&p, COUNT(answers));
        *r = (struct world_reply){.phase = (enum smtp_phase)below(&p, SMTP_PHASE_COUNT),
                                  .to = SLICE_NONE,
                                  .share_ppm = 50000 + below(&p, 200000),
                                  .delay_ms = below(&p, 4) ? 0 : below(&p, 3000),
                                  .garbage = below(&p, 6) == 0,
                                  .disconnect = below(&p, 3) == 0};
        if (below(&p, 2))
            r->answer = (struct world_answer){codes[which], answers[which]};
    }
    p.judge = smtp_judge_new(&isp, draw, &p);
    for (int i = 0; i < MAILS; i++)
        make_mail(&p, i);
    for (int n = 0; n < SESSIONS && !p.wrong; n++) {
        bool left = false;
        for (int i = 0; i < MAILS; i++)
            left |= !p.mails[i].settled;
        if (left)
            session(&p);
    }
    for (int i = 0; i < MAILS; i++) {
        if (p.mails[i].offered != p.mails[i].outcomes)
            blame(&p, i, "an offer without outcome");
        if (p.mails[i].taken > 1 + p.mails[i].ambiguous)
            blame(&p, i, "doubled without having been ambiguous");
        *delivered += p.mails[i].delivered;
        *doubled += p.mails[i].taken > 1;
        buf_free(&p.mails[i].text);
    }
    smtp_judge_free(p.judge);
    buf_free(&p.c_out);
    buf_free(&p.to_s);
    buf_free(&p.to_c);
    buf_free(&p.message);
    *mail = p.wrong_mail;
    return p.wrong;
}

TEST(what_the_client_believes_is_what_the_server_knows)
{
    int delivered = 0, doubled = 0, mail;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        const char *wrong = play(seed, &mail, &delivered, &doubled);
        if (wrong) {
            test_fail(__FILE__, __LINE__, "seed %llu, mail %d: %s", (unsigned long long)seed, mail, wrong);
            return;
        }
    }
    /* The worlds are mixed: most mail arrives, and some broken connections did double one. */
    CHECK(delivered > 3000 * MAILS / 4);
    CHECK(doubled > 10);
}
