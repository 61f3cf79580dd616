/* conn_test.c - connections in memory and over loopback TCP: one row of tests for both, then TLS on both. */
#include "platform/conn.h"
#include "platform/tls.h"
#include "test.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <stdlib.h>
#include <unistd.h>

/* One end and what it lived through: "open 5 eof closed". Numbers are bytes, runs of them summed up. */
struct end {
    struct rig *rig;
    struct conn *c;
    struct buf got, story;
    size_t run;
    const struct tls_info *tls;
    struct buf tls_error;
    int closed;
    void (*act)(struct end *, const char *event, struct slice bytes); /* what this test does at an event */
};

struct rig {
    struct loop *loop;
    struct net *net;
    struct listener *listener;
    struct end client, server;
    struct loop_timer guard, timer;
    bool late, pausing;
    size_t pause_at;
    int released;
    struct tls_client *tls_client;
    struct tls_server *tls_server;
    struct tls_session *session;
};

static void tell(struct end *e, const char *word, struct slice bytes)
{
    if (!strcmp(word, "data")) {
        e->run += bytes.n;
        buf_adds(&e->got, bytes);
    } else {
        if (e->run)
            buf_printf(&e->story, "%zu ", e->run);
        e->run = 0;
        buf_printf(&e->story, "%s ", word);
    }
    if (e->act)
        e->act(e, word, bytes);
    struct rig *r = e->rig;
    if (r->client.closed && (r->server.closed || !r->server.c))
        loop_stop(r->loop);
}

static void on_open(struct conn *c, int status)
{
    tell(conn_data(c), status ? err_name(status) : "open", SLICE_NONE);
}

static void on_data(struct conn *c, struct slice bytes)
{
    tell(conn_data(c), "data", bytes);
}

static void on_end(struct conn *c, int reason)
{
    tell(conn_data(c), reason == ERR_EOF ? "eof" : err_name(reason), SLICE_NONE);
}

static void on_tls(struct conn *c, int status, const struct tls_info *info)
{
    struct end *e = conn_data(c);
    e->tls = info;
    buf_adds(&e->tls_error, info->error);
    tell(e, status ? "tls-failed" : "tls", SLICE_NONE);
}

static void on_drain(struct conn *c)
{
    tell(conn_data(c), "drain", SLICE_NONE);
}

static void on_closed(struct conn *c)
{
    struct end *e = conn_data(c);
    e->closed++;
    tell(e, "closed", SLICE_NONE);
}

static const struct conn_ops ops = {on_open, on_data, on_end, on_tls, on_drain, on_closed};

static void on_accept(struct listener *l, struct conn *c, void *data)
{
    struct rig *r = data;
    r->server.c = c;
    conn_set_ops(c, &ops, &r->server);
    tell(&r->server, "accept", SLICE_NONE);
}

static void on_guard(struct loop_timer *t)
{
    struct rig *r = CONTAINER(t, struct rig, guard);
    r->late = true;
    loop_stop(r->loop);
}

static struct rig *rig_new(bool in_memory)
{
    struct rig *r = mem_zalloc(sizeof *r);
    struct ip_port at = {ip_v4(127, 0, 0, 1), 0};
    r->loop = in_memory ? loop_new_virtual(1, 0) : loop_new_real();
    r->net = net_new(r->loop);
    r->client.rig = r->server.rig = r;
    if (conn_listen(r->net, &at, on_accept, r, &r->listener, NULL))
        abort();
    return r;
}

static void rig_run(struct rig *r)
{
    loop_timer_start(r->loop, &r->guard, 8000, on_guard);
    loop_run(r->loop);
    loop_timer_stop(r->loop, &r->guard);
}

static void rig_go(struct rig *r)
{
    r->client.c = conn_connect(r->net, NULL, listener_address(r->listener), 5000, &ops, &r->client);
    rig_run(r);
}

static void end_free(struct end *e)
{
    buf_free(&e->got);
    buf_free(&e->story);
    buf_free(&e->tls_error);
}

