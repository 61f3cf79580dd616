/* tz_test.c - zones: offsets before, inside and behind the file's table; times that a clock leaves out or
 * shows twice. The zones in golden/tz are compiled from the IANA database, which is in the public domain. */
#include "format/tz.h"
#include "test.h"

#include <stdlib.h>

static struct tz *zone(const char *name)
{
    char path[64];
    struct tz *tz = NULL;
    snprintf(path, sizeof path, "tests/golden/tz/%s", name);
    if (tz_parse(test_file(path), &tz))
        test_fail(__FILE__, __LINE__, "%s is no zone", name);
    return tz;
}

TEST(offsets_follow_the_table_and_then_the_rule)
{
    static const struct {
        const char *zone;
        int64_t utc_s;
        int offset;
    } rows[] = {
        {"Tokyo", 1782864000, 9 * 3600},      {"Tokyo", -3000000000, 33539}, /* local mean time */
        {"New_York", 1782864000, -4 * 3600},  {"New_York", 1767225600, -5 * 3600},
        {"New_York", 1772953199, -5 * 3600},  {"New_York", 1772953200, -4 * 3600}, /* 2026-03-08 07:00 UTC */
        {"New_York", 1793512799, -4 * 3600},  {"New_York", 1793512800, -5 * 3600}, /* 2026-11-01 06:00 UTC */
        {"New_York", 4118097600, -4 * 3600},  {"New_York", 4102462800, -5 * 3600}, /* 2100: by rule */
        {"Lord_Howe", 1767225600, 11 * 3600}, {"Lord_Howe", 1782864000, 37800},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tz *tz = zone(rows[i].zone);
        int got = tz_offset(tz, rows[i].utc_s);
        tz_free(tz);
        if (got != rows[i].offset) {
            test_fail(__FILE__, __LINE__, "%s at %lld: got %d, want %d", rows[i].zone,
                      (long long)rows[i].utc_s, got, rows[i].offset);
            return;
        }
    }
}

TEST(a_wall_clock_time_is_the_first_instant_that_fits)
{
    static const struct {
        const char *zone, *wall;
        int64_t utc_s;
    } rows[] = {
        {NULL, "2026-07-01 10:00", 1782900000},
        {"Tokyo", "2026-07-01 10:00", 1782867600},
        {"Tokyo", "2028-02-29", 1835362800},
        {"New_York", "2026-03-08 01:59:59", 1772953199},
        {"New_York", "2026-03-08 02:30", 1772953200}, /* left out: the first valid instant */
        {"New_York", "2026-03-08 03:00", 1772953200},
        {"New_York", "2026-11-01 01:30", 1793511000}, /* twice: the first */
        {"New_York", "2026-11-01 02:00", 1793516400},
        {"Lord_Howe", "2026-10-04 02:15", 1791041400}, /* half an hour is left out */
        {"Lord_Howe", "2026-04-05 01:45", 1775313900},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tz *tz = rows[i].zone ? zone(rows[i].zone) : NULL;
        struct tz_wall wall;
        int r = tz_read_wall(slice_cstr(rows[i].wall), &wall);
        int64_t got = r ? 0 : tz_to_utc(tz, &wall);
        tz_free(tz);
        if (got != rows[i].utc_s) {
            test_fail(__FILE__, __LINE__, "%s in %s: got %lld, want %lld", rows[i].wall,
                      rows[i].zone ? rows[i].zone : "UTC", (long long)got, (long long)rows[i].utc_s);
            return;
        }
    }
}

TEST(a_wall_clock_text_is_a_real_date_or_an_error)
{
    static const struct {
        const char *text;
        int r;
    } rows[] = {
        {"2026-02-29", ERR_RANGE},     {"2026-13-01", ERR_RANGE},  {"2026-07-01 24:00", ERR_RANGE},
        {"2026-07-01 10", ERR_SYNTAX}, {"tomorrow", ERR_SYNTAX},   {"2026-07-01 10:00 JST", ERR_SYNTAX},
        {"2026/07/01", ERR_SYNTAX},    {"2026-07-01T10:00:30", 0}, {" 2026-7-1 9:05 ", 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tz_wall wall;
        CHECK_INT(tz_read_wall(slice_cstr(rows[i].text), &wall), rows[i].r);
    }
}

TEST(bytes_that_are_no_zone_are_refused)
{
    struct slice good = test_file("tests/golden/tz/Lord_Howe");
    for (size_t n = 0; n < good.n; n++) {
        char *cut = mem_dup(good.p, n);
        struct tz *tz = NULL;
        if (!tz_parse(slice_of(cut, n), &tz))
            tz_offset(tz, 1782864000);
        tz_free(tz);
        free(cut);
    }
    struct tz *tz;
    CHECK_INT(tz_parse(S(""), &tz), ERR_SYNTAX);
    CHECK_INT(tz_parse(S("TZif1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &tz), ERR_SYNTAX);
}
