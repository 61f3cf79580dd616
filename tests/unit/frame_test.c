/* frame_test.c - framing and CRC-32C. */
#include "format/frame.h"
#include "base/err.h"
#include "test.h"

#include <stdlib.h>

/* RFC 3720 B.4; the words there are shown in the order of the bytes on the wire. */
TEST(crc32c_matches_rfc3720)
{
    char zeros[32] = {0}, ones[32], up[32], down[32];
    static const unsigned char read10[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                             0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                             0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
    for (int i = 0; i < 32; i++) {
        ones[i] = (char)0xff;
        up[i] = (char)i;
        down[i] = (char)(31 - i);
    }
    const struct {
        struct slice in;
        uint32_t want;
    } rows[] = {{slice_of(zeros, 32), 0x8a9136aa},
                {slice_of(ones, 32), 0x62a8ab43},
                {slice_of(up, 32), 0x46dd794e},
                {slice_of(down, 32), 0x113fdb5c},
                {slice_of(read10, 48), 0xd9963a56},
                {S("123456789"), 0xe3069283},
                {S(""), 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK_INT(crc32c(0, rows[i].in), rows[i].want);
        CHECK_INT(crc32c_table(0, rows[i].in), rows[i].want);
    }
}

TEST(crc32c_goes_on_where_it_stopped)
{
    struct slice all = S("The checksum of the whole is the checksum of its parts, one after the other.");
    for (size_t cut = 0; cut <= all.n; cut++) {
        struct slice a = slice_of(all.p, cut), b = slice_of(all.p + cut, all.n - cut);
        CHECK_INT(crc32c(crc32c(0, a), b), crc32c(0, all));
        CHECK_INT(crc32c_table(crc32c_table(0, a), b), crc32c(0, all));
    }
}

static void put_all(struct buf *b, const char **payloads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        frame_put(b, 77, (unsigned)i, slice_cstr(payloads[i]));
}

static const char *FOUR[] = {"first", "", "the third of them", "fourth"};

TEST(frames_come_out_as_they_went_in)
{
    struct buf b = {0};
    struct slice in, payload;
    unsigned tag;
    put_all(&b, FOUR, 4);
    CHECK_INT(frame_length(buf_slice(&b)), FRAME_HEADER_BYTES + 5);
    in = buf_slice(&b);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(frame_next(&in, 77, &tag, &payload), 0);
        CHECK_INT(tag, i);
        CHECK_STR(payload, slice_cstr(FOUR[i]));
    }
    CHECK_INT(frame_next(&in, 77, &tag, &payload), ERR_EOF);
    in = buf_slice(&b);
    CHECK_INT(frame_next(&in, 78, &tag, &payload), ERR_CORRUPT); /* another file's frame */
    buf_free(&b);
}

TEST(a_cut_at_any_byte_is_a_torn_tail)
{
    struct buf b = {0};
    put_all(&b, FOUR, 4);
    for (size_t cut = 0; cut < b.n; cut++) {
        struct slice in = slice_of(b.p, cut), payload;
        unsigned tag;
        int rc;
        size_t whole = 0;
        while ((rc = frame_next(&in, 77, &tag, &payload)) == 0)
            whole++;
        CHECK(rc == (in.n ? ERR_AGAIN : ERR_EOF));
        CHECK_INT(frame_resync(in, 77), in.n);
        CHECK(whole < 4);
    }
    buf_free(&b);
}

TEST(one_wrong_byte_costs_one_frame)
{
    struct buf b = {0};
    put_all(&b, FOUR, 4);
    for (size_t at = 0; at < b.n; at++)
        for (int bit = 0; bit < 8; bit++) {
            int good = 0;
            b.p[at] ^= (char)(1 << bit);
            struct slice in = buf_slice(&b), payload;
            unsigned tag;
            for (int rc; (rc = frame_next(&in, 77, &tag, &payload)) != ERR_EOF;) {
                if (rc == 0) {
                    CHECK_STR(payload, slice_cstr(FOUR[tag]));
                    good++;
                } else {
                    size_t skip = frame_resync(in, 77);
                    in = slice_of(in.p + skip, in.n - skip);
                }
            }
            CHECK_INT(good, 3);
            b.p[at] ^= (char)(1 << bit);
        }
    buf_free(&b);
}

TEST(a_long_frame_behind_damage_is_found)
{
    struct buf b = {0}, big = {0};
    for (int i = 0; i < 300000; i++)
        buf_addc(&big, (char)(i * 7));
    buf_add(&b, "\xaa\xaa\xaa\xaa garbage", 12);
    frame_put(&b, 1, 0, buf_slice(&big));
    CHECK_INT(frame_resync(buf_slice(&b), 1), 12);
    for (int i = 0; i < 5; i++)
        frame_put(&b, 1, 0, S("x"));
    CHECK_INT(frame_resync(buf_slice(&b), 1), 12);
    buf_free(&b);
    buf_free(&big);
}

TEST(the_search_for_a_frame_ends_soon_on_bytes_made_against_it)
{
    struct buf b = {0};
    buf_reserve(&b, 1 << 20);
    b.n = 1 << 20;
    memset(b.p, 0xa0, b.n); /* 0xa0a0a0a0: a header everywhere, none fits */
    CHECK_INT(frame_resync(buf_slice(&b), 1), b.n);
    for (size_t i = 0; i < b.n; i++) /* a plausible header of 4 KiB at every fourth byte */
        b.p[i] = "\x00\x10\x00\xa0"[i % 4];
    frame_put(&b, 1, 3, S("behind"));
    /* Either it was found or the search was given up; both in well under a second. */
    size_t at = frame_resync(buf_slice(&b), 1);
    CHECK(at == 1 << 20 || at == b.n);
    buf_free(&b);
}