static void rig_free(struct rig *r)
{
    loop_timer_stop(r->loop, &r->timer);
    net_free(r->net);
    loop_free(r->loop);
    tls_client_free(r->tls_client);
    tls_server_free(r->tls_server);
    tls_session_free(r->session);
    end_free(&r->client);
    end_free(&r->server);
    free(r);
}

/* A test of both ways: BOTH(name) { ... uses in_memory ... } */
#define BOTH(name)                                                                                           \
    static void both_##name(bool in_memory);                                                                 \
    TEST(name##_over_tcp)                                                                                    \
    {                                                                                                        \
        both_##name(false);                                                                                  \
    }                                                                                                        \
    TEST(name##_in_memory)                                                                                   \
    {                                                                                                        \
        both_##name(true);                                                                                   \
    }                                                                                                        \
    static void both_##name(bool in_memory)

#define STORIES(r, of_client, of_server)                                                                     \
    do {                                                                                                     \
        CHECK_STR(buf_slice(&(r)->client.story), S(of_client));                                              \
        CHECK_STR(buf_slice(&(r)->server.story), S(of_server));                                              \
        CHECK((r)->client.closed <= 1 && (r)->server.closed <= 1);                                           \
    } while (0)

/* --- greeting, echo, goodbye --- */

static void greet(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "accept")) {
        conn_write(e->c, S("220 "));
        conn_write(e->c, S("hello\r\n"));
    } else if (!strcmp(event, "data")) {
        conn_write(e->c, S("221 bye\r\n"));
        conn_close(e->c, CONN_FLUSH);
    }
}

static void quit_after_banner(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "data") && e->got.n == 11)
        conn_write(e->c, S("QUIT\r\n"));
    if (!strcmp(event, "eof"))
        conn_close(e->c, CONN_DROP);
}

BOTH(a_session_ends_with_one_end_and_one_closed_on_each_side)
{
    struct rig *r = rig_new(in_memory);
    r->server.act = greet;
    r->client.act = quit_after_banner;
    rig_go(r);
    CHECK(!r->late);
    STORIES(r, "open 20 eof closed ", "accept 6 closed ");
    CHECK_STR(buf_slice(&r->client.got), S("220 hello\r\n221 bye\r\n"));
    rig_free(r);
}

static void just_close(struct end *e, const char *event, struct slice bytes)
{
    if (strcmp(event, "data") && strcmp(event, "closed") && strcmp(event, "accept"))
        conn_close(e->c, CONN_FLUSH);
}

BOTH(a_port_nobody_listens_on_refuses)
{
    struct rig *r = rig_new(in_memory);
    struct ip_port at = *listener_address(r->listener);
    char want[96], text[IP_PORT_TEXT];
    listener_close(r->listener);
    r->client.act = just_close;
    r->client.c = conn_connect(r->net, NULL, &at, 5000, &ops, &r->client);
    conn_write(r->client.c, S("never sent"));
    CHECK_INT(r->client.story.n, 0); /* nothing is told from inside a call */
    rig_run(r);
    snprintf(want, sizeof want, "connect %s: connection refused", ip_port_text(&at, text).p);
    STORIES(r, "connection refused closed ", "");
    rig_free(r);
}

BOTH(closing_while_connecting_tells_only_closed)
{
    struct rig *r = rig_new(in_memory);
    r->client.c = conn_connect(r->net, NULL, listener_address(r->listener), 5000, &ops, &r->client);
    conn_close(r->client.c, CONN_ABORT);
    rig_run(r);
    CHECK_STR(buf_slice(&r->client.story), S("closed "));
    rig_free(r);
}

TEST(a_listening_port_is_taken_only_once)
{
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        struct rig *r = rig_new(in_memory);
        struct listener *second = NULL;
        struct err e = {0};
        char want[96], text[IP_PORT_TEXT];
        CHECK_INT(conn_listen(r->net, listener_address(r->listener), on_accept, r, &second, &e), ERR_EXISTS);
        snprintf(want, sizeof want, "listen on %s: address already in use",
                 ip_port_text(listener_address(r->listener), text).p);
        CHECK_STR(slice_cstr(e.text), slice_cstr(want));
        rig_free(r);
    }
}

