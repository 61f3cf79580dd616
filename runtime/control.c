/* control.c - see control.h. */
#include "control.h"
#include "base/json.h"

#include <stdlib.h>

struct client {
    struct control *control;
    struct conn *conn;
    struct buf in;
    struct loop_timer idle;
    struct control_call *call; /* under way */
    bool gone;                 /* nobody reads any more */
    bool pumping;              /* its requests are being taken, further out */
    struct client *prev, *next;
};

struct control_call {
    struct client *client; /* NULL: it has gone, or there never was one */
    void *data;            /* of a local call */
    void (*line)(void *data, struct slice json);
    void (*end)(void *data, int status, struct slice words);
    struct control_call *prev, *next;
    struct control *control;
};

struct control {
    struct control_conf conf;
    struct listener *listener;
    struct client *clients;
    struct client *dead; /* gone; freed when none of their callbacks can be under way */
    struct control_call *calls;
    size_t nclients;
    struct buf scratch;
};

struct control *control_new(const struct control_conf *conf)
{
    struct control *c = mem_zalloc(sizeof *c);
    c->conf = *conf;
    return c;
}

int control_open(struct control *c, const char *state, struct err *e)
{
    struct buf path = {0};
    buf_printf(&path, "%s/control", state);
    int r = conn_listen_local(c->conf.net, buf_cstr(&path), control_accept, c, &c->listener, e);
    buf_free(&path);
    return r;
}

/* --- clients --- */

static void client_drop(struct client *cl, enum conn_close_mode mode)
{
    struct control *c = cl->control;
    if (cl->gone)
        return;
    cl->gone = true;
    loop_timer_stop(net_loop(c->conf.net), &cl->idle);
    *(cl->prev ? &cl->prev->next : &c->clients) = cl->next;
    if (cl->next)
        cl->next->prev = cl->prev;
    c->nclients--;
    if (cl->call)
        cl->call->client = NULL;
    cl->call = NULL;
    conn_set_ops(cl->conn, NULL, NULL);
    conn_close(cl->conn, mode);
    cl->next = c->dead;
    c->dead = cl;
}

static void bury(struct control *c)
{
    while (c->dead) {
        struct client *cl = c->dead;
        c->dead = cl->next;
        buf_free(&cl->in);
        free(cl);
    }
}

static void on_idle(struct loop_timer *t)
{
    client_drop(CONTAINER(t, struct client, idle), CONN_FLUSH);
}

static void wait_for_more(struct client *cl)
{
    loop_timer_start(net_loop(cl->control->conf.net), &cl->idle, CONTROL_IDLE_MS, on_idle);
}

static void client_say(struct client *cl, struct slice line)
{
    if (conn_pending(cl->conn) > CONTROL_PENDING_BYTES) {
        client_drop(cl, CONN_DROP);
        return;
    }
    conn_write(cl->conn, line);
}

static struct control_call *call_new(struct control *c, struct client *cl)
{
    struct control_call *call = mem_zalloc(sizeof *call);
    *call = (struct control_call){.client = cl, .next = c->calls, .control = c};
    if (c->calls)
        c->calls->prev = call;
    c->calls = call;
    return call;
}

struct control_call *control_local(struct control *c, void *data, void (*line)(void *data, struct slice json),
                                   void (*end)(void *data, int status, struct slice words))
{
    struct control_call *call = call_new(c, NULL);
    call->data = data;
    call->line = line;
    call->end = end;
    return call;
}

void control_local_drop(struct control_call *call)
{
    call->line = NULL;
    call->end = NULL;
}

static void begin_call(struct client *cl, struct slice line)
{
    struct control *c = cl->control;
    struct control_call *call = call_new(c, cl);
    json_error_t why;
    json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    cl->call = call;
    loop_timer_stop(net_loop(c->conf.net), &cl->idle);
    conn_read_pause(cl->conn);
    if (json_is_object(request))
        c->conf.handle(c->conf.data, call, request);
    else
        control_end(call, ERR_SYNTAX, S("a request is one JSON object on one line"));
    json_decref(request);
}

/* The next whole line, unless one is being answered. */
static void client_pump(struct client *cl)
{
    if (cl->pumping) /* an answer came at once: the loop further out goes on */
        return;
    cl->pumping = true;
    while (!cl->gone && !cl->call) {
        char *end = cl->in.n ? memchr(cl->in.p, '\n', cl->in.n) : NULL;
        if (!end) {
            if (cl->in.n > CONTROL_LINE_BYTES) {
                client_drop(cl, CONN_DROP);
                break;
            }
            conn_read_resume(cl->conn);
            wait_for_more(cl);
            break;
        }
        struct buf line = {0};
        size_t n = (size_t)(end - cl->in.p);
        buf_add(&line, cl->in.p, n);
        buf_drop_front(&cl->in, n + 1);
        begin_call(cl, slice_trim(buf_slice(&line)));
        buf_free(&line);
    }
    cl->pumping = false;
}

static void on_data(struct conn *conn, struct slice bytes)
{
    struct client *cl = conn_data(conn);
    buf_adds(&cl->in, bytes);
    client_pump(cl);
}

static void on_end(struct conn *conn, int reason)
{
    struct client *cl = conn_data(conn);
    /* A client may end its side and read on: what it asked is answered first. */
    if (reason != ERR_EOF || !cl->call)
        client_drop(cl, reason == ERR_EOF ? CONN_FLUSH : CONN_DROP);
}

static const struct conn_ops client_ops = {.on_data = on_data, .on_end = on_end};

