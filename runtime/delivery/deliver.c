/* deliver.c - see deliver.h. Life, names, campaigns; the way in is accept.c, the way out settle.c, restart
 * restore.c. */
#include "delivery/deliver_impl.h"
#include "delivery/steer.h"
#include "format/rule_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void notice(struct deliver *d, int level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (!d->conf.hooks.notice)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->conf.hooks.notice(d->conf.hooks.data, level, text);
}

uint32_t append_record(struct deliver *d, enum spool_kind kind, const struct rec *r)
{
    struct spool_pos pos = {0};
    buf_clear(&d->scratch);
    rec_put(&d->scratch, r);
    /* Events and names are always taken: the spool keeps them until they can be written. */
    INVARIANT(spool_append(d->spool, kind, buf_slice(&d->scratch), &pos) == 0);
    if (kind == SPOOL_EVENTS)
        d->event_segment = pos.segment;
    return pos.segment;
}

/* --- names --- */

bool name_is_known(const struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    const struct names *t = &d->names[kind];
    return number && number <= t->n && t->v[number - 1].p;
}

bool name_reserve(struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    struct names *t = &d->names[kind];
    if (!number || number > t->n + 1000000)
        return false;
    if (number > t->cap) {
        size_t cap = number > t->cap * 2 ? number : t->cap * 2;
        t->v = mem_realloc(t->v, cap * sizeof *t->v);
        memset(t->v + t->cap, 0, (cap - t->cap) * sizeof *t->v);
        t->cap = cap;
    }
    if (number > t->n)
        t->n = number;
    return true;
}

void name_learn(struct deliver *d, const struct rec_name *n)
{
    if (!n->kind || n->kind >= NAME_KINDS || !name_reserve(d, n->kind, n->number))
        return;
    struct names *t = &d->names[n->kind];
    struct slice *at = &t->v[n->number - 1];
    if (at->p)
        return;
    *at = slice_of(mem_dup(n->name.p, n->name.n), n->name.n);
    map_put(&t->by_name, *at, (void *)(uintptr_t)n->number);
}

uint32_t name_number(struct deliver *d, enum rec_name_kind kind, struct slice name)
{
    struct names *t = &d->names[kind];
    void *known = map_get(&t->by_name, name);
    if (known)
        return (uint32_t)(uintptr_t)known;
    struct rec rec = {.type = REC_NAME};
    rec.name = (struct rec_name){.kind = (uint8_t)kind, .number = (uint32_t)t->n + 1, .name = name};
    name_learn(d, &rec.name);
    append_record(d, SPOOL_NAMES, &rec);
    return rec.name.number;
}

struct slice deliver_name(const struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    return name_is_known(d, kind, number) ? d->names[kind].v[number - 1] : SLICE_NONE;
}

uint32_t deliver_columns(struct deliver *d, struct slice columns)
{
    uint32_t number = name_number(d, NAME_COLUMNS, columns);
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&d->campaigns, &at));) {
        struct campaign *c = e->value;
        if (c->content)
            content_add_columns(c->content, number, columns);
    }
    return number;
}

/* --- streams and campaigns --- */

static void stream_bind(struct deliver *d, struct stream *st)
{
    const struct conf *conf = d->conf.conf;
    const struct conf_stream *cs = st->conf;
    const struct conf_pool *pool = cs->pool == CONF_NONE ? NULL : &conf->pools[cs->pool];
    size_t n = pool ? pool->nmembers : conf->nsources;
    st->priority = cs->priority;
    st->weight = cs->weight ? cs->weight : 1;
    st->nsources = n;
    st->sources = mem_alloc((n + 1) * sizeof *st->sources);
    st->source_weight = mem_alloc((n + 1) * sizeof *st->source_weight);
    st->source_pass = mem_zalloc((n + 1) * sizeof *st->source_pass);
    for (size_t i = 0; i < n; i++) {
        st->sources[i] = pool ? pool->members[i].source : (uint16_t)i;
        st->source_weight[i] = pool && pool->members[i].weight ? pool->members[i].weight : 1;
    }
}

