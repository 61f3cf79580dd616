/* timesheet.c - see timesheet.h. */
#include "delivery/timesheet.h"
#include "base/map.h"
#include "base/words.h"
#include "delivery/steer.h"
#include "platform/spool.h"

#include <stdlib.h>

struct reading {
    struct event_names *names;
    struct reasons *reasons;
    struct map chains; /* message id → struct chain */
};

static struct chain *chain_of(struct reading *r, uint64_t id, bool make)
{
    struct chain *c = map_get(&r->chains, slice_of(&id, sizeof id));
    if (c || !make)
        return c;
    c = mem_zalloc(sizeof *c);
    c->id = id;
    c->recipient = SLICE_NONE;
    map_put(&r->chains, slice_of(&id, sizeof id), c);
    return c;
}

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct reading *r = data;
    struct chain *c;
    struct rec rec;
    uint64_t id;
    (void)kind;
    (void)pos;
    if (rec_get(payload, &rec))
        return 0;
    event_names_learn(r->names, &rec);
    reasons_learn(r->reasons, &rec, r->names);
    if (rec.type == REC_RECIPIENT)
        chain_recipient(chain_of(r, rec.recipient.id, true), &rec.recipient);
    else if (rec.type == REC_EVENT)
        chain_event(chain_of(r, rec.event.id, true), &rec.event);
    else if (rec.type == REC_BEGIN && (c = chain_of(r, rec.begin.id, false)))
        chain_begin(c, &rec.begin);
    else if (rec.type == REC_DUE && (c = chain_of(r, rec.due.id, false)))
        chain_due(c, &rec.due);
    else if (rec.type == REC_STEER && rec.steer.kind == STEER_ID &&
             !event_message_parse(rec.steer.name, &id) && (c = chain_of(r, id, false)))
        chain_steer(c, &rec.steer);
    return 0;
}

struct adding {
    struct timesheet *t;
    int64_t unnamed_ms;
};

static void on_stretch(void *data, size_t step, const struct reason *r)
{
    struct adding *a = data;
    (void)step;
    a->t->ms[r->kind < REASON_KINDS ? r->kind : REASON_NONE] += r->end_ms - r->begin_ms;
    if (r->kind == REASON_NONE)
        a->unnamed_ms += r->end_ms - r->begin_ms;
}

int timesheet_read(struct fs *fs, const char *state, int64_t now_ms, bool running, struct timesheet *out,
                   struct err *e)
{
    struct reading r = {.names = event_names_new(NULL), .reasons = reasons_new()};
    struct spool_report report;
    size_t at = 0;
    map_init(&r.chains, (struct hash_key){5, 6}); /* numbers that we gave */
    *out = (struct timesheet){0};
    int rc = spool_scan(fs, state, on_record, NULL, &r, &report, e);
    reasons_end(r.reasons, now_ms, running);
    for (struct map_entry *m; (m = map_next(&r.chains, &at));) {
        struct chain *c = m->value;
        struct adding a = {.t = out};
        if (!rc)
            chain_walk(c, r.reasons, r.names, now_ms, on_stretch, &a);
        out->messages++;
        if (a.unnamed_ms > out->worst_ms) {
            out->worst_ms = a.unnamed_ms;
            out->worst_id = c->id;
        }
        chain_free(c);
        free(c);
    }
    map_free(&r.chains);
    reasons_free(r.reasons);
    event_names_free(r.names);
    return rc;
}

void timesheet_text(const struct timesheet *t, struct buf *out)
{
    bool done[REASON_KINDS] = {false};
    for (int round = 0; round < REASON_KINDS; round++) {
        int best = -1;
        for (int k = 0; k < REASON_KINDS; k++)
            if (!done[k] && t->ms[k] && (best < 0 || t->ms[k] > t->ms[best]))
                best = k;
        if (best < 0)
            return;
        done[best] = true;
        buf_printf(out, "%s%s ", out->n ? ", " : "",
                   best ? reason_kind_name((unsigned)best) : "without a reason");
        words_duration_text(out, t->ms[best]);
    }
}
