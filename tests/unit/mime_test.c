/* mime_test.c - mails as they leave: header folding, encodings, structure, and what is refused. That foreign
 * readers get back what went in is tests/e2e/mime_judges_test.py's. */
#include "format/charset.h"
#include "format/iso2022jp.h"
#include "format/mime.h"
#include "format/text.h"
#include "test.h"

#include <stdlib.h>

static struct mailbox mailbox(struct arena *a, const char *s)
{
    struct mailbox m = {0};
    INVARIANT(addr_parse_mailbox(slice_cstr(s), a, &m, NULL) == 0);
    return m;
}

static struct mime_message message(struct arena *a)
{
    return (struct mime_message){.from = mailbox(a, "Example News <news@example.jp>"),
                                 .to = mailbox(a, "taro@example.com"),
                                 .subject = S("Hello"),
                                 .date_unix_s = 1782867600,
                                 .utc_offset_min = 540,
                                 .message_id = S("1.abc@example.jp"),
                                 .boundary_seed = 7};
}

/* Head, empty line and body in one. */
static struct slice wire(const struct mime_out *o, struct buf *b)
{
    buf_clear(b);
    buf_adds(b, buf_slice(&o->head));
    buf_adds(b, S("\r\n"));
    size_t n = b->n;
    for (size_t i = 0; i < o->nbody; i++)
        buf_adds(b, o->body[i]);
    INVARIANT(b->n - n == o->body_bytes);
    return buf_slice(b);
}

/* The promises of mime.h about every line. */
static bool lines_are_clean(struct slice s)
{
    for (struct slice rest = s; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        if (!line.n || line.p[line.n - 1] != '\r' || line.n - 1 > 998 || line.p[0] == '.')
            return false;
        if (memchr(line.p, '\r', line.n - 1) || memchr(line.p, 0, line.n) || !ascii_only(line))
            return false;
    }
    return slice_ends(s, S("\r\n"));
}

TEST(a_text_mail_is_written_to_the_letter)
{
    struct arena a = {0};
    struct buf b = {0};
    struct mime_out o = {0};
    struct err e = {0};
    struct mime_message m = message(&a);
    static const struct mime_header extra[] = {{S("X-Campaign"), S("summer")}, {S("X-Name"), S("夏")}};
    m.reply_to = mailbox(&a, "\"Yamada, T.\" <help@example.jp>");
    m.list_id = S("夏祭り通信 <news.example.jp>");
    m.list_unsubscribe = S("<https://example.jp/u/abc>, <mailto:u@example.jp>");
    m.list_unsubscribe_post = true;
    m.feedback_id = S("summer:promo:news:example");
    m.extra = extra;
    m.nextra = COUNT(extra);
    m.text = S("One\nTwo\r\nThree");
    CHECK_INT(mime_build(&m, &o, &e), 0);
    CHECK_STR(wire(&o, &b), S("From: Example News <news@example.jp>\r\n"
                              "To: taro@example.com\r\n"
                              "Reply-To: \"Yamada, T.\" <help@example.jp>\r\n"
                              "Subject: Hello\r\n"
                              "Date: Wed, 01 Jul 2026 10:00:00 +0900\r\n"
                              "Message-ID: <1.abc@example.jp>\r\n"
                              "List-Id: =?UTF-8?B?5aSP56Wt44KK6YCa5L+h?= <news.example.jp>\r\n"
                              "List-Unsubscribe: <https://example.jp/u/abc>, <mailto:u@example.jp>\r\n"
                              "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
                              "Feedback-ID: summer:promo:news:example\r\n"
                              "X-Campaign: summer\r\n"
                              "X-Name: =?UTF-8?B?5aSP?=\r\n"
                              "MIME-Version: 1.0\r\n"
                              "Content-Type: text/plain; charset=UTF-8\r\n"
                              "Content-Transfer-Encoding: 7bit\r\n"
                              "\r\n"
                              "One\r\nTwo\r\nThree\r\n"));
    CHECK(!o.needs_smtputf8);
    mime_out_free(&o);
    buf_free(&b);
    arena_free(&a);
}

