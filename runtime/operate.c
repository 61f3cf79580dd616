/* operate.c - see operate.h. */
#include "operate.h"
#include "base/json.h"
#include "console.h"
#include "delivery/event.h"
#include "delivery/inbound.h"
#include "delivery/pause.h"
#include "delivery/steer.h"
#include "delivery/wait.h"
#include "delivery/watch.h"
#include "format/text.h"
#include "inbound_store.h"
#include "suppress_store.h"
#include "warmup_view.h"

#include <stdlib.h>
#include <unistd.h>

enum { COUNT_STEP = 20000, IDS_MOST = 1000 };

/* A queue being counted for somebody. */
struct counting {
    struct operate *operate;
    struct control_call *call;
    struct wait_count *count;
    bool top; /* and what is at work */
    struct loop_timer timer;
    struct counting *next;
};

/* Words that are carried out one after the other. */
struct steering {
    struct control_call *call; /* NULL: none is */
    enum steer_verb verb;
    bool forget;
    json_t *what;
    size_t at;
    uint64_t touched, in_flight;
};

struct operate {
    struct operate_conf conf;
    struct steering steering;
    struct control *control;
    struct console *console; /* NULL: nobody looks */
    struct counting *countings;
    struct warmup_sets warmup_sets;
    struct buf out;
    int64_t started_ms;
    bool paused;
};

/* --- members of JSON objects --- */

static void put_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", name);
    if (text.n)
        json_quote(out, text);
    else
        buf_adds(out, S("null"));
}

static void put_number(struct buf *out, const char *name, uint64_t n)
{
    buf_printf(out, "%s\"%s\":%llu", out->n && out->p[out->n - 1] != '{' ? "," : "", name,
               (unsigned long long)n);
}

static void put_time(struct buf *out, const char *name, int64_t utc_ms)
{
    struct buf text = {0};
    if (utc_ms)
        text_time(&text, utc_ms);
    put_text(out, name, buf_slice(&text));
    buf_free(&text);
}

static void put_totals(struct operate *o)
{
    struct deliver_counts c = deliver_counts(hato_deliver(o->conf.hato));
    buf_clear(&o->out);
    put_number(&o->out, "queued", c.queued);
    put_number(&o->out, "waiting", c.queued - c.in_flight - c.retry - c.held);
    put_number(&o->out, "in_flight", c.in_flight);
    put_number(&o->out, "deferred", c.retry);
    put_number(&o->out, "held", c.held);
    put_number(&o->out, "connections", c.connections);
}

static void ask_status(struct operate *o, struct control_call *call)
{
    struct hato *h = o->conf.hato;
    struct deliver_counts c = hato_counts(h);
    struct loop_stats turns = loop_stats(hato_loop(h));
    put_totals(o);
    put_number(&o->out, "accepted", c.accepted);
    put_number(&o->out, "delivered", c.delivered);
    put_number(&o->out, "bounced", c.bounced);
    put_number(&o->out, "expired", c.expired);
    put_number(&o->out, "retries", c.deferred);
    put_number(&o->out, "ambiguous", c.ambiguous);
    put_number(&o->out, "turns_over_50ms", turns.over_50ms);
    put_number(&o->out, "pid", (uint64_t)getpid());
    put_time(&o->out, "since", o->started_ms);
    put_text(&o->out, "version", S(HATO_VERSION));
    put_text(&o->out, "script", hato_conf(h)->script);
    control_end(call, 0, buf_slice(&o->out));
}

/* --- queue --- */

static void counting_end(struct counting *k)
{
    struct counting **at = &k->operate->countings;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    loop_timer_stop(hato_loop(k->operate->conf.hato), &k->timer);
    wait_count_free(k->count);
    free(k);
}

static void put_row(struct operate *o, struct control_call *call, const struct wait_row *row)
{
    struct buf *out = &o->out, why = {0};
    int64_t until_ms = row->due_ms;
    if (row->lane)
        until_ms = wait_of_lane(hato_deliver(o->conf.hato), row->lane, &why);
    else if (row->held)
        text_safe(&why, slice_cstr(row->held_why));
    else if (row->deferred)
        buf_adds(&why, S("the next try has its time"));
    buf_clear(out);
    buf_addc(out, '{');
    put_text(out, "isp", row->isp ? row->isp->name : SLICE_NONE);
    put_text(out, "campaign", row->campaign->number ? row->campaign->name : SLICE_NONE);
    put_text(out, "stream", row->campaign->stream->name);
    put_number(out, "waiting", row->waiting);
    put_number(out, "in_flight", row->in_flight);
    put_number(out, "deferred", row->deferred);
    put_number(out, "held", row->held);
    put_text(out, "why", buf_slice(&why));
    put_time(out, "until", until_ms);
    put_number(out, "until_ms", (uint64_t)until_ms);
    buf_addc(out, '}');
    control_line(call, buf_slice(out));
    buf_free(&why);
}