/* --- resets and half-closes --- */

static void abort_on_data(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "data"))
        conn_close(e->c, CONN_ABORT);
}

static void speak_then_close(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open"))
        conn_write(e->c, S("EHLO\r\n"));
    else if (strcmp(event, "data") && strcmp(event, "closed"))
        conn_close(e->c, CONN_DROP);
}

BOTH(an_abort_is_a_reset_to_the_other_side)
{
    struct rig *r = rig_new(in_memory);
    r->server.act = abort_on_data;
    r->client.act = speak_then_close;
    rig_go(r);
    STORIES(r, "open connection reset closed ", "accept 6 closed ");
    rig_free(r);
}

static void answer_after_eof(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "eof")) {
        conn_write(e->c, S("late words"));
        conn_close(e->c, CONN_FLUSH);
    }
}

static void write_and_finish(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open")) {
        conn_write(e->c, S("all I have"));
        conn_close(e->c, CONN_FLUSH);
        conn_write(e->c, S("nobody hears this"));
    }
}

BOTH(after_the_other_sides_end_we_may_still_write)
{
    struct rig *r = rig_new(in_memory);
    r->server.act = answer_after_eof;
    r->client.act = write_and_finish;
    rig_go(r);
    CHECK(!r->late);
    STORIES(r, "open closed ", "accept 10 eof closed ");
    rig_free(r);
}

static void banner_421(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "accept")) {
        conn_write(e->c, S("421 too busy\r\n"));
        conn_close(e->c, CONN_FLUSH);
    }
}

static void talk_at_once(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open")) {
        conn_write(e->c, S("EHLO x\r\nMAIL FROM:<a@b>\r\n"));
        conn_read_pause(e->c); /* the words come while nobody reads */
        conn_read_resume(e->c);
    } else if (!strcmp(event, "eof")) {
        conn_close(e->c, CONN_DROP);
    }
}

BOTH(last_words_are_not_overtaken_by_a_reset)
{
    struct rig *r = rig_new(in_memory);
    r->server.act = banner_421;
    r->client.act = talk_at_once;
    rig_go(r);
    STORIES(r, "open 14 eof closed ", "accept closed ");
    rig_free(r);
}

/* --- much data: partial writes, back-pressure, references --- */

enum { MUCH = 16000000 }; /* more than the kernel's buffers of both sides */

static char *much(void)
{
    char *p = mem_alloc(MUCH);
    uint32_t x = 1;
    for (size_t i = 0; i < MUCH; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (char)(x >> 24);
    }
    return p;
}

static void on_release(void *data)
{
    struct rig *r = data;
    r->released++;
}

static char *body; /* a test's own, while it runs */

static void send_much(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open") || !strcmp(event, "tls")) {
        if (e->rig->tls_client && !strcmp(event, "open"))
            return;
        conn_write(e->c, S("begin"));
        conn_write_ref(e->c, slice_of(body, MUCH), on_release, e->rig);
        conn_write(e->c, S("end"));
    } else if (!strcmp(event, "drain")) {
        conn_close(e->c, CONN_FLUSH);
    }
}

static void on_pause_over(struct loop_timer *t)
{
    struct rig *r = CONTAINER(t, struct rig, timer);
    r->pausing = false;
    conn_read_resume(r->server.c);
}

/* Stops at the first bytes and then once a megabyte. */
static void read_slowly(struct end *e, const char *event, struct slice bytes)
{
    struct rig *r = e->rig;
    if (!strcmp(event, "data")) {
        if (r->pausing)
            test_fail(__FILE__, __LINE__, "data while paused");
        if (e->got.n < r->pause_at)
            return;
        r->pausing = true;
        r->pause_at = e->got.n + (1 << 20);
        conn_read_pause(e->c);
        loop_timer_start(r->loop, &r->timer, 5, on_pause_over);
    } else if (!strcmp(event, "eof")) {
        conn_close(e->c, CONN_FLUSH);
    }
}

