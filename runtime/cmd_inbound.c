/* cmd_inbound.c - hato inbound: returned mail, from a Maildir or one on stdin.
 *
 * A mail is read here, outside the daemon, so that what hostile bytes can break is this process. What was
 * found goes to the journal (inbound_store.h), which is durable before the mail moves: from new/ to cur/, or
 * with the exit code 0 out of the MTA's queue. A crash in between hands it over once more, and the journal
 * knows it. */
#include "cmd.h"
#include "base/words.h"
#include "format/returned_token.h"
#include "format/rule_file.h"
#include "format/text.h"
#include "inbound_store.h"
#include "journal.h"
#include "lua/isps.h"
#include "maildir.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 200, KEPT_MOST = 10000, EXIT_MTA_AGAIN = 75 /* sysexits.h: EX_TEMPFAIL */ };

struct args {
    const char *state, *maildir, *to;
    int64_t keep_ms;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_STRING, "maildir", "DIR", "read the mails in DIR/new; else one mail is read from stdin",
     offsetof(struct args, maildir)},
    {OPT_STRING, "to", "ADDRESS",
     "of the mail on stdin: its envelope recipient, as the transport knows it (default: the environment's "
     "ORIGINAL_RECIPIENT or RECIPIENT, then the mail's own fields)",
     offsetof(struct args, to)},
    {OPT_DURATION, "keep", "DURATION",
     "with --maildir: mails that were done with are removed from DIR/cur after so long (default 7 days)",
     offsetof(struct args, keep_ms)},
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one JSON object with counts", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato inbound --maildir DIR [--state DIR] [--json]\n"
    "hato inbound [--to ADDRESS] [--state DIR] < MAIL\n\n"
    "Takes returned mail: bounces that came after the receiver had said yes, and complaints. Which message a "
    "mail\n"
    "is about is taken from the return path that it was sent to, or from the original that a report returns, "
    "and\n"
    "only where that carries this state folder's signature. The hato that runs on the folder gets it; "
    "without one it\n"
    "goes into the journal of the folder at rest, judged by the rules that ship with hato: the script's are "
    "not read.\n\n"
    "A Maildir's mails move from new to cur when what they say is on disk. Those without a valid return "
    "path, "
    "and\n"
    "those that say nothing that hato can read, get the flag F there and stay until somebody looks. Of mail "
    "on\n"
    "stdin such are kept in STATE/inbound, a Maildir of its own. Either holds 10,000; more are not taken.\n\n"
    "Exit with --maildir: 0 done, 1 something stays to be done (it is in new still), 2 usage. With mail on "
    "stdin,\n"
    "as a pipe transport has it: 0 taken, 75 (EX_TEMPFAIL) for every trouble, wrong options too, so that the "
    "MTA\n"
    "keeps the mail and tries again.";

/* What reading one mail came to. */
enum finding {
    FOUND_EVENT,   /* a bounce or a complaint of ours */
    FOUND_NOTHING, /* ours, and nothing to do: a delay, an automatic reply */
    FOUND_LOOK     /* no token, or nothing that can be read: for people */
};

struct counts {
    uint64_t mails, bounced, complained, known, nothing, kept, forged, early, failed;
};

struct run {
    struct args args;
    struct fs *fs;
    struct loop *loop;
    struct inbound_store *store;
    struct rules *rules;
    struct returned_reader *reader;
    struct isps isps;       /* whose answers these are */
    struct arena isp_texts; /* what they are made of */
    struct returned returned;
    struct counts counts;
    struct buf bytes;
    uint64_t kept_before;
    /* Found and not handed over yet. */
    struct inbound_mail batch[BATCH];
    const char *names[BATCH];
    size_t nbatch;
    struct arena texts;
};

static int run_open(struct run *r, struct err *e)
{
    r->fs = fs_real();
    r->loop = loop_new_real();
    int rc = inbound_store_open(r->args.state, &r->store, e);
    if (!rc)
        rc = rules_compile_shipped(NULL, 0, &r->rules, e);
    if (!rc)
        rc = returned_reader_new(r->rules, &r->reader, e);
    if (!rc)
        rc = isps_load(&r->isp_texts, &r->isps, e);
    if (!rc)
        returned_reader_isps(r->reader, isps_who, &r->isps);
    return rc;
}