struct stream *stream_get(struct deliver *d, struct slice name, uint32_t number)
{
    struct stream *st = map_get(&d->streams, name);
    if (st)
        return st;
    st = mem_zalloc(sizeof *st);
    st->name = slice_of(mem_dup(name.p, name.n), name.n);
    st->number = number;
    st->weight = 1;
    st->priority = CONF_NORMAL;
    uint16_t index = conf_find_stream(d->conf.conf, name);
    if (index != CONF_NONE) {
        st->conf = &d->conf.conf->streams[index];
        stream_bind(d, st);
    }
    map_put(&d->streams, name, st);
    st->alone = mem_zalloc(sizeof *st->alone);
    *st->alone = (struct campaign){.name = st->name, .stream = st, .content_hash = SLICE_NONE, .deliver = d};
    st->alone->run = st->conf ? CAMPAIGN_RUNNING : CAMPAIGN_HELD;
    return st;
}

struct campaign *campaign_get(struct deliver *d, struct slice name, uint32_t number, struct stream *stream)
{
    struct campaign *c = map_get(&d->campaigns, name);
    if (!c) {
        c = mem_zalloc(sizeof *c);
        c->name = slice_of(mem_dup(name.p, name.n), name.n);
        c->number = number;
        c->stream = stream;
        c->content_hash = SLICE_NONE;
        c->deliver = d;
        c->run = CAMPAIGN_HELD;
        map_put(&d->campaigns, name, c);
    }
    if (number > c->number)
        c->number = number; /* it was forgotten, and its name began anew */
    if (number > d->nby_number) {
        d->by_number = mem_realloc(d->by_number, number * sizeof *d->by_number);
        memset(d->by_number + d->nby_number, 0, (number - d->nby_number) * sizeof *d->by_number);
        d->nby_number = number;
    }
    if (number)
        d->by_number[number - 1] = c;
    return c;
}

struct campaign *campaign_by_number(struct deliver *d, uint32_t campaign, uint32_t stream)
{
    if (campaign && campaign <= d->nby_number && d->by_number[campaign - 1])
        return d->by_number[campaign - 1];
    struct slice stream_name = deliver_name(d, NAME_STREAM, stream);
    struct slice name = deliver_name(d, NAME_CAMPAIGN, campaign);
    if (!stream_name.n || (campaign && !name.n))
        return NULL;
    struct stream *st = stream_get(d, stream_name, stream);
    return campaign ? campaign_get(d, name, campaign, st) : st->alone;
}

struct campaign *deliver_campaign(struct deliver *d, struct slice name)
{
    return map_get(&d->campaigns, name);
}

struct campaign *deliver_next_campaign(struct deliver *d, size_t *at)
{
    struct map_entry *e = map_next(&d->campaigns, at);
    return e ? e->value : NULL;
}

struct stream *deliver_stream(struct deliver *d, struct slice name)
{
    return map_get(&d->streams, name);
}

static void content_path(const struct deliver *d, struct slice hash, struct buf *out)
{
    buf_printf(out, "%s/content/%.*s", d->conf.state, SLICE_FMT(hash));
    buf_cstr(out);
}

static bool may_change(const struct deliver_conf *conf, struct slice campaign)
{
    for (size_t i = 0; i < conf->ncontent_anew; i++)
        if (slice_eq(slice_cstr(conf->content_anew[i]), campaign))
            return true;
    return false;
}