BOTH(much_data_arrives_whole_through_a_reader_that_pauses)
{
    struct rig *r = rig_new(in_memory);
    body = much();
    r->client.act = send_much;
    r->server.act = read_slowly;
    rig_go(r);
    CHECK(!r->late);
    CHECK_INT(r->released, 1);
    CHECK_INT(r->server.got.n, MUCH + 8);
    CHECK(!memcmp(r->server.got.p, "begin", 5) && !memcmp(r->server.got.p + 5, body, MUCH) &&
          !memcmp(r->server.got.p + 5 + MUCH, "end", 3));
    STORIES(r, "open drain closed ", "accept 16000008 eof closed ");
    free(body);
    rig_free(r);
}

static void on_give_up(struct loop_timer *t)
{
    struct rig *r = CONTAINER(t, struct rig, timer);
    if (conn_pending(r->client.c) == 0)
        test_fail(__FILE__, __LINE__, "a reader that never reads must stop the writer");
    conn_close(r->client.c, CONN_DROP);
    if (r->released != 1)
        test_fail(__FILE__, __LINE__, "what is given up is released");
    conn_close(r->server.c, CONN_DROP);
}

static void never_read(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "accept")) {
        conn_read_pause(e->c);
        loop_timer_start(e->rig->loop, &e->rig->timer, 50, on_give_up);
    }
}

static void send_very_much(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open")) {
        conn_write_ref(e->c, slice_of(body, MUCH), on_release, e->rig);
    }
}

BOTH(what_was_not_written_is_released_by_a_close)
{
    struct rig *r = rig_new(in_memory);
    body = much();
    r->client.act = send_very_much;
    r->server.act = never_read;
    rig_go(r);
    CHECK(!r->late);
    CHECK_INT(r->server.got.n, 0);
    STORIES(r, "open closed ", "accept closed ");
    free(body);
    rig_free(r);
}

BOTH(a_net_freed_with_open_connections_tells_nobody_and_leaks_nothing)
{
    struct rig *r = rig_new(in_memory);
    body = much();
    r->client.act = send_very_much;
    r->client.c = conn_connect(r->net, NULL, listener_address(r->listener), 5000, &ops, &r->client);
    conn_write_ref(r->client.c, slice_of(body, MUCH), on_release, r);
    struct buf *story = &r->client.story;
    net_free(r->net);
    r->net = NULL;
    CHECK_INT(r->released, 1);
    CHECK_INT(story->n, 0);
    rig_free(r);
    free(body);
}

/* --- addresses --- */

static void keep_error_and_close(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "closed"))
        return;
    buf_adds(&e->got, conn_error(e->c));
    conn_close(e->c, CONN_DROP);
}

TEST(an_address_that_is_not_ours_is_our_fault_and_says_so)
{
    struct rig *r = rig_new(false);
    struct ip local;
    char want[128], text[IP_PORT_TEXT];
    CHECK_INT(ip_parse(S("192.0.2.77"), &local), 0);
    r->client.act = keep_error_and_close;
    r->client.c = conn_connect(r->net, &local, listener_address(r->listener), 5000, &ops, &r->client);
    rig_run(r);
    STORIES(r, "invalid value closed ", "");
    snprintf(want, sizeof want, "connect %s: bind 192.0.2.77: address not available",
             ip_port_text(listener_address(r->listener), text).p);
    CHECK_STR(buf_slice(&r->client.got), slice_cstr(want));
    rig_free(r);
}

/* No number is free below the first free one. */
static bool use_up_descriptors(struct rlimit *before)
{
    int free_one = dup(0);
    struct rlimit none;
    if (free_one < 0 || close(free_one) || getrlimit(RLIMIT_NOFILE, before))
        return false;
    none = *before;
    none.rlim_cur = (rlim_t)free_one;
    return setrlimit(RLIMIT_NOFILE, &none) == 0;
}

