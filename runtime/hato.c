/* hato.c - see hato.h. */
#include "hato.h"
#include "dns_server.h"
#include "lint.h"
#include "script_event.h"
#include "sink.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* A script that was read, or is being read: its Lua state and what it declares. */
struct script {
    struct hato *hato;
    struct vm *vm;
    struct conf *conf;
    struct api *api;
    void (*ended)(struct script *s, int status, struct slice error); /* its main file */
};

struct hato {
    struct hato_options o;
    struct loop *loop;
    struct fs *fs, *script_fs;
    struct net *net;
    struct resolve *resolve;
    struct script *script;
    struct script *next; /* being read beside it, or ready to take its place */
    hato_next_fn *next_done;
    void *next_data;
    struct deliver *deliver;
    struct opt_list content; /* campaigns whose content it may change */
    struct arena content_names;
    struct deliver_counts before; /* of deliveries that were replaced */
    /* Of a simulation. */
    struct dns_zone *zone;
    struct sink *sink;
    struct keyset only; /* keyed hashes of the addresses to send to */
    uint64_t taken;
    /* While the script loads. */
    bool loading;
    int load_status;
    struct err load_err;
    struct loop_task next_task;
};

/* --- who is sent to --- */

static struct hash128 address_hash(struct slice key)
{
    return hash128((struct hash_key){0x6f6e6c79, 1}, key);
}

static int read_addresses(struct hato *h, struct err *e)
{
    struct arena to = {0};
    struct addr redirect;
    int bad = h->o.redirect ? addr_parse(slice_cstr(h->o.redirect), &to, &redirect, e) : 0;
    arena_free(&to);
    if (bad) {
        err_prefix(e, "--redirect %s: ", h->o.redirect);
        return ERR_INVAL;
    }
    for (size_t i = 0; h->o.only && i < h->o.only->n; i++) {
        struct arena a = {0};
        struct addr addr;
        struct buf key = {0};
        int r = addr_parse(slice_cstr(h->o.only->v[i]), &a, &addr, e);
        if (!r) {
            addr_dup_key(&key, &addr);
            keyset_add(&h->only, address_hash(buf_slice(&key)));
        }
        buf_free(&key);
        arena_free(&a);
        if (r) {
            err_prefix(e, "--only %s: ", h->o.only->v[i]);
            return ERR_INVAL;
        }
    }
    return 0;
}

static bool is_among(const struct hato *h, struct slice key)
{
    return !h->o.only || !h->o.only->n || keyset_has(&h->only, address_hash(key));
}

static bool on_wants(void *data, struct slice key)
{
    return is_among(data, key);
}

bool hato_wants(const struct hato *h, struct slice key)
{
    return is_among(h, key) && (!h->o.limit || h->taken < h->o.limit);
}

void hato_took(struct hato *h)
{
    h->taken++;
}

/* --- hato.send --- */

struct sending {
    struct script *script;
    struct task_wait wait;
};

static void on_sent(void *data, uint64_t id, int status)
{
    struct sending *s = data;
    char text[32] = "";
    if (!status)
        script_message_name(text, id);
    if (s->script->api)
        api_sent(s->script->api, s->wait, status, slice_cstr(text),
                 slice_cstr(status ? err_name(status) : ""));
    free(s);
}

/* A message of its own must be as sound as a campaign's before it is accepted: it is compiled once here. */
static int check_send(const struct api_send *send, const struct conf_content *c, bool must_map, struct err *e)
{
    struct content *content;
    struct arena a = {0};
    int r = content_compile(c, S("hato.send"), &content, e);
    if (r)
        return r;
    if (must_map)
        content_must_map(content);
    content_add_columns(content, 1, send->columns);
    r = content_missing_values(content, send->columns.n ? 1 : 0, send->values, send->to, &a, e);
    content_free(content);
    arena_free(&a);
    return r;
}