static void run_close(struct run *r)
{
    inbound_store_close(r->store);
    returned_free(&r->returned);
    returned_reader_free(r->reader);
    rules_free(r->rules);
    arena_free(&r->texts);
    arena_free(&r->isp_texts);
    buf_free(&r->bytes);
    loop_free(r->loop);
    fs_free(r->fs);
}

/* --- one mail --- */

static const struct returned_recipient *failed_one(const struct returned *r)
{
    for (size_t i = 0; i < r->nrecipients; i++)
        if (r->recipients[i].action == ACTION_FAILED ||
            (r->recipients[i].action == ACTION_NONE && r->recipients[i].kind != KIND_NONE))
            return &r->recipients[i];
    return NULL;
}

/* RFC 5965 7.3 and what came before: a person said that the mail was not wanted. Others are about servers
 * (auth-failure, virus), or say that all is well (not-spam). */
static bool is_complaint(struct slice feedback_type)
{
    static const char *const types[] = {"", "abuse", "fraud", "complaint", "opt-out", "opt-out-list"};
    for (size_t i = 0; i < COUNT(types); i++)
        if (slice_ieq(feedback_type, slice_cstr(types[i])))
            return true;
    return false;
}

static void take_bounce(struct run *r, const struct returned_recipient *to, struct inbound_mail *out)
{
    out->what = INBOUND_BOUNCE;
    out->phase = to->phase;
    out->code = to->code;
    if (to->status.n)
        out->enhanced = to->enhanced;
    out->cls = to->cls;
    out->rule = arena_copy(&r->texts, slice_cstr(to->rule));
    out->text = arena_copy(&r->texts, to->text.n ? to->text : to->status);
}

static void take_complaint(struct run *r, struct inbound_mail *out)
{
    const struct returned *m = &r->returned;
    struct slice by = m->reporting_mta.n ? m->reporting_mta : m->from;
    out->what = INBOUND_COMPLAINT;
    out->phase = RULE_PHASE_UNKNOWN;
    out->cls = CLASS_FEEDBACK;
    out->rule = S("feedback report");
    out->text = slice_cstr(arena_printf(&r->texts, "%.*s%s%.*s",
                                        SLICE_FMT(m->feedback_type.n ? m->feedback_type : S("complaint")),
                                        by.n ? ", reported by " : "", SLICE_FMT(by)));
}

static int read_mail(struct run *r, struct slice envelope_to, enum finding *found, struct inbound_mail *out,
                     struct err *e)
{
    const struct returned_recipient *to;
    *out = (struct inbound_mail){.phase = RULE_PHASE_UNKNOWN, .rule = SLICE_NONE, .text = SLICE_NONE};
    int rc = returned_read(r->reader, buf_slice(&r->bytes), &r->returned, e);
    if (rc)
        return rc;
    *found = FOUND_LOOK;
    switch (returned_token(inbound_store_key(r->store), envelope_to, &r->returned, &out->id)) {
    case RETURNED_TOKEN_FORGED:
        r->counts.forged++;
        return 0;
    case RETURNED_TOKEN_NONE:
        return 0;
    case RETURNED_TOKEN_HOLDS:
        break;
    }
    switch (r->returned.format) {
    case RETURNED_ARF:
        *found = is_complaint(r->returned.feedback_type) ? FOUND_EVENT : FOUND_NOTHING;
        if (*found == FOUND_EVENT)
            take_complaint(r, out);
        break;
    case RETURNED_DSN:
    case RETURNED_TEXT:
        to = failed_one(&r->returned);
        *found = to ? FOUND_EVENT : FOUND_NOTHING;
        if (to)
            take_bounce(r, to, out);
        break;
    case RETURNED_AUTO_REPLY:
        *found = FOUND_NOTHING;
        break;
    case RETURNED_NONE:
        break;
    }
    return 0;
}

/* What the journal made of it; whether people should look at it. */
static bool count_result(struct run *r, enum inbound_what what, enum inbound_result result)
{
    switch (result) {
    case INBOUND_TAKEN:
        ++*(what == INBOUND_BOUNCE ? &r->counts.bounced : &r->counts.complained);
        return false;
    case INBOUND_KNOWN:
        r->counts.known++;
        return false;
    case INBOUND_EARLY:
        r->counts.early++;
        return false;
    case INBOUND_GONE:
    case INBOUND_RESULTS:
        break;
    }
    return true;
}

/* --- a Maildir --- */

static void failed(struct run *r, const char *name, const struct err *e)
{
    fprintf(stderr, "hato inbound: %s%s%s\n", name ? name : "", name ? ": " : "", e->text);
    r->counts.failed++;
}