TEST(structure_is_as_deep_as_needed_and_attachments_are_not_copied)
{
    struct arena a = {0};
    struct buf b = {0}, pdf = {0};
    struct mime_out o = {0};
    struct err e = {0};
    struct mime_message m = message(&a);
    mime_encode_attachment(&pdf,
                           S("%PDF-1.7 0123456789012345678901234567890123456789012345678901234567890123456"));
    const struct mime_part parts[] = {
        {MIME_ATTACHMENT, S("application/pdf"), S("flyer.pdf"), S(""), buf_slice(&pdf), true},
        {MIME_INLINE, S("image/png"), S("夏.png"), S("logo@example.jp"), S("\x89PNG"), false},
        {MIME_ATTACHMENT, S(""), S(""), S(""), S("second"), false}};
    m.text = S("text\n");
    m.html = S("<p>html</p>\n");
    m.parts = parts;
    m.nparts = COUNT(parts);
    CHECK_INT(mime_build(&m, &o, &e), 0);
    struct slice s = wire(&o, &b);
    ptrdiff_t head = slice_find(s, S("MIME-Version"));
    CHECK(head > 0);
    struct slice got = slice_of(s.p + head, s.n - (size_t)head);
    CHECK_STR(got, test_file("tests/golden/mime/nested.eml"));
    bool shared = false;
    for (size_t i = 0; i < o.nbody; i++)
        shared |= o.body[i].p == pdf.p;
    CHECK(shared);
    mime_out_free(&o);
    buf_free(&b);
    buf_free(&pdf);
    arena_free(&a);
}

TEST(subjects_fold_between_characters)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", "Subject:\r\n"},
        {"  plain  text ", "Subject: plain  text\r\n"},
        {"夏", "Subject: =?UTF-8?B?5aSP?=\r\n"},
        {"Caf\xc3\xa9 au lait", "Subject: =?UTF-8?Q?Caf=C3=A9_au_lait?=\r\n"},
        {"=?UTF-8?Q?no?=", "Subject: =?UTF-8?B?PT9VVEYtOD9RP25vPz0=?=\r\n"},
        {"The quick brown fox jumps over the lazy dog and then the dog jumps over the fox, twice",
         "Subject: The quick brown fox jumps over the lazy dog and then the dog jumps\r\n over the fox, "
         "twice\r\n"},
        {"The quick brown fox jumps over the lazy dog and  then the dog jumps over the fox, twice",
         "Subject: =?UTF-8?Q?The_quick_brown_fox_jumps_over_the_lazy_dog_and__then_t?=\r\n"
         " =?UTF-8?Q?he_dog_jumps_over_the_fox=2C_twice?=\r\n"},
        /* padding in the last B word only, or else the next word is Q */
        {"🎉あいうえおかきくけこさしすせそたちつてと",
         "Subject: =?UTF-8?B?8J+OieOBguOBhOOBhuOBiOOBiuOBi+OBjeOBj+OBkeOBk+OBlQ==?=\r\n"
         " =?UTF-8?Q?=E3=81=97=E3=81=99=E3=81=9B=E3=81=9D=E3=81=9F=E3=81=A1=E3=81=A4?=\r\n"
         " =?UTF-8?B?44Gm44Go?=\r\n"},
        {"あいうえおかきくけこさしすせそたちつてと",
         "Subject: =?UTF-8?B?44GC44GE44GG44GI44GK44GL44GN44GP44GR44GT44GV44GX44GZ?=\r\n"
         " =?UTF-8?B?44Gb44Gd44Gf44Gh44Gk44Gm44Go?=\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        CHECK_INT(mime_put_header(&b, S("Subject"), slice_cstr(rows[i].in), NULL), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

TEST(encoded_words_read_back_at_every_length)
{
    static const char *const alphabets[] = {"あ", "a\xc3\xa9", "𠮷😀", "한글 ", "x y  z", "مرحبا", "é=?_"};
    for (size_t k = 0; k < COUNT(alphabets); k++) {
        struct buf text = {0};
        for (int n = 1; n < 120; n++) {
            struct buf b = {0}, back = {0};
            buf_adds(&text, slice_cstr(alphabets[k]));
            struct slice want = slice_trim(buf_slice(&text));
            CHECK_INT(mime_put_header(&b, S("X-Some-Header"), want, NULL), 0);
            for (struct slice rest = buf_slice(&b); rest.n;) {
                struct slice line = slice_cut(rest, '\n', &rest);
                CHECK(line.n - 1 <= (k == 4 ? 78 : 76) && line.p[line.n - 1] == '\r' && ascii_only(line));
            }
            mime_word_decode(&back, slice_of(b.p + 15, b.n - 15));
            CHECK_STR(buf_slice(&back), want);
            buf_free(&b);
            buf_free(&back);
        }
        buf_free(&text);
    }
}

TEST(encoded_words_of_others_are_read)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"plain", "plain"},
        {"=?utf-8?b?5aSP?=", "夏"},
        {"=?UTF-8?B?5aSP?=\r\n =?UTF-8?q?=E7=A5=AD?= x", "夏祭 x"},
        {"a =?US-ASCII*en?Q?b_c?= d", "a b c d"},
        {"=?UTF-8?B?5aSP?= x =?UTF-8?B?5aSP?=", "夏 x 夏"},
        {"=?UTF-8?B?5aS?=", "=?UTF-8?B?5aS?="},   /* padding is missing */
        {"=?UTF-8?B?5aQ=?=", "=?UTF-8?B?5aQ=?="}, /* half a character */
        {"=?UTF-8?X?5aSP?=", "=?UTF-8?X?5aSP?="},
        {"=?UTF-8?Q?a b?=", "=?UTF-8?Q?a b?="},
        {"=?ISO-2022-JP?B?GyRCMkYbKEI=?=", "夏"},
        {"=?iso-2022-jp?B?GyRCLSEbKEI=?=\r\n =?iso-2022-jp?q?=1B$B2F=1B(B?=", "①夏"},
        {"=?ISO-2022-JP?B?GyRCMkY=?=", "=?ISO-2022-JP?B?GyRCMkY=?="}, /* ends in kanji */
        {"=?EUC-JP?B?svY=?=", "=?EUC-JP?B?svY=?="},
        {"=?", "=?"},
        {"=?UTF-8?Q?=E?=", "=?UTF-8?Q?=E?="},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        mime_word_decode(&b, slice_cstr(rows[i].in));
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