TEST(no_descriptor_left_is_our_limit_and_not_the_hosts_fault)
{
    struct rig *r = rig_new(false);
    struct rlimit before;
    r->client.act = keep_error_and_close;
    CHECK(use_up_descriptors(&before));
    r->client.c = conn_connect(r->net, NULL, listener_address(r->listener), 5000, &ops, &r->client);
    CHECK(!setrlimit(RLIMIT_NOFILE, &before));
    rig_run(r);
    STORIES(r, "limit reached closed ", "");
    CHECK(slice_find(buf_slice(&r->client.got), S(": socket: too many open files")) > 0);
    rig_free(r);
}

TEST(without_descriptors_new_connections_are_shed_and_later_ones_served)
{
    struct rig *r = rig_new(false);
    struct rlimit before;
    r->server.act = greet;
    r->client.act = quit_after_banner;
    r->client.c = conn_connect(r->net, NULL, listener_address(r->listener), 5000, &ops, &r->client);
    CHECK(use_up_descriptors(&before));
    rig_run(r);
    CHECK(!setrlimit(RLIMIT_NOFILE, &before));
    STORIES(r, "open eof closed ", "");
    r->client.closed = 0;
    buf_clear(&r->client.story);
    rig_go(r);
    STORIES(r, "open 20 eof closed ", "accept 6 closed ");
    rig_free(r);
}

static void note_addresses(struct end *e, const char *event, struct slice bytes)
{
    char a[IP_PORT_TEXT], b[IP_PORT_TEXT];
    if (strcmp(event, "open") && strcmp(event, "accept"))
        return;
    bool accepted = event[0] == 'a';
    buf_printf(&e->got, "%s>%s", ip_port_text(accepted ? conn_remote(e->c) : conn_local(e->c), a).p,
               ip_port_text(accepted ? conn_local(e->c) : conn_remote(e->c), b).p);
    conn_close(e->c, CONN_FLUSH);
}

BOTH(both_sides_know_both_addresses_and_the_chosen_local_one)
{
    struct rig *r = rig_new(in_memory);
    struct ip local = ip_v4(127, 0, 0, 9);
    r->client.act = r->server.act = note_addresses;
    r->client.c = conn_connect(r->net, &local, listener_address(r->listener), 5000, &ops, &r->client);
    rig_run(r);
    CHECK(!r->late);
    CHECK(slice_starts(buf_slice(&r->client.got), S("127.0.0.9:")));
    CHECK_STR(buf_slice(&r->client.got), buf_slice(&r->server.got));
    rig_free(r);
}

BOTH(ipv6_works_as_ipv4_does)
{
    struct rig *r = rig_new(in_memory);
    struct ip_port six = {{6, {[15] = 1}}, 0};
    struct err e = {0};
    listener_close(r->listener);
    r->listener = NULL;
    if (conn_listen(r->net, &six, on_accept, r, &r->listener, &e)) {
        CHECK(slice_find(slice_cstr(e.text), S("address not available")) > 0); /* a machine without IPv6 */
        rig_free(r);
        return;
    }
    r->server.act = greet;
    r->client.act = quit_after_banner;
    rig_go(r);
    STORIES(r, "open 20 eof closed ", "accept 6 closed ");
    rig_free(r);
}

TEST(in_memory_bytes_take_the_latency_that_was_set)
{
    struct rig *r = rig_new(true);
    net_set_latency(r->net, 30);
    r->server.act = greet;
    r->client.act = quit_after_banner;
    rig_go(r);
    STORIES(r, "open 20 eof closed ", "accept 6 closed ");
    /* SYN there and back 60; banner 30; QUIT 30; bye and the end behind it 30; the client's end 30 */
    CHECK_INT(loop_now_ms(r->loop), 60 + 30 + 30 + 30 + 30);
    rig_free(r);
}

