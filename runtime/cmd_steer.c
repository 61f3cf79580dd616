/* cmd_steer.c - hato pause, resume, cancel, retry: what people do to mail on its way. */
#include "cmd.h"
#include "control.h"
#include "delivery/steer_rest.h"
#include "format/text.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ANSWER_MS = 600000 };

struct args {
    const char *state;
    bool json, yes, forget, help;
};

#define STATE                                                                                                \
    {                                                                                                        \
        OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",                  \
            offsetof(struct args, state)                                                                     \
    }
#define JSON                                                                                                 \
    {                                                                                                        \
        OPT_FLAG, "json", NULL, "{\"touched\":N,\"in_flight\":N}", offsetof(struct args, json)               \
    }
#define HELP                                                                                                 \
    {                                                                                                        \
        OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)                                   \
    }

static const struct opt options[] = {STATE, JSON, HELP, {0}};
static const struct opt cancel_options[] = {
    STATE,
    {OPT_FLAG, "yes", NULL, "do not ask", offsetof(struct args, yes)},
    {OPT_FLAG, "forget", NULL,
     "of a campaign: at the next start or reload its name begins anew, for everybody",
     offsetof(struct args, forget)},
    JSON,
    HELP,
    {0}};

#define KINDS                                                                                                \
    "KIND is campaign, stream, isp, domain, source or id: campaign=summer isp=gmail id=m10423. The answer\n" \
    "comes when it is on disk, and says how many messages on their way it is about. Where no hato runs it "  \
    "is\n"                                                                                                   \
    "written into the folder, and the next that runs obeys."

static const char pause_usage[] = "hato pause KIND=VALUE… [--state DIR] [--json]\n\n"
                                  "Nothing of it begins any more, until `hato resume`, also after a restart; "
                                  "open transactions end.\n" KINDS;
static const char resume_usage[] =
    "hato resume KIND=VALUE… [--state DIR] [--json]\n\n"
    "What was paused under these words goes on. measure=M3 lifts what back-off put in\n"
    "place (hato queue --measures lists it).\n" KINDS;
static const char cancel_usage[] =
    "hato cancel KIND=VALUE… [--yes] [--forget] [--state DIR] [--json]\n\n"
    "Ends what is on its way: each message gets the event `cancelled`. What is in flight ends as it ends, "
    "and\n"
    "is not tried again. A cancelled campaign stays cancelled; its people stay known, so that nobody is "
    "sent\n"
    "to twice, unless --forget. Asks on a terminal, and wants --yes elsewhere.\n" KINDS;
static const char retry_usage[] = "hato retry KIND=VALUE… [--state DIR] [--json]\n\n"
                                  "What waits for its next try, or is held, is due now.\n" KINDS;

static int ask(const char *verb, const struct opt_list *words, const struct args *a,
               struct control_answer *answer, struct err *e)
{
    json_t *what = json_array();
    for (size_t i = 0; i < words->n; i++)
        json_array_append_new(what, json_string(words->v[i]));
    bool bad = json_array_size(what) != words->n;
    json_t *request = json_pack("{s:s, s:o, s:b}", "command", verb, "what", what, "forget", (int)a->forget);
    char *text = request && !bad ? json_dumps(request, JSON_COMPACT) : NULL;
    int r = !text ? err_set(e, ERR_INVAL, "names are UTF-8")
                  : control_ask(a->state, slice_cstr(text), ANSWER_MS, answer, e);
    json_decref(request);
    free(text);
    return r;
}

static bool is_nobody(const char *state)
{
    struct control_answer a = {0};
    int r = control_ask(state, S("{\"command\":\"status\"}"), ANSWER_MS, &a, NULL);
    json_decref(a.last);
    return r == ERR_NOTFOUND;
}