TEST(a_subject_in_iso_2022_jp_takes_15_kanji_and_then_18)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"plain", "Subject: plain\r\n"},
        {"夏", "Subject: =?ISO-2022-JP?B?GyRCMkYbKEI=?=\r\n"},
        {"夏夏夏夏夏夏夏夏夏夏夏夏夏夏夏",
         "Subject: =?ISO-2022-JP?B?GyRCMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGGyhC?=\r\n"},
        {"夏夏夏夏夏夏夏夏夏夏夏夏夏夏夏夏",
         "Subject: =?ISO-2022-JP?B?GyRCMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGGyhC?=\r\n"
         " =?ISO-2022-JP?B?GyRCMkYbKEI=?=\r\n"},
        {"夏夏夏夏夏夏夏夏夏夏夏夏夏夏夏秋秋秋秋秋秋秋秋秋秋秋秋秋秋秋秋秋秋冬",
         "Subject: =?ISO-2022-JP?B?GyRCMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGMkYyRjJGGyhC?=\r\n"
         " =?ISO-2022-JP?B?GyRCPSk9KT0pPSk9KT0pPSk9KT0pPSk9KT0pPSk9KT0pPSk9KT0pGyhC?=\r\n"
         " =?ISO-2022-JP?B?GyRCRV8bKEI=?=\r\n"},
        {"①㈱髙ｶﾞ", "Subject: =?ISO-2022-JP?B?GyRCLSEtanxiGyhJNl4bKEI=?=\r\n"},
        {"=?UTF-8?Q?no?=", "Subject: =?UTF-8?B?PT9VVEYtOD9RP25vPz0=?=\r\n"},
    };
    struct arena a = {0};
    struct mime_out o = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mime_message m = message(&a);
        m.subject = slice_cstr(rows[i].in);
        m.text = S("x\n");
        m.charset = MIME_ISO2022JP;
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        ptrdiff_t from = slice_find(buf_slice(&o.head), S("Subject:")),
                  to = slice_find(buf_slice(&o.head), S("Date:"));
        CHECK(from > 0 && to > from);
        CHECK_STR(slice_of(o.head.p + from, (size_t)(to - from)), slice_cstr(rows[i].want));
        CHECK_INT(o.unmappable, 0);
    }
    mime_out_free(&o);
    arena_free(&a);
}

/* The promises about lines with encoded words, and that each word alone is whole text. */
static bool words_are_clean(struct slice head)
{
    bool words = false;
    for (struct slice rest = head; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        ptrdiff_t at = slice_find(line, S("=?ISO-2022-JP?"));
        if (at < 0)
            continue;
        words = true;
        struct buf one = {0};
        mime_word_decode(&one, slice_of(line.p + at, line.n - (size_t)at));
        bool whole = slice_find(buf_slice(&one), S("=?")) < 0 && line.n - 1 <= 76;
        buf_free(&one);
        if (!whole)
            return false;
    }
    return words;
}

