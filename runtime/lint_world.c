/* lint_world.c - see lint.h: the files that a script names, and the machine it runs on. */
#include "lint_impl.h"
#include "format/dkim.h"
#include "format/text.h"
#include "intake.h"
#include "platform/conn.h"
#include "platform/file.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEOPLE_LOOKED_AT = 1000, CHUNK = 1 << 20 };

const char *lint_duration(int64_t ms, char room[32])
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "days"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (i + 1 < COUNT(units) && (ms < 2 * units[i].ms && ms != units[i].ms))
        i++;
    snprintf(room, 32, "%lld %s", (long long)((ms + units[i].ms / 2) / units[i].ms),
             i == 0 && ms == units[0].ms ? "day" : units[i].name);
    return room;
}

/* --- keys --- */

static void lint_key(const struct lint *l, const char *script, const struct conf_stream *s,
                     const struct conf_dkim *d)
{
    const char *slash = strrchr(script, '/');
    bool absolute = d->key_path.n && d->key_path.p[0] == '/';
    char *path = arena_printf(l->arena, "%.*s%.*s", absolute || !slash ? 0 : (int)(slash - script) + 1,
                              script, SLICE_FMT(d->key_path));
    struct dkim_key *key = NULL;
    struct fs_stat st;
    struct err e;
    int r = dkim_key_load(d->key_pem, &key, &e);
    INVARIANT(!r); /* a script whose keys cannot be read does not load */
    if (key->weak)
        lint_say(l, LINT_WARNING, &s->place, "stream \"%.*s\": %.*s has %d bits; 2048 are wanted (RFC 8301)",
                 SLICE_FMT(s->name), SLICE_FMT(d->key_path), key->bits);
    if (!fs_stat(hato_script_fs(l->hato), path, &st, &e) && st.mode & 077)
        lint_say(l, LINT_WARNING, &s->place,
                 "stream \"%.*s\": others can read the key %.*s (mode %04o): chmod 600", SLICE_FMT(s->name),
                 SLICE_FMT(d->key_path), st.mode & 07777);
    dkim_key_free(key);
}

/* Only the From domain, one above or one below it can ever agree with it (DMARC). */
static void lint_signature(const struct lint *l, const struct conf_stream *s)
{
    for (size_t i = 0; i < s->ndkim; i++)
        if (conf_name_matches(s->dkim[i].domain, s->domain) ||
            conf_name_matches(s->domain, s->dkim[i].domain))
            return;
    if (s->ndkim)
        lint_say(l, LINT_WARNING, &s->place,
                 "stream \"%.*s\": no signature is of its From domain %.*s or one above: DMARC may fail; "
                 "hato check "
                 "--published knows",
                 SLICE_FMT(s->name), SLICE_FMT(s->domain));
}

/* --- this machine --- */

static void on_nobody(struct listener *listener, struct conn *c, void *data)
{
    conn_close(c, CONN_DROP);
}

static void lint_address(const struct lint *l, const struct conf_source *s)
{
    struct listener *listener;
    struct ip_port at = {s->address, 0};
    struct err e;
    char room[IP_TEXT];
    if (!s->address.family)
        return;
    if (!conn_listen(hato_net(l->hato), &at, on_nobody, NULL, &listener, &e)) {
        listener_close(listener);
        return;
    }
    struct slice ip = ip_text(&s->address, room);
    lint_say(l, LINT_WARNING, &s->place,
             "source \"%.*s\": %.*s is no address of this machine: nothing leaves by it here",
             SLICE_FMT(s->name), SLICE_FMT(ip));
}

/* --- people --- */

struct people {
    const struct lint *l;
    const struct conf_campaign *conf;
    uint64_t good, bad, first_line;
    struct slice first_why;
    struct lint_crowd crowd;
    bool over;
    int status;
    struct err err;
};

static int on_take(void *data, const struct intake_row *row)
{
    struct people *p = data;
    lint_crowd_add(&p->crowd, p->l->conf, row->addr->domain_ascii, 1);
    return ++p->good + p->bad < PEOPLE_LOOKED_AT ? ERR_CANCELED : ERR_LIMIT;
}