static void put_rate(struct buf *out, const struct recent *t)
{
    put_number(out, "delivered", t->minute[RECENT_DELIVERED]);
    put_number(out, "deferred", t->minute[RECENT_DEFERRED]);
    put_number(out, "bounced", t->minute[RECENT_BOUNCED]);
    buf_printf(out, ",\"per_second\":%.1f", t->per_second);
}

static void on_watch_path(void *data, const struct watch_path *p)
{
    struct counting *k = data;
    struct buf *out = &k->operate->out;
    buf_clear(out);
    buf_addc(out, '{');
    put_text(out, "row", S("path"));
    put_text(out, "isp", p->isp);
    put_text(out, "source", p->source);
    put_number(out, "connections", p->connections);
    put_number(out, "allowed", p->allowed);
    put_number(out, "most", p->most);
    put_rate(out, &p->recent);
    put_text(out, "why", p->why);
    put_number(out, "until_ms", (uint64_t)p->until_ms);
    buf_addc(out, '}');
    control_line(k->call, buf_slice(out));
}

static void on_watch_campaign(void *data, const struct watch_campaign *c)
{
    struct counting *k = data;
    struct buf *out = &k->operate->out;
    buf_clear(out);
    buf_addc(out, '{');
    put_text(out, "row", S("campaign"));
    put_text(out, "campaign", c->name);
    put_text(out, "stream", c->stream);
    put_text(out, "priority", slice_cstr(c->priority));
    put_number(out, "weight", c->weight);
    put_rate(out, &c->recent);
    buf_addc(out, '}');
    control_line(k->call, buf_slice(out));
}

static void on_count(struct loop_timer *t)
{
    struct counting *k = CONTAINER(t, struct counting, timer);
    struct operate *o = k->operate;
    size_t at = 0;
    if (!wait_count_step(k->count, COUNT_STEP)) {
        loop_timer_start(hato_loop(o->conf.hato), t, 1, on_count); /* 0 would be in this turn */
        return;
    }
    for (const struct wait_row *row; (row = wait_count_row(k->count, &at));)
        if (row->waiting || row->in_flight || row->deferred || row->held)
            put_row(o, k->call, row);
    if (k->top) {
        watch_paths(hato_deliver(o->conf.hato), on_watch_path, k);
        watch_campaigns(hato_deliver(o->conf.hato), on_watch_campaign, k);
    }
    put_totals(o);
    if (k->top) {
        put_number(&o->out, "now_ms", (uint64_t)loop_wall_ms(hato_loop(o->conf.hato)));
        put_number(&o->out, "since_ms", (uint64_t)o->started_ms);
        put_text(&o->out, "version", S(HATO_VERSION));
    }
    control_end(k->call, 0, buf_slice(&o->out));
    counting_end(k);
}

static void ask_queue(struct operate *o, struct control_call *call, bool top)
{
    struct counting *k = mem_zalloc(sizeof *k);
    k->operate = o;
    k->top = top;
    k->call = call;
    k->count = wait_count_new(hato_deliver(o->conf.hato));
    k->next = o->countings;
    o->countings = k;
    loop_timer_start(hato_loop(o->conf.hato), &k->timer, 0, on_count);
}

/* --- measures and waits --- */

struct listing {
    struct operate *o;
    struct control_call *call;
};

static void on_measure(void *data, const struct wait_measure *w)
{
    struct listing *l = data;
    buf_clear(&l->o->out);
    measure_json(&l->o->out, w->m, w->waiting);
    control_line(l->call, buf_slice(&l->o->out));
}

static void ask_measures(struct operate *o, struct control_call *call)
{
    wait_measures(hato_deliver(o->conf.hato), on_measure, &(struct listing){o, call});
    control_end(call, 0, SLICE_NONE);
}