TEST(words_in_iso_2022_jp_read_back_at_every_length)
{
    static const char *const alphabets[] = {"夏", "a夏", "第1回", "ｶﾞ漢", "①a", "夏 b祭"};
    struct arena a = {0};
    struct mime_out o = {0};
    for (size_t k = 0; k < COUNT(alphabets); k++) {
        struct buf text = {0}, back = {0};
        for (int n = 1; n < 60; n++) {
            buf_adds(&text, slice_cstr(alphabets[k]));
            struct mime_message m = message(&a);
            m.subject = buf_slice(&text);
            m.from.name = text.n <= ADDR_NAME_MAX ? buf_slice(&text) : SLICE_NONE;
            m.text = S("x\n");
            m.charset = MIME_ISO2022JP;
            CHECK_INT(mime_build(&m, &o, NULL), 0);
            CHECK(words_are_clean(buf_slice(&o.head)));
            ptrdiff_t from = slice_find(buf_slice(&o.head), S("Subject:")),
                      to = slice_find(buf_slice(&o.head), S("Date:"));
            buf_clear(&back);
            mime_word_decode(&back, slice_of(o.head.p + from + 9, (size_t)(to - from) - 11));
            CHECK_STR(buf_slice(&back), buf_slice(&text));
            arena_reset(&a);
        }
        buf_free(&text);
        buf_free(&back);
    }
    mime_out_free(&o);
    arena_free(&a);
}

static struct slice body_of(const struct mime_out *o, struct buf *b)
{
    buf_clear(b);
    ptrdiff_t at = slice_find(buf_slice(&o->head), S("Content-Type"));
    buf_adds(b, slice_of(o->head.p + at, o->head.n - (size_t)at));
    for (size_t i = 0; i < o->nbody; i++)
        buf_adds(b, o->body[i]);
    return buf_slice(b);
}

TEST(bodies_in_iso_2022_jp_are_7bit_and_every_line_ends_in_ascii)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"夏です\n祭 です", "7bit\r\n\x1b$B2F$G$9\x1b(B\r\n\x1b$B:W\x1b(B \x1b$B$G$9\x1b(B\r\n"},
        {"plain\n", "7bit\r\nplain\r\n"},
        {".夏\n", "base64\r\nLhskQjJGGyhCDQo=\r\n"},
        {"夏 \n", "base64\r\nGyRCMkYbKEIgDQo=\r\n"},
        {"か\xe3\x82\x99\n", "7bit\r\n\x1b$B$,\x1b(B\r\n"},
    };
    struct arena a = {0};
    struct buf b = {0}, longest = {0};
    struct mime_out o = {0};
    struct mime_message m = message(&a);
    m.charset = MIME_ISO2022JP;
    for (size_t i = 0; i < COUNT(rows); i++) {
        m.text = slice_cstr(rows[i].in);
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        buf_clear(&longest);
        buf_printf(&longest, "Content-Type: text/plain; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: %s",
                   rows[i].want);
        CHECK_STR(body_of(&o, &b), buf_slice(&longest));
    }
    for (int n = 495; n <= 497; n++) { /* 6 octets are the two switches */
        buf_clear(&longest);
        for (int i = 0; i < n; i++)
            buf_adds(&longest, S("夏"));
        m.text = buf_slice(&longest);
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        CHECK((slice_find(body_of(&o, &b), S("Encoding: 7bit")) > 0) == (n <= 496));
    }
    mime_out_free(&o);
    buf_free(&b);
    buf_free(&longest);
    arena_free(&a);
}

TEST(what_iso_2022_jp_does_not_have_goes_the_way_that_was_asked)
{
    static const struct {
        enum mime_unmappable how;
        const char *text, *want;
        unsigned lost;
    } rows[] = {
        {MIME_UNMAPPABLE_UTF8, "①㈱髙\n",
         "ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\x1b$B-!-j|b\x1b(B\r\n", 0},
        {MIME_UNMAPPABLE_UTF8, "祭🎉\n", "UTF-8\r\nContent-Transfer-Encoding: base64\r\n56Wt8J+OiQ0K\r\n", 1},
        {MIME_UNMAPPABLE_GETA, "祭🎉𠮷①\n",
         "ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\x1b$B:W\".\".-!\x1b(B\r\n", 2},
        {MIME_UNMAPPABLE_FOLD, "①㈱ｶﾞ～\n",
         "ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n(1)(\x1b$B3t\x1b(B)\x1b$B%,!A\x1b(B\r\n", 3},
    };
    struct arena a = {0};
    struct buf b = {0}, want = {0};
    struct mime_out o = {0};
    struct mime_message m = message(&a);
    m.charset = MIME_ISO2022JP;
    for (size_t i = 0; i < COUNT(rows); i++) {
        m.unmappable = rows[i].how;
        m.text = slice_cstr(rows[i].text);
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        buf_clear(&want);
        buf_printf(&want, "Content-Type: text/plain; charset=%s", rows[i].want);
        CHECK_STR(body_of(&o, &b), buf_slice(&want));
        CHECK_INT(o.unmappable, rows[i].lost);
        CHECK((o.charset == MIME_UTF8) == (i == 1));
    }
    mime_out_free(&o);
    buf_free(&b);
    buf_free(&want);
    arena_free(&a);
}

