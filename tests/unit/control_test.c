/* control_test.c - requests and answers over the control socket. */
#include "control.h"
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>

struct rig {
    struct loop *loop;
    struct net *net;
    struct control *control;
    struct control_call *kept[8];
    size_t nkept, handled;
    struct conn *client;
    struct buf got;
    bool ended;
    struct loop_timer timer;
};

static void on_request(void *data, struct control_call *call, const json_t *request)
{
    struct rig *r = data;
    const char *command = json_string_value(json_object_get(request, "command"));
    r->handled++;
    if (command && !strcmp(command, "keep")) {
        r->kept[r->nkept++] = call;
        return;
    }
    if (command && !strcmp(command, "fail")) {
        control_end(call, ERR_NOTFOUND, S("no \"such\" thing"));
        return;
    }
    control_line(call, S("{\"a\":1}"));
    control_end(call, 0, S("\"touched\":3"));
}

static void on_client_data(struct conn *c, struct slice bytes)
{
    struct rig *r = conn_data(c);
    buf_adds(&r->got, bytes);
}

static void on_client_end(struct conn *c, int reason)
{
    struct rig *r = conn_data(c);
    r->ended = true;
    conn_close(c, CONN_DROP);
    r->client = NULL;
}

static const struct conn_ops client_ops = {.on_data = on_client_data, .on_end = on_client_end};

static void on_stop(struct loop_timer *t)
{
    loop_stop(t->data);
}

static void turn(struct rig *r, int64_t ms)
{
    r->timer.data = r->loop;
    loop_timer_start(r->loop, &r->timer, ms, on_stop);
    loop_run(r->loop);
    loop_timer_stop(r->loop, &r->timer);
}

/* In memory; a client is connected. */
static void rig_start(struct rig *r)
{
    struct ip_port at = {.ip = ip_v4(127, 0, 0, 1), .port = 7};
    struct listener *l;
    *r = (struct rig){.loop = loop_new_virtual(1, 0)};
    r->net = net_new(r->loop);
    r->control = control_new(&(struct control_conf){.net = r->net, .data = r, .handle = on_request});
    INVARIANT(!conn_listen(r->net, &at, control_accept, r->control, &l, NULL));
    r->client = conn_connect(r->net, NULL, &at, 1000, &client_ops, r);
    turn(r, 1);
}

static void rig_stop(struct rig *r)
{
    control_free(r->control);
    net_free(r->net);
    loop_free(r->loop);
    buf_free(&r->got);
}

TEST(control_answers_requests_in_order_also_when_they_come_at_once)
{
    struct rig r;
    rig_start(&r);
    conn_write(r.client, S("{\"command\":\"x\"}\n{\"command\":\"fail\"}\n{\"comm"));
    turn(&r, 10);
    CHECK_STR(buf_slice(&r.got), S("{\"a\":1}\n{\"ok\":true,\"touched\":3}\n"
                                   "{\"ok\":false,\"code\":-4,\"error\":\"no \\\"such\\\" thing\"}\n"));
    buf_clear(&r.got);
    conn_write(r.client, S("and\":\"keep\"}\n{\"command\":\"x\"}\n"));
    turn(&r, 10);
    CHECK_INT(r.nkept, 1);
    CHECK_INT(r.got.n, 0); /* the second waits for the first one's answer */
    control_end(r.kept[0], 0, SLICE_NONE);
    turn(&r, 10);
    CHECK_STR(buf_slice(&r.got), S("{\"ok\":true}\n{\"a\":1}\n{\"ok\":true,\"touched\":3}\n"));
    rig_stop(&r);
}

TEST(control_says_what_is_no_request)
{
    static const char *const bad[] = {"", "[]", "{", "{\"a\":1,\"a\":2}", "nonsense", "{\"a\":\"\xff\"}"};
    struct rig r;
    rig_start(&r);
    for (size_t i = 0; i < COUNT(bad); i++) {
        buf_clear(&r.got);
        conn_write(r.client, slice_cstr(bad[i]));
        conn_write(r.client, S("\n"));
        turn(&r, 10);
        CHECK(slice_starts(buf_slice(&r.got), S("{\"ok\":false,\"code\":-2,")));
    }
    CHECK_INT(r.handled, 0);
    rig_stop(&r);
}

TEST(control_drops_a_line_without_end_a_silent_client_and_one_too_many)
{
    struct rig r;
    struct buf big = {0};
    rig_start(&r);
    for (size_t i = 0; i <= CONTROL_LINE_BYTES; i++)
        buf_addc(&big, 'x');
    conn_write(r.client, buf_slice(&big));
    turn(&r, 100);
    CHECK(r.ended);
    rig_stop(&r);
    rig_start(&r);
    turn(&r, CONTROL_IDLE_MS - 100);
    CHECK(!r.ended);
    turn(&r, 200);
    CHECK(r.ended);
    rig_stop(&r);
    rig_start(&r);
    struct ip_port at = {.ip = ip_v4(127, 0, 0, 1), .port = 7};
    for (int i = 0; i < CONTROL_CLIENTS; i++) {
        CHECK(!r.ended);
        r.client = conn_connect(r.net, NULL, &at, 1000, &client_ops, &r);
        turn(&r, 1);
    }
    turn(&r, 1);
    CHECK(r.ended);
    buf_free(&big);
    rig_stop(&r);
}

TEST(control_takes_many_requests_in_one_read_without_deep_recursion)
{
    struct rig r;
    struct buf many = {0};
    rig_start(&r);
    for (int i = 0; i < 20000; i++)
        buf_adds(&many, S("{}\n"));
    conn_write(r.client, buf_slice(&many));
    turn(&r, 100);
    CHECK_INT(r.handled, 20000);
    buf_free(&many);
    rig_stop(&r);
}

TEST(control_answer_for_a_client_that_went_is_nothing)
{
    struct rig r;
    rig_start(&r);
    conn_write(r.client, S("{\"command\":\"keep\"}\n"));
    turn(&r, 10);
    conn_close(r.client, CONN_ABORT);
    turn(&r, CONTROL_IDLE_MS * 2);
    control_line(r.kept[0], S("{}"));
    control_end(r.kept[0], 0, SLICE_NONE);
    turn(&r, 10);
    CHECK_INT(r.got.n, 0);
    rig_stop(&r);
}

TEST(control_socket_is_its_owners_alone_and_replaces_a_stale_one)
{
    struct rig r = {.loop = loop_new_real()};
    struct buf path = {0};
    struct stat st;
    struct err e = {0};
    r.net = net_new(r.loop);
    buf_printf(&path, "%s/control", test_dir());
    FILE *stale = fopen(buf_cstr(&path), "w");
    CHECK(stale);
    fclose(stale);
    r.control = control_new(&(struct control_conf){.net = r.net, .data = &r, .handle = on_request});
    CHECK_INT(control_open(r.control, test_dir(), &e), 0);
    CHECK_INT(stat(buf_cstr(&path), &st), 0);
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_INT(st.st_mode & 0777, 0600);
    r.client = conn_connect_local(r.net, buf_cstr(&path), &client_ops, &r);
    conn_write(r.client, S("{\"command\":\"fail\"}\n"));
    turn(&r, 50);
    CHECK(slice_starts(buf_slice(&r.got), S("{\"ok\":false")));
    rig_stop(&r);
    CHECK(stat(buf_cstr(&path), &st) != 0);
    buf_free(&path);
}

TEST(control_ask_says_when_nobody_runs)
{
    struct control_answer a = {0};
    struct err e = {0};
    CHECK_INT(control_ask(test_dir(), S("{}"), 1000, &a, &e), ERR_NOTFOUND);
}
