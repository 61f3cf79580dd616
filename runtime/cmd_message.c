/* cmd_message.c - hato message: one person's finished, signed message, as it would leave now. */
#include "cmd.h"
#include "intake.h"
#include "hato.h"

#include <stdio.h>
#include <stdlib.h>

struct args {
    const char *campaign, *to, *state;
    struct opt_list sets;
    bool help;
};

static const struct opt options[] = {
    {OPT_STRING, "campaign", "NAME", "whose message (may be left out where the script has only one)",
     offsetof(struct args, campaign)},
    {OPT_STRING, "to", "ADDRESS", "for whom: a person of the campaign's source", offsetof(struct args, to)},
    {OPT_LIST, "set", "KEY=VALUE", "reaches the script as hato.args", offsetof(struct args, sets)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato message FILE --campaign NAME --to ADDRESS\n\n"
    "Prints the message that this person would get, signed, as it goes to the wire. Nothing is\n"
    "sent and the state folder is not touched: Message-ID and return path are samples.";

struct program {
    struct args a;
    struct hato *hato;
    struct campaign *campaign;
    struct buf key;     /* of --to */
    struct buf payload; /* the record of the person found */
    bool ended;
    int status;
    struct err err;
    char bad[512]; /* why the person's row is bad */
};

static int on_take(void *data, const struct intake_row *row)
{
    struct program *p = data;
    struct rec rec = {.type = REC_RECIPIENT};
    if (p->payload.n || !slice_eq(row->key, buf_slice(&p->key)))
        return ERR_CANCELED;
    rec.recipient = (struct rec_recipient){.id = 1,
                                           .campaign = p->campaign->number,
                                           .stream = p->campaign->stream->number,
                                           .columns = row->columns,
                                           .accepted_ms = loop_wall_ms(hato_loop(p->hato)),
                                           .address = row->address,
                                           .values = row->values,
                                           .content = SLICE_NONE};
    rec_put(&p->payload, &rec);
    return 0;
}

static void on_bad(void *data, uint64_t line, struct slice address, const char *why)
{
    struct program *p = data;
    struct arena a = {0};
    struct addr addr;
    struct buf key = {0};
    if (!addr_parse(address, &a, &addr, NULL)) {
        addr_dup_key(&key, &addr);
        if (slice_eq(buf_slice(&key), buf_slice(&p->key)))
            snprintf(p->bad, sizeof p->bad, "line %llu is a bad row: %s", (unsigned long long)line, why);
    }
    buf_free(&key);
    arena_free(&a);
}

static void on_done(void *data, int status, const struct err *e)
{
    struct program *p = data;
    p->ended = true;
    p->status = status;
    if (status)
        p->err = *e;
    loop_stop(hato_loop(p->hato));
}

static int choose_campaign(struct program *p, uint16_t *index, struct err *e)
{
    const struct conf *conf = hato_conf(p->hato);
    if (!conf->ncampaigns)
        return err_set(e, ERR_INVAL, "the script defines no campaign");
    if (!p->a.campaign && conf->ncampaigns > 1)
        return err_set(e, ERR_INVAL, "the script defines %zu campaigns: say --campaign NAME",
                       conf->ncampaigns);
    *index = p->a.campaign ? conf_find_campaign(conf, slice_cstr(p->a.campaign)) : 0;
    if (*index == CONF_NONE)
        return err_set(e, ERR_INVAL, "the script defines no campaign \"%s\"", p->a.campaign);
    p->campaign = deliver_campaign(hato_deliver(p->hato), conf->campaigns[*index].name);
    return 0;
}

static int find_person(struct program *p, uint16_t index, struct err *e)
{
    struct arena a = {0};
    struct addr addr;
    int r = addr_parse(slice_cstr(p->a.to), &a, &addr, e);
    if (!r) {
        addr_dup_key(&p->key, &addr);
        struct intake *in = intake_start(&(struct intake_conf){.loop = hato_loop(p->hato),
                                                               .fs = hato_script_fs(p->hato),
                                                               .deliver = hato_deliver(p->hato),
                                                               .campaign = p->campaign,
                                                               .api = hato_api(p->hato),
                                                               .index = index,
                                                               .data = p,
                                                               .take = on_take,
                                                               .bad = on_bad,
                                                               .done = on_done});
        while (!p->ended)
            loop_run(hato_loop(p->hato));
        intake_free(in);
        r = p->status;
        if (r)
            *e = p->err;
        else if (!p->payload.n)
            r = err_set(e, ERR_NOTFOUND, "%s: %s", p->a.to,
                        p->bad[0] ? p->bad : "no such person in the campaign's source");
    }
    arena_free(&a);
    return r;
}

static int print_message(struct program *p, struct err *e)
{
    struct message m = {0};
    struct message_scratch *s = message_scratch_new();
    struct message_in in = {.id = 1,
                            .content = p->campaign->content,
                            .identity = p->campaign->stream->identity,
                            .campaign = p->campaign->name,
                            .date_s = loop_wall_ms(hato_loop(p->hato)) / 1000,
                            .edits = SLICE_NONE,
                            .redirect = SLICE_NONE};
    buf_adds(&m.payload, buf_slice(&p->payload));
    int r = message_assemble(&in, s, &m, e);
    for (size_t i = 0; !r && i < m.nwire; i++)
        fwrite(m.wire[i].p, 1, m.wire[i].n, stdout);
    if (!r && m.unmappable)
        fprintf(stderr, "%u character%s that ISO-2022-JP does not have, or that `unmappable` folds\n",
                m.unmappable, m.unmappable == 1 ? "" : "s");
    message_free(&m);
    message_scratch_free(s);
    return r;
}

int cmd_message(int argc, char **argv)
{
    struct program p = {0};
    struct opt_list files = {0};
    struct err e = {0};
    uint16_t index = 0;
    int r = opts_parse(argc, argv, options, &p.a, &files, &e);
    if (!r && p.a.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && files.n != 1)
        r = err_set(&e, ERR_INVAL, "one script, please: hato message FILE --to ADDRESS");
    if (!r && !p.a.to)
        r = err_set(&e, ERR_MISSING, "--to ADDRESS is missing");
    int code = EXIT_USAGE;
    if (!r) {
        struct hato_options o = {.script = files.v[0],
                                 .state = "state",
                                 .sets = &p.a.sets,
                                 .memory_state = true,
                                 .sends_nothing = true};
        r = hato_new(&o, &p.hato, &e);
        if (!r)
            r = hato_load(p.hato, &e);
        if (!r)
            r = hato_open(p.hato, &e);
        if (!r)
            r = choose_campaign(&p, &index, &e);
        if (!r) {
            code = EXIT_FAILED;
            r = find_person(&p, index, &e);
        }
        if (!r)
            r = print_message(&p, &e);
        hato_free(p.hato);
    }
    buf_free(&p.key);
    buf_free(&p.payload);
    if (r) {
        fprintf(stderr, "hato message: %s\n", e.text);
        return code;
    }
    return EXIT_DONE;
}
