/* sink.c - see sink.h. A session is an smtp_server between a conn and the judge of its ISP. */
#include "sink.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LOG_PART = 1 << 20 };

struct port {
    struct sink *sink;
    struct listener *listener;
    struct smtp_judge *judge;
};

struct session {
    struct sink *sink;
    struct conn *c;
    struct smtp_server *smtp;
    struct smtp_judge *judge;
    struct loop_timer timer; /* at or before the server's deadline */
    struct session *prev, *next;
    struct buf body; /* of the message being received, where it is stored */
    uint64_t stored; /* its number once it is a file */
    bool closing;    /* CLOSE was seen: the conn only flushes */
};

struct sink {
    struct sink_conf conf;
    struct loop *loop;
    struct smtp_judge **judges; /* one for each ISP of the world */
    struct port **ports;
    size_t n_ports;
    struct session *sessions;
    struct sink_stats stats;
    uint64_t last_file; /* number of the newest in the store */
    struct file *log;
    struct buf lines; /* of this turn */
    struct loop_hook hook;
};

/* --- store and log --- */

static void failed(struct sink *s, const struct err *e, bool log_lost)
{
    if (s->conf.on_failure)
        s->conf.on_failure(s->conf.data, e, log_lost);
}

static void write_log(struct sink *s)
{
    struct err e;
    if (s->lines.n && file_append(s->log, buf_slice(&s->lines), &e))
        failed(s, &e, true);
    buf_clear(&s->lines);
}

static void on_turn_end(struct loop_hook *h)
{
    write_log(h->data);
}

static void file_name(const struct sink *s, uint64_t number, struct buf *out)
{
    buf_printf(out, "%s/%08" PRIu64 ".eml", s->conf.store, number);
}

/* "00000042.eml" → 42; a store goes on counting where an earlier run ended. */
static void on_name(void *data, const char *name)
{
    struct sink *s = data;
    struct slice ext, digits = slice_cut(slice_cstr(name), '.', &ext);
    uint64_t n;
    if (slice_eq(ext, S("eml")) && !slice_u64(digits, &n) && n > s->last_file)
        s->last_file = n;
}

/* Not synced: a sink promises nothing about a machine that stops. */
static int store(struct session *x)
{
    struct sink *s = x->sink;
    struct buf path = {0};
    struct file *f = NULL;
    struct err e;
    file_name(s, s->last_file + 1, &path);
    int r = file_open(s->conf.fs, buf_cstr(&path), FILE_WRITE | FILE_CREATE | FILE_EXCL, 0644, &f, &e);
    if (!r) {
        r = file_append(f, buf_slice(&x->body), &e);
        file_close(f);
        if (r)
            fs_unlink(s->conf.fs, buf_cstr(&path), NULL);
    }
    if (r)
        failed(s, &e, false);
    else
        x->stored = ++s->last_file;
    buf_free(&path);
    return r;
}

static void log_time(struct buf *b, int64_t wall_ms)
{
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
               tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}

static void log_recipients(struct buf *b, const struct smtp_server_tx *tx)
{
    buf_adds(b, S(",\"to\":["));
    for (size_t i = 0; i < tx->nrcpts; i++) {
        buf_adds(b, i ? S(",") : SLICE_NONE);
        json_quote(b, tx->rcpts[i].address);
    }
    buf_adds(b, S("],\"to_codes\":["));
    for (size_t i = 0; i < tx->nrcpts; i++)
        buf_printf(b, "%s%d", i ? "," : "", tx->rcpts[i].code);
    buf_addc(b, ']');
}

static void log_transaction(struct session *x, const struct smtp_server_tx *tx)
{
    struct sink *s = x->sink;
    struct buf *b = &s->lines;
    char text[IP_PORT_TEXT];
    buf_adds(b, S("{\"time\":\""));
    log_time(b, loop_wall_ms(s->loop));
    buf_printf(b, "\",\"peer\":\"%s\"", ip_port_text(conn_remote(x->c), text).p);
    buf_printf(b, ",\"local\":\"%s\",\"isp\":", ip_port_text(conn_local(x->c), text).p);
    json_quote(b, smtp_judge_isp(x->judge)->name);
    buf_adds(b, S(",\"from\":"));
    json_quote(b, tx->from);
    log_recipients(b, tx);
    buf_printf(b, ",\"size\":%" PRIu64 ",\"taken\":%s,\"file\":", tx->size_bytes,
               tx->taken ? "true" : "false");
    if (x->stored)
        buf_printf(b, "\"%08" PRIu64 ".eml\"", x->stored);
    else
        buf_adds(b, S("null"));
    const struct tls_info *tls = conn_tls(x->c);
    if (tls)
        buf_printf(b, ",\"tls\":{\"version\":\"%.*s\",\"cipher\":\"%.*s\",\"resumed\":%s}",
                   SLICE_FMT(tls->version), SLICE_FMT(tls->cipher), tls->resumed ? "true" : "false");
    else
        buf_adds(b, S(",\"tls\":null"));
    buf_adds(b, S(",\"codes\":{"));
    const char *comma = "";
    for (int p = 0; p < SMTP_PHASE_COUNT; p++) {
        if (!tx->codes[p])
            continue;
        buf_printf(b, "%s\"%s\":%d", comma, smtp_phase_name((enum smtp_phase)p), tx->codes[p]);
        comma = ",";
    }
    buf_adds(b, S("}}\n"));
    if (b->n > LOG_PART)
        write_log(s);
}

