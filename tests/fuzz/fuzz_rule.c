/* fuzz_rule.c - any text, quoted or as it is, gets a class from the shipped rules, and the scan for needles
 * never hides a rule that would match. */
#include "base/err.h"
#include "format/reply_quote.h"
#include "format/rule_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first bytes choose what is known beside the text. */
static struct rule_in read_in(struct slice *s, struct smtp_enhanced *e)
{
    static const char *const isps[] = {"", "gmail", "yahoo", "au", "nobody"};
    struct rule_in in = {.isp = SLICE_NONE, .phase = RULE_PHASE_UNKNOWN};

    if (s->n >= 4) {
        const unsigned char *p = (const unsigned char *)s->p;
        in.isp = slice_cstr(isps[p[0] % COUNT(isps)]);
        in.phase = (int)(p[1] % (SMTP_PHASE_COUNT + 1)) - 1;
        in.code = 400 + p[2] % 200;
        *e = (struct smtp_enhanced){p[3] & 1 ? 5 : 4, p[3] / 2 % 8, p[3] / 16};
        in.enhanced = p[2] & 1 ? e : NULL;
        *s = slice_of(s->p + 4, s->n - 4);
    }
    return in;
}

/* A few rules are asked by themselves, others with every text: all of them would take a hundred times as
 * long. */
static void judge(const struct rules *rules, struct rule_work *work, const struct rule_in *in)
{
    enum { ASKED = 6 };
    struct rule_out out;
    size_t n = rules_count(rules), at = in->text.n * 31 + (size_t)in->code;

    rules_classify(rules, work, in, &out);
    INVARIANT((unsigned)out.cls < CLASS_COUNT && out.rule);
    INVARIANT(out.index < 0 || rules_one_matches(rules, work, (size_t)out.index, in));
    for (size_t i = 0; i < in->text.n; i++)
        at = at * 33 + (unsigned char)in->text.p[i];
    for (int i = 0; i < ASKED; i++) {
        size_t rule = (at + (size_t)i * 83) % n;
        if (out.index < 0 || rule < (size_t)out.index)
            INVARIANT(!rules_one_matches(rules, work, rule, in));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rules *rules; /* compiled once: a fuzzer runs millions of texts */
    static struct rule_work *work;
    struct smtp_enhanced e;
    struct reply_quote q;
    struct buf room = {0};
    struct err err;

    if (!rules) {
        INVARIANT(rules_compile_shipped(NULL, 0, &rules, &err) == 0);
        work = rule_work_new();
    }
    struct slice text = slice_of(data, size);
    struct rule_in in = read_in(&text, &e);
    in.text = text;
    judge(rules, work, &in);

    reply_quote_read(text, &room, &q);
    INVARIANT(q.code == 0 || (q.code >= 400 && q.code <= 559));
    in.text = q.text;
    in.code = q.code;
    in.enhanced = q.has_enhanced ? &q.enhanced : NULL;
    judge(rules, work, &in);
    /* What was read once reads the same again. */
    struct buf again_room = {0};
    struct reply_quote again;
    reply_quote_read(q.text, &again_room, &again);
    INVARIANT(again.code == q.code || !q.code);
    buf_free(&again_room);
    buf_free(&room);
    return 0;
}