static int on_send(void *data, const struct api_send *send, struct task_wait wait, struct err *e)
{
    struct script *script = data;
    struct hato *h = script->hato;
    struct arena a = {0};
    struct buf frozen = {0}, to = {0};
    struct addr addr;
    uint64_t id;
    if (script != h->script) /* all or nothing: it may still be refused */
        return err_set(e, ERR_AGAIN, "this script is not in its place yet: nothing is sent while it is read");
    int r = hato_open(h, e);
    if (r)
        return r;
    struct conf_content c = send->content;
    c.columns = send->columns;
    c.missing_empty = send->missing_empty;
    r = addr_parse(send->to, &a, &addr, e);
    if (!r) {
        addr_dup_key(&to, &addr);
        if (!hato_wants(h, buf_slice(&to)))
            r = err_set(e, ERR_CANCELED, "left out by --only or --limit");
    }
    if (!r)
        r = check_send(send, &c, conf_stream_must_map(&script->conf->streams[send->stream]), e);
    if (!r) {
        struct stream *st = deliver_stream(h->deliver, script->conf->streams[send->stream].name);
        struct sending *s = mem_zalloc(sizeof *s);
        int64_t now = loop_wall_ms(h->loop), from = send->at_ms > now ? send->at_ms : now;
        *s = (struct sending){script, wait};
        content_freeze(&c, &frozen);
        struct deliver_accept acc = {
            .campaign = st->alone,
            .columns = send->columns.n ? deliver_columns(h->deliver, send->columns) : 0,
            .address = slice_trim(send->to),
            .addr = &addr,
            .values = send->values,
            .content = buf_slice(&frozen),
            .key = send->key,
            .due_ms = send->at_ms > now ? send->at_ms : 0,
            .expires_ms = send->expire_ms && send->expire_ms != INT64_MAX ? from + send->expire_ms : 0,
            .test = h->o.redirect != NULL,
            .done = on_sent,
            .data = s};
        r = deliver_accept(h->deliver, &acc, &id);
        if (!r) {
            hato_took(h);
        } else {
            free(s);
            err_set(e, r, r == ERR_EXISTS ? "a message with this key was accepted before" : "%s",
                    err_name(r));
        }
    }
    buf_free(&frozen);
    buf_free(&to);
    arena_free(&a);
    return r;
}

/* --- hooks --- */

struct hook_call {
    struct hato *h;
    uint64_t id;
};

static void on_hook_done(void *data, int status, struct slice edits, struct slice error)
{
    struct hook_call *call = data;
    char text[512];
    if (call->h->deliver && status != ERR_CANCELED) {
        snprintf(text, sizeof text, "%.*s", SLICE_FMT(error));
        deliver_hook_done(call->h->deliver, call->id, edits, status ? text : NULL);
    }
    free(call);
}

static void on_message(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                       struct slice columns)
{
    struct hato *h = data;
    struct hook_call *call = mem_zalloc(sizeof *call);
    char text[32];
    script_message_name(text, id);
    struct hook_field fields[] = {
        script_text("message", slice_cstr(text)), script_text("campaign", c->conf ? c->name : SLICE_NONE),
        script_text("stream", c->stream->name), script_text("recipient", rec->address),
        script_text("subject", c->conf ? c->conf->content.subject : SLICE_NONE)};
    *call = (struct hook_call){h, id};
    hooks_message(h->script->api, fields, COUNT(fields), columns, rec->values, on_hook_done, call);
}

struct reply_call {
    struct hato *h;
    struct outcome *token;
};

static void on_reply_done(void *data, const struct hooks_answer *a)
{
    struct reply_call *call = data;
    deliver_reply_done(call->h->deliver, call->token, a->has_class ? a->cls : (enum reply_class)CLASS_COUNT,
                       a->act);
    free(call);
}

static void on_reply(void *data, struct outcome *token, const struct rec_event *ev)
{
    struct hato *h = data;
    struct script_event shown;
    struct reply_call *call = mem_alloc(sizeof *call);
    *call = (struct reply_call){h, token};
    script_event_fill(&shown, h->deliver, ev);
    hooks_reply(h->script->api, shown.fields, shown.n, shown.fields, shown.n, on_reply_done, call);
}

static void on_event(void *data, const struct rec_event *ev)
{
    struct hato *h = data;
    if (h->o.event)
        h->o.event(h->o.data, ev);
    if (hooks_has(h->script->api, HOOK_EVENTS)) {
        struct script_event shown;
        script_event_fill(&shown, h->deliver, ev);
        hooks_event(h->script->api, shown.fields, shown.n);
    }
}

