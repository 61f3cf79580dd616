/* script_event.c - see script_event.h. */
#include "script_event.h"
#include "delivery/event.h"

#include <stdio.h>

struct hook_field script_text(const char *name, struct slice text)
{
    return (struct hook_field){.name = name, .kind = HOOK_TEXT, .text = text};
}

static struct hook_field int_field(const char *name, int64_t n)
{
    return (struct hook_field){.name = name, .kind = HOOK_INT, .text = SLICE_NONE, .n = n};
}

void script_message_name(char out[32], uint64_t id)
{
    snprintf(out, 32, "m%llu", (unsigned long long)id);
}

void script_event_fill(struct script_event *s, const struct deliver *d, const struct rec_event *ev)
{
    struct hook_field *f = s->fields;
    s->n = 0;
    script_message_name(s->message, ev->id);
    f[s->n++] = script_text("type", rec_event_name(ev->type));
    f[s->n++] = int_field("id", (int64_t)ev->event);
    f[s->n++] = script_text("message", slice_cstr(s->message));
    f[s->n++] = int_field("time", ev->at_ms);
    f[s->n++] = script_text("recipient", ev->recipient);
    const struct {
        const char *name;
        struct slice text;
    } texts[] = {{"campaign", deliver_name(d, NAME_CAMPAIGN, ev->campaign)},
                 {"stream", deliver_name(d, NAME_STREAM, ev->stream)},
                 {"isp", deliver_name(d, NAME_ISP, ev->isp)},
                 {"source", deliver_name(d, NAME_SOURCE, ev->source)},
                 {"pool", deliver_name(d, NAME_POOL, ev->pool)},
                 {"class", ev->class_name},
                 {"rule", ev->rule},
                 {"person", slice_cstr(event_person(ev))},
                 {"text", ev->text}};
    for (size_t i = 0; i < COUNT(texts); i++)
        if (texts[i].text.n)
            f[s->n++] = script_text(texts[i].name, texts[i].text);
    if (ev->phase)
        f[s->n++] = script_text("phase", slice_cstr(event_phase(ev)));
    if (ev->enh_class) {
        snprintf(s->enhanced, sizeof s->enhanced, "%u.%u.%u", ev->enh_class, ev->enh_subject, ev->enh_detail);
        f[s->n++] = script_text("enhanced", slice_cstr(s->enhanced));
    }
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"attempt", ev->attempt},       {"code", ev->code},
                   {"next_due", ev->next_due_ms},  {"queued_ms", ev->queued_ms},
                   {"connect_ms", ev->connect_ms}, {"send_ms", ev->send_ms},
                   {"size", (int64_t)ev->size},    {"unmappable", ev->unmappable}};
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (numbers[i].value)
            f[s->n++] = int_field(numbers[i].name, numbers[i].value);
    if (ev->flags & REC_FLAG_TEST)
        f[s->n++] = (struct hook_field){.name = "test", .kind = HOOK_BOOL, .text = SLICE_NONE, .n = 1};
    if (ev->meta.n)
        f[s->n++] = (struct hook_field){.name = "meta", .kind = HOOK_MSGPACK, .text = ev->meta};
    INVARIANT(s->n <= COUNT(s->fields));
}
