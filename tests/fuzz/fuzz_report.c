/* fuzz_report.c - returned mail, whole: MIME, fields, prose, JSON, charsets. What comes out is clean and
 * bounded. */
#include "format/charset.h"
#include "format/returned.h"
#include "format/rule_file.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct slice s, size_t most)
{
    INVARIANT(s.p && s.n <= most);
    INVARIANT(utf8_line_prefix(s) == s.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rules *rules;
    static struct returned_reader *reader;
    static struct returned r;
    struct err e = {0};

    if (!reader && (rules_compile_shipped(NULL, 0, &rules, &e) || returned_reader_new(rules, &reader, &e)))
        abort();
    INVARIANT(returned_read(reader, slice_of(data, size), &r, &e) == 0);
    INVARIANT(r.nrecipients <= RETURNED_RECIPIENTS_MAX);
    INVARIANT(r.format != RETURNED_NONE || r.nrecipients == 0);
    for (size_t i = 0; i < r.nrecipients; i++) {
        const struct returned_recipient *to = &r.recipients[i];
        check_text(to->address, 400);
        check_text(to->original, 400);
        check_text(to->text, RETURNED_TEXT_MAX);
        check_text(to->remote_mta, 4096);
        check_text(to->status, 20);
        INVARIANT(to->code == 0 || (to->code >= 400 && to->code < 600));
        INVARIANT(to->phase >= RETURNED_PHASE_UNKNOWN && to->phase < SMTP_PHASE_COUNT);
        INVARIANT(to->rule && (unsigned)to->cls < CLASS_COUNT);
        INVARIANT(to->kind == KIND_NONE || to->action == ACTION_FAILED);
    }
    for (size_t i = 0; i < r.nto; i++)
        check_text(r.to[i], 400);
    check_text(r.envelope_id, 4096);
    check_text(r.reporting_mta, 4096);
    check_text(r.feedback_type, 4096);
    check_text(r.original.subject, 4096);
    return 0;
}
