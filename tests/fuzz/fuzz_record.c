/* fuzz_record.c - any bytes as a record: what is accepted must encode to something that reads back the same.
 */
#include "base/err.h"
#include "format/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec r, again;
    if (rec_get(slice_of(data, size), &r))
        return 0;
    struct buf b = {0}, c = {0};
    rec_put(&b, &r);
    INVARIANT(rec_get(buf_slice(&b), &again) == 0);
    rec_put(&c, &again);
    INVARIANT(slice_eq(buf_slice(&b), buf_slice(&c)));
    buf_free(&b);
    buf_free(&c);
    return 0;
}
