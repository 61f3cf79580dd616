/* cmd_sim.c - hato sim: the same script on a virtual clock, against simulated receivers, in memory. */
#include "cmd.h"
#include "run.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUDGET = 500000000, BAD_ROWS_SHOWN = 20 };
#define DEFAULT_START_MS 1767225600000 /* 2026-01-01 00:00 UTC */

struct args {
    const char *world, *from;
    int64_t seed, days;
    struct opt_list sets;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_STRING, "world", "FILE",
     "the receivers: a world file, or \"accept\", where everybody takes everything at once",
     offsetof(struct args, world)},
    {OPT_STRING, "from", "DATE", "the day on which it begins, \"2026-07-01\" (default 2026-01-01), UTC",
     offsetof(struct args, from)},
    {OPT_INT, "days", "N", "end after so many days (default: when nothing more can happen)",
     offsetof(struct args, days)},
    {OPT_INT, "seed", "S", "of all chance; the same seed gives the same bytes (default 1)",
     offsetof(struct args, seed)},
    {OPT_LIST, "set", "KEY=VALUE", "reaches the script as hato.args", offsetof(struct args, sets)},
    {OPT_FLAG, "json", NULL, "one object at the end", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato sim FILE --world accept [--seed S] [--from DATE] [--days N] [--json]\n\n"
    "Runs the script on a virtual clock against receivers that exist only in this process: no socket, no "
    "DNS, no\n"
    "file but the script's own. event_hash is the SHA-256 of all events: the same seed gives the same.";

struct program {
    struct args a;
    struct hato *hato;
    struct buf scratch;
    EVP_MD_CTX *hash;
    uint64_t events, bad_shown;
};

static void on_event(void *data, const struct rec_event *ev)
{
    struct program *p = data;
    struct rec rec = {.type = REC_EVENT};
    rec.event = *ev;
    buf_clear(&p->scratch);
    rec_put(&p->scratch, &rec);
    INVARIANT(EVP_DigestUpdate(p->hash, p->scratch.p, p->scratch.n) == 1);
    p->events++;
}

static void on_notice(void *data, int level, const char *text)
{
    (void)data;
    if (level >= VM_WARN)
        fprintf(stderr, "%s\n", text);
}

static void on_bad_row(void *data, const struct campaign *c, uint64_t line, struct slice address,
                       const char *why)
{
    struct program *p = data;
    (void)address;
    if (++p->bad_shown <= BAD_ROWS_SHOWN)
        intake_say_bad(c, line, why);
}

/* "2026-07-01" → UTC ms (days by Howard Hinnant's civil calendar algorithm). */
static int read_date(const char *text, int64_t *out)
{
    int y, m, d;
    char end;
    if (sscanf(text, "%4d-%2d-%2d%c", &y, &m, &d, &end) != 3 || y < 1970 || m < 1 || m > 12 || d < 1 ||
        d > 31)
        return ERR_SYNTAX;
    y -= m <= 2;
    int64_t era = y / 400;
    unsigned yoe = (unsigned)(y - era * 400),
             doy = (unsigned)((153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1);
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    *out = (era * 146097 + (int64_t)doe - 719468) * 86400000;
    return 0;
}

static void print_end(struct program *p, struct run *run, int64_t started_ms)
{
    struct deliver_counts c = deliver_counts(hato_deliver(p->hato));
    unsigned char digest[32];
    char hex[65];
    unsigned n = 0;
    INVARIANT(EVP_DigestFinal_ex(p->hash, digest, &n) == 1 && n == 32);
    for (unsigned i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    double seconds = (double)(loop_wall_ms(hato_loop(p->hato)) - started_ms) / 1000;
    printf(
        p->a.json
            ? "{\"accepted\":%llu,\"delivered\":%llu,\"bounced\":%llu,\"expired\":%llu,\"suppressed\":%llu,"
              "\"deferred\":%zu,\"rejected_rows\":%llu,\"seconds\":%.3f,\"events\":%llu,\"event_hash\":\"%"
              "s\"}\n"
            : "accepted %llu, delivered %llu, bounced %llu, expired %llu, suppressed %llu, deferred %zu, "
              "rejected rows %llu, %.1f s of virtual time\n%llu events, event_hash %s\n",
        (unsigned long long)c.accepted, (unsigned long long)c.delivered, (unsigned long long)c.bounced,
        (unsigned long long)c.expired, (unsigned long long)c.suppressed, c.queued,
        (unsigned long long)run_rejected(run), seconds, (unsigned long long)p->events, hex);
}

static int simulate(struct program *p, const char *script, const struct world *world, int64_t start_ms,
                    struct err *e)
{
    struct hato_options o = {.script = script,
                             .state = "state",
                             .sets = &p->a.sets,
                             .world = world,
                             .seed = (uint64_t)p->a.seed,
                             .start_ms = start_ms,
                             .budget = BUDGET,
                             .data = p,
                             .event = on_event,
                             .notice = on_notice};
    int r = hato_new(&o, &p->hato, e);
    if (!r)
        r = hato_load(p->hato, e);
    if (!r)
        r = hato_open(p->hato, e);
    if (r)
        return r;
    struct run *run = run_new(&(struct run_conf){.hato = p->hato,
                                                 .wait_ms = INT64_MAX - 1,
                                                 .end_ms = p->a.days ? start_ms + p->a.days * 86400000 : 0,
                                                 .data = p,
                                                 .bad_row = on_bad_row});
    r = run_loop(run, e);
    print_end(p, run, start_ms);
    run_free(run);
    return r;
}

int cmd_sim(int argc, char **argv)
{
    struct program p = {.a = {.seed = 1}};
    struct opt_list files = {0};
    struct err e = {0};
    struct world *world = NULL;
    struct ip everywhere = ip_v4(127, 0, 1, 1);
    int64_t start_ms = DEFAULT_START_MS;
    int code = EXIT_USAGE;
    int r = opts_parse(argc, argv, options, &p.a, &files, &e);
    if (!r && p.a.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && files.n != 1)
        r = err_set(&e, ERR_INVAL, "one script, please: hato sim FILE --world accept");
    if (!r && p.a.from && read_date(p.a.from, &start_ms))
        r = err_set(&e, ERR_INVAL, "--from wants a day such as 2026-07-01, not \"%s\"", p.a.from);
    if (!r && !p.a.world)
        r = err_set(&e, ERR_MISSING,
                    "--world is missing: a file, or accept (the world `common` comes with a later version)");
    if (!r && slice_eq(slice_cstr(p.a.world), S("accept")))
        world = world_default(&everywhere);
    else if (!r)
        r = world_load(&world, p.a.world, &e);
    if (!r) {
        p.hash = EVP_MD_CTX_new();
        INVARIANT(p.hash && EVP_DigestInit_ex(p.hash, EVP_sha256(), NULL) == 1);
        r = simulate(&p, files.v[0], world, start_ms, &e);
        if (p.hato && hato_deliver(p.hato))
            code = EXIT_FAILED;
        hato_free(p.hato);
        EVP_MD_CTX_free(p.hash);
    }
    world_free(world);
    buf_free(&p.scratch);
    if (r) {
        fprintf(stderr, "hato sim: %s\n", e.text);
        return code;
    }
    return EXIT_DONE;
}
