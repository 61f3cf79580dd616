/* smtp_command.c - see smtp_command.h. */
#include "format/smtp_command.h"
#include "base/err.h"

enum smtp_verb smtp_command_read(struct slice line, struct slice *args)
{
    static const char *const verbs[] = {
        [SMTP_VERB_EHLO] = "EHLO", [SMTP_VERB_HELO] = "HELO", [SMTP_VERB_STARTTLS] = "STARTTLS",
        [SMTP_VERB_MAIL] = "MAIL", [SMTP_VERB_RCPT] = "RCPT", [SMTP_VERB_DATA] = "DATA",
        [SMTP_VERB_BDAT] = "BDAT", [SMTP_VERB_RSET] = "RSET", [SMTP_VERB_NOOP] = "NOOP",
        [SMTP_VERB_VRFY] = "VRFY", [SMTP_VERB_HELP] = "HELP", [SMTP_VERB_QUIT] = "QUIT",
    };
    struct slice verb = slice_cut(slice_trim(line), ' ', args);
    *args = slice_trim(*args);
    for (size_t v = SMTP_VERB_NONE + 1; v < COUNT(verbs); v++)
        if (slice_ieq(verb, slice_cstr(verbs[v])))
            return (enum smtp_verb)v;
    return SMTP_VERB_NONE;
}

int smtp_path_read(struct slice args, struct slice keyword, struct slice *path, struct slice *params)
{
    if (!slice_istarts(args, keyword))
        return ERR_SYNTAX;
    args = slice_trim(slice_of(args.p + keyword.n, args.n - keyword.n));
    if (args.n == 0 || args.p[0] != '<')
        return ERR_SYNTAX;
    bool quoted = false;
    for (size_t i = 1; i < args.n; i++) {
        if (quoted && args.p[i] == '\\')
            i++;
        else if (args.p[i] == '"')
            quoted = !quoted;
        else if (args.p[i] == '>' && !quoted) {
            *path = slice_of(args.p + 1, i - 1);
            *params = slice_trim(slice_of(args.p + i + 1, args.n - i - 1));
            return 0;
        }
    }
    return ERR_SYNTAX;
}

struct smtp_mail_params smtp_mail_params_read(struct slice params)
{
    struct smtp_mail_params p = {0};
    while (params.n) {
        struct slice one = slice_cut(params, ' ', &params);
        if (slice_istarts(one, S("SIZE="))) {
            p.has_size = true;
            p.unknown |= slice_u64(slice_of(one.p + 5, one.n - 5), &p.size_bytes) != 0;
        } else if (slice_ieq(one, S("BODY=8BITMIME")) || slice_ieq(one, S("BODY=7BIT"))) {
            p.body = true;
        } else if (slice_istarts(one, S("RET=")) || slice_istarts(one, S("ENVID="))) {
            p.dsn = true;
        } else if (slice_ieq(one, S("SMTPUTF8"))) {
            p.smtputf8 = true;
        } else {
            p.unknown |= one.n != 0;
        }
    }
    return p;
}

int smtp_chunk_read(struct slice args, uint64_t *bytes, bool *last)
{
    struct slice word, number = slice_cut(args, ' ', &word);
    uint64_t n;
    word = slice_trim(word);
    if (slice_u64(number, &n) || (word.n && !slice_ieq(word, S("LAST"))))
        return ERR_SYNTAX;
    *bytes = n;
    *last = word.n > 0;
    return 0;
}
