/* dkim_test.c - canonicalisation, the example of RFC 8463, what is covered, folding, keys and records. */
#include "base/err.h"
#include "format/dkim.h"
#include "test.h"

#include <pthread.h>

static void on_canon(void *arg, const char *p, size_t n)
{
    buf_add(arg, p, n);
}

static void canon_body(struct slice body, size_t piece, struct buf *out)
{
    struct dkim_body b;

    buf_clear(out);
    dkim_body_start(&b, on_canon, out);
    for (size_t at = 0; at < body.n; at += piece)
        dkim_body_add(&b, slice_of(body.p + at, body.n - at < piece ? body.n - at : piece));
    dkim_body_end(&b);
}

static struct dkim_key *key_of(const char *file)
{
    struct dkim_key *key = NULL;
    dkim_key_load(test_file(file), &key, NULL);
    return key;
}

TEST(dkim_relaxes_header_fields)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"A: X\r\n", "a:X\r\n"}, /* RFC 6376 3.4.5 */
        {"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {"Subject:\r\n", "subject:\r\n"},
        {"Subject: \t \r\n", "subject:\r\n"},
        {"Subject:\r\n folded\r\n  twice\r\n", "subject:folded twice\r\n"},
        {"X-MiXeD \t:a:b", "x-mixed:a:b\r\n"},
        {"X: a \r\n \r\n b\r\n", "x:a b\r\n"},
        {"X: \xe3\x81\x82\r\n", "x:\xe3\x81\x82\r\n"},
    };
    struct buf out = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&out);
        CHECK_INT(dkim_canon_field(slice_cstr(cases[i].in), &out), 0);
        CHECK_STR(buf_slice(&out), slice_cstr(cases[i].want));
    }
    buf_free(&out);
}

TEST(dkim_refuses_a_field_that_could_hide_another)
{
    static const char *bad[] = {"",
                                "\r\n",
                                ": x\r\n",
                                "no colon\r\n",
                                " A: x\r\n",
                                "A B: x\r\n",
                                "A: x\ny\r\n",
                                "A: x\ry\r\n",
                                "A: x\r\nB: y\r\n",
                                "A: x\r\n\r\n",
                                "\xc3\xa4: x\r\n"};
    struct buf out = {0};

    for (size_t i = 0; i < COUNT(bad); i++) {
        CHECK_INT(dkim_canon_field(slice_cstr(bad[i]), &out), ERR_SYNTAX);
        CHECK_INT(out.n, 0);
    }
    buf_free(&out);
}

TEST(dkim_relaxes_bodies)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"}, /* RFC 6376 3.4.5 */
        {"", ""},
        {"\r\n", ""},
        {" \t\r\n\r\n ", ""},
        {"a", "a\r\n"},
        {"a ", "a\r\n"},
        {"a\r\n", "a\r\n"},
        {"\r\n\r\na\r\n\r\nb\r\n\r\n", "\r\n\r\na\r\n\r\nb\r\n"},
        {"a\r\n \r\n\t\r\nb", "a\r\n\r\n\r\nb\r\n"},
        {"a\nb\r\n", "a\nb\r\n"},
        {"a \rb \r\n", "a \rb\r\n"},
        {"a\r", "a\r\r\n"},
        {"one two  three four five six seven\r\n", "one two three four five six seven\r\n"},
        {"one two three fo! !ur five six se\tven\r\n", "one two three fo! !ur five six se ven\r\n"},
    };
    struct buf out = {0};

    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t piece = 1; piece < 40; piece++) {
            canon_body(slice_cstr(cases[i].in), piece, &out);
            CHECK_STR(buf_slice(&out), slice_cstr(cases[i].want));
        }
    buf_free(&out);
}