/* The content that was frozen must be the one that the script has now: what is half sent must not change. */
static int check_frozen(struct deliver *d, const struct campaign *c, const struct conf_campaign *conf,
                        struct slice now_frozen, struct slice now_hash, struct err *e)
{
    struct buf path = {0}, was = {0}, what = {0};
    struct arena a = {0};
    struct conf_content before, now;
    int r = 0;
    if (!c->content_hash.n || slice_eq(c->content_hash, now_hash))
        return 0;
    content_path(d, c->content_hash, &path);
    r = fs_read_whole(d->conf.fs, path.p, 256u << 20, &was, e);
    if (!r && (content_thaw(buf_slice(&was), &a, &before) || content_thaw(now_frozen, &a, &now)))
        r = err_set(e, ERR_CORRUPT, "%s cannot be read", path.p);
    if (!r && content_difference(&before, &now, &what))
        r = err_set(e, ERR_INVAL,
                    "%.*s:%d: campaign \"%.*s\": %.*s is not what it was when its first mail was accepted; "
                    "mail of one "
                    "campaign says one thing: give the changed one a new name",
                    SLICE_FMT(conf->place.file), conf->place.line, SLICE_FMT(c->name),
                    SLICE_FMT(buf_slice(&what)));
    buf_free(&path);
    buf_free(&was);
    buf_free(&what);
    arena_free(&a);
    return r;
}

static void write_campaign(struct deliver *d, struct campaign *c, enum rec_campaign_state state)
{
    struct rec rec = {.type = REC_CAMPAIGN};
    rec.campaign = (struct rec_campaign){.campaign = c->number,
                                         .stream = c->stream->number,
                                         .state = (uint8_t)state,
                                         .at_ms = loop_wall_ms(d->loop),
                                         .content = c->content_hash};
    append_record(d, SPOOL_EVENTS, &rec);
}

void campaign_cancel(struct deliver *d, struct campaign *c)
{
    if (!c->cancelled)
        write_campaign(d, c, CAMPAIGN_CANCELLED);
    c->cancelled = true;
    c->run = CAMPAIGN_STOPPED;
    loop_timer_stop(d->loop, &c->timer);
}

void campaign_forget(struct deliver *d, struct campaign *c)
{
    /* Duplicate keys hold the campaign's number: under a new one nobody is known. */
    struct rec rec = {.type = REC_NAME};
    rec.name = (struct rec_name){
        .kind = NAME_CAMPAIGN, .number = (uint32_t)d->names[NAME_CAMPAIGN].n + 1, .name = c->name};
    name_learn(d, &rec.name);
    append_record(d, SPOOL_NAMES, &rec);
    campaign_get(d, c->name, rec.name.number, c->stream);
    if (c->content_hash.n)
        free((char *)c->content_hash.p);
    c->content_hash = SLICE_NONE;
    write_campaign(d, c, CAMPAIGN_FORGOTTEN);
}

static int campaign_bind(struct deliver *d, struct campaign *c, struct err *e)
{
    struct buf frozen = {0};
    char hash[65];
    content_freeze(&c->conf->content, &frozen);
    content_hash(buf_slice(&frozen), hash);
    bool anew =
        may_change(&d->conf, c->name) && c->content_hash.n && !slice_eq(c->content_hash, slice_of(hash, 64));
    int r = anew ? 0 : check_frozen(d, c, c->conf, buf_slice(&frozen), slice_of(hash, 64), e);
    if (!r) {
        r = content_compile(&c->conf->content, c->name, &c->content, e);
        if (r)
            err_prefix(e, "%.*s:%d: campaign ", SLICE_FMT(c->conf->place.file), c->conf->place.line);
        else if (conf_stream_must_map(c->stream->conf))
            content_must_map(c->content);
    }
    if (r) {
        buf_free(&frozen);
        return r;
    }
    for (uint32_t n = 1; n <= d->names[NAME_COLUMNS].n; n++)
        if (name_is_known(d, NAME_COLUMNS, n))
            content_add_columns(c->content, n, deliver_name(d, NAME_COLUMNS, n));
    if (!c->content_hash.n || anew) {
        /* The file first: a record must not speak of content that is not there. */
        struct buf path = {0};
        content_path(d, slice_of(hash, 64), &path);
        r = fs_write_atomic(d->conf.fs, path.p, buf_slice(&frozen), 0600, e);
        buf_free(&path);
        if (!r && anew)
            free((char *)c->content_hash.p);
        if (!r)
            c->content_hash = slice_of(mem_dup(hash, 64), 64);
        if (!r && anew)
            write_campaign(d, c, CAMPAIGN_CONTENT);
    }
    buf_free(&frozen);
    return r;
}

