/* fuzz_smtp_server.c - any bytes from a client, in any pieces: the same commands and messages whatever the
 * pieces, no input kept for long, the end always reached.
 *
 * The first bytes choose the world; 0xfe and a byte behind it is something else that happens. */
#include "smtp_server.h"

#include <stdlib.h>

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

static uint64_t no_luck(void *data)
{
    return 0;
}

struct run {
    struct smtp_server *s;
    struct buf written, bodies;
    uint64_t body_bytes;
    unsigned taken, messages;
    bool closed, in_tls;
    int64_t now;
};

static void pump(struct run *r)
{
    struct smtp_server_event ev;
    while (smtp_server_poll(r->s, &ev)) {
        MUST(!r->closed);
        switch (ev.type) {
        case SMTP_SERVER_WRITE:
            MUST(ev.bytes.n);
            buf_adds(&r->written, ev.bytes);
            break;
        case SMTP_SERVER_STARTTLS:
            r->in_tls = true;
            break;
        case SMTP_SERVER_BODY:
            MUST(ev.bytes.n && ev.tx->naccepted);
            r->body_bytes += ev.bytes.n;
            buf_adds(&r->bodies, ev.bytes);
            break;
        case SMTP_SERVER_MESSAGE:
            MUST(ev.tx->size_bytes == r->body_bytes);
            r->messages++;
            break;
        case SMTP_SERVER_TRANSACTION:
            MUST(ev.tx->naccepted <= ev.tx->nrcpts);
            MUST(!ev.tx->taken || (ev.tx->naccepted && ev.tx->size_bytes == r->body_bytes));
            r->taken += ev.tx->taken;
            r->body_bytes = 0;
            break;
        case SMTP_SERVER_CLOSE:
            r->closed = true;
            break;
        }
    }
}

static void drive(struct run *r, const struct world_isp *isp, const uint8_t *data, size_t size, size_t step)
{
    struct smtp_judge *judge = smtp_judge_new(isp, no_luck, NULL);
    struct smtp_server_conf conf = {.judge = judge,
                                    .hostname = S("mx.b.test"),
                                    .peer = ip_v4(192, 0, 2, 1),
                                    .can_tls = true,
                                    .want_body = true};
    r->s = smtp_server_new(&conf, r->now);
    pump(r);
    for (size_t i = 0; i < size;) {
        if (data[i] == 0xfe && i + 1 < size) {
            uint8_t what = data[i + 1];
            i += 2;
            if (what & 1 && r->in_tls)
                smtp_server_tls(r->s, what & 2 ? ERR_TLS : 0, r->now), r->in_tls = false;
            else
                smtp_server_tick(r->s, r->now += what);
            pump(r);
            continue;
        }
        size_t n = 0;
        while (n < step && i + n < size && data[i + n] != 0xfe)
            n++;
        if (n == 0)
            n = 1; /* a last 0xfe */
        char *exact = mem_dup(data + i, n);
        smtp_server_feed(r->s, slice_of(exact, n), r->now);
        pump(r);
        free(exact);
        i += n;
    }
    for (int turns = 0; !r->closed && smtp_server_deadline(r->s) < r->now + 200000; turns++) {
        r->now = smtp_server_deadline(r->s);
        smtp_server_tick(r->s, r->now);
        pump(r);
        MUST(turns < 1000000);
    }
    if (!r->closed) {
        smtp_server_lost(r->s, r->now);
        pump(r);
    }
    MUST(r->closed && smtp_server_deadline(r->s) == INT64_MAX && !smtp_server_wants(r->s));
    smtp_server_free(r->s);
    smtp_judge_free(judge);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world_reply one = {.to = SLICE_NONE, .share_ppm = 1000000};
    struct world_isp isp = {.name = S("x"), .replies = &one};
    struct run whole = {.now = 1}, pieces = {.now = 1};
    if (size < 3 || size > 4096)
        return 0;
    isp.extensions = data[0];
    isp.tls = (enum world_tls)(data[1] & 3);
    isp.size_limit = data[1] & 4 ? 20 : 0;
    isp.per_connection = data[1] & 8 ? 1 : 0;
    isp.delay_ms = data[1] & 16 ? 5 : 0;
    isp.bytes_per_second = data[1] & 32 ? 1000 : 0;
    isp.n_replies = data[2] & 1;
    one.phase = (enum smtp_phase)((data[2] >> 1) % SMTP_PHASE_COUNT);
    one.garbage = data[2] & 32;
    one.disconnect = data[2] & 64;
    if (data[2] & 128)
        one.answer = (struct world_answer){354, S("354 go\r\n")};
    drive(&whole, &isp, data + 3, size - 3, SIZE_MAX);
    drive(&pieces, &isp, data + 3, size - 3, 1);
    /* With delays and slow reading STARTTLS throws away what happened to be there, so only without them. */
    if (!isp.delay_ms && !isp.bytes_per_second && !(isp.extensions & WORLD_EXT_STARTTLS)) {
        MUST(slice_eq(buf_slice(&whole.written), buf_slice(&pieces.written)));
        MUST(slice_eq(buf_slice(&whole.bodies), buf_slice(&pieces.bodies)));
        MUST(whole.taken == pieces.taken && whole.messages == pieces.messages);
    }
    buf_free(&whole.written);
    buf_free(&whole.bodies);
    buf_free(&pieces.written);
    buf_free(&pieces.bodies);
    return 0;
}