/* One byte at a time never takes the ways over whole lines and solid pieces, so it is the measure for it. */
TEST(dkim_body_is_the_same_in_one_piece_and_byte_by_byte)
{
    static const char alphabet[] = "ab  \t\r\n\n!";
    struct buf body = {0}, slow = {0}, fast = {0}, again = {0};
    uint32_t seed = 1;

    for (int round = 0; round < 3000; round++) {
        buf_clear(&body);
        for (uint32_t n = round % 120; n; n--) {
            seed = seed * 1664525 + 1013904223;
            uint32_t pick = seed >> 16;
            if (pick % 16 < 3)
                buf_adds(&body, S("\r\n"));
            else if (pick % 16 < 9)
                buf_adds(&body, round % 3 ? S("plain text") : S("solidsolid"));
            else
                buf_addc(&body,
                         round % 3 ? alphabet[(pick >> 5) % (sizeof alphabet - 1)] : "\r\n"[pick >> 5 & 1]);
        }
        canon_body(buf_slice(&body), 1, &slow);
        canon_body(buf_slice(&body), 1u << 20, &fast);
        CHECK(slice_eq(buf_slice(&slow), buf_slice(&fast)));
        canon_body(buf_slice(&body), 7 + round % 250, &fast);
        CHECK(slice_eq(buf_slice(&slow), buf_slice(&fast)));
        canon_body(buf_slice(&slow), 1u << 20, &again);
        CHECK(slice_eq(buf_slice(&slow), buf_slice(&again)));
    }
    buf_free(&body);
    buf_free(&slow);
    buf_free(&fast);
    buf_free(&again);
}

static void strip_space(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(" \t\r\n", s.p[i]))
            buf_addc(out, s.p[i]);
}

TEST(dkim_signs_the_example_of_rfc_8463_bit_for_bit)
{
    struct slice eml = test_file("tests/golden/dkim/rfc8463-signed.eml"), rest, header, body;
    struct slice names = S("from : to : subject : date : message-id : from : subject : date");
    struct dkim_key *ed = key_of("tests/golden/dkim/rfc8463-ed.key"),
                    *rsa = key_of("tests/golden/dkim/rfc8463-rsa.key");
    struct dkim_identity ids[2] = {
        {ed, S("football.example.com"), S("brisbane"), S("@football.example.com"), names, 0},
        {rsa, S("football.example.com"), S("test"), S("@football.example.com"), names, 0},
    };
    struct dkim_work *w = dkim_work_new();
    struct buf crlf = {0}, out = {0}, got = {0}, want = {0};

    CHECK(ed && rsa);
    CHECK(rsa->weak && !ed->weak);
    for (rest = eml; rest.n;) {
        buf_adds(&crlf, slice_cut(rest, '\n', &rest));
        buf_adds(&crlf, S("\r\n"));
    }
    rest = buf_slice(&crlf);
    ptrdiff_t from = slice_find(rest, S("\r\nFrom: ")) + 2, end = slice_find(rest, S("\r\n\r\n")) + 2;
    header = slice_of(rest.p + from, (size_t)(end - from));
    body = slice_of(rest.p + end + 2, rest.n - (size_t)end - 2);

    CHECK_INT(dkim_sign(w, ids, 2, header, &body, 1, 1528637909, &out), 0);
    strip_space(buf_slice(&out), &got);
    strip_space(slice_of(rest.p, (size_t)from), &want);
    CHECK_STR(buf_slice(&got), buf_slice(&want));

    dkim_work_free(w);
    dkim_key_free(ed);
    dkim_key_free(rsa);
    buf_free(&crlf);
    buf_free(&out);
    buf_free(&got);
    buf_free(&want);
}

#define HEADER                                                                                               \
    "From: a@example.jp\r\nTo: b@example.org\r\nSubject: x\r\nDate: d\r\nX-Other: 1\r\n"                     \
    "Message-ID: <1@example.jp>\r\nMIME-Version: 1.0\r\nList-Id: <l>\r\nList-Unsubscribe: <u>\r\n"           \
    "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\nFeedback-ID: a:b:c:d\r\n"

TEST(dkim_covers_and_oversigns_what_it_says)
{
    struct dkim_key *key = key_of("tests/golden/dkim/rfc8463-ed.key");
    struct dkim_identity id = {.key = key, .domain = S("example.jp"), .selector = S("s1"), .expire_s = 86400};
    struct dkim_work *w = dkim_work_new();
    struct buf out = {0}, got = {0};
    struct slice body = S("hello\r\n");

    CHECK(key);
    CHECK_INT(dkim_sign(w, &id, 1, S(HEADER), &body, 1, 1700000000, &out), 0);
    strip_space(buf_slice(&out), &got);
    CHECK(slice_starts(buf_slice(&got),
                       S("DKIM-Signature:v=1;a=ed25519-sha256;c=relaxed/relaxed;d=example.jp;q=dns/txt;s=s1;"
                         "t=1700000000;x=1700086400;h=from:to:subject:date:message-id:mime-version:list-id:"
                         "list-unsubscribe:content-type:content-transfer-encoding:feedback-id:"
                         "from:to:cc:subject:date:reply-to:content-type;bh=")));
    for (struct slice rest = buf_slice(&out), line; rest.n;) {
        line = slice_cut(rest, '\n', &rest);
        CHECK(line.n <= 78);
        CHECK(slice_ends(line, S("\r")));
        CHECK(line.p == out.p || line.p[0] == ' ');
    }
    dkim_work_free(w);
    dkim_key_free(key);
    buf_free(&out);
    buf_free(&got);
}

