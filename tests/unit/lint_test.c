/* lint_test.c - what hato check says of a conf that no script can declare. */
#include "lint.h"
#include "test.h"

static void collect(void *data, const struct lint_finding *f)
{
    struct buf *out = data;
    buf_adds(out, f->text);
    buf_addc(out, '\n');
}

/* Where no source is declared, its EHLO name is the host's. */
TEST(a_host_whose_name_has_no_dot_sends_to_loopback_only)
{
    struct conf_source sources[] = {{.name = S("default"), .ehlo = S("localhost")},
                                    {.name = S("mx1"), .ehlo = S("mx1.example.jp")}};
    struct conf conf = {.sources = sources, .nsources = 2};
    struct buf out = {0};
    lint_senders(&conf, collect, &out);
    CHECK_STR(buf_slice(&out),
              S("the EHLO name \"localhost\" of source default has no dot: it sends to loopback only\n"));
    buf_free(&out);
}
