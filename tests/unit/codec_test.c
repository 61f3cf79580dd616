/* codec_test.c - RFC 4648's vectors, folding, and what strict decoding refuses. */
#include "base/err.h"
#include "format/codec.h"
#include "test.h"

static const struct {
    const char *plain, *base64, *base32;
} rfc4648[] = {
    {"", "", ""},
    {"f", "Zg==", "my"},
    {"fo", "Zm8=", "mzxq"},
    {"foo", "Zm9v", "mzxw6"},
    {"foob", "Zm9vYg==", "mzxw6yq"},
    {"fooba", "Zm9vYmE=", "mzxw6ytb"},
    {"foobar", "Zm9vYmFy", "mzxw6ytboi"},
};

TEST(codec_writes_and_reads_the_vectors_of_rfc_4648)
{
    struct buf b = {0};

    for (size_t i = 0; i < COUNT(rfc4648); i++) {
        buf_clear(&b);
        codec_base64(&b, slice_cstr(rfc4648[i].plain), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rfc4648[i].base64));
        buf_clear(&b);
        CHECK_INT(codec_unbase64(slice_cstr(rfc4648[i].base64), &b), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rfc4648[i].plain));
        buf_clear(&b);
        codec_base32_lower(&b, slice_cstr(rfc4648[i].plain));
        CHECK_STR(buf_slice(&b), slice_cstr(rfc4648[i].base32));
        buf_clear(&b);
        CHECK_INT(codec_unbase32(slice_cstr(rfc4648[i].base32), &b), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rfc4648[i].plain));
    }
    buf_clear(&b);
    codec_hex(&b, S("\x00\x7f\xff"));
    CHECK_STR(buf_slice(&b), S("007fff"));
    buf_free(&b);
}

TEST(codec_folds_base64_and_ends_the_last_line)
{
    static const struct {
        size_t bytes;
        const char *want;
    } cases[] = {
        {0, ""},
        {3, "YWFh\r\n"},
        {6, "YWFhYWFh\r\n"},
        {7, "YWFhYWFh\r\nYQ==\r\n"},
        {12, "YWFhYWFh\r\nYWFhYWFh\r\n"},
    };
    struct buf b = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&b);
        codec_base64(&b, slice_of("aaaaaaaaaaaa", cases[i].bytes), 8);
        CHECK_STR(buf_slice(&b), slice_cstr(cases[i].want));
        CHECK_INT(codec_base64_size(cases[i].bytes, 8), b.n);
    }
    buf_free(&b);
}

TEST(codec_round_trips_every_byte_at_every_length)
{
    char bytes[256];
    struct buf text = {0}, back = {0};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        buf_clear(&text);
        buf_clear(&back);
        codec_base64(&text, slice_of(bytes, n), 0);
        CHECK_INT(codec_unbase64(buf_slice(&text), &back), 0);
        CHECK(slice_eq(buf_slice(&back), slice_of(bytes, n)));
        buf_clear(&text);
        buf_clear(&back);
        codec_base32_lower(&text, slice_of(bytes, n));
        CHECK_INT(codec_unbase32(buf_slice(&text), &back), 0);
        CHECK(slice_eq(buf_slice(&back), slice_of(bytes, n)));
    }
    buf_free(&text);
    buf_free(&back);
}

TEST(codec_refuses_a_second_spelling_and_leaves_the_output_alone)
{
    static const char *base64[] = {
        "Zg=", "Zg", "Zh==", "Zm9=", "=", "====", "Zg==Zg==", "Z m8", "Zm9v\r\n", "Zm-_", "Z=g="};
    static const char *base32[] = {"m", "mzx", "mz", "my======", "m1", "mzxw6y"};
    struct buf b = {0};

    buf_adds(&b, S("kept"));
    for (size_t i = 0; i < COUNT(base64); i++) {
        CHECK_INT(codec_unbase64(slice_cstr(base64[i]), &b), ERR_SYNTAX);
        CHECK_STR(buf_slice(&b), S("kept"));
    }
    for (size_t i = 0; i < COUNT(base32); i++) {
        CHECK_INT(codec_unbase32(slice_cstr(base32[i]), &b), ERR_SYNTAX);
        CHECK_STR(buf_slice(&b), S("kept"));
    }
    buf_clear(&b);
    CHECK_INT(codec_unbase32(S("MZXW6YTBOI"), &b), 0);
    CHECK_STR(buf_slice(&b), S("foobar"));
    buf_free(&b);
}
