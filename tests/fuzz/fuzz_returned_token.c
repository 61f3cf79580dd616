/* fuzz_returned_token.c - no bytes of a mail name a message, unless they were made with our secret. */
#include "format/returned_token.h"
#include "format/rule_file.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct verp_key ours = {1, "what the fuzzer cannot know ..."};
    static struct rules *rules;
    static struct returned_reader *reader;
    static struct returned r;
    struct slice mail, to = slice_cut(slice_of(data, size), '\n', &mail);
    struct buf made = {0};
    struct err e = {0};
    uint64_t id = 0;

    if (!reader && (rules_compile_shipped(NULL, 0, &rules, &e) || returned_reader_new(rules, &reader, &e)))
        abort();
    INVARIANT(returned_read(reader, mail, &r, &e) == 0);
    INVARIANT(returned_token(&ours, to, &r, &id) != RETURNED_TOKEN_HOLDS && id == 0);
    /* The envelope goes before all that the mail says. */
    id = 0;
    verp_make(&ours, 4711, S("b.news.test"), &made);
    INVARIANT(returned_token(&ours, buf_slice(&made), &r, &id) == RETURNED_TOKEN_HOLDS && id == 4711);
    buf_free(&made);
    return 0;
}