static int bind_streams(struct deliver *d, struct err *e)
{
    const struct conf *conf = d->conf.conf;
    for (size_t i = 0; i < conf->nstreams; i++) {
        const struct conf_stream *cs = &conf->streams[i];
        struct stream *st = stream_get(d, cs->name, name_number(d, NAME_STREAM, cs->name));
        int r = identity_new(cs, &d->secret, &st->identity, e);
        if (r)
            return r;
        st->identity->offset_at = d->conf.offset_at;
        st->identity->offset_arg = d->conf.offset_arg;
        if (cs->pool != CONF_NONE)
            st->pool_number = name_number(d, NAME_POOL, conf->pools[cs->pool].name);
        st->domain_number = name_number(d, NAME_DOMAIN, cs->domain);
        struct buf b = {0};
        struct arena a = {0};
        struct mailbox from;
        if (cs->bounce.n)
            buf_printf(&b, "@%.*s", SLICE_FMT(cs->bounce));
        else if (!addr_parse_mailbox(cs->from, &a, &from, NULL))
            addr_smtp(&b, &from.addr, ADDR_QUOTED);
        if (b.n)
            st->sender_number = name_number(d, NAME_SENDER, buf_slice(&b));
        buf_free(&b);
        arena_free(&a);
    }
    return 0;
}

static int bind_campaigns(struct deliver *d, struct err *e)
{
    const struct conf *conf = d->conf.conf;
    for (size_t i = 0; i < conf->ncampaigns; i++) {
        const struct conf_campaign *cc = &conf->campaigns[i];
        struct stream *st = deliver_stream(d, conf->streams[cc->stream].name);
        struct campaign *c = campaign_get(d, cc->name, name_number(d, NAME_CAMPAIGN, cc->name), st);
        c->conf = cc;
        c->stream = st;
        c->run = c->cancelled ? CAMPAIGN_STOPPED : CAMPAIGN_INTAKE;
        int r = campaign_bind(d, c, e);
        if (r)
            return r;
    }
    size_t at = 0;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));) {
        if (c->conf || c->cancelled || !c->queued)
            continue;
        c->why = mem_dup("it is not in the script", 23);
        notice(d, 1, "campaign=\"%.*s\" is in the spool with %llu messages but not in the script: held",
               SLICE_FMT(c->name), (unsigned long long)c->queued);
    }
    return 0;
}

/* --- what may go --- */

void lane_service(struct deliver *d, struct lane *lane)
{
    if (!d->started || d->draining || lane->campaign->run != CAMPAIGN_RUNNING || steer_lane_paused(d, lane))
        return;
    hooks_top_up(d, lane);
    if (!lane->ready.n)
        return;
    domain_want(lane->domain);
    switch (lane->domain->state) {
    case DOMAIN_OK:
        path_attach(d->paths, lane);
        break;
    case DOMAIN_DEAD:
        sweep_dead(d, lane->domain);
        break;
    case DOMAIN_NEW:
    case DOMAIN_QUEUED:
    case DOMAIN_ASKING:
    case DOMAIN_WAITING:
        break;
    }
}

static void on_campaign_time(struct loop_timer *t);

static void campaign_update(struct deliver *d, struct campaign *c)
{
    int64_t now = loop_wall_ms(d->loop);
    if (!c->conf || c->run == CAMPAIGN_STOPPED || c->run == CAMPAIGN_HELD || !d->started)
        return;
    if ((c->reading || !c->read_once) && !c->conf->streaming) {
        c->run = CAMPAIGN_INTAKE;
        return;
    }
    if (c->conf->at_ms > now) {
        c->run = CAMPAIGN_LATER;
        loop_timer_start(d->loop, &c->timer, c->conf->at_ms - now < 3600000 ? c->conf->at_ms - now : 3600000,
                         on_campaign_time);
        return;
    }
    if (!c->started && c->conf->at_ms && c->conf->late_ms != INT64_MAX &&
        now - c->conf->at_ms > c->conf->late_ms) {
        c->run = CAMPAIGN_HELD;
        free(c->why);
        c->why = mem_dup("its time to start is past by more than `late`", 45);
        notice(d, 2, "campaign=\"%.*s\" is held: %s", SLICE_FMT(c->name), c->why);
        return;
    }
    if (!c->started) {
        c->started = true;
        write_campaign(d, c, CAMPAIGN_STARTED);
    }
    c->run = CAMPAIGN_RUNNING;
    for (struct lane *lane = c->lanes; lane; lane = lane->of_campaign)
        lane_service(d, lane);
}

