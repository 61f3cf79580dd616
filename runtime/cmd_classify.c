/* cmd_classify.c - hato classify: what a reply means, and the rule that says so. */
#include "classify_mail.h"
#include "cmd.h"
#include "base/json.h"
#include "base/words.h"
#include "format/reply_quote.h"
#include "format/rule_file.h"
#include "format/text.h"
#include "lua/isps.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct args {
    struct opt_list replies, mails;
    const char *isp, *phase;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_LIST, "reply", "TEXT",
     "a reply as a receiver gave it, \"550 5.1.1 No such user\"; may be given more than once, - reads "
     "one a line from stdin",
     offsetof(struct args, replies)},
    {OPT_MANY, "mail", "FILE",
     "returned mails, one a file; one JSON object a mail with --json and where the output is no terminal",
     offsetof(struct args, mails)},
    {OPT_STRING, "isp", "NAME",
     "who said it, as hato.isp names it (gmail, microsoft365, docomo …), or a provider (microsoft)",
     offsetof(struct args, isp)},
    {OPT_STRING, "phase", "PHASE",
     "what it answered: connect, banner, ehlo, starttls, auth, mail, rcpt, data, eod or quit",
     offsetof(struct args, phase)},
    {OPT_FLAG, "json", NULL, "one JSON object a reply", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato classify --reply TEXT [--isp NAME] [--phase PHASE] [--json]\n"
    "hato classify --mail FILE... [--json]\n\n"
    "Says what a reply means by the rules that ship with hato: its class, what a final failure of that "
    "class\n"
    "does to the person (hard suppresses, soft counts, block does nothing), and the rule that decided.\n"
    "A text may also be the Diagnostic-Code of a returned mail.";

struct classifier {
    struct rules *rules;
    struct rule_work *work;
    struct slice isp, provider;
    int phase;
    bool json;
    struct buf room, out;
};

static const char *action_of(const struct reply_quote *q, const struct rule_out *found)
{
    int first = q->code ? q->code / 100 : q->has_enhanced ? q->enhanced.cls : 0;

    if (found->cls == CLASS_DELIVERED)
        return "delivered";
    return first == 5 && !found->retry ? "failed" : "delayed";
}

/* The same line as for returned mail: a reply is a mail of one recipient that nobody knows. */
static void print_json(struct classifier *c, const struct reply_quote *q, const struct rule_out *found)
{
    struct buf *o = &c->out;

    buf_printf(o, "{\"file\":null,\"format\":\"text\",\"recipients\":[{\"recipient\":null,\"action\":\"%s\"",
               action_of(q, found));
    if (q->has_enhanced)
        buf_printf(o, ",\"status\":\"%u.%u.%u\"", q->enhanced.cls, q->enhanced.subject, q->enhanced.detail);
    else
        buf_adds(o, S(",\"status\":null"));
    if (q->code)
        buf_printf(o, ",\"code\":%d", q->code);
    else
        buf_adds(o, S(",\"code\":null"));
    buf_printf(o, ",\"class\":\"%s\",\"kind\":\"%s\",\"rule\":", class_name(found->cls),
               class_kind_name(class_kind_of(found->cls, q->code)));
    json_quote(o, slice_cstr(found->rule));
    buf_adds(o, S("}]}\n"));
}

static void print_text(struct classifier *c, const struct reply_quote *q, const struct rule_out *found)
{
    struct buf *o = &c->out;

    text_safe(o, q->text);
    buf_printf(o, "\n  %s (%s), by %s%s\n", class_name(found->cls),
               class_kind_name(class_kind_of(found->cls, q->code)), found->rule,
               found->retry ? "; tried again though it is 5xx" : "");
}

/* "250 2.0.0 Ok": no rule is about it. */
static bool is_taken(struct slice reply)
{
    reply = slice_trim(reply);
    return reply.n >= 3 && reply.p[0] == '2' && reply.p[1] >= '0' && reply.p[1] <= '5' && reply.p[2] >= '0' &&
           reply.p[2] <= '9' && (reply.n == 3 || reply.p[3] == ' ' || reply.p[3] == '-');
}

static void classify(struct classifier *c, struct slice reply)
{
    struct reply_quote q;
    struct rule_out found = {.cls = CLASS_DELIVERED, .rule = "accepted"};

    reply_quote_read(reply, &c->room, &q);
    if (!is_taken(reply))
        rules_classify(c->rules, c->work,
                       &(struct rule_in){.isp = c->isp,
                                         .provider = c->provider,
                                         .phase = c->phase,
                                         .code = q.code,
                                         .enhanced = q.has_enhanced ? &q.enhanced : NULL,
                                         .text = q.text},
                       &found);
    buf_clear(&c->out);
    if (c->json)
        print_json(c, &q, &found);
    else
        print_text(c, &q, &found);
    fwrite(c->out.p, 1, c->out.n, stdout);
}

static void classify_stdin(struct classifier *c)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct slice reply = slice_trim(slice_of(line, (size_t)n));
        if (reply.n)
            classify(c, reply);
    }
    free(line);
}