static void ask_wait(struct operate *o, struct control_call *call, const json_t *request)
{
    const json_t *ids = json_object_get(request, "ids");
    size_t n = json_array_size(ids);
    if (!n || n > IDS_MOST) {
        control_end(call, ERR_INVAL, S("\"ids\" is an array of 1 to 1,000 messages"));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct buf why = {0};
        uint64_t id;
        int64_t until_ms;
        bool in_flight;
        struct slice text = slice_cstr(json_string_value(json_array_get(ids, i)));
        if (event_message_parse(text, &id) ||
            wait_of_message(hato_deliver(o->conf.hato), id, &why, &until_ms, &in_flight)) {
            buf_free(&why);
            continue;
        }
        buf_clear(&o->out);
        buf_addc(&o->out, '{');
        put_text(&o->out, "message", text);
        put_text(&o->out, "state", in_flight ? S("in_flight") : S("waiting"));
        put_text(&o->out, "why", buf_slice(&why));
        put_time(&o->out, "until", until_ms);
        put_number(&o->out, "until_ms", (uint64_t)until_ms);
        buf_addc(&o->out, '}');
        control_line(call, buf_slice(&o->out));
        buf_free(&why);
    }
    control_end(call, 0, SLICE_NONE);
}

static void on_pause(void *data, enum steer_kind kind, struct slice name, int64_t since_ms)
{
    struct listing *l = data;
    struct buf *out = &l->o->out;
    buf_clear(out);
    buf_addc(out, '{');
    put_text(out, "kind", slice_cstr(steer_kind_name(kind)));
    put_text(out, "name", name);
    put_time(out, "since", since_ms);
    buf_addc(out, '}');
    control_line(l->call, buf_slice(out));
}

static void ask_pauses(struct operate *o, struct control_call *call)
{
    pause_list(hato_deliver(o->conf.hato), on_pause, &(struct listing){o, call});
    control_end(call, 0, SLICE_NONE);
}

/* --- pause, resume, cancel, retry --- */

static void steering_end(struct operate *o, int status, struct slice words)
{
    struct control_call *call = o->steering.call;
    json_decref(o->steering.what);
    o->steering = (struct steering){0};
    control_end(call, status, words);
}

static void steer_next(struct operate *o);

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    struct operate *o = data;
    o->steering.touched += touched;
    o->steering.in_flight += in_flight;
    if (status)
        steering_end(o, status, S("the journal cannot be written: it may not outlive this process"));
    else
        steer_next(o);
}

static int order_of(const struct operate *o, size_t at, struct steer_order *order, struct err *e)
{
    const char *word = json_string_value(json_array_get(o->steering.what, at));
    *order = (struct steer_order){.verb = o->steering.verb, .forget = o->steering.forget};
    return steer_parse(slice_cstr(word), &order->kind, &order->name, e);
}

static void steer_next(struct operate *o)
{
    struct steer_order order;
    struct err e = {0};
    if (o->steering.at == json_array_size(o->steering.what)) {
        buf_clear(&o->out);
        buf_printf(&o->out, "\"touched\":%llu,\"in_flight\":%llu", (unsigned long long)o->steering.touched,
                   (unsigned long long)o->steering.in_flight);
        steering_end(o, 0, buf_slice(&o->out));
        return;
    }
    int r = order_of(o, o->steering.at++, &order, &e);
    if (!r)
        r = steer(hato_deliver(o->conf.hato), &order, on_steered, o, &e);
    if (r)
        steering_end(o, r, slice_cstr(e.text));
}

static void ask_steer(struct operate *o, struct control_call *call, enum steer_verb verb,
                      const json_t *request)
{
    struct steer_order order;
    struct err e = {0};
    if (o->steering.call) {
        control_end(call, ERR_AGAIN, S("another such command is being carried out; ask again in a moment"));
        return;
    }
    o->steering = (struct steering){.call = call,
                                    .verb = verb,
                                    .forget = json_is_true(json_object_get(request, "forget")),
                                    .what = json_incref(json_object_get(request, "what"))};
    size_t n = json_array_size(o->steering.what);
    int r = n ? 0 : err_set(&e, ERR_INVAL, "\"what\" is an array of KIND=VALUE");
    for (size_t i = 0; !r && i < n; i++) /* all are well-formed before one is carried out */
        r = order_of(o, i, &order, &e);
    if (r)
        steering_end(o, r, slice_cstr(e.text));
    else
        steer_next(o);
}

