/* sink_test.c - the sink on a virtual loop, over pipes in memory, with its files in memory. */
#include "sink.h"
#include "test.h"

/* A client that says one line whenever a reply has come, and the next at once after that. */
struct rig {
    struct loop *loop;
    struct net *net;
    struct fs *fs;
    struct world *world;
    struct tls_server *tls;
    struct tls_client *tls_client;
    struct sink *sink;
    struct conn *c;
    const char *const *lines; /* what to say; NULL ends: then it leaves */
    struct buf heard;
    int closed;
};

static void leave(struct rig *r)
{
    if (r->c)
        conn_close(r->c, CONN_FLUSH);
    r->c = NULL;
}

static void say_next(struct rig *r)
{
    const char *line = *r->lines++;
    if (!line)
        leave(r);
    else if (!strcmp(line, "(starttls)"))
        conn_start_tls_client(r->c, r->tls_client, S("mx.sink.test"), NULL);
    else
        conn_write(r->c, slice_cstr(line));
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct rig *r = conn_data(c);
    buf_adds(&r->heard, bytes);
    if (r->c)
        say_next(r);
}

static void on_end(struct conn *c, int reason)
{
    leave(conn_data(c));
}

static void on_tls(struct conn *c, int status, const struct tls_info *info)
{
    struct rig *r = conn_data(c);
    if (status)
        leave(r);
    else
        say_next(r);
}

static void on_closed(struct conn *c)
{
    struct rig *r = conn_data(c);
    r->closed++;
}

static const struct conn_ops ops = {
    .on_data = on_data, .on_end = on_end, .on_tls = on_tls, .on_closed = on_closed};

static const struct ip_port at = {{4, {127, 0, 1, 1}}, 25};

static struct rig rig_new(const char *world, bool store)
{
    struct rig r = {.loop = loop_new_virtual(1, 1782864000000), .fs = fs_memory()};
    struct err e = {0};
    r.net = net_new(r.loop);
    if (world && world_parse(&r.world, "w.lua", slice_cstr(world), &e))
        test_fail(__FILE__, __LINE__, "%s", e.text);
    if (!world)
        r.world = world_default(&at.ip);
    tls_server_self_signed(S("mx.sink.test"), &r.tls, NULL);
    tls_client_new(NULL, &r.tls_client, NULL);
    struct sink_conf conf = {.net = r.net, .world = r.world, .tls = r.tls, .fs = r.fs};
    conf.log = "sink.log";
    conf.store = store ? "mail" : NULL;
    if (sink_new(&conf, &r.sink, &e) || sink_listen(r.sink, &at, NULL, &e))
        test_fail(__FILE__, __LINE__, "%s", e.text);
    return r;
}

static void talk(struct rig *r, const char *const *lines)
{
    r->lines = lines;
    buf_clear(&r->heard);
    r->c = conn_connect(r->net, NULL, &at, 5000, &ops, r);
    loop_run(r->loop);
}

static void rig_free(struct rig *r)
{
    sink_free(r->sink);
    net_free(r->net);
    loop_free(r->loop);
    tls_server_free(r->tls);
    tls_client_free(r->tls_client);
    world_free(r->world);
    fs_free(r->fs);
    buf_free(&r->heard);
}

static bool file_is(struct rig *r, const char *path, struct slice want)
{
    struct buf got = {0};
    bool same = fs_read_whole(r->fs, path, 1 << 20, &got, NULL) == 0 && slice_eq(buf_slice(&got), want);
    if (!same)
        fprintf(stderr, "  %s: %.*s\n", path, SLICE_FMT(buf_slice(&got)));
    buf_free(&got);
    return same;
}

TEST(a_message_is_stored_as_received_and_logged_before_its_reply)
{
    static const char *const lines[] = {"EHLO c.test\r\n",
                                        "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
                                        "Subject: x\r\n\r\n..a dot\r\n.\r\n", "QUIT\r\n", NULL};
    struct rig r = rig_new(NULL, true);
    talk(&r, lines);
    CHECK_INT(r.closed, 1);
    CHECK(slice_find(buf_slice(&r.heard), S("250-PIPELINING\r\n250-SIZE\r\n250-STARTTLS\r\n")) > 0);
    CHECK(slice_ends(buf_slice(&r.heard),
                     S("354 end with a dot on a line\r\n250 2.0.0 taken\r\n221 2.0.0 bye\r\n")));
    CHECK(file_is(&r, "mail/00000001.eml", S("Subject: x\r\n\r\n.a dot\r\n")));
    CHECK(file_is(
        &r, "sink.log",
        S("{\"time\":\"2026-07-01T00:00:00.000Z\",\"peer\":\"127.0.0.1:49152\",\"local\":\"127.0.1.1:25\","
          "\"isp\":\"sink\",\"from\":\"a@b.test\",\"to\":[\"c@d.test\"],\"to_codes\":[250],\"size\":22,"
          "\"taken\":true,\"file\":\"00000001.eml\",\"tls\":null,\"codes\":{\"banner\":220,\"ehlo\":250,"
          "\"mail\":250,\"rcpt\":250,\"data\":354,\"eod\":250}}\n")));
    struct sink_stats s = sink_stats(r.sink);
    CHECK(s.connections == 1 && s.transactions == 1 && s.messages == 1 && s.bytes == 22 && s.open == 0);
    rig_free(&r);
}