static void on_campaign_time(struct loop_timer *t)
{
    struct campaign *c = CONTAINER(t, struct campaign, timer);
    campaign_update(c->deliver, c);
}

void deliver_intake_begin(struct deliver *d, struct campaign *c)
{
    c->reading = true;
    write_campaign(d, c, CAMPAIGN_READING);
    campaign_update(d, c);
}

void deliver_intake_end(struct deliver *d, struct campaign *c, bool complete)
{
    c->reading = false;
    if (complete && !c->read_once) {
        c->read_once = true;
        write_campaign(d, c, CAMPAIGN_READ);
    }
    campaign_update(d, c);
}

void deliver_start(struct deliver *d)
{
    size_t at = 0;
    d->started = true;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));)
        campaign_update(d, c);
    at = 0;
    for (struct map_entry *e; (e = map_next(&d->streams, &at));) {
        struct stream *st = e->value;
        for (struct lane *lane = st->alone->lanes; lane; lane = lane->of_campaign)
            lane_service(d, lane);
    }
    compact_start(d);
    steer_go_on(d);
}

void deliver_drain(struct deliver *d)
{
    d->draining = true;
    sessions_drain(d->sessions);
}

void deliver_undrain(struct deliver *d)
{
    size_t at = 0;
    d->draining = false;
    sessions_undrain(d->sessions);
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));)
        isp_service(isp);
    deliver_start(d);
}

/* --- glue for paths and sites --- */

static void on_open(void *data, struct path *p, struct site *s, struct lane *lane, uint64_t id)
{
    struct deliver *d = data;
    domain_want(lane->domain); /* an old answer is asked again while this connection goes by it */
    session_open(d->sessions, p, s, lane, id);
}

static bool on_wake(void *data, struct site *s)
{
    struct deliver *d = data;
    return session_wake(d->sessions, s);
}

static void on_shed(void *data, struct path *p)
{
    struct deliver *d = data;
    session_shed(d->sessions, p);
}

static void on_qualify(void *data, struct slice domain, const struct slice *hosts, size_t n, struct buf *key)
{
    struct deliver *d = data;
    const struct conf *conf = d->conf.conf;
    uint16_t index = conf_match_isp(conf, domain, hosts, n);
    if (index != CONF_NONE)
        buf_printf(key, "|%.*s", SLICE_FMT(conf->isps[index].name));
}

static void on_site(void *data, struct site *s, struct slice domain)
{
    struct deliver *d = data;
    paths_place_site(d->paths, s, domain);
}

static void on_probe(void *data, struct site *s)
{
    (void)data;
    isp_service(s->isp);
}

static bool on_is_paused(void *data, const struct path *p)
{
    return steer_path_paused(data, p) != NULL;
}

static int on_read(void *data, uint64_t position, struct buf *out, struct err *e)
{
    struct deliver *d = data;
    return spool_read(d->spool, spool_pos_unpack(position), out, e);
}

static void *thread_start(void *data, int index)
{
    (void)data;
    (void)index;
    return message_scratch_new();
}

static void thread_stop(void *user)
{
    message_scratch_free(user);
}

/* --- life --- */

