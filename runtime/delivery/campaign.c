/* campaign.c - streams and campaigns: made from the script and the journal, bound to frozen content, begun,
 * cancelled, forgotten. */
#include "delivery/campaign.h"
#include "delivery/deliver_impl.h"
#include "delivery/path_impl.h"
#include "delivery/steer.h"

#include <stdlib.h>

static void add_source(struct stream *st, uint16_t source, uint32_t weight)
{
    for (size_t i = st->nown; i < st->nsources; i++) /* one may be named by several warm-ups */
        if (st->sources[i] == source)
            return;
    for (size_t i = 0; i < st->nown; i++)
        if (st->sources[i] == source)
            return;
    size_t n = st->nsources++;
    st->sources = mem_realloc(st->sources, (n + 1) * sizeof *st->sources);
    st->source_weight = mem_realloc(st->source_weight, (n + 1) * sizeof *st->source_weight);
    st->source_credit = mem_realloc(st->source_credit, (n + 1) * sizeof *st->source_credit);
    st->sources[n] = source;
    st->source_weight[n] = weight ? weight : 1;
    st->source_credit[n] = 0;
}

static void add_pool(struct stream *st, const struct conf_pool *pool)
{
    for (size_t i = 0; i < pool->nmembers; i++)
        add_source(st, pool->members[i].source, pool->members[i].weight);
}

static void stream_bind(struct deliver *d, struct stream *st)
{
    const struct conf *conf = d->conf.conf;
    const struct conf_stream *cs = st->conf;
    st->priority = cs->priority;
    st->weight = cs->weight ? cs->weight : 1;
    if (cs->pool != CONF_NONE)
        add_pool(st, &conf->pools[cs->pool]);
    for (size_t i = 0; cs->pool == CONF_NONE && i < conf->nsources; i++)
        add_source(st, (uint16_t)i, 1);
    st->nown = st->nsources;
    for (size_t i = 0; i < conf->nwarmups; i++)
        if (conf->warmups[i].overflow != CONF_NONE &&
            path_source_index(st, conf->warmups[i].source) < st->nown)
            add_pool(st, &conf->pools[conf->warmups[i].overflow]);
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
    campaign_waits(d, c);
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

int streams_bind(struct deliver *d, struct err *e)
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

int campaigns_bind(struct deliver *d, struct err *e)
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

static void on_campaign_time(struct loop_timer *t);

static void update(struct deliver *d, struct campaign *c)
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
        c->runs_since_ms = now;
        write_campaign(d, c, CAMPAIGN_STARTED);
    }
    c->run = CAMPAIGN_RUNNING;
    for (struct lane *lane = c->lanes; lane; lane = lane->of_campaign)
        lane_service(d, lane);
}

void campaign_waits(struct deliver *d, struct campaign *c)
{
    struct interval_cause cause = interval_cause(INTERVAL_CAMPAIGN);
    struct buf words = {0};
    switch (c->run) {
    case CAMPAIGN_RUNNING:
        break;
    case CAMPAIGN_HELD:
        buf_printf(&words, "because its campaign was held: %s",
                   c->why ? c->why : "its stream is not in the script");
        break;
    case CAMPAIGN_INTAKE:
        buf_adds(&words, S("for its campaign to be read to its end"));
        break;
    case CAMPAIGN_LATER:
        buf_printf(&words, "for the time of its campaign (%.*s:%d)", SLICE_FMT(c->conf->place.file),
                   c->conf->place.line);
        cause.until_ms = c->conf->at_ms;
        break;
    case CAMPAIGN_STOPPED:
        buf_adds(&words, S("to be ended: its campaign was cancelled"));
        break;
    }
    struct interval *was = c->waits;
    if (c->number)
        cause.campaign = c->name;
    cause.stream = c->stream->name;
    cause.why = buf_slice(&words);
    c->waits = words.n ? interval_open(d->intervals, &cause) : NULL;
    interval_close(was); /* after that: the same cause goes on */
    buf_free(&words);
}

void campaign_update(struct deliver *d, struct campaign *c)
{
    update(d, c);
    campaign_waits(d, c);
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

int campaign_check(struct deliver *d, const struct deliver_conf *conf, const struct conf_campaign *cc,
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

void campaign_free(struct deliver *d, struct campaign *c)
{
    loop_timer_stop(d->loop, &c->timer);
    content_free(c->content);
    if (c->content_hash.n)
        free((char *)c->content_hash.p);
    free(c->why);
    free(c);
}