static void move(struct run *r, const struct maildir *m, const char *name, bool look)
{
    struct err e;
    if (look && r->kept_before + r->counts.kept >= KEPT_MOST) {
        err_set(&e, ERR_LIMIT, "stays where it is: %d mails wait in cur for somebody to look", KEPT_MOST);
        failed(r, name, &e);
        return;
    }
    int rc = maildir_done(m, name, look, &e);
    if (rc && rc != ERR_NOTFOUND) /* another hato inbound was there first */
        failed(r, name, &e);
    else
        r->counts.kept += look && !rc;
}

static int give_batch(struct run *r, const struct maildir *m, struct err *e)
{
    enum inbound_result results[BATCH];
    int rc = r->nbatch ? inbound_store_give(r->store, r->batch, r->nbatch, results, e) : 0;
    for (size_t i = 0; !rc && i < r->nbatch; i++) {
        bool look = count_result(r, r->batch[i].what, results[i]);
        if (results[i] != INBOUND_EARLY)
            move(r, m, r->names[i], look);
    }
    r->nbatch = 0;
    arena_reset(&r->texts);
    return rc;
}

static int pass(struct run *r, const struct maildir *m, const struct maildir_names *names, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < names->n; i++) {
        enum finding found;
        struct err why;
        buf_clear(&r->bytes);
        int one = maildir_read(m, names->v[i], RETURNED_BYTES_MAX, &r->bytes, &why);
        if (one == ERR_NOTFOUND)
            continue;
        r->counts.mails++;
        if (!one)
            one = read_mail(r, SLICE_NONE, &found, &r->batch[r->nbatch], &why);
        if (one) {
            failed(r, names->v[i], &why);
        } else if (found == FOUND_EVENT) {
            r->names[r->nbatch++] = names->v[i];
            rc = r->nbatch == BATCH ? give_batch(r, m, e) : 0;
        } else {
            r->counts.nothing += found == FOUND_NOTHING;
            move(r, m, names->v[i], found == FOUND_LOOK);
        }
    }
    return rc ? rc : give_batch(r, m, e);
}

static int take_maildir(struct run *r, struct err *e)
{
    struct maildir m = {r->fs, r->args.maildir};
    struct maildir_names names;
    int64_t keep_s = r->args.keep_ms / 1000, now_s = loop_wall_ms(r->loop) / 1000;
    int rc = maildir_open(&m, e);
    if (!rc)
        rc = maildir_tidy(&m, keep_s < now_s ? now_s - keep_s : 0, &r->kept_before, e);
    for (uint64_t before, left; !rc;) {
        before = r->counts.mails;
        left = r->counts.failed + r->counts.early;
        rc = maildir_new_names(&m, &names, e);
        if (!rc)
            rc = pass(r, &m, &names, e);
        bool more = names.n == MAILDIR_NAMES_MOST && r->counts.mails > before &&
                    r->counts.failed + r->counts.early == left;
        maildir_names_free(&names);
        if (!more)
            break;
    }
    return rc;
}

static void put_counted(struct buf *out, uint64_t n, const char *what)
{
    if (!n)
        return;
    buf_adds(out, out->n ? S(", ") : S(""));
    text_count(out, n);
    buf_printf(out, " %s", what);
}

static void print_counts(const struct run *r)
{
    const struct counts *c = &r->counts;
    struct buf out = {0};
    const struct {
        const char *name, *says;
        uint64_t n;
    } rows[] = {{"bounced", "bounced", c->bounced},
                {"complained", "complained", c->complained},
                {"known", "known before", c->known},
                {"nothing", "with nothing to do", c->nothing},
                {"kept", "kept for you to look at", c->kept},
                {"forged", "of them with a false token", c->forged},
                {"early", "to wait for their message's end", c->early},
                {"failed", "that could not be taken", c->failed}};
    if (r->args.json) {
        buf_printf(&out, "{\"mails\":%llu", (unsigned long long)c->mails);
        for (size_t i = 0; i < COUNT(rows); i++)
            buf_printf(&out, ",\"%s\":%llu", rows[i].name, (unsigned long long)rows[i].n);
        buf_addc(&out, '}');
    } else {
        put_counted(&out, c->mails, c->mails == 1 ? "mail" : "mails");
        if (!c->mails)
            buf_adds(&out, S("no mail"));
        for (size_t i = 0; i < COUNT(rows); i++)
            put_counted(&out, rows[i].n, rows[i].says);
    }
    printf("%.*s\n", SLICE_FMT(buf_slice(&out)));
    buf_free(&out);
}