/* The queue of a listener that never accepts is filled: further SYNs are dropped, and nothing answers. */
TEST(a_host_that_does_not_answer_times_out)
{
    struct rig *r = rig_new(false);
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct ip_port at = {ip_v4(127, 0, 0, 1), 0};
    int fill[8], deaf = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(!bind(deaf, (struct sockaddr *)&sa, ip_port_to_sockaddr(&at, &sa)) && !listen(deaf, 0));
    CHECK(!getsockname(deaf, (struct sockaddr *)&sa, &len));
    CHECK_INT(ip_port_from_sockaddr((struct sockaddr *)&sa, &at), 0);
    for (size_t i = 0; i < COUNT(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fill[i], (struct sockaddr *)&sa, len);
    }
    usleep(20000);
    r->client.act = just_close;
    r->client.c = conn_connect(r->net, NULL, &at, 100, &ops, &r->client);
    rig_run(r);
    CHECK_STR(buf_slice(&r->client.story), S("timed out closed "));
    for (size_t i = 0; i < COUNT(fill); i++)
        close(fill[i]);
    close(deaf);
    rig_free(r);
}

/* --- TLS --- */

/* The server's side of STARTTLS; what it does with a client's first words of TLS is in after_220. */
enum after_220 { HANDSHAKE, GARBAGE, ALERT, HANG_UP };
static enum after_220 after_220; /* a test's own, while it runs */

static void serve_tls(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "data") && slice_starts(bytes, S("STARTTLS\r\n"))) {
        conn_write(e->c, S("220 go"));
        buf_clear(&e->got); /* and all that came with it */
        if (after_220 == HANDSHAKE)
            conn_start_tls_server(e->c, e->rig->tls_server);
    } else if (!strcmp(event, "data")) {
        switch (after_220) {
        case HANDSHAKE:
            conn_write(e->c, S("250 heard"));
            break;
        case GARBAGE:
            conn_write(e->c, S("500 what is that supposed to mean\r\n"));
            break;
        case ALERT:
            conn_write(e->c, S("\x15\x03\x03\x00\x02\x02\x28")); /* fatal, handshake_failure */
            break;
        case HANG_UP:
            conn_close(e->c, CONN_FLUSH);
        }
    } else if (!strcmp(event, "eof") || !strcmp(event, "tls-failed")) {
        conn_close(e->c, CONN_FLUSH);
    }
}

static void ask_tls(struct end *e, const char *event, struct slice bytes)
{
    struct rig *r = e->rig;
    if (!strcmp(event, "open"))
        conn_write(e->c, S("STARTTLS\r\n"));
    else if (!strcmp(event, "data") && slice_starts(bytes, S("220 go")))
        conn_start_tls_client(e->c, r->tls_client, S("mx.example.test."), r->session);
    else if (!strcmp(event, "tls"))
        conn_write(e->c, S("EHLO secret"));
    else if (!strcmp(event, "data") && slice_eq(bytes, S("250 heard")))
        conn_close(e->c, CONN_FLUSH);
    else if (!strcmp(event, "tls-failed") || !strcmp(event, "eof"))
        conn_close(e->c, CONN_FLUSH);
    else if (!strcmp(event, "closed") && !r->session)
        r->session = conn_take_tls_session(e->c);
}

static struct rig *tls_rig(bool in_memory)
{
    struct rig *r = rig_new(in_memory);
    if (tls_client_new(NULL, &r->tls_client, NULL) ||
        tls_server_self_signed(S("mx.example.test"), &r->tls_server, NULL))
        abort();
    r->server.act = serve_tls;
    r->client.act = ask_tls;
    after_220 = HANDSHAKE;
    return r;
}

BOTH(starttls_turns_a_plain_connection_into_an_encrypted_one)
{
    struct rig *r = tls_rig(in_memory);
    rig_go(r);
    CHECK(!r->late);
    STORIES(r, "open 6 tls 9 closed ", "accept 10 tls 11 eof closed ");
    CHECK_STR(buf_slice(&r->server.got), S("EHLO secret"));
    CHECK(r->session != NULL);
    rig_free(r);
}

static void keep_info(struct end *e, const char *event, struct slice bytes)
{
    ask_tls(e, event, bytes);
    if (!strcmp(event, "tls"))
        buf_printf(&e->tls_error, "%.*s %.*s%s%s", SLICE_FMT(e->tls->version), SLICE_FMT(e->tls->cipher),
                   e->tls->resumed ? " resumed" : "", e->tls->verified ? " verified" : "");
}