TEST(dkim_signatures_made_together_are_those_made_alone)
{
    struct dkim_key *ed = key_of("tests/golden/dkim/rfc8463-ed.key"),
                    *rsa = key_of("tests/golden/dkim/rfc8463-rsa.key");
    struct dkim_identity ids[3] = {
        {.key = rsa, .domain = S("example.jp"), .selector = S("r")},
        {.key = ed, .domain = S("example.jp"), .selector = S("o"), .headers = S("from:date")},
        {.key = ed, .domain = S("example.net"), .selector = S("e")},
    };
    struct dkim_work *w = dkim_work_new(), *w2 = dkim_work_new();
    struct buf together = {0}, alone = {0};
    struct slice body[3] = {S("he"), S("llo \r"), S("\n\r\n")}, whole = S("hello\r\n");

    CHECK(ed && rsa);
    CHECK_INT(dkim_sign(w, ids, 3, S(HEADER), body, 3, 1, &together), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(dkim_sign(w2, &ids[i], 1, S(HEADER), &whole, 1, 1, &alone), 0);
    CHECK_STR(buf_slice(&together), buf_slice(&alone));
    dkim_work_free(w);
    dkim_work_free(w2);
    dkim_key_free(ed);
    dkim_key_free(rsa);
    buf_free(&together);
    buf_free(&alone);
}

TEST(dkim_signs_several_messages_with_the_bytes_each_has_alone)
{
    struct buf pem = {0}, out[5] = {{0}}, alone = {0};
    struct dkim_key *rsa[2], *ed = key_of("tests/golden/dkim/rfc8463-ed.key"),
                             *small = key_of("tests/golden/dkim/rfc8463-rsa.key");
    for (int i = 0; i < 2; i++) {
        buf_clear(&pem);
        CHECK_INT(dkim_key_generate(DKIM_RSA, &pem, NULL), 0);
        CHECK_INT(dkim_key_load(buf_slice(&pem), &rsa[i], NULL), 0);
    }
    struct dkim_identity ids[4] = {
        {.key = rsa[0], .domain = S("example.jp"), .selector = S("a")},
        {.key = ed, .domain = S("example.jp"), .selector = S("b")},
        {.key = rsa[1], .domain = S("example.net"), .selector = S("c"), .headers = S("from:date")},
        {.key = small, .domain = S("example.net"), .selector = S("d")},
    };
    struct dkim_work *w = dkim_work_new(), *w2 = dkim_work_new();
    struct slice body = S("hello\r\n");
    /* Odd and even counts of RSA-2048 signatures over one and several messages, and one that is refused. */
    static const struct {
        int first, n;
    } parts[5] = {{0, 1}, {0, 4}, {1, 1}, {0, 2}, {2, 2}};

    for (size_t n = 1; n <= COUNT(parts); n++) {
        struct dkim_message m[COUNT(parts)];
        for (size_t i = 0; i < n; i++) {
            buf_clear(&out[i]);
            buf_adds(&out[i], S("before"));
            m[i] = (struct dkim_message){
                ids + parts[i].first, (size_t)parts[i].n, S(HEADER), &body, 1, (int64_t)i, &out[i], 7};
        }
        if (n > 2)
            m[1].header = S("To: b\r\n");
        dkim_sign_all(w, m, n);
        for (size_t i = 0; i < n; i++) {
            buf_clear(&alone);
            buf_adds(&alone, S("before"));
            CHECK_INT(m[i].rc, n > 2 && i == 1 ? ERR_MISSING : 0);
            if (!m[i].rc)
                CHECK_INT(dkim_sign(w2, m[i].ids, m[i].n, m[i].header, &body, 1, m[i].time_s, &alone), 0);
            CHECK_STR(buf_slice(&out[i]), buf_slice(&alone));
        }
    }
    for (int i = 0; i < 2; i++)
        dkim_key_free(rsa[i]);
    dkim_key_free(ed);
    dkim_key_free(small);
    dkim_work_free(w);
    dkim_work_free(w2);
    for (size_t i = 0; i < COUNT(out); i++)
        buf_free(&out[i]);
    buf_free(&alone);
    buf_free(&pem);
}

struct signing {
    const struct dkim_identity *ids;
    struct buf out;
    int rc;
};

static void *sign_many(void *arg)
{
    struct signing *s = arg;
    struct dkim_work *w = dkim_work_new();
    struct slice body = S("hello\r\n");

    for (int i = 0; i < 50 && s->rc == 0; i++) {
        buf_clear(&s->out);
        s->rc = dkim_sign(w, s->ids, 2, S(HEADER), &body, 1, 1, &s->out);
    }
    dkim_work_free(w);
    return NULL;
}

TEST(dkim_threads_share_keys)
{
    struct dkim_key *ed = key_of("tests/golden/dkim/rfc8463-ed.key"),
                    *rsa = key_of("tests/golden/dkim/rfc8463-rsa.key");
    struct dkim_identity ids[2] = {
        {.key = rsa, .domain = S("example.jp"), .selector = S("r")},
        {.key = ed, .domain = S("example.jp"), .selector = S("e")},
    };
    struct signing work[4] = {{0}};
    pthread_t threads[4];

    CHECK(ed && rsa);
    for (size_t i = 0; i < COUNT(work); i++) {
        work[i].ids = ids;
        CHECK_INT(pthread_create(&threads[i], NULL, sign_many, &work[i]), 0);
    }
    for (size_t i = 0; i < COUNT(work); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT(work); i++) {
        CHECK_INT(work[i].rc, 0);
        CHECK_STR(buf_slice(&work[i].out), buf_slice(&work[0].out));
    }
    for (size_t i = 0; i < COUNT(work); i++)
        buf_free(&work[i].out);
    dkim_key_free(ed);
    dkim_key_free(rsa);
}

TEST(dkim_says_no_and_leaves_the_output_alone)
{
    struct dkim_key *ed = key_of("tests/golden/dkim/rfc8463-ed.key");
    static const struct {
        const char *domain, *selector, *auid, *headers, *header;
        int want;
    } cases[] = {
        {"example.jp", "s1", "", "", "From: a\r\n", 0},
        {"example.jp", "s1", "@example.jp", "to : From", "From: a\r\n", 0},
        {"example.jp", "s1", "", "", "To: a\r\n", ERR_MISSING},
        {"example.jp", "s1", "", "", "From: a\n", ERR_SYNTAX},
        {"example.jp", "s1", "", "", "From: a\r\n\r\n", ERR_SYNTAX},
        {"example.jp", "s1", "", "", "From: a", ERR_SYNTAX},
        {"example..jp", "s1", "", "", "From: a\r\n", ERR_INVAL},
        {"", "s1", "", "", "From: a\r\n", ERR_INVAL},
        {"example.jp;", "s1", "", "", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1\r\nX: y", "", "", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1", "a b@example.jp", "", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1", "", "to:date", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1", "", "from:", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1", "", "from:  to", "From: a\r\n", ERR_INVAL},
        {"example.jp", "s1", "", "from:to\r\n", "From: a\r\n", ERR_INVAL},
    };
    struct dkim_work *w = dkim_work_new();
    struct buf out = {0};

    CHECK(ed);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_identity id = {ed,
                                   slice_cstr(cases[i].domain),
                                   slice_cstr(cases[i].selector),
                                   slice_cstr(cases[i].auid),
                                   slice_cstr(cases[i].headers),
                                   0};
        buf_clear(&out);
        buf_adds(&out, S("kept"));
        CHECK_INT(dkim_sign(w, &id, 1, slice_cstr(cases[i].header), NULL, 0, 1, &out), cases[i].want);
        if (cases[i].want)
            CHECK_STR(buf_slice(&out), S("kept"));
    }
    dkim_work_free(w);
    dkim_key_free(ed);
    buf_free(&out);
}

TEST(dkim_records_match_the_published_ones)
{
    struct slice dns = test_file("tests/golden/dkim/rfc8463-dns.json");
    struct dkim_key *ed = key_of("tests/golden/dkim/rfc8463-ed.key"),
                    *rsa = key_of("tests/golden/dkim/rfc8463-rsa.key");
    struct buf published = {0}, out = {0};

    CHECK(ed && rsa);
    /* The file splits its strings; joined, they must hold our record. */
    for (size_t i = 0; i < dns.n; i++)
        if (!strchr("\", \n", dns.p[i]))
            buf_addc(&published, dns.p[i]);
    CHECK_INT(dkim_record(ed, &out), 0);
    CHECK_STR(buf_slice(&out), S("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="));
    buf_clear(&out);
    CHECK_INT(dkim_record(rsa, &out), 0);
    struct slice p = buf_slice(&out);
    CHECK(slice_starts(p, S("v=DKIM1; k=rsa; p=MIG")));
    p = slice_of(p.p + 18, p.n - 18);
    CHECK(slice_find(buf_slice(&published), p) >= 0);
    dkim_key_free(ed);
    dkim_key_free(rsa);
    buf_free(&published);
    buf_free(&out);
}

TEST(dkim_records_are_split_at_255_bytes)
{
    static const size_t sizes[] = {1, 255, 256, 510, 511};
    static const size_t strings[] = {1, 1, 2, 2, 3};
    char text[600];
    struct buf out = {0};

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        buf_clear(&out);
        dkim_record_quoted(slice_of(text, sizes[i]), &out);
        CHECK_INT(out.n, sizes[i] + 2 * strings[i] + (strings[i] - 1));
        CHECK(out.p[0] == '"' && out.p[out.n - 1] == '"');
    }
    buf_free(&out);
}