static void on_bad(void *data, uint64_t line, struct slice address, const char *why)
{
    struct people *p = data;
    (void)address;
    if (!p->bad++) {
        p->first_line = line;
        p->first_why = arena_copy(p->l->arena, slice_cstr(why));
    }
}

static void on_done(void *data, int status, const struct err *e)
{
    struct people *p = data;
    p->over = true;
    p->status = status;
    if (status)
        p->err = *e;
    loop_stop(hato_loop(p->l->hato));
}

static uint64_t lines_of(const struct lint *l, struct slice csv)
{
    char *path = arena_printf(l->arena, "%.*s", SLICE_FMT(csv)), *room;
    struct file *f;
    uint64_t lines = 0, at = 0;
    size_t got = 1;
    if (file_open(hato_script_fs(l->hato), path, FILE_READ, 0, &f, NULL))
        return 0;
    room = mem_alloc(CHUNK);
    while (got && !file_pread(f, at, room, CHUNK, &got, NULL)) {
        for (const char *p = room, *end = room + got; (p = memchr(p, '\n', (size_t)(end - p))); p++)
            lines++;
        at += got;
    }
    free(room);
    file_close(f);
    return lines ? lines - 1 : 0;
}

static void lint_people(const struct lint *l, uint16_t index)
{
    const struct conf_campaign *k = &l->conf->campaigns[index];
    struct campaign *campaign = deliver_campaign(hato_deliver(l->hato), k->name);
    struct people p = {.l = l, .conf = k, .first_why = SLICE_NONE};
    if (k->people != CONF_PEOPLE_CSV || !campaign)
        return;
    lint_crowd_init(&p.crowd, l);
    struct intake *in = intake_start(&(struct intake_conf){.loop = hato_loop(l->hato),
                                                           .fs = hato_script_fs(l->hato),
                                                           .deliver = hato_deliver(l->hato),
                                                           .campaign = campaign,
                                                           .api = hato_api(l->hato),
                                                           .index = index,
                                                           .data = &p,
                                                           .take = on_take,
                                                           .bad = on_bad,
                                                           .done = on_done});
    while (!p.over)
        loop_run(hato_loop(l->hato));
    intake_free(in);
    bool enough = p.good + p.bad >= PEOPLE_LOOKED_AT;
    if (p.status && !enough) {
        lint_say(l, LINT_ERROR, &k->place, "campaign \"%.*s\": %s", SLICE_FMT(k->name), p.err.text);
        goto out;
    }
    if (p.bad)
        lint_say(l, p.good ? LINT_WARNING : LINT_ERROR, &k->place,
                 "campaign \"%.*s\": %s of the first %llu people %s bad rows, as line %llu: %.*s",
                 SLICE_FMT(k->name), p.good ? "some" : "all", (unsigned long long)(p.good + p.bad),
                 p.good ? "are" : "would be", (unsigned long long)p.first_line, SLICE_FMT(p.first_why));
    if (enough)
        lint_crowd_scale(&p.crowd, l->conf, lines_of(l, k->csv_path));
    lint_last(l, k, &p.crowd, deliver_warmups(hato_deliver(l->hato)));
out:
    lint_crowd_free(&p.crowd);
}

void lint_script(struct hato *h, const char *script, lint_fn *fn, void *data)
{
    struct arena arena = {0};
    struct lint l = {.hato = h,
                     .conf = hato_conf(h),
                     .arena = &arena,
                     .now_ms = loop_wall_ms(hato_loop(h)),
                     .fn = fn,
                     .data = data};
    lint_conf(&l);
    for (size_t i = 0; i < l.conf->nstreams; i++) {
        const struct conf_stream *s = &l.conf->streams[i];
        lint_signature(&l, s);
        for (size_t j = 0; j < s->ndkim; j++)
            lint_key(&l, script, s, &s->dkim[j]);
    }
    for (size_t i = 0; i < l.conf->nsources; i++)
        lint_address(&l, &l.conf->sources[i]);
    for (size_t i = 0; i < l.conf->ncampaigns; i++)
        lint_people(&l, (uint16_t)i);
    arena_free(&arena);
}
