/* returned_token_test.c - where a token is looked for, and what is not believed. */
#include "format/returned_token.h"
#include "test.h"

static const struct verp_key key = {1, "0123456789abcdef0123456789abcde"};

struct tokens {
    struct buf path, mid, forged;
    struct returned r;
};

static void tokens_make(struct tokens *t)
{
    *t = (struct tokens){.r = {.format = RETURNED_DSN}};
    struct slice *empty[] = {&t->r.original.return_path, &t->r.original.message_id};
    for (size_t i = 0; i < COUNT(empty); i++)
        *empty[i] = SLICE_NONE;
    verp_make(&key, 7, S("b.example.jp"), &t->path);
    buf_addc(&t->mid, '<');
    verp_message_id(&key, 8, S("example.jp"), &t->mid);
    buf_addc(&t->mid, '>');
    verp_make(&key, 9, S("b.example.jp"), &t->forged);
    t->forged.p[6] = t->forged.p[6] == 'a' ? 'c' : 'a';
}

static void tokens_free(struct tokens *t)
{
    buf_free(&t->path);
    buf_free(&t->mid);
    buf_free(&t->forged);
}

static uint64_t found(const struct tokens *t, struct slice envelope_to)
{
    uint64_t id = 0;
    enum returned_token what = returned_token(&key, envelope_to, &t->r, &id);
    return what == RETURNED_TOKEN_HOLDS ? id : what == RETURNED_TOKEN_FORGED ? 1000 : 0;
}

TEST(a_token_is_found_in_the_envelope_the_fields_and_the_original)
{
    struct tokens t;
    tokens_make(&t);
    CHECK_INT(found(&t, SLICE_NONE), 0);
    CHECK_INT(found(&t, buf_slice(&t.path)), 7);
    t.r.to[t.r.nto++] = S("news@example.jp");
    t.r.to[t.r.nto++] = buf_slice(&t.path);
    t.r.original.message_id = buf_slice(&t.mid);
    CHECK_INT(found(&t, SLICE_NONE), 7);
    t.r.nto = 1;
    CHECK_INT(found(&t, SLICE_NONE), 8);
    t.r.original.return_path = buf_slice(&t.path);
    CHECK_INT(found(&t, SLICE_NONE), 7);
    t.r.format = RETURNED_ARF;
    CHECK_INT(found(&t, SLICE_NONE), 7);
    tokens_free(&t);
}

TEST(what_people_and_programs_quote_is_no_token)
{
    static const enum returned_format formats[] = {RETURNED_NONE, RETURNED_TEXT, RETURNED_AUTO_REPLY};
    struct tokens t;
    tokens_make(&t);
    t.r.original.return_path = buf_slice(&t.path);
    t.r.original.message_id = buf_slice(&t.mid);
    for (size_t i = 0; i < COUNT(formats); i++) {
        t.r.format = formats[i];
        CHECK_INT(found(&t, SLICE_NONE), 0);
        CHECK_INT(found(&t, S("news@example.jp")), 0);
        CHECK_INT(found(&t, buf_slice(&t.path)), 7);
    }
    tokens_free(&t);
}

TEST(a_false_token_is_told_and_a_true_one_beside_it_counts)
{
    struct tokens t;
    tokens_make(&t);
    CHECK_INT(found(&t, buf_slice(&t.forged)), 1000);
    /* Neither is the other. */
    t.r.original.message_id = buf_slice(&t.path);
    t.r.original.return_path = buf_slice(&t.mid);
    CHECK_INT(found(&t, SLICE_NONE), 0);
    t.r.to[t.r.nto++] = buf_slice(&t.path);
    CHECK_INT(found(&t, buf_slice(&t.forged)), 7);
    tokens_free(&t);
}