/* --- sessions --- */

static void on_timer(struct loop_timer *t);

static void on_message(struct session *x)
{
    if (store(x))
        smtp_server_refuse(x->smtp);
    buf_free(&x->body);
}

static void on_transaction(struct session *x, const struct smtp_server_tx *tx)
{
    struct sink *s = x->sink;
    s->stats.transactions++;
    s->stats.messages += tx->taken;
    s->stats.bytes += tx->taken ? tx->size_bytes : 0;
    if (s->log)
        log_transaction(x, tx);
    if (s->conf.on_transaction)
        s->conf.on_transaction(s->conf.data, smtp_judge_isp(x->judge), tx);
    x->stored = 0;
    buf_free(&x->body); /* of a message that was broken off */
}

/* Let the server do what it can now, then see to it that it is called again in time. */
static void drive(struct session *x)
{
    struct smtp_server_event ev;
    while (smtp_server_poll(x->smtp, &ev)) {
        switch (ev.type) {
        case SMTP_SERVER_WRITE:
            conn_write(x->c, ev.bytes);
            break;
        case SMTP_SERVER_STARTTLS:
            conn_start_tls_server(x->c, x->sink->conf.tls);
            break;
        case SMTP_SERVER_BODY:
            buf_adds(&x->body, ev.bytes);
            break;
        case SMTP_SERVER_MESSAGE:
            on_message(x);
            break;
        case SMTP_SERVER_TRANSACTION:
            on_transaction(x, ev.tx);
            break;
        case SMTP_SERVER_CLOSE:
            x->closing = true;
            loop_timer_stop(x->sink->loop, &x->timer);
            conn_close(x->c, CONN_FLUSH);
            break;
        }
    }
    if (x->closing)
        return;
    if (smtp_server_wants(x->smtp))
        conn_read_resume(x->c);
    else
        conn_read_pause(x->c);
    /* A deadline that moved away is found out when the timer fires: most move with every command. */
    int64_t due = smtp_server_deadline(x->smtp);
    if (!loop_timer_active(&x->timer) || due < loop_timer_due_ms(&x->timer))
        loop_timer_start(x->sink->loop, &x->timer, due - loop_now_ms(x->sink->loop), on_timer);
}

static void on_timer(struct loop_timer *t)
{
    struct session *x = t->data;
    smtp_server_tick(x->smtp, loop_now_ms(x->sink->loop));
    drive(x);
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct session *x = conn_data(c);
    smtp_server_feed(x->smtp, bytes, loop_now_ms(x->sink->loop));
    drive(x);
}

static void on_end(struct conn *c, int reason)
{
    struct session *x = conn_data(c);
    smtp_server_lost(x->smtp, loop_now_ms(x->sink->loop));
    drive(x);
}

static void on_tls(struct conn *c, int status, const struct tls_info *info)
{
    struct session *x = conn_data(c);
    smtp_server_tls(x->smtp, status, loop_now_ms(x->sink->loop));
    drive(x);
}

static void session_free(struct session *x)
{
    struct sink *s = x->sink;
    loop_timer_stop(s->loop, &x->timer);
    *(x->prev ? &x->prev->next : &s->sessions) = x->next;
    if (x->next)
        x->next->prev = x->prev;
    s->stats.open--;
    smtp_server_free(x->smtp);
    buf_free(&x->body);
    free(x);
}

static void on_closed(struct conn *c)
{
    session_free(conn_data(c));
}

static const struct conn_ops session_ops = {
    .on_data = on_data, .on_end = on_end, .on_tls = on_tls, .on_closed = on_closed};

