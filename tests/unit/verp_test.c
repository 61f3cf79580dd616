/* verp_test.c - return paths: stable, short, readable in either case, not to be forged. */
#include "base/err.h"
#include "format/verp.h"
#include "test.h"

static const struct verp_key key1 = {1, "0123456789abcdef0123456789abcde"};

static struct slice local_of(const struct buf *address)
{
    struct slice domain;
    return slice_cut(buf_slice(address), '@', &domain);
}

TEST(verp_address_is_one_per_message_and_comes_back)
{
    static const uint64_t ids[] = {0, 1, 255, 256, 0x1234567890, UINT64_MAX - 1, UINT64_MAX};
    struct buf a = {0}, b = {0};

    for (size_t i = 0; i < COUNT(ids); i++) {
        uint64_t id = 42;
        buf_clear(&a);
        buf_clear(&b);
        verp_make(&key1, ids[i], S("b.example.jp"), &a);
        verp_make(&key1, ids[i], S("b.example.jp"), &b);
        CHECK_STR(buf_slice(&a), buf_slice(&b));
        CHECK(slice_ends(buf_slice(&a), S("@b.example.jp")));
        CHECK(local_of(&a).n <= 64);
        CHECK_INT(verp_parse(&key1, local_of(&a), S("b.example.jp"), &id), 0);
        CHECK(id == ids[i]);
        for (size_t k = 0; k < a.n; k++)
            a.p[k] = (char)(a.p[k] >= 'a' && a.p[k] <= 'z' ? a.p[k] - 32 : a.p[k]);
        CHECK_INT(verp_parse(&key1, local_of(&a), S("B.EXAMPLE.JP"), &id), 0);
        CHECK(id == ids[i]);
    }
    buf_free(&a);
    buf_free(&b);
}

/* Addresses are out there for days: what an older hato made must stay readable. HMAC by Python's hmac module.
 */
TEST(verp_format_stays)
{
    struct buf a = {0};

    verp_make(&key1, 1000, S("b.example.jp"), &a);
    CHECK_STR(buf_slice(&a), S("b-ceb6qthrew3taspoxv7bm@b.example.jp"));
    buf_free(&a);
}

TEST(verp_forged_or_foreign_addresses_are_refused)
{
    struct verp_key other_secret = key1, other_number = key1;
    struct buf a = {0}, changed = {0};
    uint64_t id = 42;

    other_secret.secret[0] ^= 1;
    other_number.number = 2;
    verp_make(&key1, 1000, S("b.example.jp"), &a);
    CHECK_INT(verp_parse(&other_secret, local_of(&a), S("b.example.jp"), &id), ERR_CORRUPT);
    CHECK_INT(verp_parse(&other_number, local_of(&a), S("b.example.jp"), &id), ERR_NOTFOUND);
    CHECK_INT(verp_parse(&key1, local_of(&a), S("c.example.jp"), &id), ERR_CORRUPT);
    for (size_t i = 0; i < local_of(&a).n; i++) {
        buf_clear(&changed);
        buf_adds(&changed, local_of(&a));
        changed.p[i] = changed.p[i] == 'z' ? 'y' : 'z';
        CHECK(verp_parse(&key1, buf_slice(&changed), S("b.example.jp"), &id) < 0);
    }
    static const char *bad[] = {"",
                                "b",
                                "b-",
                                "b-a",
                                "taro",
                                "c-cabc",
                                "b-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_INT(verp_parse(&key1, slice_cstr(bad[i]), S("b.example.jp"), &id), ERR_SYNTAX);
    CHECK_INT(id, 42);
    buf_free(&a);
    buf_free(&changed);
}

/* The vector is Python's hmac module's, as above. */
TEST(verp_message_id_and_return_path_do_not_stand_for_each_other)
{
    struct buf path = {0}, mid = {0};
    struct slice left, right;
    uint64_t id = 42;

    verp_make(&key1, 1000, S("example.jp"), &path);
    verp_message_id(&key1, 1000, S("example.jp"), &mid);
    CHECK_STR(buf_slice(&mid), S("eeb6q33b75ve2azqhu7q4@example.jp"));
    left = slice_cut(buf_slice(&mid), '@', &right);
    CHECK_INT(verp_parse_message_id(&key1, left, right, &id), 0);
    CHECK_INT(id, 1000);
    CHECK_INT(verp_parse(&key1, left, right, &id), ERR_SYNTAX);
    struct slice token = local_of(&path);
    CHECK(verp_parse_message_id(&key1, token, right, &id) < 0);
    CHECK(verp_parse_message_id(&key1, slice_of(token.p + 2, token.n - 2), right, &id) < 0);
    CHECK(verp_parse_message_id(&key1, left, S("example.com"), &id) == ERR_CORRUPT);
    buf_free(&path);
    buf_free(&mid);
}