TEST(a_session_under_tls_is_logged_with_its_version)
{
    static const char *const lines[] = {"EHLO c.test\r\n",
                                        "STARTTLS\r\n",
                                        "(starttls)",
                                        "EHLO c.test\r\n",
                                        "MAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
                                        "x\r\n.\r\n",
                                        "QUIT\r\n",
                                        NULL};
    struct rig r = rig_new(NULL, false);
    struct buf log = {0};
    talk(&r, lines);
    CHECK(slice_ends(buf_slice(&r.heard), S("221 2.0.0 bye\r\n")));
    CHECK_INT(fs_read_whole(r.fs, "sink.log", 4096, &log, NULL), 0);
    CHECK(slice_find(buf_slice(&log), S("\"from\":\"\",")) > 0);
    CHECK(slice_find(buf_slice(&log), S("\"file\":null,\"tls\":{\"version\":\"TLSv1.3\",\"cipher\":\"TLS_")) >
          0);
    CHECK(slice_find(buf_slice(&log), S("\"starttls\":220,")) > 0);
    buf_free(&log);
    rig_free(&r);
}

#define WORLD(text) "return { isps = { a = { every_domain = true, address = '127.0.1.1', " text " } } }"

TEST(the_manners_of_a_world_reach_the_wire_in_virtual_time)
{
    static const char *const lines[] = {"EHLO c.test\r\n",
                                        "MAIL FROM:<a@b.test>\r\n",
                                        "RCPT TO:<bad@d.test>\r\n",
                                        "RCPT TO:<good@d.test>\r\n",
                                        "DATA\r\n",
                                        "x\r\n.\r\n",
                                        NULL};
    struct rig r = rig_new(WORLD("extensions = {}, delay = '100 ms', replies = {"
                                 " { phase = 'rcpt', to = '^bad', reply = '550 5.1.1 no', delay = '1 s' },"
                                 " { phase = 'eod', disconnect = true } }"),
                           true);
    talk(&r, lines);
    CHECK_STR(buf_slice(&r.heard),
              S("220 mx.a ESMTP\r\n250-mx.a\r\n250 HELP\r\n250 2.1.0 sender ok\r\n550 5.1.1 no\r\n"
                "250 2.1.5 recipient ok\r\n354 end with a dot on a line\r\n"));
    CHECK_INT(loop_now_ms(r.loop), 7 * 100 + 1000);
    CHECK_INT(sink_stats(r.sink).transactions, 1);
    rig_free(&r);
}

static void stop_loop(struct loop_timer *t)
{
    loop_stop(t->data);
}

TEST(what_a_client_leaves_unfinished_is_logged_and_not_stored)
{
    static const char *const lines[] = {
        "EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", "half a mess", NULL};
    struct rig r = rig_new(NULL, true);
    struct buf log = {0};
    r.lines = lines;
    struct loop_timer t = {.data = r.loop};
    loop_timer_start(r.loop, &t, 1000, stop_loop);
    r.c = conn_connect(r.net, NULL, &at, 5000, &ops, &r);
    loop_run(r.loop);
    conn_close(r.c, CONN_ABORT);
    r.c = NULL;
    loop_run(r.loop);
    CHECK_INT(fs_read_whole(r.fs, "sink.log", 4096, &log, NULL), 0);
    CHECK(slice_find(buf_slice(&log), S("\"taken\":false,\"file\":null")) > 0);
    CHECK_INT(fs_stat(r.fs, "mail/00000001.eml", &(struct fs_stat){0}, NULL), ERR_NOTFOUND);
    CHECK_INT(sink_stats(r.sink).open, 0);
    buf_free(&log);
    rig_free(&r);
}

TEST(a_store_that_is_full_is_a_451_and_not_a_loss)
{
    static const char *const lines[] = {"EHLO c.test\r\n",
                                        "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
                                        "x\r\n.\r\n", "QUIT\r\n", NULL};
    struct rig r = rig_new(NULL, true);
    struct fs_faults faults = {.append_after = 1, .append_errno = 28 /* ENOSPC */};
    fs_set_faults(r.fs, &faults);
    talk(&r, lines);
    CHECK(slice_find(buf_slice(&r.heard), S("\r\n451 4.3.0 could not store it\r\n")) > 0);
    CHECK_INT(sink_stats(r.sink).messages, 0);
    rig_free(&r);
}

TEST(a_sink_freed_in_the_middle_ends_its_sessions)
{
    static const char *const lines[] = {"EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "NOOP\r\n", NULL};
    struct rig r = rig_new(WORLD("delay = '1 min'"), true);
    struct loop_timer t = {.data = r.loop};
    r.lines = lines;
    r.c = conn_connect(r.net, NULL, &at, 5000, &ops, &r);
    loop_timer_start(r.loop, &t, 90000, stop_loop);
    loop_run(r.loop);
    CHECK_INT(sink_stats(r.sink).open, 1);
    rig_free(&r);
}

TEST(an_address_that_no_isp_has_is_refused_by_name)
{
    struct rig r = rig_new(NULL, false);
    struct world *w = NULL;
    struct sink *s = NULL;
    struct err e = {0};
    struct ip_port other = {ip_v4(127, 0, 9, 9), 25};
    CHECK_INT(world_parse(&w, "w.lua",
                          S("return { isps = { a = { domains = 'a.test', address = '127.0.1.1' } } }"), &e),
              0);
    struct sink_conf conf = {.net = r.net, .world = w};
    CHECK_INT(sink_new(&conf, &s, &e), 0);
    CHECK_INT(sink_listen(s, &other, NULL, &e), ERR_NOTFOUND);
    CHECK_STR(slice_cstr(e.text),
              S("no ISP of this world has the address 127.0.9.9, and none has every_domain"));
    CHECK_INT(sink_listen_world(s, 25, &e), ERR_EXISTS);
    CHECK_STR(slice_cstr(e.text), S("isp a: listen on 127.0.1.1:25: address already in use"));
    sink_free(s);
    world_free(w);
    rig_free(&r);
}
