/* message_test.c - two messages assembled together are the ones assembled alone, also when one of them cannot
 * be. */
#include "delivery/content.h"
#include "delivery/message.h"
#include "test.h"

#include <stdlib.h>

struct stream {
    struct conf_dkim dkim;
    struct conf_stream conf;
    struct identity *identity;
};

static int stream_new(struct stream *s, const struct secret *secret, enum dkim_type type)
{
    struct buf pem = {0};
    int r = dkim_key_generate(type, &pem, NULL);
    s->dkim =
        (struct conf_dkim){S("example.jp"), S("s1"), S("s1.pem"), slice_of(mem_dup(pem.p, pem.n), pem.n)};
    s->conf = (struct conf_stream){.name = S("news"),
                                   .place = {S("init.lua"), 1},
                                   .from = S("News <news@example.jp>"),
                                   .domain = S("example.jp"),
                                   .dkim = &s->dkim,
                                   .ndkim = 1,
                                   .bounce = SLICE_NONE,
                                   .unsubscribe_url = SLICE_NONE,
                                   .unsubscribe_mailto = SLICE_NONE,
                                   .list_id = SLICE_NONE,
                                   .reply_to = SLICE_NONE};
    buf_free(&pem);
    return r ? r : identity_new(&s->conf, secret, &s->identity, NULL);
}

static void stream_free(struct stream *s)
{
    identity_free(s->identity);
    free((char *)s->dkim.key_pem.p);
}

static void put_record(struct message *m, uint64_t id, struct slice address)
{
    struct rec r = {.type = REC_RECIPIENT,
                    .recipient = {.id = id,
                                  .address = address,
                                  .values = SLICE_NONE,
                                  .content = SLICE_NONE,
                                  .campaign = 1,
                                  .stream = 1}};
    message_clear(m);
    rec_put(&m->payload, &r);
}

static void join(const struct message *m, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < m->nwire; i++)
        buf_adds(out, m->wire[i]);
}

TEST(messages_assembled_together_are_the_ones_assembled_alone)
{
    struct secret secret;
    struct stream streams[3];
    struct content *content;
    struct conf_content c = conf_content_empty();
    secret_from_bytes((const unsigned char *)"0123456789abcdef0123456789abcdef", &secret);
    c.subject = S("Hello");
    c.text = S("Good morning.\n");
    c.text_path = S("(text)");
    CHECK_INT(content_compile(&c, S("c"), &content, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(stream_new(&streams[i], &secret, i < 2 ? DKIM_RSA : DKIM_ED25519), 0);
    CHECK(!identity_signs_two(streams[2].identity));

    /* Which stream each is of, and whether it can be read, parsed and so on. */
    static const struct {
        int stream[2];
        bool broken[2], unread[2];
    } cases[] = {{{0, 0}},
                 {{0, 1}},
                 {{1, 2}},
                 {{0, 1}, {true, false}},
                 {{0, 1}, {false, true}},
                 {{0, 0}, {true, true}},
                 {{0, 1}, {false, false}, {true, false}}};
    struct message_scratch *s = message_scratch_new(), *s2 = message_scratch_new();
    struct message m[2] = {{{0}}}, alone = {{0}};
    struct buf got = {0}, want = {0};
    static const char *const people[2] = {"taro@example.net", "hanako@example.org"};
    for (size_t k = 0; k < COUNT(cases); k++) {
        struct message_in in[2];
        struct message_making two[2];
        struct err e[2] = {{0}}, e2 = {0};
        for (int i = 0; i < 2; i++) {
            in[i] = (struct message_in){.id = 1000 + k * 2 + (size_t)i,
                                        .content = content,
                                        .identity = streams[cases[k].stream[i]].identity,
                                        .campaign = S("c"),
                                        .date_s = 1700000000,
                                        .edits = SLICE_NONE,
                                        .redirect = SLICE_NONE};
            put_record(&m[i], in[i].id, slice_cstr(cases[k].broken[i] ? "nobody" : people[i]));
            two[i] = (struct message_making){&in[i], &m[i], &e[i], cases[k].unread[i] ? ERR_IO : 0};
        }
        message_assemble_two(two, s);
        for (int i = 0; i < 2; i++) {
            put_record(&alone, in[i].id, slice_cstr(cases[k].broken[i] ? "nobody" : people[i]));
            int r = cases[k].unread[i] ? ERR_IO : message_assemble(&in[i], s2, &alone, &e2);
            CHECK_INT(two[i].rc, r);
            CHECK_INT(r != 0, cases[k].broken[i] || cases[k].unread[i]);
            if (r) {
                CHECK_STR(slice_cstr(e[i].text), slice_cstr(cases[k].unread[i] ? "" : e2.text));
                continue;
            }
            join(&m[i], &got);
            join(&alone, &want);
            CHECK_STR(buf_slice(&got), buf_slice(&want));
            CHECK(slice_find(buf_slice(&got), S("DKIM-Signature: v=1;")) == 0);
            CHECK(slice_find(buf_slice(&got), slice_cstr(people[i])) > 0);
        }
    }
    message_free(&m[0]);
    message_free(&m[1]);
    message_free(&alone);
    message_scratch_free(s);
    message_scratch_free(s2);
    for (int i = 0; i < 3; i++)
        stream_free(&streams[i]);
    content_free(content);
    buf_free(&got);
    buf_free(&want);
}