void control_accept(struct listener *l, struct conn *conn, void *data)
{
    struct control *c = data;
    (void)l;
    bury(c);
    if (c->nclients >= CONTROL_CLIENTS) /* without ops it is dropped */
        return;
    struct client *cl = mem_zalloc(sizeof *cl);
    *cl = (struct client){.control = c, .conn = conn, .next = c->clients};
    if (c->clients)
        c->clients->prev = cl;
    c->clients = cl;
    c->nclients++;
    conn_set_ops(conn, &client_ops, cl);
    wait_for_more(cl);
}

void control_free(struct control *c)
{
    if (!c)
        return;
    listener_close(c->listener);
    while (c->clients)
        client_drop(c->clients, CONN_FLUSH);
    bury(c);
    while (c->calls) {
        struct control_call *call = c->calls;
        c->calls = call->next;
        free(call);
    }
    buf_free(&c->scratch);
    free(c);
}

/* --- answers --- */

void control_line(struct control_call *call, struct slice json)
{
    struct buf *b = &call->control->scratch;
    if (call->line)
        call->line(call->data, json);
    if (!call->client)
        return;
    buf_clear(b);
    buf_adds(b, json);
    buf_addc(b, '\n');
    client_say(call->client, buf_slice(b));
}

void control_end(struct control_call *call, int status, struct slice words)
{
    struct control *c = call->control;
    struct buf line = {0};
    struct control_call was = *call;
    call->line = NULL;
    if (status) {
        buf_printf(&line, "{\"ok\":false,\"code\":%d,\"error\":", status);
        json_quote(&line, words);
    } else {
        buf_adds(&line, S("{\"ok\":true"));
        if (words.n)
            buf_addc(&line, ',');
        buf_adds(&line, words);
    }
    buf_addc(&line, '}');
    control_line(call, buf_slice(&line));
    buf_free(&line);
    struct client *cl = call->client;
    *(call->prev ? &call->prev->next : &c->calls) = call->next;
    if (call->next)
        call->next->prev = call->prev;
    free(call);
    if (was.end)
        was.end(was.data, status, words);
    if (cl) {
        cl->call = NULL;
        client_pump(cl);
    }
}

/* --- the other side --- */

struct asking {
    struct loop *loop;
    struct conn *conn;
    struct control_answer *answer;
    struct slice request;
    struct buf in;
    struct loop_timer timer;
    bool over;
    int status;
    struct err *e;
};

static void ask_over(struct asking *a, int status)
{
    if (a->over)
        return;
    a->over = true;
    a->status = status;
    loop_stop(a->loop);
}

static void on_ask_open(struct conn *c, int status)
{
    struct asking *a = conn_data(c);
    if (status) {
        ask_over(a, status == ERR_REFUSED ? err_set(a->e, ERR_NOTFOUND, "%.*s", SLICE_FMT(conn_error(c)))
                                          : err_set(a->e, status, "%.*s", SLICE_FMT(conn_error(c))));
        return;
    }
    conn_write(c, a->request);
    conn_write(c, S("\n"));
}

static void take_line(struct asking *a, struct slice line)
{
    json_error_t why;
    json_t *j = json_loadb(line.p, line.n, 0, &why);
    const json_t *ok = json_object_get(j, "ok");
    if (!j) {
        ask_over(a, err_set(a->e, ERR_SYNTAX, "the answer on the control socket is no JSON: %s", why.text));
    } else if (!ok) {
        if (a->answer->line)
            a->answer->line(a->answer->data, j);
    } else if (json_is_true(ok)) {
        a->answer->last = json_incref(j);
        ask_over(a, 0);
    } else {
        const char *text = json_string_value(json_object_get(j, "error"));
        int code = (int)json_integer_value(json_object_get(j, "code"));
        ask_over(a, err_set(a->e, code < 0 ? code : ERR_INVAL, "%s", text ? text : "it did not say why"));
    }
    json_decref(j);
}

static void on_ask_data(struct conn *c, struct slice bytes)
{
    struct asking *a = conn_data(c);
    size_t at = 0;
    buf_adds(&a->in, bytes);
    for (char *end; !a->over && at < a->in.n && (end = memchr(a->in.p + at, '\n', a->in.n - at));) {
        size_t n = (size_t)(end - a->in.p) - at;
        take_line(a, slice_of(a->in.p + at, n));
        at += n + 1;
    }
    buf_drop_front(&a->in, at);
}

static void on_ask_end(struct conn *c, int reason)
{
    struct asking *a = conn_data(c);
    (void)reason;
    ask_over(a, err_set(a->e, ERR_EOF, "the running hato ended before it answered"));
}

static void on_ask_timer(struct loop_timer *t)
{
    struct asking *a = CONTAINER(t, struct asking, timer);
    ask_over(a, err_set(a->e, ERR_TIMEOUT, "the running hato does not answer"));
}

static const struct conn_ops ask_ops = {.on_open = on_ask_open, .on_data = on_ask_data, .on_end = on_ask_end};

int control_ask(const char *state, struct slice request, int64_t timeout_ms, struct control_answer *answer,
                struct err *e)
{
    struct err none;
    struct asking a = {.loop = loop_new_real(), .answer = answer, .request = request, .e = e ? e : &none};
    struct net *net = net_new(a.loop);
    struct buf path = {0};
    buf_printf(&path, "%s/control", state);
    answer->last = NULL;
    a.conn = conn_connect_local(net, buf_cstr(&path), &ask_ops, &a);
    loop_timer_start(a.loop, &a.timer, timeout_ms, on_ask_timer);
    while (!a.over)
        loop_run(a.loop);
    loop_timer_stop(a.loop, &a.timer);
    net_free(net);
    loop_free(a.loop);
    buf_free(&path);
    buf_free(&a.in);
    return a.status;
}