static void on_accept(struct listener *l, struct conn *c, void *data)
{
    struct port *p = data;
    struct sink *s = p->sink;
    struct session *x = mem_zalloc(sizeof *x);
    struct smtp_server_conf conf = {
        .judge = p->judge,
        .hostname = smtp_judge_isp(p->judge)->mx[0].host,
        .peer = conn_remote(c)->ip,
        .can_tls = s->conf.tls != NULL,
        .want_body = s->conf.store != NULL,
    };
    *x = (struct session){.sink = s, .c = c, .judge = p->judge, .next = s->sessions};
    if (x->next)
        x->next->prev = x;
    s->sessions = x;
    s->stats.connections++;
    s->stats.open++;
    x->timer.data = x;
    conn_set_ops(c, &session_ops, x);
    x->smtp = smtp_server_new(&conf, loop_now_ms(s->loop));
    drive(x);
}

/* --- life --- */

static uint64_t luck(void *data)
{
    return loop_random(data);
}

static int open_files(struct sink *s, struct err *e)
{
    const struct sink_conf *conf = &s->conf;
    int r = 0;
    if (conf->store && ((r = fs_mkdir(conf->fs, conf->store, 0755, e)) ||
                        (r = fs_list(conf->fs, conf->store, on_name, s, e))))
        return r;
    if (conf->log)
        r = file_open(conf->fs, conf->log, FILE_WRITE | FILE_CREATE, 0644, &s->log, e);
    return r;
}

int sink_new(const struct sink_conf *conf, struct sink **out, struct err *e)
{
    struct sink *s = mem_zalloc(sizeof *s);
    s->conf = *conf;
    s->loop = net_loop(conf->net);
    s->judges = mem_alloc((conf->world->n_isps ? conf->world->n_isps : 1) * sizeof(struct smtp_judge *));
    for (size_t i = 0; i < conf->world->n_isps; i++) {
        s->judges[i] = smtp_judge_new(&conf->world->isps[i], luck, s->loop);
        smtp_judge_begin(s->judges[i], loop_now_ms(s->loop));
    }
    /* Before connections write: who has a 250 finds its line in the log. */
    s->hook = (struct loop_hook){.order = LOOP_ORDER_SPOOL, .fn = on_turn_end, .data = s};
    loop_hook_add(s->loop, &s->hook);
    int r = open_files(s, e);
    if (r)
        sink_free(s);
    else
        *out = s;
    return r;
}

static int listen_for(struct sink *s, const struct world_isp *isp, const struct ip_port *at,
                      struct ip_port *bound, struct err *e)
{
    struct port *p = mem_zalloc(sizeof *p);
    p->sink = s;
    p->judge = s->judges[isp - s->conf.world->isps];
    int r = conn_listen(s->conf.net, at, on_accept, p, &p->listener, e);
    if (r) {
        free(p);
        return r;
    }
    if (bound)
        *bound = *listener_address(p->listener);
    s->ports = mem_realloc(s->ports, (s->n_ports + 1) * sizeof(struct port *));
    s->ports[s->n_ports++] = p;
    return 0;
}

int sink_listen(struct sink *s, const struct ip_port *at, struct ip_port *bound, struct err *e)
{
    const struct world_isp *isp = world_isp_by_address(s->conf.world, &at->ip);
    char text[IP_TEXT];
    for (size_t i = 0; !isp && i < s->conf.world->n_isps; i++)
        if (s->conf.world->isps[i].every_domain)
            isp = &s->conf.world->isps[i];
    if (!isp)
        return err_set(e, ERR_NOTFOUND, "no ISP of this world has the address %s, and none has every_domain",
                       ip_text(&at->ip, text).p);
    return listen_for(s, isp, at, bound, e);
}

int sink_listen_world(struct sink *s, uint16_t port, struct err *e)
{
    int n = 0;
    for (size_t i = 0; i < s->conf.world->n_isps; i++) {
        const struct world_isp *isp = &s->conf.world->isps[i];
        for (size_t k = 0; k < isp->n_addresses; k++, n++) {
            struct ip_port at = {isp->addresses[k], port};
            int r = listen_for(s, isp, &at, NULL, e);
            if (r) {
                err_prefix(e, "isp %.*s: ", SLICE_FMT(isp->name));
                return r;
            }
        }
    }
    return n;
}

struct sink_stats sink_stats(const struct sink *s)
{
    return s->stats;
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_ports; i++) {
        listener_close(s->ports[i]->listener);
        free(s->ports[i]);
    }
    while (s->sessions) {
        struct session *x = s->sessions;
        if (!x->closing) {
            smtp_server_lost(x->smtp, loop_now_ms(s->loop));
            drive(x); /* ends what it had begun */
        }
        conn_set_ops(x->c, NULL, NULL);
        conn_close(x->c, CONN_DROP);
        session_free(x);
    }
    loop_hook_remove(s->loop, &s->hook);
    write_log(s);
    file_close(s->log);
    buf_free(&s->lines);
    for (size_t i = 0; i < s->conf.world->n_isps; i++)
        smtp_judge_free(s->judges[i]);
    free(s->judges);
    free(s->ports);
    free(s);
}
