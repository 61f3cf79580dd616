/* cmd_report.c - hato report: the end report again, from the journal.
 *
 * What waits is what was accepted and has no end in the journal. Of recipients that compaction took away only
 * their events are left, and events are kept for 30 days; so a message counts as accepted by whichever record
 * of it comes first. */
#include "cmd.h"
#include "delivery/report.h"
#include "journal.h"
#include "opts.h"
#include "platform/loop.h"

#include <stdio.h>
#include <stdlib.h>

struct args {
    const char *state;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one JSON object: the totals of `run --json`, and detail",
     offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato report [CAMPAIGN] [--state DIR] [--json]\n\n"
    "What came of the mail that the journal knows: by receiver, by campaign, and its\n"
    "errors. Reads a state folder at rest or that of a running hato.";

/* One for each message, by id; ids are dense. */
enum { PAGE = 1 << 15, PAGES_MOST = 1 << 20 };
struct message_state {
    uint32_t campaign;
    uint32_t isp : 29; /* of its last event */
    uint32_t key : 1, seen : 1, ended : 1;
};

struct run {
    const char *only; /* campaign; NULL: all */
    struct journal *journal;
    struct report report;
    struct message_state **pages;
    size_t npages;
    int64_t first_ms, last_ms;
};

/* NULL: an id that no hato gave. */
static struct message_state *state_of(struct run *r, uint64_t id)
{
    uint64_t page = id / PAGE;
    if (page >= PAGES_MOST)
        return NULL;
    if (page >= r->npages) {
        size_t n = page + 1 > r->npages * 2 ? page + 1 : r->npages * 2;
        r->pages = mem_realloc(r->pages, n * sizeof *r->pages);
        memset(r->pages + r->npages, 0, (n - r->npages) * sizeof *r->pages);
        r->npages = n;
    }
    if (!r->pages[page])
        r->pages[page] = mem_zalloc(PAGE * sizeof **r->pages);
    return &r->pages[page][id % PAGE];
}

static struct slice campaign_name(const struct run *r, uint32_t campaign)
{
    return event_name(journal_names(r->journal), NAME_CAMPAIGN, campaign);
}

static bool wanted(const struct run *r, uint32_t campaign)
{
    return !r->only || slice_eq(campaign_name(r, campaign), slice_cstr(r->only));
}

/* The message's state, counted as accepted when it is seen for the first time. NULL: not asked for. */
static struct message_state *see(struct run *r, uint64_t id, uint32_t campaign)
{
    struct message_state *m = wanted(r, campaign) ? state_of(r, id) : NULL;
    if (m && !m->seen) {
        m->seen = 1;
        m->campaign = campaign;
        report_accepted(&r->report, campaign_name(r, campaign), 1);
    }
    return m;
}

static void see_time(struct run *r, int64_t ms)
{
    if (ms && (!r->first_ms || ms < r->first_ms))
        r->first_ms = ms;
    if (ms > r->last_ms)
        r->last_ms = ms;
}

static void on_event(struct run *r, const struct rec_event *ev)
{
    if (event_is_late(ev) || ev->type == EVENT_COMPLAINED) { /* what it is about may be forgotten */
        if (wanted(r, ev->campaign))
            report_event(&r->report, ev, event_name(journal_names(r->journal), NAME_ISP, ev->isp),
                         campaign_name(r, ev->campaign));
        return;
    }
    struct message_state *m = see(r, ev->id, ev->campaign);
    if (!m)
        return;
    see_time(r, ev->at_ms);
    if (ev->isp)
        m->isp = ev->isp & 0x1fffffff;
    bool ends = rec_event_ends(ev->type);
    if (ends && m->ended)
        return; /* the second end of one message */
    m->ended |= ends;
    report_event(&r->report, ev, event_name(journal_names(r->journal), NAME_ISP, m->isp),
                 campaign_name(r, m->campaign));
}

static int on_record(void *data, const struct rec *rec)
{
    struct run *r = data;
    switch (rec->type) {
    case REC_RECIPIENT:
        if (see(r, rec->recipient.id, rec->recipient.campaign))
            see_time(r, rec->recipient.accepted_ms);
        break;
    case REC_EVENT:
        on_event(r, &rec->event);
        break;
    case REC_KEY:
        /* Settled. If its last event is still kept it comes later, and is counted then. */
        if (wanted(r, rec->key.campaign)) {
            struct message_state *m = state_of(r, rec->key.id);
            if (m)
                m->key = 1;
        }
        break;
    case REC_NAME:
    case REC_BEGIN:
    case REC_SESSION:
    case REC_CAMPAIGN:
    case REC_MEASURE:
    case REC_STEER:
    case REC_DUE:
    case REC_INTERVAL:
    case REC_WARMUP:
    case REC_TALLY:
        break;
    }
    return 0;
}

static void count_rest(struct run *r)
{
    const struct event_names *names = journal_names(r->journal);
    for (size_t p = 0; p < r->npages; p++)
        for (size_t i = 0; r->pages[p] && i < PAGE; i++) {
            const struct message_state *m = &r->pages[p][i];
            r->report.forgotten += m->key && !m->seen;
            if (m->seen && !m->ended)
                report_waiting(&r->report, event_name(names, NAME_ISP, m->isp), campaign_name(r, m->campaign),
                               1);
        }
}

static bool campaign_known(const struct run *r)
{
    return !r->only || r->report.campaigns.live > 0 || r->report.forgotten > 0;
}

static int print(struct run *r, bool json, struct err *e)
{
    struct buf out = {0};
    /* Of one campaign; between several there may have been weeks. */
    if (r->only && r->last_ms > r->first_ms)
        r->report.elapsed_ms = r->last_ms - r->first_ms;
    if (json) {
        report_json(&r->report, &out);
        buf_addc(&out, '\n');
    } else {
        report_text(&r->report, &out);
    }
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

int cmd_report(int argc, char **argv)
{
    struct args args = {0};
    struct opt_list words = {.n = 0};
    struct run r = {0};
    struct err e = {0};
    struct hash_key hk;
    if (opts_parse(argc, argv, options, &args, &words, &e) ||
        (words.n > 1 && err_set(&e, ERR_INVAL, "takes one campaign, not %zu", words.n))) {
        fprintf(stderr, "hato report: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    r.only = words.n ? words.v[0] : NULL;
    int rc = journal_open("report", args.state, &r.journal, &e);
    if (rc) {
        fprintf(stderr, "hato report: %s\n", e.text);
        return EXIT_FAILED;
    }
    loop_random_bytes(journal_loop(r.journal), &hk, sizeof hk);
    report_init(&r.report, hk);
    rc = journal_read(r.journal, on_record, &r, &e);
    if (!rc) {
        count_rest(&r);
        if (!campaign_known(&r))
            rc = err_set(&e, ERR_NOTFOUND, "nothing is known of a campaign \"%s\" in %s", r.only,
                         journal_state(r.journal));
        else
            rc = print(&r, args.json, &e);
    }
    if (rc)
        fprintf(stderr, "hato report: %s\n", e.text);
    report_free(&r.report);
    for (size_t p = 0; p < r.npages; p++)
        free(r.pages[p]);
    free(r.pages);
    journal_close(r.journal);
    return rc ? EXIT_FAILED : EXIT_DONE;
}