static void on_notice(void *data, int level, const char *text)
{
    struct hato *h = data;
    static const int levels[] = {VM_INFO, VM_WARN, VM_ERROR};
    if (h->o.notice)
        h->o.notice(h->o.data, levels[level], text);
}

static void on_vm_log(void *data, enum vm_level level, struct slice text)
{
    struct hato *h = data;
    char copy[1200];
    if (!h->o.notice)
        return;
    snprintf(copy, sizeof copy, "%.*s", SLICE_FMT(text));
    h->o.notice(h->o.data, level, copy);
}

static void on_vm_print(void *data, struct slice line)
{
    struct hato *h = data;
    if (h->o.print)
        h->o.print(h->o.data, line);
}

/* --- putting together --- */

static int make_world(struct hato *h, struct err *e)
{
    h->fs = fs_memory();
    h->zone = dns_zone_new(h->o.world, ip_v4(127, 0, 1, 1));
    h->resolve = resolve_new_static(h->loop, dns_zone_answer, h->zone, 1, 0);
    struct sink_conf conf = {.net = h->net, .world = h->o.world};
    int r = sink_new(&conf, &h->sink, e);
    if (!r && sink_listen_world(h->sink, h->o.smtp_port, e) < 0)
        r = e->code;
    return r;
}

/* Sockets are what a sender needs most: take as many as the system gives without asking. */
static void raise_descriptors(void)
{
    struct rlimit l;
    if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max > 65536 ? 65536 : l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int make_args(const struct hato_options *o, struct api_arg *args, size_t *n, struct err *e)
{
    for (size_t i = 0; o->sets && i < o->sets->n; i++) {
        struct slice value, name = slice_cut(slice_cstr(o->sets->v[i]), '=', &value);
        if (!name.n || name.n == strlen(o->sets->v[i]))
            return err_set(e, ERR_INVAL, "--set wants KEY=VALUE, not \"%s\"", o->sets->v[i]);
        args[(*n)++] = (struct api_arg){name, value};
    }
    return 0;
}

static void script_free(struct script *s)
{
    if (!s)
        return;
    api_free(s->api);
    s->api = NULL;
    vm_free(s->vm);
    conf_free(s->conf);
    free(s);
}

static struct script *script_new(struct hato *h, struct err *e)
{
    struct script *s = mem_zalloc(sizeof *s);
    struct api_arg args[256];
    size_t nargs = 0;
    s->hato = h;
    if (make_args(&h->o, args, &nargs, e)) {
        free(s);
        return NULL;
    }
    s->vm = vm_new(&(struct vm_options){.loop = h->loop,
                                        .fs = h->script_fs,
                                        .reproducible = h->o.world != NULL,
                                        .budget = h->o.budget,
                                        .print = h->o.print ? on_vm_print : NULL,
                                        .log = on_vm_log,
                                        .data = h});
    s->conf = conf_new();
    struct api_host host = {
        .data = s, .send = on_send, .resolve = h->resolve, .header_is_ours = message_header_is_ours};
    s->api = api_new(s->vm, s->conf, &host, args, nargs);
    return s;
}

static void on_script_end(void *data, const struct task_result *r)
{
    struct script *s = data;
    s->ended(s, r->status, r->error);
}

static void script_run(struct script *s, void (*ended)(struct script *, int, struct slice))
{
    s->ended = ended;
    vm_run(s->vm, s->hato->o.script, on_script_end, s);
}

int hato_new(const struct hato_options *o, struct hato **out, struct err *e)
{
    struct hato *h = mem_zalloc(sizeof *h);
    h->o = *o;
    int r = read_addresses(h, e);
    if (!h->o.smtp_port)
        h->o.smtp_port = 25;
    h->loop = o->world ? loop_new_virtual(o->seed, o->start_ms) : loop_new_real();
    h->net = net_new(h->loop);
    h->script_fs = fs_real();
    if (!r && o->world) {
        r = make_world(h, e);
    } else if (!r) {
        raise_descriptors();
        h->fs = o->memory_state ? fs_memory() : fs_real();
        h->resolve = resolve_new(h->loop, &(struct resolve_conf){.servers = o->dns}, e);
        r = h->resolve ? 0 : e->code;
    }
    if (r) {
        hato_free(h);
        return r;
    }
    h->script = script_new(h, e);
    if (!h->script) {
        hato_free(h);
        return e->code;
    }
    *out = h;
    return 0;
}

static void on_loaded(struct script *s, int status, struct slice error)
{
    struct hato *h = s->hato;
    h->loading = false;
    h->load_status = status;
    if (status)
        err_set(&h->load_err, ERR_INVAL, "%.*s", SLICE_FMT(error));
    loop_stop(h->loop);
}

int hato_load(struct hato *h, struct err *e)
{
    h->loading = true;
    script_run(h->script, on_loaded);
    if (h->loading && h->deliver && !h->o.sends_nothing)
        deliver_start(h->deliver);
    while (h->loading)
        loop_run(h->loop);
    if (h->load_status) {
        *e = h->load_err;
        return ERR_INVAL;
    }
    return api_seal(h->script->api, e);
}

/* Without a declared source: any address, and the host's own name. Names without a dot are no EHLO that the
 * world would take. */
static int default_source(const struct hato *h, struct conf *c, struct err *e)
{
    char name[256] = "";
    if (c->nsources)
        return 0;
    if (h->o.world)
        snprintf(name, sizeof name, "hato.test");
    else if (gethostname(name, sizeof name - 1))
        return err_set(e, ERR_IO, "the name of this host cannot be had");
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    c->sources = arena_zalloc(&c->arena, sizeof *c->sources);
    c->nsources = 1;
    c->sources[0] = (struct conf_source){
        .name = S("default"), .place = {.file = SLICE_NONE}, .ehlo = arena_copy(&c->arena, slice_cstr(name))};
    return 0;
}

static void on_finding(void *data, const struct lint_finding *f)
{
    struct hato *h = data;
    struct buf text = {0};
    if (f->level == LINT_NOTE)
        return;
    if (f->place.file.n)
        buf_printf(&text, "%.*s:%d: ", SLICE_FMT(f->place.file), f->place.line);
    buf_adds(&text, f->text);
    if (h->o.notice)
        h->o.notice(h->o.data, VM_WARN, buf_cstr(&text));
    buf_free(&text);
}

/* What delivery is made of, for this script. */
static struct deliver_conf deliver_conf_of(struct hato *h, struct script *s)
{
    return (struct deliver_conf){.loop = h->loop,
                                 .fs = h->fs,
                                 .people_fs = h->o.looks_at_people ? h->script_fs : NULL,
                                 .state = h->o.state,
                                 .net = h->net,
                                 .resolve = h->resolve,
                                 .conf = s->conf,
                                 .smtp_port = h->o.smtp_port,
                                 .proves_keys = !h->o.world,
                                 .redirect = h->o.redirect,
                                 .offset_at = api_offset_at,
                                 .offset_arg = s->api,
                                 .zone = api_zone(s->api),
                                 .content_anew = h->content.v,
                                 .ncontent_anew = h->content.n,
                                 .hooks = {.data = h,
                                           .message = hooks_has(s->api, HOOK_MESSAGE) ? on_message : NULL,
                                           .reply = hooks_has(s->api, HOOK_REPLY) ? on_reply : NULL,
                                           .event = on_event,
                                           .notice = on_notice,
                                           .wants = h->o.only && h->o.only->n ? on_wants : NULL}};
}

static int script_seal(struct hato *h, struct script *s, struct err *e)
{
    int r = api_seal(s->api, e);
    return r ? r : default_source(h, s->conf, e);
}

int hato_open(struct hato *h, struct err *e)
{
    if (h->deliver)
        return 0;
    int r = script_seal(h, h->script, e);
    if (r)
        return r;
    struct deliver_conf conf = deliver_conf_of(h, h->script);
    r = deliver_new(&conf, &h->deliver, e);
    h->content.n = 0;
    if (!r)
        lint_senders(h->script->conf, on_finding, h); /* before the first mail leaves */
    return r;
}

void hato_look_at(struct hato *h, const struct campaign *c)
{
    if (c->conf)
        lint_campaign(h, c, on_finding, h);
}

/* --- swapping the script --- */

static void next_drop(struct hato *h)
{
    struct script *s = h->next;
    h->next = NULL;
    if (s)
        task_cancel_all(s->vm);
    script_free(s);
}

static void next_over(struct hato *h, struct err *e)
{
    hato_next_fn *done = h->next_done;
    h->next_done = NULL;
    if (e->code)
        next_drop(h);
    done(h->next_data, e->code, e);
}

static void on_next_task(struct loop_task *t)
{
    struct hato *h = CONTAINER(t, struct hato, next_task);
    struct err e = h->load_err;
    if (!e.code && !script_seal(h, h->next, &e)) {
        struct deliver_conf conf = deliver_conf_of(h, h->next);
        deliver_check(h->deliver, &conf, &e);
    }
    next_over(h, &e);
}

/* From inside its Lua state, which may have to go: so later. */
static void on_next_ended(struct script *s, int status, struct slice error)
{
    struct hato *h = s->hato;
    h->load_err = (struct err){0};
    if (s != h->next || !h->next_done) /* given up meanwhile */
        return;
    if (status)
        err_set(&h->load_err, ERR_INVAL, "%.*s", SLICE_FMT(error));
    loop_post(h->loop, &h->next_task, on_next_task);
}

int hato_next(struct hato *h, const struct opt_list *content, hato_next_fn *done, void *data, struct err *e)
{
    if (h->next)
        return err_set(e, ERR_AGAIN, "the script is being swapped already");
    h->content.n = 0;
    arena_reset(&h->content_names);
    for (size_t i = 0; i < content->n; i++)
        h->content.v[h->content.n++] = arena_copy(&h->content_names, slice_cstr(content->v[i])).p;
    h->next = script_new(h, e);
    if (!h->next)
        return e->code;
    h->next_done = done;
    h->next_data = data;
    script_run(h->next, on_next_ended);
    return 0;
}

void hato_next_drop(struct hato *h)
{
    h->next_done = NULL;
    loop_task_cancel(h->loop, &h->next_task);
    next_drop(h);
}

int hato_swap(struct hato *h, struct err *e)
{
    struct script *was = h->script;
    INVARIANT(h->next && !h->next_done && h->deliver);
    h->before = hato_counts(h);
    task_cancel_all(was->vm);
    deliver_free(h->deliver);
    h->deliver = NULL;
    h->script = h->next;
    h->next = NULL;
    script_free(was);
    return hato_open(h, e);
}

void hato_free(struct hato *h)
{
    if (!h)
        return;
    struct deliver *d = h->deliver;
    /* A reply hook that waits gives up now, while what it was asked about can still be settled. */
    if (h->script)
        task_cancel_all(h->script->vm);
    hato_next_drop(h);
    deliver_free(d);
    h->deliver = NULL;
    script_free(h->script);
    sink_free(h->sink);
    resolve_free(h->resolve);
    dns_zone_free(h->zone);
    net_free(h->net);
    loop_free(h->loop);
    fs_free(h->fs);
    fs_free(h->script_fs);
    keyset_free(&h->only);
    arena_free(&h->content_names);
    free(h);
}

struct loop *hato_loop(struct hato *h)
{
    return h->loop;
}

struct net *hato_net(struct hato *h)
{
    return h->net;
}

struct fs *hato_script_fs(struct hato *h)
{
    return h->script_fs;
}

const struct conf *hato_conf(const struct hato *h)
{
    return h->script->conf;
}

struct vm *hato_vm(struct hato *h)
{
    return h->script->vm;
}

struct api *hato_api(struct hato *h)
{
    return h->script->api;
}

struct deliver_counts hato_counts(struct hato *h)
{
    struct deliver_counts c = h->deliver ? deliver_counts(h->deliver) : (struct deliver_counts){0};
    c.accepted += h->before.accepted;
    c.delivered += h->before.delivered;
    c.bounced += h->before.bounced;
    c.expired += h->before.expired;
    c.suppressed += h->before.suppressed;
    c.deferred += h->before.deferred;
    c.ambiguous += h->before.ambiguous;
    c.cancelled += h->before.cancelled;
    c.came_back += h->before.came_back;
    c.complained += h->before.complained;
    return c;
}

struct deliver *hato_deliver(struct hato *h)
{
    return h->deliver;
}

struct resolve *hato_resolve(struct hato *h)
{
    return h->resolve;
}

bool hato_script_is_busy(const struct hato *h)
{
    return api_is_busy(h->script->api);
}
