/* fuzz_event.c - whatever the journal says, an event prints as JSON that another reader takes, and as one
 * line. Input: records, each behind a byte with its length (0: all that is left). */
#include "base/err.h"
#include "delivery/explain.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct rec_event *ev, const struct event_names *names)
{
    struct buf b = {0};
    event_json(&b, ev, names);
    json_error_t e;
    json_t *j = json_loadb(b.p, b.n, JSON_ALLOW_NUL, &e);
    /* The one thing that this reader does not take and JSON allows. */
    INVARIANT(j || json_error_code(&e) == json_error_null_byte_in_key);
    INVARIANT(!j || (json_is_string(json_object_get(j, "id")) && json_object_get(j, "meta")));
    json_decref(j);
    buf_clear(&b);
    event_line(&b, ev, names);
    INVARIANT(!memchr(b.p, '\n', b.n) && !memchr(b.p, '\x1b', b.n));
    buf_clear(&b);
    explain_event(&b, ev, names, 4);
    INVARIANT(!memchr(b.p, '\x1b', b.n));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char key[32] = {1};
    struct secret secret;
    secret_from_bytes(key, &secret);
    struct event_names *names = event_names_new(&secret);
    while (size) {
        struct rec r;
        struct rec_event ev;
        size_t n = *data && *data < size ? *data : size - 1;
        struct slice payload = slice_of(data + 1, n);
        data += n + 1;
        size -= n + 1;
        if (rec_get(payload, &r))
            continue;
        event_names_learn(names, &r);
        if (r.type == REC_RECIPIENT) {
            event_of_recipient(&r.recipient, &ev);
            print(&ev, names);
        } else if (r.type == REC_EVENT) {
            print(&r.event, names);
        }
    }
    event_names_free(names);
    return 0;
}
