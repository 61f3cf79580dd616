/* fuzz_control.c - any bytes on the control socket, in any pieces: each line is answered once, in order, and
 * nobody gets more than a line's room. The first byte says how long the pieces are; a line "later" is
 * answered with the next piece, "gone" after the client has ended. */
#include "control.h"

#include <stdlib.h>

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

struct run {
    struct loop *loop;
    struct net *net;
    struct control *control;
    struct control_call *kept;
    struct conn *client;
    struct buf got;
    size_t handled, ended;
    struct loop_timer timer;
};

static void on_request(void *data, struct control_call *call, const json_t *request)
{
    struct run *r = data;
    const char *command = json_string_value(json_object_get(request, "command"));
    MUST(json_is_object(request) && !r->kept); /* one at a time */
    r->handled++;
    if (command && !strcmp(command, "later")) {
        r->kept = call;
        return;
    }
    control_line(call, S("{\"a\":1}"));
    control_end(call, command ? 0 : ERR_INVAL, S(""));
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct run *r = conn_data(c);
    buf_adds(&r->got, bytes);
}

static void on_end(struct conn *c, int reason)
{
    struct run *r = conn_data(c);
    (void)reason;
    conn_close(c, CONN_DROP);
    r->client = NULL;
}

static const struct conn_ops ops = {.on_data = on_data, .on_end = on_end};

static void on_stop(struct loop_timer *t)
{
    loop_stop(t->data);
}

static void turn(struct run *r)
{
    r->timer.data = r->loop;
    loop_timer_start(r->loop, &r->timer, 1, on_stop);
    loop_run(r->loop);
    if (r->kept) {
        struct control_call *call = r->kept;
        r->kept = NULL;
        control_end(call, 0, S("\"late\":true"));
    }
}

/* Whole lines of JSON, each but the rows with "ok". */
static size_t answers(struct slice text)
{
    size_t n = 0;
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        json_t *j = json_loadb(line.p, line.n, 0, NULL);
        MUST(json_is_object(j));
        n += json_object_get(j, "ok") != NULL;
        json_decref(j);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {.loop = loop_new_virtual(1, 0)};
    struct ip_port at = {.ip = ip_v4(127, 0, 0, 1), .port = 7};
    struct listener *l;
    size_t piece = size ? data[0] % 64 + 1u : 1, lines = 0;
    r.net = net_new(r.loop);
    r.control = control_new(&(struct control_conf){.net = r.net, .data = &r, .handle = on_request});
    MUST(!conn_listen(r.net, &at, control_accept, r.control, &l, NULL));
    r.client = conn_connect(r.net, NULL, &at, 1000, &ops, &r);
    turn(&r);
    for (size_t i = 1; i < size && r.client; i += piece) {
        size_t n = size - i < piece ? size - i : piece;
        conn_write(r.client, slice_of(data + i, n));
        turn(&r);
    }
    for (size_t i = 1; i < size; i++)
        lines += data[i] == '\n';
    for (size_t i = 0; i <= lines && i < 4096; i++)
        turn(&r);
    size_t told = answers(buf_slice(&r.got));
    MUST(r.handled <= lines && told <= lines);
    if (r.client && lines < 4096)
        MUST(told == lines); /* also what is no request is answered */
    if (r.client)
        conn_close(r.client, CONN_DROP);
    listener_close(l);
    control_free(r.control);
    net_free(r.net);
    loop_run(r.loop);
    loop_free(r.loop);
    buf_free(&r.got);
    return 0;
}