TEST(a_character_that_is_an_error_is_named_with_its_place)
{
    static const struct mime_header extra = {S("X-Kind"), S("𠮷")};
    struct arena a = {0};
    struct mime_out o = {0};
    struct err e = {0};
    struct mime_message m = message(&a);
    m.charset = MIME_ISO2022JP;
    m.unmappable = MIME_UNMAPPABLE_ERROR;
    m.text = S("髙\n");
    CHECK_INT(mime_build(&m, &o, &e), 0);
    m.extra = &extra;
    m.nextra = 1;
    CHECK_INT(mime_build(&m, &o, &e), ERR_UNSUPPORTED);
    CHECK_STR(slice_cstr(e.text), S("header X-Kind has 𠮷 U+20BB7, which ISO-2022-JP has not"));
    m.text = S("a\x1b$Bb\n");
    CHECK_INT(mime_build(&m, &o, &e), ERR_UNSUPPORTED);
    CHECK_STR(slice_cstr(e.text), S("the text has U+001B, which ISO-2022-JP has not"));
    m.subject = S("夏🎉");
    CHECK_INT(mime_build(&m, &o, &e), ERR_UNSUPPORTED);
    CHECK_STR(slice_cstr(e.text), S("the subject has 🎉 U+1F389, which ISO-2022-JP has not"));
    mime_out_free(&o);
    arena_free(&a);
}

/* What RFC 3676 has a reader do with delsp=yes. */
static void unflow(struct slice text, struct buf *out)
{
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        line.n -= line.n && line.p[line.n - 1] == '\r';
        if (line.n && line.p[0] == ' ')
            line = slice_of(line.p + 1, line.n - 1);
        bool soft = line.n && line.p[line.n - 1] == ' ' && !slice_eq(line, S("-- "));
        buf_add(out, line.p, line.n - soft);
        if (!soft)
            buf_addc(out, '\n');
    }
}

TEST(flowed_text_is_wrapped_and_comes_together_again)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"short\n", "short\r\n"},
        {"The quick brown fox jumps over the lazy dog and then the dog jumps over the fox, twice\n",
         "The quick brown fox jumps over the lazy dog and then the dog jumps over  \r\nthe fox, twice\r\n"},
        {"> quoted\nFrom here\n.dot\n indented\n-- \nsig\n",
         " > quoted\r\n From here\r\n .dot\r\n  indented\r\n-- \r\nsig\r\n"},
        {"https://example.jp/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
         "https://example.jp/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"},
        {"\n\n", "\r\n\r\n"},
        {"trailing   \nb\n", "trailing\r\nb\r\n"},
    };
    struct arena a = {0};
    struct buf b = {0}, want = {0};
    struct mime_out o = {0};
    struct mime_message m = message(&a);
    m.flowed = true;
    for (size_t i = 0; i < COUNT(rows); i++) {
        m.text = slice_cstr(rows[i].in);
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        if (slice_find(body_of(&o, &b), S("Encoding: 7bit")) < 0)
            continue; /* the long address: quoted-printable */
        buf_clear(&want);
        buf_printf(&want,
                   "Content-Type: text/plain; charset=UTF-8; format=flowed; delsp=yes\r\n"
                   "Content-Transfer-Encoding: 7bit\r\n%s",
                   rows[i].want);
        CHECK_STR(body_of(&o, &b), buf_slice(&want));
    }
    m.charset = MIME_ISO2022JP;
    static const char *const words[] = {"夏祭り", "word ", "👨‍👩",
                                        "、",     "--",    "https://example.jp/a "};
    unsigned dice = 1;
    for (int i = 0; i < 200; i++) {
        struct buf text = {0}, back = {0}, decoded = {0};
        for (int n = 0; n < 40; n++) {
            dice = dice * 1103515245 + 12345;
            buf_adds(&text,
                     slice_cstr(words[dice >> 16 & 3 ? 0 : (dice >> 20) % (i % 2 ? 2 : COUNT(words))]));
        }
        buf_adds(&text, S("x\n"));
        m.text = buf_slice(&text);
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        if (slice_find(body_of(&o, &b), S("Encoding: 7bit\r\n")) > 0) {
            size_t bad_at;
            CHECK_INT(iso2022jp_decode(o.body[0], &decoded, &bad_at), 0);
            for (struct slice rest = buf_slice(&decoded); rest.n;)
                CHECK(text_width(slice_cut(rest, '\n', &rest)) <= 78);
            unflow(buf_slice(&decoded), &back);
            CHECK_STR(buf_slice(&back), buf_slice(&text));
        } else {
            CHECK(o.charset == MIME_UTF8 && i % 2 == 0);
        }
        buf_free(&text);
        buf_free(&back);
        buf_free(&decoded);
    }
    mime_out_free(&o);
    buf_free(&b);
    buf_free(&want);
    arena_free(&a);
}

