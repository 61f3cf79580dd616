/* fuzz_frame.c - any bytes as a file of frames: the reader ends, stays inside, and what it read encodes back.
 */
#include "format/frame.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size), payload;
    struct buf again = {0};
    unsigned tag;
    for (int rc; (rc = frame_next(&in, 7, &tag, &payload)) != ERR_EOF;) {
        if (rc) {
            size_t skip = frame_resync(in, 7);
            INVARIANT(skip > 0 && skip <= in.n);
            in = slice_of(in.p + skip, in.n - skip);
            continue;
        }
        const char *begin = payload.p - FRAME_HEADER_BYTES;
        buf_clear(&again);
        frame_put(&again, 7, tag, payload);
        INVARIANT(begin >= (const char *)data && begin + again.n <= (const char *)data + size);
        INVARIANT(memcmp(begin, again.p, again.n) == 0);
    }
    /* The input as a payload comes back whole, whatever stands before it (short enough for frame_resync to
     * try every place). */
    if (size > 120)
        size = 120;
    size_t most = size;
    buf_clear(&again);
    buf_add(&again, data, size);
    frame_put(&again, 9, 1, slice_of(data, most));
    in = buf_slice(&again);
    bool found = false;
    for (int rc; !found && (rc = frame_next(&in, 9, &tag, &payload)) != ERR_EOF;) {
        if (rc) {
            size_t skip = frame_resync(in, 9);
            in = slice_of(in.p + skip, in.n - skip);
        } else {
            found = slice_eq(payload, slice_of(data, most));
        }
    }
    INVARIANT(found);
    buf_free(&again);
    return 0;
}