BOTH(a_second_connection_resumes_the_session_of_the_first)
{
    struct rig *r = tls_rig(in_memory);
    r->client.act = keep_info;
    rig_go(r);
    CHECK_STR(buf_slice(&r->client.tls_error), S("TLSv1.3 TLS_AES_256_GCM_SHA384"));
    for (int i = 0; i < 2; i++) { /* one session serves many */
        r->client.closed = r->server.closed = 0;
        buf_clear(&r->client.tls_error);
        rig_go(r);
        CHECK(!r->late);
        CHECK_STR(buf_slice(&r->client.tls_error), S("TLSv1.3 TLS_AES_256_GCM_SHA384 resumed"));
    }
    rig_free(r);
}

BOTH(verified_needs_the_authority_and_the_name)
{
    static const struct {
        const char *ca, *want;
    } rows[] = {
        {"tests/golden/tls/cert.pem", "TLSv1.3 TLS_AES_256_GCM_SHA384 verified"},
        {NULL, "TLSv1.3 TLS_AES_256_GCM_SHA384"},
        {"self-signed", "TLSv1.3 TLS_AES_256_GCM_SHA384"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig *r = tls_rig(in_memory);
        struct err e = {0};
        char ca[512];
        bool other = rows[i].ca && !strcmp(rows[i].ca, "self-signed");
        snprintf(ca, sizeof ca, "%s/%s", TEST_ROOT, other ? rows[0].ca : rows[i].ca ? rows[i].ca : "");
        tls_client_free(r->tls_client);
        CHECK_INT(tls_client_new(rows[i].ca ? ca : NULL, &r->tls_client, &e), 0);
        if (!other) {
            tls_server_free(r->tls_server);
            CHECK_INT(tls_server_new(test_file("tests/golden/tls/cert.pem"),
                                     test_file("tests/golden/tls/key.pem"), &r->tls_server, &e),
                      0);
        }
        r->client.act = keep_info;
        rig_go(r);
        CHECK_STR(buf_slice(&r->client.tls_error), slice_cstr(rows[i].want));
        rig_free(r);
    }
}

static void ask_and_inject(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open"))
        conn_write(e->c, S("STARTTLS\r\nMAIL FROM:<mallory@example.net>\r\n"));
    else
        ask_tls(e, event, bytes);
}

BOTH(what_came_with_starttls_is_not_read_after_the_handshake)
{
    struct rig *r = tls_rig(in_memory);
    r->client.act = ask_and_inject;
    rig_go(r);
    CHECK(!r->late);
    STORIES(r, "open 6 tls 9 closed ", "accept 43 tls 11 eof closed ");
    CHECK_STR(buf_slice(&r->server.got), S("EHLO secret"));
    rig_free(r);
}

static void inject_late(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "data") && slice_starts(bytes, S("220 go")))
        conn_write(e->c, S("MAIL FROM:<mallory@example.net>\r\n"));
    else if (!strcmp(event, "eof"))
        conn_close(e->c, CONN_FLUSH);
    else
        ask_tls(e, event, bytes);
}

BOTH(plaintext_after_starttls_breaks_the_handshake)
{
    struct rig *r = tls_rig(in_memory);
    r->client.act = inject_late;
    rig_go(r);
    CHECK(!r->late);
    CHECK_STR(buf_slice(&r->server.story), S("accept 10 tls-failed closed "));
    CHECK_STR(buf_slice(&r->server.tls_error), S("we refused what the client sent: wrong version number"));
    CHECK_INT(r->server.got.n, 0);
    rig_free(r);
}