/* --- one mail on stdin --- */

/* The beginning says what there is to say: what is behind RETURNED_BYTES_MAX is read, so that the other side
 * can end, and forgotten. */
static int read_stdin(struct buf *out, struct err *e)
{
    char bytes[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) > 0) {
        size_t room = RETURNED_BYTES_MAX - out->n;
        buf_add(out, bytes, (size_t)n < room ? (size_t)n : room);
    }
    if (n < 0)
        return err_set(e, ERR_IO, "the mail on stdin cannot be read");
    return out->n ? 0 : err_set(e, ERR_EOF, "stdin is empty");
}

static int keep_mail(struct run *r, struct err *e)
{
    struct buf dir = {0}, unique = {0};
    uint64_t n;
    buf_printf(&dir, "%s/inbound", r->args.state);
    struct maildir m = {r->fs, buf_cstr(&dir)};
    buf_printf(&unique, "%ld_%016llx", (long)getpid(), (unsigned long long)loop_random(r->loop));
    int rc = maildir_make(&m, e);
    if (!rc)
        rc = maildir_count(&m, &n, e);
    if (!rc && n >= KEPT_MOST)
        rc = err_set(e, ERR_LIMIT, "%d mails wait in %s for somebody to look", KEPT_MOST, m.dir);
    if (!rc)
        rc = maildir_put(&m, loop_wall_ms(r->loop) / 1000, buf_cstr(&unique), buf_slice(&r->bytes), e);
    if (!rc)
        r->counts.kept++;
    buf_free(&dir);
    buf_free(&unique);
    return rc;
}

static int take_stdin(struct run *r, struct err *e)
{
    const char *to = r->args.to ? r->args.to : getenv("ORIGINAL_RECIPIENT");
    struct inbound_mail mail;
    enum inbound_result result;
    enum finding found;
    if (!to)
        to = getenv("RECIPIENT");
    int rc = read_stdin(&r->bytes, e);
    if (!rc)
        rc = read_mail(r, slice_cstr(to), &found, &mail, e);
    if (rc)
        return rc;
    r->counts.mails++;
    bool look = found == FOUND_LOOK;
    r->counts.nothing += found == FOUND_NOTHING;
    if (found == FOUND_EVENT) {
        rc = inbound_store_give(r->store, &mail, 1, &result, e);
        look = !rc && count_result(r, mail.what, result);
        if (!rc && result == INBOUND_EARLY)
            rc = err_set(e, ERR_AGAIN, "its message is still on its way");
    }
    return !rc && look ? keep_mail(r, e) : rc;
}

/* --- */

/* Somebody gives a mail: an MTA, whom a wrong word would make throw it away. */
static bool mail_is_given(void)
{
    struct stat st;
    return !fstat(STDIN_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

int cmd_inbound(int argc, char **argv)
{
    struct run *r = mem_zalloc(sizeof *r);
    struct err e = {0};
    int code;
    r->args = (struct args){.state = JOURNAL_STATE_DEFAULT, .keep_ms = (int64_t)7 * 86400000};
    int rc = opts_parse(argc, argv, options, &r->args, NULL, &e);
    bool piped = !r->args.maildir && mail_is_given();
    if (!rc && r->args.help) {
        opts_help(usage, options);
        free(r);
        return EXIT_DONE;
    }
    if (!rc && r->args.maildir && r->args.to)
        rc =
            err_set(&e, ERR_INVAL, "--to goes with one mail on stdin; in a Maildir the mails' fields say it");
    if (!rc && !r->args.maildir && !piped)
        rc = err_set(&e, ERR_MISSING, "needs --maildir DIR, or a mail on stdin");
    if (rc) {
        fprintf(stderr, "hato inbound: %s\n", e.text);
        free(r);
        return piped ? EXIT_MTA_AGAIN : EXIT_USAGE;
    }
    rc = run_open(r, &e);
    if (!rc)
        rc = piped ? take_stdin(r, &e) : take_maildir(r, &e);
    if (rc)
        failed(r, NULL, &e);
    if (!piped || r->args.json)
        print_counts(r);
    if (!r->counts.failed && !r->counts.early)
        code = EXIT_DONE;
    else
        code = piped ? EXIT_MTA_AGAIN : EXIT_FAILED;
    run_close(r);
    free(r);
    return code;
}