static int load_secret(struct deliver *d, struct err *e)
{
    struct buf path = {0}, bytes = {0};
    unsigned char fresh[32];
    buf_printf(&path, "%s/secret", d->conf.state);
    buf_cstr(&path);
    int r = fs_read_whole(d->conf.fs, path.p, sizeof fresh, &bytes, e);
    if (r == ERR_NOTFOUND) {
        loop_random_bytes(d->loop, fresh, sizeof fresh);
        buf_add(&bytes, fresh, sizeof fresh);
        r = fs_write_atomic(d->conf.fs, path.p, buf_slice(&bytes), 0600, e);
    }
    if (!r && bytes.n != sizeof fresh)
        r = err_set(e, ERR_CORRUPT, "%s has %zu bytes, not 32: put it back from a copy of the state folder",
                    path.p, bytes.n);
    if (!r)
        secret_from_bytes((const unsigned char *)bytes.p, &d->secret);
    buf_free(&path);
    buf_free(&bytes);
    return r;
}

static void make_rooms(struct deliver *d)
{
    struct loop *loop = d->loop;
    d->pool = work_new(&(struct work_conf){.loop = loop,
                                           .name = "assemble",
                                           .threads = d->conf.threads ? d->conf.threads : 2,
                                           .thread_start = thread_start,
                                           .thread_stop = thread_stop});
    d->sync = work_new(&(struct work_conf){.loop = loop, .name = "sync", .threads = 1});
    d->queue = queue_new(loop);
    queue_on_due(d->queue, on_due, d);
    d->sites = sites_new(&(struct sites_conf){.loop = loop,
                                              .resolve = d->conf.resolve,
                                              .data = d,
                                              .on_domain = on_domain,
                                              .qualify = on_qualify,
                                              .on_site = on_site,
                                              .on_probe = on_probe});
    d->paths = paths_new(&(struct paths_conf){.loop = loop,
                                              .queue = d->queue,
                                              .conf = d->conf.conf,
                                              .data = d,
                                              .open = on_open,
                                              .may_open = on_may_begin,
                                              .is_paused = on_is_paused,
                                              .wake = on_wake,
                                              .shed = on_shed});
    d->sessions = sessions_new(&(struct sessions_conf){.loop = loop,
                                                       .net = d->conf.net,
                                                       .resolve = d->conf.resolve,
                                                       .queue = d->queue,
                                                       .sites = d->sites,
                                                       .paths = d->paths,
                                                       .pool = d->pool,
                                                       .tls = d->tls,
                                                       .conf = d->conf.conf,
                                                       .rules = d->rules,
                                                       .smtp_port = d->conf.smtp_port,
                                                       .data = d,
                                                       .read = on_read,
                                                       .prepare = on_prepare,
                                                       .fit = on_fit,
                                                       .may_begin = on_may_begin,
                                                       .begin = on_begin,
                                                       .settle = on_settle,
                                                       .unfit = on_unfit,
                                                       .back = on_back,
                                                       .unreachable = on_unreachable,
                                                       .refused = on_refused});
}

int deliver_new(const struct deliver_conf *conf, struct deliver **out, struct err *e)
{
    struct deliver *d = mem_zalloc(sizeof *d);
    struct buf dir = {0};
    struct hash_key hk;
    d->conf = *conf;
    d->loop = conf->loop;
    d->next_id = d->next_event = 1;
    loop_random_bytes(d->loop, &hk, sizeof hk);
    map_init(&d->streams, hk);
    map_init(&d->campaigns, hk);
    map_init(&d->pauses, hk);
    for (int i = 0; i < NAME_KINDS; i++)
        map_init(&d->names[i].by_name, hk);
    INVARIANT(conf->conf->nsources > 0);
    buf_printf(&dir, "%s/content", conf->state);
    int r = spool_lock(conf->fs, conf->state, &d->lock, e);
    if (!r)
        r = fs_mkdir(conf->fs, buf_cstr(&dir), 0700, e);
    buf_free(&dir);
    if (!r)
        r = load_secret(d, e);
    if (!r)
        r = tls_client_new(NULL, &d->tls, e);
    if (!r)
        r = rules_compile_shipped(conf->conf->rules, conf->conf->nrules, &d->rules, e);
    if (!r)
        r = suppress_open(&(struct suppress_conf){.loop = d->loop,
                                                  .fs = conf->fs,
                                                  .state = conf->state,
                                                  .data = conf->hooks.data,
                                                  .notice = conf->hooks.notice},
                          &d->suppress, e);
    if (!r) {
        make_rooms(d);
        r = restore(d, e);
    }
    if (!r)
        r = suppress_start(d->suppress, d->spool, e);
    /* A journal that lost its end, or was put back from an older copy: numbers that were applied are not used
     * again. */
    if (!r && d->next_event <= suppress_cursor(d->suppress))
        d->next_event = suppress_cursor(d->suppress) + 1;
    if (!r)
        r = bind_streams(d, e);
    if (!r)
        r = bind_campaigns(d, e);
    if (r) {
        deliver_free(d);
        return r;
    }
    *out = d;
    return 0;
}

