/* spool_dump.c - prints a state folder's journal as JSON lines, one a record in order, for tests to judge:
 *   spool_dump STATE-DIR
 * It only reads, also beside a running process. What could not be read goes to standard error. */
#include "base/json.h"
#include "format/record.h"
#include "platform/spool.h"

#include <stdio.h>

static void put_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, ",\"%s\":", name);
    json_quote(out, text);
}

static void put_key(struct buf *out, const struct hash128 *key)
{
    buf_printf(out, ",\"key\":\"%016llx%016llx\"", (unsigned long long)key->lo, (unsigned long long)key->hi);
}

static void put_record(struct buf *out, const struct rec *r)
{
    switch (r->type) {
    case REC_NAME:
        buf_printf(out, "\"type\":\"name\",\"kind\":%u,\"number\":%u", r->name.kind, r->name.number);
        put_text(out, "name", r->name.name);
        break;
    case REC_RECIPIENT:
        buf_printf(out, "\"type\":\"recipient\",\"id\":%llu", (unsigned long long)r->recipient.id);
        put_text(out, "to", r->recipient.address);
        if (r->recipient.has_key)
            put_key(out, &r->recipient.key);
        break;
    case REC_KEY:
        buf_printf(out, "\"type\":\"key\",\"id\":%llu", (unsigned long long)r->key.id);
        put_key(out, &r->key.key);
        break;
    case REC_BEGIN:
        buf_printf(out, "\"type\":\"begin\",\"id\":%llu,\"attempt\":%u", (unsigned long long)r->begin.id,
                   r->begin.attempt);
        break;
    case REC_SESSION:
        buf_printf(out, "\"type\":\"session\",\"session\":%llu", (unsigned long long)r->session.session);
        break;
    case REC_EVENT:
        buf_printf(out, "\"type\":\"event\",\"id\":%llu,\"event\":%llu,\"attempt\":%u,\"code\":%u",
                   (unsigned long long)r->event.id, (unsigned long long)r->event.event, r->event.attempt,
                   r->event.code);
        put_text(out, "what", rec_event_name(r->event.type));
        put_text(out, "to", r->event.recipient);
        break;
    case REC_CAMPAIGN:
        buf_printf(out, "\"type\":\"campaign\",\"campaign\":%u,\"state\":%u", r->campaign.campaign,
                   r->campaign.state);
        break;
    case REC_STEER:
        buf_printf(out, "\"type\":\"steer\",\"kind\":%u,\"paused\":%d", r->steer.kind, r->steer.paused);
        put_text(out, "name", r->steer.name);
        break;
    case REC_DUE:
        buf_printf(out, "\"type\":\"due\",\"id\":%llu,\"due_ms\":%lld", (unsigned long long)r->due.id,
                   (long long)r->due.due_ms);
        break;
    case REC_INTERVAL:
        buf_printf(out, "\"type\":\"interval\",\"kind\":%u,\"begin_ms\":%lld,\"end_ms\":%lld",
                   r->interval.kind, (long long)r->interval.begin_ms, (long long)r->interval.end_ms);
        put_text(out, "why", r->interval.why);
        break;
    case REC_TALLY:
        buf_printf(out, "\"type\":\"tally\",\"source\":%u,\"isp\":%u,\"answers\":%llu", r->tally.source,
                   r->tally.isp, (unsigned long long)r->tally.answers);
        put_text(out, "rule", r->tally.rule);
        break;
    case REC_WARMUP:
        buf_printf(out,
                   "\"type\":\"warmup\",\"source\":%u,\"isp\":%u,\"from\":%u,\"day\":%lld,\"position\":%u,"
                   "\"used\":%u,\"delivered\":%u",
                   r->warmup.source, r->warmup.isp, r->warmup.from, (long long)r->warmup.day,
                   r->warmup.position, r->warmup.used, r->warmup.delivered);
        break;
    case REC_MEASURE:
        buf_printf(out, "\"type\":\"measure\",\"until_ms\":%lld", (long long)r->measure.until_ms);
        put_text(out, "why", r->measure.why);
        break;
    }
}

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct buf *out = data;
    struct rec r;
    buf_clear(out);
    buf_printf(out, "{\"segment\":%u,\"offset\":%u,", pos.segment, pos.offset);
    if (rec_get(payload, &r))
        buf_printf(out, "\"type\":\"unreadable\",\"kind\":%d", kind);
    else
        put_record(out, &r);
    buf_add(out, "}\n", 2);
    return fwrite(out->p, 1, out->n, stdout) == out->n ? 0 : ERR_IO;
}

static void on_notice(void *data, int code, const char *text)
{
    (void)data;
    fprintf(stderr, "spool_dump: %s: %s\n", err_name(code), text);
}

int main(int argc, char **argv)
{
    struct buf out = {0};
    struct spool_report report;
    struct err e = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: spool_dump STATE-DIR\n");
        return 2;
    }
    struct fs *fs = fs_real();
    int r = spool_scan(fs, argv[1], on_record, on_notice, &out, &report, &e);
    if (!r && fflush(stdout))
        r = err_set(&e, ERR_IO, "standard output cannot be written");
    if (r)
        fprintf(stderr, "spool_dump: %s\n", e.text);
    fs_free(fs);
    buf_free(&out);
    return r ? 1 : 0;
}
