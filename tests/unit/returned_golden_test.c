/* returned_golden_test.c - real returned mails (tests/golden/bounces, BSD 2-Clause, its notice beside them),
 * read and compared with the outcome each should give. The marks are those of the format's promise; below one
 * of them the test prints every miss. */
#include "format/returned.h"
#include "format/rule_file.h"
#include "lua/isps.h"
#include "test.h"

#include <jansson.h>

struct tally {
    int cases, in_field, in_field_right, coarse_right, kind_right, status, status_right, false_bounces;
    struct buf misses;
};

static struct slice text_of(const json_t *object, const char *name)
{
    return slice_cstr(json_string_value(json_object_get(object, name)));
}

/* The recipient that a case is about: by its address, else the one at its place. */
static const struct returned_recipient *recipient_of(const struct returned *r, const json_t *item)
{
    static const struct returned_recipient nobody = {.address = {"", 0}, .status = {"", 0}, .rule = "none"};
    size_t index = (size_t)json_integer_value(json_object_get(item, "index")) - 1;

    for (size_t i = 0; i < r->nrecipients; i++)
        if (slice_ieq(r->recipients[i].address, text_of(item, "recipient")))
            return &r->recipients[i];
    return index < r->nrecipients ? &r->recipients[index] : &nobody;
}

static void judge(const json_t *item, const struct returned *r, struct tally *t)
{
    const struct returned_recipient *to = recipient_of(r, item);
    bool nobody = r->nrecipients == 0;
    const char *group = nobody ? "none" : class_group_name(class_group_of(to->cls));
    bool address = slice_ieq(to->address, text_of(item, "recipient"));
    bool coarse = slice_eq(slice_cstr(group), text_of(item, "coarse"));
    bool kind = (to->kind == KIND_HARD) == json_is_true(json_object_get(item, "hardbounce"));
    bool field = json_is_true(json_object_get(item, "recipient_in_dsn_field"));
    bool status = true, none = slice_eq(text_of(item, "coarse"), S("not_a_bounce"));

    if (text_of(item, "status").n && !json_is_true(json_object_get(item, "status_is_pseudo"))) {
        status = slice_eq(to->status, text_of(item, "status"));
        t->status++;
        t->status_right += status;
    }
    t->cases++;
    t->in_field += field;
    t->in_field_right += field && address;
    t->coarse_right += coarse;
    t->kind_right += kind;
    t->false_bounces += none && to->kind != KIND_NONE;
    if (!coarse || !kind || !status || (field && !address))
        buf_printf(&t->misses, "  %s: want %s %s, got %.*s %s %s by %s\n",
                   json_string_value(json_object_get(item, "id")),
                   json_string_value(json_object_get(item, "recipient")),
                   json_string_value(json_object_get(item, "reason")), SLICE_FMT(to->address),
                   class_name(to->cls), class_kind_name(to->kind), to->rule);
}

/* test_file() keeps what it read until the test ends, and there are many. */
static struct slice mail_file(const char *folder, const char *path, struct buf *bytes)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/tests/golden/%s/%s", TEST_ROOT, folder, path);
    FILE *f = fopen(whole, "rb");
    buf_clear(bytes);
    buf_reserve(bytes, 1 << 20);
    if (f) {
        bytes->n = fread(bytes->p, 1, 1 << 20, f);
        fclose(f);
    }
    return buf_slice(bytes);
}

TEST(returned_mails_are_read_as_well_as_promised)
{
    struct slice lines = test_file("tests/golden/bounces/cases.jsonl");
    struct returned_reader *reader;
    struct rules *rules;
    struct returned r = {0};
    struct tally t = {0};
    struct buf bytes = {0};
    struct arena names = {0};
    struct isps isps;
    struct err e = {0};

    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    CHECK_INT(returned_reader_new(rules, &reader, &e), 0);
    CHECK_INT(isps_load(&names, &isps, &e), 0);
    returned_reader_isps(reader, isps_who, &isps);
    while (lines.n) {
        struct slice line = slice_cut(lines, '\n', &lines);
        json_t *item = json_loadb(line.p, line.n, 0, NULL);
        CHECK(item);
        struct slice mail = mail_file("bounces", json_string_value(json_object_get(item, "file")), &bytes);
        CHECK(mail.n > 0);
        CHECK_INT(returned_read(reader, mail, &r, &e), 0);
        judge(item, &r, &t);
        json_decref(item);
    }
    buf_free(&bytes);
    returned_free(&r);
    returned_reader_free(reader);
    rules_free(rules);
    arena_free(&names);
    printf(
        "   %d outcomes: recipient in a field %.1f %%, coarse %.1f %%, hard or not %.1f %%, status %.1f %%\n",
        t.cases, 100.0 * t.in_field_right / t.in_field, 100.0 * t.coarse_right / t.cases,
        100.0 * t.kind_right / t.cases, 100.0 * t.status_right / t.status);
    bool good = t.cases == 180 && t.in_field_right * 100 >= t.in_field * 97 &&
                t.coarse_right * 100 >= t.cases * 93 && t.kind_right * 100 >= t.cases * 95 &&
                t.status_right * 100 >= t.status * 97 && t.false_bounces == 0;
    printf("%.*s", (int)t.misses.n, buf_cstr(&t.misses));
    buf_free(&t.misses);
    CHECK_INT(t.false_bounces, 0);
    CHECK(good);
}

/* One line of tests/golden/returned/cases.tsv: the recipient it names, or the first. */
static bool shape_is_read(struct returned_reader *reader, struct slice line, struct returned *r)
{
    struct slice file = slice_cut(line, '\t', &line), address = slice_cut(line, '\t', &line),
                 group = slice_cut(line, '\t', &line);
    const struct returned_recipient *to = NULL;
    struct buf bytes = {0};
    struct err e = {0};
    char name[256];

    snprintf(name, sizeof name, "%.*s.eml", SLICE_FMT(file));
    int rc = returned_read(reader, mail_file("returned", name, &bytes), r, &e);
    buf_free(&bytes);
    for (size_t i = 0; !rc && i < r->nrecipients && !to; i++)
        if (slice_ieq(r->recipients[i].address, address))
            to = &r->recipients[i];
    const char *got = to ? class_group_name(class_group_of(to->cls)) : "nobody";
    if (to && slice_eq(slice_cstr(got), group) && (to->kind == KIND_HARD) == slice_eq(line, S("hard")))
        return true;
    printf("   %.*s: want %.*s %.*s, got %s by %s\n", SLICE_FMT(file), SLICE_FMT(address), SLICE_FMT(group),
           got, to ? to->rule : "nothing");
    return false;
}

TEST(returned_mails_of_many_systems_are_read)
{
    struct slice lines = test_file("tests/golden/returned/cases.tsv");
    struct returned_reader *reader;
    struct rules *rules;
    struct returned r = {0};
    struct err e = {0};
    int n = 0, wrong = 0;

    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    CHECK_INT(returned_reader_new(rules, &reader, &e), 0);
    while (lines.n) {
        struct slice line = slice_cut(lines, '\n', &lines);
        if (!line.n || line.p[0] == '#')
            continue;
        n++;
        wrong += !shape_is_read(reader, line, &r);
    }
    returned_free(&r);
    returned_reader_free(reader);
    rules_free(rules);
    CHECK(n >= 50);
    CHECK_INT(wrong, 0);
}