/* --- console --- */

static void on_request(void *data, struct control_call *call, const json_t *request);

static void ask_console(struct operate *o, struct control_call *call, const json_t *request)
{
    const char *text = json_string_value(json_object_get(request, "text"));
    if (!text) {
        control_end(call, ERR_INVAL, S("\"text\" is what to run"));
        return;
    }
    if (!o->console)
        o->console = console_new(hato_loop(o->conf.hato), o->control, on_request, o);
    console_run(o->console, hato_vm(o->conf.hato), call, slice_cstr(text));
}

/* --- all of them --- */

static void on_request(void *data, struct control_call *call, const json_t *request)
{
    struct operate *o = data;
    struct slice command = slice_cstr(json_string_value(json_object_get(request, "command")));
    enum steer_verb verb;
    if (o->paused)
        control_end(call, ERR_AGAIN, S("the script is being swapped; ask again in a moment"));
    else if (slice_eq(command, S("status")))
        ask_status(o, call);
    else if (slice_eq(command, S("queue")) || slice_eq(command, S("top")))
        ask_queue(o, call, slice_eq(command, S("top")));
    else if (slice_eq(command, S("measures")))
        ask_measures(o, call);
    else if (slice_eq(command, S("wait")))
        ask_wait(o, call, request);
    else if (slice_eq(command, S("explain"))) {
        deliver_say_why(hato_deliver(o->conf.hato));
        control_end(call, 0, SLICE_NONE);
    } else if (slice_eq(command, S("suppress")))
        suppress_store_request(deliver_suppress(hato_deliver(o->conf.hato)),
                               loop_wall_ms(hato_loop(o->conf.hato)), call, request);
    else if (slice_eq(command, S("inbound")))
        inbound_store_request(hato_deliver(o->conf.hato), call, request);
    else if (slice_eq(command, S("pauses")))
        ask_pauses(o, call);
    else if (slice_eq(command, S("warmup")))
        warmup_request(hato_deliver(o->conf.hato), hato_conf(o->conf.hato), &o->warmup_sets, call, request);
    else if (steer_verb_parse(command, &verb) == 0)
        ask_steer(o, call, verb, request);
    else if (slice_eq(command, S("console")))
        ask_console(o, call, request);
    else if (slice_eq(command, S("reload")) && o->conf.reload)
        o->conf.reload(o->conf.data, call, request);
    else if (slice_eq(command, S("reload")))
        control_end(call, ERR_UNSUPPORTED, S("`hato run` ends by itself; `hato serve` can be reloaded"));
    else
        control_end(call, ERR_UNSUPPORTED, S("this hato does not know that command"));
}

int operate_new(const struct operate_conf *conf, struct operate **out, struct err *e)
{
    struct operate *o = mem_zalloc(sizeof *o);
    o->conf = *conf;
    o->started_ms = loop_wall_ms(hato_loop(conf->hato));
    o->control =
        control_new(&(struct control_conf){.net = hato_net(conf->hato), .data = o, .handle = on_request});
    int r = control_open(o->control, conf->state, e);
    if (r)
        operate_free(o);
    else
        *out = o;
    return r;
}

void operate_pause(struct operate *o)
{
    o->paused = true;
    inbound_put_off(hato_deliver(o->conf.hato));
    warmup_sets_drop(&o->warmup_sets, ERR_AGAIN, S("the script was swapped meanwhile; ask again"));
    if (o->steering.call)
        steering_end(o, ERR_AGAIN, S("the script was swapped meanwhile; ask again"));
    while (o->countings) {
        control_end(o->countings->call, ERR_AGAIN, S("the script was swapped meanwhile; ask again"));
        counting_end(o->countings);
    }
    console_stop(o->console);
}

void operate_resume(struct operate *o)
{
    o->paused = false;
}

void operate_free(struct operate *o)
{
    if (!o)
        return;
    console_free(o->console);
    while (o->countings)
        counting_end(o->countings);
    warmup_sets_drop(&o->warmup_sets, 0, SLICE_NONE);
    if (hato_deliver(o->conf.hato)) {
        suppress_abandon(deliver_suppress(hato_deliver(o->conf.hato)));
        inbound_abandon(hato_deliver(o->conf.hato));
    }
    json_decref(o->steering.what);
    control_free(o->control);
    buf_free(&o->out);
    free(o);
}