BOTH(a_broken_handshake_says_which_side_broke_it)
{
    static const struct {
        enum after_220 what;
        const char *error;
    } rows[] = {
        {GARBAGE, "we refused what the server sent: wrong version number"},
        {ALERT, "the server sent an alert: handshake failure"},
        {HANG_UP, "the server closed the connection during the handshake"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig *r = tls_rig(in_memory);
        after_220 = rows[i].what;
        rig_go(r);
        CHECK(!r->late);
        CHECK_STR(buf_slice(&r->client.tls_error), slice_cstr(rows[i].error));
        CHECK(slice_find(buf_slice(&r->client.story), S("tls-failed closed ")) > 0);
        rig_free(r);
    }
}

static void ask_tls_then_send_much(struct end *e, const char *event, struct slice bytes)
{
    if (!strcmp(event, "open") || !strcmp(event, "data"))
        ask_tls(e, event, bytes);
    else
        send_much(e, event, bytes);
}

static void serve_tls_slowly(struct end *e, const char *event, struct slice bytes)
{
    if (e->tls)
        read_slowly(e, event, bytes);
    else
        serve_tls(e, event, bytes);
}

BOTH(much_data_arrives_whole_under_tls)
{
    struct rig *r = tls_rig(in_memory);
    body = much();
    r->client.act = ask_tls_then_send_much;
    r->server.act = serve_tls_slowly;
    rig_go(r);
    CHECK(!r->late);
    CHECK_INT(r->released, 1);
    CHECK_INT(r->server.got.n, MUCH + 8);
    CHECK(!memcmp(r->server.got.p, "begin", 5) && !memcmp(r->server.got.p + 5, body, MUCH) &&
          !memcmp(r->server.got.p + 5 + MUCH, "end", 3));
    STORIES(r, "open 6 tls drain closed ", "accept 10 tls 16000008 eof closed ");
    free(body);
    rig_free(r);
}

TEST(certificates_and_keys_that_do_not_fit_are_named)
{
    struct slice cert = test_file("tests/golden/tls/cert.pem"), key = test_file("tests/golden/tls/key.pem");
    const struct {
        struct slice cert, key;
        const char *want;
    } rows[] = {
        {S("nothing"), key, "certificate: no start line"},
        {cert, S("nothing"), "private key: unsupported"},
        {cert, test_file("tests/golden/tls/other-key.pem"), "private key: key values mismatch"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tls_server *t = NULL;
        struct err e = {0};
        CHECK_INT(tls_server_new(rows[i].cert, rows[i].key, &t, &e), ERR_TLS);
        CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
    }
    struct tls_client *c = NULL;
    CHECK_INT(tls_client_new("/does/not/exist.pem", &c, NULL), ERR_TLS);
}

static void on_accept_and_leave(struct listener *l, struct conn *c, void *data)
{
    static const struct conn_ops none;
    (void)l;
    (void)data;
    conn_set_ops(c, &none, NULL);
    conn_close(c, CONN_DROP); /* FIN; what comes after it gets a reset, and that is EPIPE */
}

struct deaf {
    struct loop *loop;
    struct loop_timer timer;
    struct conn *conn;
    int writes;
};

static void on_write_again(struct loop_timer *t)
{
    struct deaf *d = CONTAINER(t, struct deaf, timer);
    conn_write(d->conn, S("is anybody there?"));
    if (++d->writes == 5)
        loop_stop(d->loop);
    else
        loop_timer_start(d->loop, t, 10, on_write_again);
}

TEST(conn_writing_to_a_peer_that_has_gone_is_no_signal)
{
    struct deaf d = {.loop = loop_new_real()};
    struct net *net = net_new(d.loop);
    struct ip_port at = {.ip = ip_v4(127, 0, 0, 1)};
    static const struct conn_ops none;
    struct listener *l;
    CHECK_INT(conn_listen(net, &at, on_accept_and_leave, NULL, &l, NULL), 0);
    d.conn = conn_connect(net, NULL, listener_address(l), 1000, &none, NULL);
    conn_read_pause(d.conn); /* so that only writing finds out */
    loop_timer_start(d.loop, &d.timer, 20, on_write_again);
    loop_run(d.loop);
    CHECK_INT(d.writes, 5);
    net_free(net);
    loop_free(d.loop);
}