/* Nobody runs: the folder itself is told. */
static int ask_folder(enum steer_verb verb, const struct opt_list *words, const struct args *a,
                      struct control_answer *answer, struct err *e)
{
    struct steer_order *orders = mem_zalloc(words->n * sizeof *orders);
    struct fs *fs = fs_real();
    struct loop *loop = loop_new_real();
    uint64_t touched = 0;
    int r = 0;
    for (size_t i = 0; !r && i < words->n; i++) {
        orders[i] = (struct steer_order){.verb = verb, .forget = a->forget};
        r = steer_parse(slice_cstr(words->v[i]), &orders[i].kind, &orders[i].name, e);
    }
    if (!r)
        r = steer_rest(fs, loop, a->state, orders, words->n, &touched, e);
    if (!r)
        answer->last = json_pack("{s:I, s:i}", "touched", (json_int_t)touched, "in_flight", 0);
    loop_free(loop);
    fs_free(fs);
    free(orders);
    return r;
}

static int confirm(const struct args *a, const struct opt_list *words, struct err *e)
{
    char line[16];
    if (a->yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return err_set(e, ERR_INVAL, "off a terminal this wants --yes");
    fprintf(stderr, "Cancel");
    for (size_t i = 0; i < words->n; i++)
        fprintf(stderr, " %s", words->v[i]);
    fprintf(stderr, " for good? [y/N] ");
    if (!fgets(line, sizeof line, stdin) || (line[0] != 'y' && line[0] != 'Y'))
        return err_set(e, ERR_CANCELED, "nothing was cancelled");
    return 0;
}

static void tell(const struct args *a, const char *done, bool at_rest, const json_t *last)
{
    uint64_t touched = (uint64_t)json_integer_value(json_object_get(last, "touched"));
    uint64_t flying = (uint64_t)json_integer_value(json_object_get(last, "in_flight"));
    struct buf out = {0};
    if (a->json) {
        buf_printf(&out, "{\"touched\":%llu,\"in_flight\":%llu}", (unsigned long long)touched,
                   (unsigned long long)flying);
    } else {
        text_count(&out, touched);
        buf_printf(&out, " message%s %s", touched == 1 ? "" : "s", done);
        if (flying) {
            buf_adds(&out, S("; of these "));
            text_count(&out, flying);
            buf_adds(&out, flying == 1 ? S(" is in flight and ends as it ends")
                                       : S(" are in flight and end as they end"));
        }
        if (at_rest)
            buf_adds(&out, S("; no hato runs here: the next one obeys"));
    }
    printf("%.*s\n", SLICE_FMT(buf_slice(&out)));
    buf_free(&out);
}

static int command(int argc, char **argv, const struct opt *table, const char *usage, const char *done)
{
    struct args a = {.state = JOURNAL_STATE_DEFAULT};
    struct opt_list words = {.n = 0};
    struct control_answer answer = {0};
    struct err e = {0};
    const char *verb = argv[0];
    enum steer_verb what;
    enum steer_kind kind;
    struct slice name;
    bool at_rest = false;
    INVARIANT(steer_verb_parse(slice_cstr(verb), &what) == 0);
    int r = opts_parse(argc, argv, table, &a, &words, &e);
    if (!r && a.help) {
        opts_help(usage, table);
        return EXIT_DONE;
    }
    if (!r && !words.n)
        r = err_set(&e, ERR_INVAL, "what, please: hato %s campaign=NAME", verb);
    for (size_t i = 0; !r && i < words.n; i++)
        r = steer_parse(slice_cstr(words.v[i]), &kind, &name, &e);
    if (!r && table == cancel_options)
        r = confirm(&a, &words, &e);
    if (!r)
        r = ask(verb, &words, &a, &answer, &e);
    at_rest = r == ERR_NOTFOUND && is_nobody(a.state);
    if (at_rest)
        r = ask_folder(what, &words, &a, &answer, &e);
    if (r)
        fprintf(stderr, "hato %s: %s\n", verb, e.text);
    else
        tell(&a, done, at_rest, answer.last);
    json_decref(answer.last);
    return !r ? EXIT_DONE : r == ERR_INVAL ? EXIT_USAGE : EXIT_FAILED;
}

int cmd_pause(int argc, char **argv)
{
    return command(argc, argv, options, pause_usage, "paused");
}

int cmd_resume(int argc, char **argv)
{
    return command(argc, argv, options, resume_usage, "may go on");
}

int cmd_cancel(int argc, char **argv)
{
    return command(argc, argv, cancel_options, cancel_usage, "cancelled");
}

int cmd_retry(int argc, char **argv)
{
    return command(argc, argv, options, retry_usage, "due now");
}
