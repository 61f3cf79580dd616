/* words_test.c - durations, near names, option tables. */
#include "base/err.h"
#include "base/words.h"
#include "opts.h"
#include "test.h"

TEST(sizes_are_read_as_people_write_them)
{
    static const struct {
        const char *in;
        int r;
        uint64_t bytes;
    } rows[] = {{"1 kB", 0, 1000},
                {"500 MB", 0, 500000000},
                {" 20GB ", 0, 20000000000},
                {"2 TB", 0, 2000000000000},
                {"1 KiB", 0, 1024},
                {"64 MiB", 0, 67108864},
                {"3 GiB", 0, 3221225472},
                {"1 TiB", 0, 1099511627776},
                {"20", ERR_SYNTAX, 7},
                {"20 gb", ERR_SYNTAX, 7},
                {"GB", ERR_SYNTAX, 7},
                {"-1 GB", ERR_SYNTAX, 7},
                {"99999999 TB", ERR_RANGE, 7}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t bytes = 7;
        CHECK_INT(words_size(slice_cstr(rows[i].in), &bytes), rows[i].r);
        CHECK(bytes == rows[i].bytes);
    }
}

TEST(durations_are_what_people_say)
{
    static const struct {
        const char *in;
        int r;
        int64_t ms;
    } rows[] = {{"90 s", 0, 90000},
                {"10 min", 0, 600000},
                {"2h", 0, 7200000},
                {"3 days", 0, 259200000},
                {"0", 0, 0},
                {"forever", 0, INT64_MAX},
                {" 1 week ", 0, 604800000},
                {"10", ERR_SYNTAX, 0},
                {"min", ERR_SYNTAX, 0},
                {"-1 s", ERR_SYNTAX, 0},
                {"1 parsec", ERR_SYNTAX, 0},
                {"99999999999999 weeks", ERR_RANGE, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t ms = 0;
        CHECK_INT(words_duration(slice_cstr(rows[i].in), &ms), rows[i].r);
        CHECK_INT(ms, rows[i].ms);
    }
}

TEST(duration_text_names_two_units)
{
    static const struct {
        int64_t ms;
        const char *want;
    } rows[] = {{0, "0 ms"},         {250, "250 ms"},           {45000, "45 s"},     {11520000, "3 h 12 min"},
                {86400000, "1 day"}, {180000000, "2 days 2 h"}, {61500, "1 min 1 s"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        words_duration_text(&b, rows[i].ms);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

TEST(an_unknown_name_finds_the_near_one)
{
    struct slice names[] = {S("subject"), S("preheader"), S("from")};
    CHECK_STR(words_near(S("subjet"), names, 3), S("subject"));
    CHECK_STR(words_near(S("form"), names, 3), S("from"));
    CHECK_STR(words_near(S("frm"), names, 3), S("from"));
    CHECK_STR(words_near(S("attachment"), names, 3), S(""));
}

struct sample {
    bool json;
    const char *state;
    int64_t wait, limit;
    struct opt_list only;
};

static const struct opt sample_table[] = {
    {OPT_FLAG, "json", NULL, "", offsetof(struct sample, json)},
    {OPT_STRING, "state|s", "DIR", "", offsetof(struct sample, state)},
    {OPT_DURATION, "wait", "DURATION", "", offsetof(struct sample, wait)},
    {OPT_INT, "limit", "N", "", offsetof(struct sample, limit)},
    {OPT_MANY, "only", "ADDRESS", "", offsetof(struct sample, only)},
    {0},
};

TEST(options_fill_their_struct_and_words_stay)
{
    char *argv[] = {"run",    "a.lua", "--json", "--state=x", "--wait", "2 min",
                    "--only", "a@b",   "c@d",    "--limit",   "7",      NULL};
    struct sample s = {0};
    struct opt_list rest = {0};
    struct err e = {0};
    CHECK_INT(opts_parse(11, argv, sample_table, &s, &rest, &e), 0);
    CHECK(s.json && s.wait == 120000 && s.limit == 7 && s.only.n == 2 && rest.n == 1);
    CHECK_STR(slice_cstr(s.state), S("x"));
}

TEST(a_wrong_option_is_told_with_the_near_name)
{
    static const struct {
        char *word, *value;
        const char *want;
    } rows[] = {{"--jsn", NULL, "unknown option --jsn; did you mean --json?"},
                {"--colour", NULL, "unknown option --colour; --help lists them"},
                {"--wait", "ten",
                 "--wait wants a duration such as \"90 s\", \"10 min\", \"2 h\" or \"forever\", not \"ten\""},
                {"--limit", "x", "--limit wants a whole number, not \"x\""},
                {"--state", NULL, "--state wants DIR"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *argv[] = {"run", rows[i].word, rows[i].value, NULL};
        struct sample s = {0};
        struct err e = {0};
        CHECK(opts_parse(rows[i].value ? 3 : 2, argv, sample_table, &s, NULL, &e) < 0);
        CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
    }
}