TEST(bodies_leave_in_the_encoding_that_suits_them)
{
    static const struct {
        const char *in, *encoding, *want;
    } rows[] = {
        {"plain\n", "7bit", "plain\r\n"},
        {"a\rb\nc\r\nd\n\re", "7bit", "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n"},
        {".dot\n..\n", "quoted-printable", "=2Edot\r\n=2E.\r\n"},
        {"blank \ntab\t\n", "quoted-printable", "blank=20\r\ntab=09\r\n"},
        {"--=_1.0123\n", "quoted-printable", "--=3D_1.0123\r\n"},
        {"Caf\xc3\xa9 is a word in a line\n", "quoted-printable", "Caf=C3=A9 is a word in a line\r\n"},
        {"夏祭り\n", "base64", "5aSP56Wt44KKDQo=\r\n"},
        {"0123456789012345678901234567890123456789012345678901234567890123456789012345678\n",
         "quoted-printable",
         "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n5678\r\n"},
        /* a soft break never leaves a dot at the start of a line, and never splits a character */
        {"012345678901234567890123456789012345678901234567890123456789012345678901234.678\n",
         "quoted-printable",
         "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=2E678\r\n"},
        {"01234567890123456789012345678901234567890123456789012345678901234567890\xc3\xa9 678\n",
         "quoted-printable",
         "01234567890123456789012345678901234567890123456789012345678901234567890=\r\n=C3=A9 678\r\n"},
    };
    struct arena a = {0};
    struct mime_out o = {0};
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = {0};
        struct mime_message m = message(&a);
        m.text = slice_cstr(rows[i].in);
        CHECK_INT(mime_build(&m, &o, &e), 0);
        struct slice s = wire(&o, &b);
        CHECK(lines_are_clean(s));
        ptrdiff_t at = slice_find(s, S("Encoding: "));
        struct slice rest, got = slice_cut(slice_of(s.p + at + 10, s.n - (size_t)at - 10), '\r', &rest);
        CHECK_STR(got, slice_cstr(rows[i].encoding));
        CHECK_STR(slice_of(rest.p + 3, rest.n - 3), slice_cstr(rows[i].want));
    }
    mime_out_free(&o);
    buf_free(&b);
    arena_free(&a);
}

