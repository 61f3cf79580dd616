/* fuzz_tz.c - time zone files: any bytes are a zone or an error, and a zone answers any question. */
#include "format/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tz *tz;
    if (tz_parse(slice_of(data, n), &tz))
        return 0;
    static const int years[] = {0, 1800, 1970, 2026, 2037, 2100, 9999};
    for (size_t i = 0; i < COUNT(years); i++) {
        struct tz_wall wall = {years[i], 3, 8, 2, 30, 0};
        int64_t utc = tz_to_utc(tz, &wall);
        INVARIANT(tz_offset(tz, utc) > -1000000 && tz_offset(tz, utc) < 1000000);
    }
    tz_free(tz);
    return 0;
}