static int check_campaign(struct deliver *d, const struct deliver_conf *conf, const struct conf_campaign *cc,
                          struct err *e)
{
    const struct campaign *c = deliver_campaign(d, cc->name);
    struct content *content = NULL;
    struct buf frozen = {0};
    char hash[65];
    content_freeze(&cc->content, &frozen);
    content_hash(buf_slice(&frozen), hash);
    int r = !c || may_change(conf, cc->name)
                ? 0
                : check_frozen(d, c, cc, buf_slice(&frozen), slice_of(hash, 64), e);
    if (!r) {
        r = content_compile(&cc->content, cc->name, &content, e);
        if (r)
            err_prefix(e, "%.*s:%d: campaign ", SLICE_FMT(cc->place.file), cc->place.line);
    }
    content_free(content);
    buf_free(&frozen);
    return r;
}

int deliver_check(struct deliver *d, const struct deliver_conf *conf, struct err *e)
{
    const struct conf *script = conf->conf;
    struct rules *rules = NULL;
    int r = rules_compile_shipped(script->rules, script->nrules, &rules, e);
    rules_free(rules);
    for (size_t i = 0; !r && i < script->nstreams; i++) {
        struct identity *identity = NULL;
        r = identity_new(&script->streams[i], &d->secret, &identity, e);
        identity_free(identity);
    }
    for (size_t i = 0; !r && i < script->ncampaigns; i++)
        r = check_campaign(d, conf, &script->campaigns[i], e);
    return r;
}

static void campaign_free(struct deliver *d, struct campaign *c)
{
    loop_timer_stop(d->loop, &c->timer);
    content_free(c->content);
    if (c->content_hash.n)
        free((char *)c->content_hash.p);
    free(c->why);
    free(c);
}

static void shares_free(struct deliver *d)
{
    size_t at = 0;
    for (struct site *s; (s = sites_next_site(d->sites, &at));)
        site_free_shares(s);
}

void deliver_free(struct deliver *d)
{
    size_t at = 0;
    if (!d)
        return;
    d->draining = d->ending = true;
    loop_timer_stop(d->loop, &d->compact_timer);
    loop_timer_stop(d->loop, &d->spool_timer);
    loop_task_cancel(d->loop, &d->batch_task);
    steer_stop(d);
    sessions_stop(d->sessions);
    suppress_stop(d->suppress);
    if (d->spool)
        spool_stop(d->spool);
    work_free(d->pool);
    work_free(d->sync);
    spool_free(d->spool);
    suppress_free(d->suppress);
    file_close(d->lock);
    sessions_free(d->sessions);
    if (d->sites)
        shares_free(d);
    paths_free(d->paths);
    sites_free(d->sites);
    queue_free(d->queue);
    tls_client_free(d->tls);
    rules_free(d->rules);
    for (struct map_entry *m; (m = map_next(&d->campaigns, &at));) {
        struct campaign *c = m->value;
        free((char *)c->name.p);
        campaign_free(d, c);
    }
    at = 0;
    for (struct map_entry *m; (m = map_next(&d->streams, &at));) {
        struct stream *st = m->value;
        campaign_free(d, st->alone);
        identity_free(st->identity);
        free(st->sources);
        free(st->source_weight);
        free(st->source_pass);
        free((char *)st->name.p);
        free(st);
    }
    for (int i = 0; i < NAME_KINDS; i++) {
        for (size_t n = 0; n < d->names[i].n; n++)
            free((char *)d->names[i].v[n].p);
        free(d->names[i].v);
        map_free(&d->names[i].by_name);
    }
    if (d->batch) {
        for (size_t i = 0; i < d->batch->n; i++)
            if (d->batch->v[i].suppressed)
                outcome_free(d->batch->v[i].suppressed);
        free(d->batch->v);
        free(d->batch);
    }
    batch_free_all(d);
    steer_free(d);
    map_free(&d->streams);
    map_free(&d->campaigns);
    keyset_free(&d->keys);
    keyset_free(&d->rewrite_live);
    free(d->by_number);
    free(d->use);
    buf_free(&d->scratch);
    buf_free(&d->payload);
    free(d);
}