TEST(no_value_can_add_a_header)
{
    struct arena a = {0};
    struct mime_out o = {0};
    static const struct {
        const char *name, *value, *want;
    } rows[] = {
        {"X-A", "a\r\nBcc: x@example.jp", "header X-A has a line break in it (at byte 2)"},
        {"X-A", "a\nb", "header X-A has a line break in it (at byte 2)"},
        {"X-A", "a\tb", "header X-A has a control character in it (at byte 2)"},
        {"X-A", "a\xc2\x85", "header X-A has a control character in it (at byte 2)"},
        {"X-A", "a\xff", "header X-A is not valid UTF-8 (at byte 2)"},
        {"X A", "a", "a header name is empty, too long, or has a character it may not"},
        {"X-A:", "a", "a header name is empty, too long, or has a character it may not"},
        {"X-A\r\nBcc", "a", "a header name is empty, too long, or has a character it may not"},
        {"", "a", "a header name is empty, too long, or has a character it may not"},
        {"bcc", "a", "header bcc cannot be set as an extra header"},
        {"Content-Language", "ja", "header Content-Language cannot be set as an extra header"},
        {"subject", "ja", "header subject cannot be set as an extra header"},
        {"Cc", "夏 <a@b.jp>", "header Cc may have ASCII characters only"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = {0};
        struct mime_message m = message(&a);
        struct mime_header h = {slice_cstr(rows[i].name), slice_cstr(rows[i].value)};
        m.text = S("x");
        m.extra = &h;
        m.nextra = 1;
        CHECK_INT(mime_build(&m, &o, &e), ERR_INVAL);
        CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
    }
    mime_out_free(&o);
    arena_free(&a);
}

TEST(what_cannot_be_a_mail_is_refused_with_a_reason)
{
    struct arena a = {0};
    struct mime_out o = {0};
    struct mime_part part = {.content_type = S("application/pdf"), .filename = S("a.pdf"), .data = S("x")};
    for (int i = 0; i < 16; i++) {
        struct err e = {0};
        struct mime_message m = message(&a);
        const char *want = "";
        struct mime_part p = part;
        m.text = S("x");
        switch (i) {
        case 0:
            m.text = S("");
            want = "a message needs text or html";
            break;
        case 1:
            m.text = S("a\xff");
            want = "the text is not valid UTF-8 (at byte 2)";
            break;
        case 2:
            m.html = S("a\0b");
            want = "the HTML has a NUL in it (at byte 2)";
            break;
        case 3:
            m.subject = S("a\r\nb");
            want = "header Subject has a line break in it (at byte 2)";
            break;
        case 4:
            m.message_id = S("a b@c.jp");
            want = "the Message-ID must be like left@example.jp";
            break;
        case 5:
            m.preheader = S("x");
            want = "a preheader without html has no place to stand in";
            break;
        case 6:
            p.kind = MIME_INLINE;
            p.content_id = S("a");
            want = "an inline image without html has no place to stand in";
            break;
        case 7:
            p.kind = MIME_INLINE;
            want = "inline image a.pdf: its content id is missing or has a character it may not";
            break;
        case 8:
            p.content_type = S("pdf");
            want = "attachment a.pdf: its type must be like \"application/pdf\"";
            break;
        case 9:
            p.content_type = S("text/csv; x=y");
            want = "attachment a.pdf: its type must be like \"application/pdf\"";
            break;
        case 10:
            p.content_type = S("message/rfc822");
            want = "attachment a.pdf: type message/rfc822 cannot be attached; application/octet-stream can";
            break;
        case 11:
            p.filename = S("a\r\nb");
            want = "a file name has a line break in it (at byte 2)";
            break;
        case 12:
            m.list_id = S("a b");
            want = "header List-Id must be like \"news.example.jp\" or \"Name <news.example.jp>\"";
            break;
        case 13:
            m.from = (struct mailbox){0};
            want = "From has no address";
            break;
        case 14:
            m.utc_offset_min = 1440;
            want = "a UTC offset of 1440 minutes is a day or more";
            break;
        case 15:
            m.to.name = S("a\rb");
            want = "To has a line break in it (at byte 2)";
            break;
        }
        m.parts = &p;
        m.nparts = i >= 6 && i <= 11;
        CHECK(mime_build(&m, &o, &e) < 0);
        CHECK_STR(slice_cstr(e.text), slice_cstr(want));
    }
    mime_out_free(&o);
    arena_free(&a);
}

TEST(dates_follow_the_calendar)
{
    static const struct {
        int64_t unix_s;
        int offset;
        const char *want;
    } rows[] = {
        {0, 0, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {0, -300, "Wed, 31 Dec 1969 19:00:00 -0500"},
        {951782400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"},
        {951868799, 1, "Wed, 01 Mar 2000 00:00:59 +0001"},
        {1709164800, 540, "Thu, 29 Feb 2024 09:00:00 +0900"},
        {1782867600, 540, "Wed, 01 Jul 2026 10:00:00 +0900"},
        {4107542400, 330, "Mon, 01 Mar 2100 05:30:00 +0530"},
        {-2208902400, -1439, "Mon, 01 Jan 1900 00:01:00 -2359"},
        {253402214400, 1439, "Fri, 31 Dec 9999 23:59:00 +2359"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        CHECK_INT(mime_put_date(&b, rows[i].unix_s, rows[i].offset, NULL), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

TEST(a_preheader_stands_at_the_start_of_the_body)
{
    static const struct {
        const char *in, *before;
    } rows[] = {
        {"<!doctype html><html><head></head><body class=\"a>b\">X", "<body class=\"a>b\">"},
        {"<html><!--[if mso]><body class=mso><![endif]--><BODY\n>X", "<BODY\n>"},
        {"<html><!--[if !mso]><!--><body id=a><!--<![endif]-->X", "<body id=a>"},
        {"<html><head><title>x</title></head><p>X", "</head>"},
        {"<!DOCTYPE html>\n<html lang=ja><p>X", "<html lang=ja>"},
        {"<p>X", ""},
        {"<bodyguard>X", ""},
    };
    struct arena a = {0};
    struct mime_out o = {0};
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mime_message m = message(&a);
        struct err e = {0};
        m.html = slice_cstr(rows[i].in);
        m.preheader = S("a <b> & c");
        CHECK_INT(mime_build(&m, &o, &e), 0);
        struct slice page = buf_slice(&o.page);
        ptrdiff_t at = slice_find(page, S("<div style=\"display:none"));
        CHECK(at >= 0 && slice_ends(slice_of(page.p, (size_t)at), slice_cstr(rows[i].before)));
        CHECK(rows[i].before[0] || at == 0);
        CHECK(slice_find(page, S(">\na &lt;b&gt; &amp; c\n&zwnj;&nbsp;")) > 0);
        CHECK(lines_are_clean(wire(&o, &b)));
    }
    mime_out_free(&o);
    buf_free(&b);
    arena_free(&a);
}

TEST(an_address_in_utf8_needs_smtputf8)
{
    struct arena a = {0};
    struct mime_out o = {0};
    struct err e = {0};
    struct mime_message m = message(&a);
    m.to = mailbox(&a, "太郎 <太郎@例え.jp>");
    m.text = S("x");
    CHECK_INT(mime_build(&m, &o, &e), 0);
    CHECK(o.needs_smtputf8);
    CHECK(slice_find(buf_slice(&o.head), S("To: =?UTF-8?B?5aSq6YOO?= <太郎@xn--r8jz45g.jp>\r\n")) > 0);
    m.to = mailbox(&a, "Taro <a..b@docomo.ne.jp>");
    CHECK_INT(mime_build(&m, &o, &e), 0);
    CHECK(!o.needs_smtputf8);
    CHECK(slice_find(buf_slice(&o.head), S("To: Taro <\"a..b\"@docomo.ne.jp>\r\n")) > 0);
    mime_out_free(&o);
    arena_free(&a);
}

TEST(a_file_without_a_type_has_that_of_its_name)
{
    static const char *const rows[][2] = {{"a.PDF", "Content-Type: application/pdf; name=\"a.PDF\"\r\n"},
                                          {"地図.2.jpeg", "Content-Type: image/jpeg\r\n"},
                                          {"pdf", "Content-Type: application/octet-stream; name=\"pdf\"\r\n"},
                                          {"a.", "Content-Type: application/octet-stream; name=\"a.\"\r\n"},
                                          {"", "Content-Type: application/octet-stream\r\n"}};
    struct arena a = {0};
    struct mime_out o = {0};
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mime_message m = message(&a);
        struct mime_part p = {MIME_ATTACHMENT, S(""), slice_cstr(rows[i][0]), S(""), S("x"), false};
        m.text = S("x");
        m.parts = &p;
        m.nparts = 1;
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        CHECK(slice_find(wire(&o, &b), slice_cstr(rows[i][1])) > 0);
    }
    mime_out_free(&o);
    buf_free(&b);
    arena_free(&a);
}

TEST(file_names_follow_rfc_2231_between_characters)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"flyer.pdf", "Content-Type: application/pdf; name=\"flyer.pdf\"\r\n"
                      "Content-Transfer-Encoding: base64\r\n"
                      "Content-Disposition: attachment; filename=\"flyer.pdf\"\r\n"},
        {"チラシ.pdf", "Content-Type: application/pdf\r\n"
                       "Content-Transfer-Encoding: base64\r\n"
                       "Content-Disposition: attachment;\r\n"
                       " filename*=UTF-8''%E3%83%81%E3%83%A9%E3%82%B7.pdf\r\n"},
        {"夏祭りのご案内とお申し込み.pdf",
         "Content-Type: application/pdf\r\n"
         "Content-Transfer-Encoding: base64\r\n"
         "Content-Disposition: attachment;\r\n"
         " filename*0*=UTF-8''%E5%A4%8F%E7%A5%AD%E3%82%8A%E3%81%AE%E3%81%94%E6%A1%88;\r\n"
         " filename*1*=%E5%86%85%E3%81%A8%E3%81%8A%E7%94%B3%E3%81%97%E8%BE%BC%E3%81%BF.;\r\n"
         " filename*2*=pdf\r\n"},
        {"say \"hi\".txt", "Content-Type: application/pdf\r\n"
                           "Content-Transfer-Encoding: base64\r\n"
                           "Content-Disposition: attachment;\r\n"
                           " filename*=UTF-8''say%20%22hi%22.txt\r\n"},
    };
    struct arena a = {0};
    struct mime_out o = {0};
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mime_message m = message(&a);
        struct mime_part p = {
            MIME_ATTACHMENT, S("application/pdf"), slice_cstr(rows[i].name), S(""), S("x"), false};
        m.text = S("x");
        m.parts = &p;
        m.nparts = 1;
        CHECK_INT(mime_build(&m, &o, NULL), 0);
        struct slice s = wire(&o, &b);
        ptrdiff_t at = slice_find(s, S("Content-Type: application/pdf"));
        CHECK(at > 0);
        s = slice_of(s.p + at, s.n - (size_t)at);
        CHECK_STR(slice_of(s.p, (size_t)slice_find(s, S("\r\n\r\n")) + 2), slice_cstr(rows[i].want));
    }
    mime_out_free(&o);
    buf_free(&b);
    arena_free(&a);
}