TEST(dkim_generated_keys_load_and_sign)
{
    struct dkim_identity id = {.domain = S("example.jp"), .selector = S("s1")};
    struct dkim_work *w = dkim_work_new();
    struct buf pem = {0}, out = {0}, record = {0};

    for (int type = DKIM_RSA; type <= DKIM_ED25519; type++) {
        struct dkim_key *key = NULL;
        buf_clear(&pem);
        buf_clear(&record);
        CHECK_INT(dkim_key_generate(type, &pem, NULL), 0);
        CHECK_INT(dkim_key_load(buf_slice(&pem), &key, NULL), 0);
        CHECK(key->type == (enum dkim_type)type && !key->weak);
        CHECK_INT(key->bits, type == DKIM_RSA ? 2048 : 256);
        CHECK_INT(dkim_record(key, &record), 0);
        id.key = key;
        CHECK_INT(dkim_sign(w, &id, 1, S("From: a\r\n"), NULL, 0, 1, &out), 0);
        dkim_key_free(key); /* the work still holds the key's copy */
    }
    dkim_work_free(w);
    buf_free(&pem);
    buf_free(&out);
    buf_free(&record);
}

TEST(dkim_keys_rotate_through_a_full_cache)
{
    struct dkim_key *keys[20] = {0};
    struct dkim_identity ids[20];
    struct dkim_work *w = dkim_work_new();
    struct buf first = {0}, second = {0};

    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = key_of("tests/golden/dkim/rfc8463-ed.key");
        CHECK(keys[i]);
        ids[i] = (struct dkim_identity){.key = keys[i], .domain = S("example.jp"), .selector = S("s1")};
    }
    CHECK_INT(dkim_sign(w, ids, COUNT(ids), S("From: a\r\n"), NULL, 0, 1, &first), 0);
    CHECK_INT(dkim_sign(w, ids, COUNT(ids), S("From: a\r\n"), NULL, 0, 1, &second), 0);
    CHECK_STR(buf_slice(&first), buf_slice(&second));
    dkim_work_free(w);
    for (size_t i = 0; i < COUNT(keys); i++)
        dkim_key_free(keys[i]);
    buf_free(&first);
    buf_free(&second);
}

TEST(dkim_refuses_what_is_no_usable_key)
{
    static const struct {
        const char *text;
        int want;
        const char *words;
    } cases[] = {
        {"", ERR_SYNTAX, "neither PEM nor 32 bytes"},
        {"AAAA", ERR_SYNTAX, "neither PEM nor 32 bytes"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ERR_SYNTAX,
         "no private key in this PEM"},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
         ERR_UNSUPPORTED, "encrypted"},
        /* X25519 */
        {"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n"
         "-----END PRIVATE KEY-----\n",
         ERR_UNSUPPORTED, "neither"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_key *key = NULL;
        struct err e = {0};
        CHECK_INT(dkim_key_load(slice_cstr(cases[i].text), &key, &e), cases[i].want);
        CHECK(!key);
        CHECK(strstr(e.text, cases[i].words));
    }
}