/* --- looking --- */

struct deliver_counts deliver_counts(const struct deliver *d)
{
    struct deliver_counts c = d->counts;
    c.queued = queue_count(d->queue);
    c.ready = queue_count_state(d->queue, Q_READY) + queue_count_state(d->queue, Q_RAW);
    c.in_flight = queue_count_state(d->queue, Q_CLAIMED);
    c.retry = queue_count_state(d->queue, Q_RETRY);
    c.held = queue_count_state(d->queue, Q_HELD);
    c.connections = sessions_count(d->sessions);
    return c;
}

void deliver_waiting(struct deliver *d,
                     void (*fn)(void *data, struct slice isp, struct slice campaign, uint64_t n), void *data)
{
    for (uint64_t id = 0; (id = queue_next(d->queue, id));) {
        const struct lane *lane = queue_lane_at(d->queue, queue_get(d->queue, id)->lane);
        const struct site *site = lane->domain->site;
        fn(data, site ? site->isp->name : SLICE_NONE,
           lane->campaign->number ? lane->campaign->name : SLICE_NONE, 1);
    }
}

/* What is ready waits for something: for DNS, a site that is down, a path that is held, or only for its turn.
 */
int64_t deliver_next_due_ms(struct deliver *d)
{
    enum { SOON_MS = 1000 };
    int64_t now = loop_now_ms(d->loop), wall = loop_wall_ms(d->loop), due = queue_next_due_ms(d->queue);
    size_t at = 0;
    if (queue_count_state(d->queue, Q_CLAIMED) || queue_count_state(d->queue, Q_HOOK) || d->batches_open ||
        d->readings)
        return 0;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));)
        if (c->run == CAMPAIGN_LATER && c->queued && c->conf->at_ms < due)
            due = c->conf->at_ms;
    at = 0;
    for (struct domain *dom; (dom = sites_next_domain(d->sites, &at));) {
        for (struct lane *lane = dom->lanes; lane; lane = lane->of_domain) {
            if (lane->campaign->run != CAMPAIGN_RUNNING || (!lane->ready.n && !lane->raw.n) ||
                steer_lane_paused(d, lane))
                continue;
            int64_t mine = 0;
            if (dom->state == DOMAIN_WAITING)
                mine = wall + loop_timer_due_ms(&dom->timer) - now;
            else if (dom->state == DOMAIN_OK && dom->site->state == SITE_DOWN)
                mine = wall + loop_timer_due_ms(&dom->site->timer) - now;
            else if (dom->state == DOMAIN_OK)
                mine = path_release_ms(dom->site->isp, lane);
            if (!mine)
                return 0;
            if (mine < due)
                due = mine;
            if (due <= wall + SOON_MS) /* as good as now: the rest need not be looked through */
                return due;
        }
    }
    return due;
}

const struct spool_report *deliver_replay_report(const struct deliver *d)
{
    return &d->report;
}

struct queue *deliver_queue(struct deliver *d)
{
    return d->queue;
}

struct spool *deliver_spool(struct deliver *d)
{
    return d->spool;
}

struct suppress *deliver_suppress(struct deliver *d)
{
    return d->suppress;
}
