/* base_test.c - slices, buffers, arenas, hashes, maps, heaps. */
#include "base/heap.h"
#include "base/map.h"
#include "base/err.h"
#include "test.h"

#include <stdlib.h>

TEST(slice_cut_splits_at_the_first_separator)
{
    struct slice rest;
    CHECK_STR(slice_cut(S("a:b:c"), ':', &rest), S("a"));
    CHECK_STR(rest, S("b:c"));
    CHECK_STR(slice_cut(S("abc"), ':', &rest), S("abc"));
    CHECK_STR(rest, S(""));
}

TEST(slice_u64_takes_digits_only)
{
    static const struct {
        const char *in;
        int want;
    } rows[] = {{"0", 0},         {"18446744073709551615", 0}, {"18446744073709551616", ERR_RANGE},
                {"", ERR_SYNTAX}, {"-1", ERR_SYNTAX},          {"1 ", ERR_SYNTAX}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t v;
        CHECK_INT(slice_u64(slice_cstr(rows[i].in), &v), rows[i].want);
    }
}

TEST(err_prefix_puts_words_in_front)
{
    struct err e = {0};
    CHECK_INT(err_set(&e, ERR_SYNTAX, "column %d", 3), ERR_SYNTAX);
    CHECK_INT(err_prefix(&e, "%s:%d: ", "people.csv", 7), ERR_SYNTAX);
    CHECK_STR(slice_cstr(e.text), S("people.csv:7: column 3"));
}

TEST(arena_gives_aligned_memory_of_any_size)
{
    struct arena a = {0};
    for (size_t n = 0; n < 20000; n += 37) {
        char *p = arena_alloc(&a, n);
        CHECK(((uintptr_t)p & 15) == 0);
        memset(p, 'x', n);
    }
    arena_reset(&a);
    CHECK_STR(arena_copy(&a, S("again")), S("again"));
    arena_free(&a);
}

/* Aumasson and Bernstein's reference vectors: key 00..0f, message 00..(n-1). */
TEST(siphash_matches_its_reference_vectors)
{
    struct hash_key k = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    char msg[16];
    for (int i = 0; i < 16; i++)
        msg[i] = (char)i;
    CHECK(hash64(k, slice_of(msg, 0)) == 0x726fdb47dd0e0e31u);
    CHECK(hash64(k, slice_of(msg, 15)) == 0xa129ca6149be45e5u);
    struct hash128 h = hash128(k, slice_of(msg, 0));
    CHECK(h.lo == 0xe6a825ba047f81a3u && h.hi == 0x930255c71472f66du);
}

TEST(map_finds_what_was_put_after_many_deletions)
{
    struct map m;
    char key[32];
    map_init(&m, (struct hash_key){1, 2});
    for (long i = 1; i <= 5000; i++) {
        int n = snprintf(key, sizeof key, "k%ld", i);
        CHECK(!map_put(&m, slice_of(key, (size_t)n), (void *)i));
        if (i % 3 == 0)
            CHECK(map_del(&m, slice_of(key, (size_t)n)) == (void *)i);
    }
    long seen = 0, last = 0;
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&m, &at)); seen++) {
        CHECK((long)e->value > last); /* in order of insertion */
        last = (long)e->value;
    }
    CHECK_INT(seen, 5000 - 5000 / 3);
    for (long i = 1; i <= 5000; i++) {
        int n = snprintf(key, sizeof key, "k%ld", i);
        CHECK(map_get(&m, slice_of(key, (size_t)n)) == (i % 3 ? (void *)i : NULL));
    }
    map_free(&m);
}

TEST(keyset_keeps_keys_apart_and_forgets_deleted_ones)
{
    struct keyset s = {0};
    for (uint64_t i = 0; i < 10000; i++)
        CHECK(keyset_add(&s, (struct hash128){i * 64, i}));
    CHECK(!keyset_add(&s, (struct hash128){640, 10}));
    for (uint64_t i = 0; i < 10000; i += 2)
        CHECK(keyset_del(&s, (struct hash128){i * 64, i}));
    for (uint64_t i = 0; i < 10000; i++)
        CHECK(keyset_has(&s, (struct hash128){i * 64, i}) == (i % 2 == 1));
    keyset_free(&s);
}

/* The first of them crowd at the table's last slots, at every size, and so wrap around to its front. */
static struct hash128 growing_key(uint64_t i)
{
    return (struct hash128){i < 60 ? UINT64_MAX - i % 8 : i * 0x9e3779b97f4a7c15u, i + 1};
}

TEST(keyset_keeps_every_key_while_it_grows_in_place)
{
    enum { KEYS = 300000 }; /* enough for a mapping of its own */
    struct keyset s = {0};
    size_t lost = 0, known = 0, nslots = 0;
    for (uint64_t n = 0; n < KEYS; n++) {
        keyset_prefetch(&s, growing_key(n));
        known += !keyset_add(&s, growing_key(n));
        if (s.nslots == nslots)
            continue;
        nslots = s.nslots;
        for (uint64_t i = 0; i <= n; i++)
            lost += !keyset_has(&s, growing_key(i));
    }
    CHECK_INT(lost, 0);
    CHECK_INT(known, 0);
    CHECK_INT(s.n, KEYS);
    CHECK(!keyset_has(&s, growing_key(KEYS)));
    for (uint64_t i = 0; i < KEYS; i++)
        lost += !keyset_del(&s, growing_key(i));
    CHECK_INT(lost, 0);
    CHECK_INT(s.n, 0);
    keyset_free(&s);
}

TEST(heap_orders_by_key_then_by_insertion)
{
    struct heap h = {0};
    struct item {
        struct heap_node node;
        int id;
    } items[300];
    for (int i = 0; i < 300; i++) {
        items[i] = (struct item){.id = i};
        heap_insert(&h, &items[i].node, (i * 7919) % 10);
    }
    heap_remove(&h, &items[150].node);
    int64_t key = -1;
    int id = -1, n = 0;
    for (struct heap_node *node; (node = heap_min(&h)); n++) {
        struct item *it = CONTAINER(node, struct item, node);
        CHECK(node->key > key || (node->key == key && it->id > id));
        key = node->key;
        id = it->id;
        heap_remove(&h, node);
    }
    CHECK_INT(n, 299);
    heap_free(&h);
}

TEST(a_text_may_give_way_to_a_part_of_itself)
{
    char *text = NULL;
    mem_replace(&text, S("450 later"));
    CHECK(strcmp(text, "450 later") == 0);
    mem_replace(&text, slice_of(text + 4, 5));
    CHECK(strcmp(text, "later") == 0);
    mem_replace(&text, SLICE_NONE);
    CHECK(strcmp(text, "") == 0);
    free(text);
}