static int parse_phase(const char *word, int *out, struct err *e)
{
    struct slice names[SMTP_PHASE_COUNT], near;
    enum smtp_phase phase;

    if (!word)
        return 0;
    if (smtp_phase_parse(slice_cstr(word), &phase) == 0) {
        *out = (int)phase;
        return 0;
    }
    for (int i = 0; i < SMTP_PHASE_COUNT; i++)
        names[i] = slice_cstr(smtp_phase_name((enum smtp_phase)i));
    near = words_near(slice_cstr(word), names, SMTP_PHASE_COUNT);
    if (near.n)
        return err_set(e, ERR_INVAL, "no phase \"%s\"; did you mean %.*s?", word, SLICE_FMT(near));
    return err_set(e, ERR_INVAL, "no phase \"%s\"; hato classify --help lists them", word);
}

int cmd_classify(int argc, char **argv)
{
    struct args args = {0};
    struct classifier c = {.phase = RULE_PHASE_UNKNOWN};
    struct arena names = {0};
    struct isps isps;
    struct err e = {0};

    if (opts_parse(argc, argv, options, &args, NULL, &e)) {
        fprintf(stderr, "hato classify: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!args.replies.n && !args.mails.n)
        err_set(&e, ERR_MISSING,
                "needs a reply: hato classify --reply \"550 5.1.1 No such user\", or --mail FILE");
    else if (args.mails.n && (args.replies.n || args.isp || args.phase))
        err_set(&e, ERR_INVAL,
                "--mail goes without --reply, --isp and --phase: the mail says who refused what");
    else
        parse_phase(args.phase, &c.phase, &e);
    if (e.code) {
        fprintf(stderr, "hato classify: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.mails.n) {
        struct fs *fs = fs_real();
        int code = classify_mails(fs, args.mails.v, args.mails.n, args.json || !isatty(STDOUT_FILENO));
        fs_free(fs);
        return code;
    }
    if (isps_load(&names, &isps, &e) || rules_compile_shipped(NULL, 0, &c.rules, &e)) {
        fprintf(stderr, "hato classify: %s\n", e.text);
        arena_free(&names);
        return EXIT_FAILED;
    }
    c.work = rule_work_new();
    c.isp = slice_cstr(args.isp);
    c.provider = isps_provider(&isps, c.isp);
    c.json = args.json;
    for (size_t i = 0; i < args.replies.n; i++) {
        if (!strcmp(args.replies.v[i], "-"))
            classify_stdin(&c);
        else
            classify(&c, slice_cstr(args.replies.v[i]));
    }
    buf_free(&c.room);
    buf_free(&c.out);
    rule_work_free(c.work);
    rules_free(c.rules);
    arena_free(&names);
    return EXIT_DONE;
}
