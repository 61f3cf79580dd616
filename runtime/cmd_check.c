/* cmd_check.c - hato check: what a script says that is probably not meant, and what DNS says about its
 * senders. */
#include "cmd.h"
#include "base/json.h"
#include "delivery/published.h"
#include "format/text.h"
#include "lint.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>

struct args {
    const char *dns, *state;
    struct opt_list sets;
    bool published, json, help;
};

static const struct opt options[] = {
    {OPT_FLAG, "published", NULL,
     "look at DNS too: PTR, EHLO names, SPF, DKIM, DMARC, MTA-STS, and what to publish",
     offsetof(struct args, published)},
    {OPT_STRING, "dns", "HOST:PORT", "ask this DNS server instead of the system's",
     offsetof(struct args, dns)},
    {OPT_LIST, "set", "KEY=VALUE", "reaches the script as hato.args", offsetof(struct args, sets)},
    {OPT_STRING, "state", "DIR", "as for run; nothing is read or written there",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one object a finding", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato check FILE [--published] [--json]\n\n"
    "Loads the script, sends nothing, and says what is allowed and probably not meant. With --published also "
    "what\n"
    "DNS says of each source and stream, one line each, and what to publish where it is wrong.\n"
    "Exit 1 when there is an error among the findings, or DNS gave no answer; 2 when the script does not "
    "load.";

struct program {
    struct args a;
    struct hato *hato;
    struct buf out;
    uint64_t findings, errors, unknown;
    bool over;
};

static void text_member(struct buf *o, const char *name, struct slice value)
{
    buf_printf(o, ",\"%s\":", name);
    if (value.n)
        json_quote(o, value);
    else
        buf_adds(o, S("null"));
}

static void print(struct program *p)
{
    fwrite(p->out.p, 1, p->out.n, stdout);
    buf_clear(&p->out);
}

/* --- lint --- */

static void on_finding(void *data, const struct lint_finding *f)
{
    static const char *const names[] = {"note", "warning", "error"};
    struct program *p = data;
    struct buf *o = &p->out;
    p->findings++;
    p->errors += f->level == LINT_ERROR;
    if (p->a.json) {
        buf_printf(o, "{\"level\":\"%s\",\"check\":\"lint\"", names[f->level]);
        text_member(o, "file", f->place.file);
        if (f->place.line)
            buf_printf(o, ",\"line\":%d", f->place.line);
        else
            buf_adds(o, S(",\"line\":null"));
        text_member(o, "text", f->text);
        buf_adds(o, S("}\n"));
    } else {
        if (f->place.file.n)
            buf_printf(o, "%.*s:%d: ", SLICE_FMT(f->place.file), f->place.line);
        buf_printf(o, "%s: ", names[f->level]);
        text_safe(o, f->text);
        buf_addc(o, '\n');
    }
    print(p);
}

/* --- DNS --- */

static struct slice source_name(const struct conf *c, uint16_t i)
{
    return i == CONF_NONE ? SLICE_NONE : c->sources[i].name;
}

static struct slice stream_name(const struct conf *c, uint16_t i)
{
    return i == CONF_NONE ? SLICE_NONE : c->streams[i].name;
}

static void put_line(struct program *p, const struct published_line *line)
{
    const struct conf *c = hato_conf(p->hato);
    struct slice source = source_name(c, line->source), stream = stream_name(c, line->stream);
    struct buf *o = &p->out;
    if (p->a.json) {
        buf_printf(o, "{\"level\":\"%s\",\"check\":\"%s\"", published_level_name(line->level), line->what);
        text_member(o, "source", source);
        text_member(o, "stream", stream);
        text_member(o, "name", line->name);
        text_member(o, "text", line->text);
        text_member(o, "publish", line->publish);
        buf_adds(o, S("}\n"));
        return;
    }
    buf_printf(o, "%-7s  %-9s  ", published_level_name(line->level), line->what);
    if (stream.n)
        buf_printf(o, "stream %.*s%s", SLICE_FMT(stream), source.n ? ", " : ": ");
    if (source.n)
        buf_printf(o, "source %.*s: ", SLICE_FMT(source));
    text_safe(o, line->text);
    if (line->publish.n) {
        buf_adds(o, S("; publish: "));
        text_safe(o, line->publish);
    }
    buf_addc(o, '\n');
}

static void on_published(void *data, const struct published_line *lines, size_t n)
{
    struct program *p = data;
    for (size_t i = 0; i < n; i++) {
        p->errors += lines[i].level == PUBLISHED_ERROR;
        p->unknown += lines[i].level == PUBLISHED_UNKNOWN;
        p->findings += lines[i].level != PUBLISHED_OK;
        put_line(p, &lines[i]);
        print(p);
    }
    p->over = true;
    loop_stop(hato_loop(p->hato));
}

static void look_at_dns(struct program *p)
{
    struct published_look *look = published_start(&(struct published_conf){.loop = hato_loop(p->hato),
                                                                           .resolve = hato_resolve(p->hato),
                                                                           .conf = hato_conf(p->hato)},
                                                  on_published, p);
    while (!p->over)
        loop_run(hato_loop(p->hato));
    published_stop(look);
}

static void print_end(struct program *p)
{
    if (p->a.json)
        return;
    if (!p->findings) {
        printf("nothing to find fault with\n");
        return;
    }
    printf("%llu finding%s, %llu of them error%s", (unsigned long long)p->findings,
           p->findings == 1 ? "" : "s", (unsigned long long)p->errors, p->errors == 1 ? "" : "s");
    if (p->unknown)
        printf("; DNS gave no answer %llu time%s: try again", (unsigned long long)p->unknown,
               p->unknown == 1 ? "" : "s");
    putchar('\n');
}

int cmd_check(int argc, char **argv)
{
    struct program p = {.errors = 0};
    struct opt_list files = {0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &p.a, &files, &e);
    if (!r && p.a.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && files.n != 1)
        r = err_set(&e, ERR_INVAL, "one script, please: hato check FILE");
    if (r) {
        fprintf(stderr, "hato check: %s\n", e.text);
        return EXIT_USAGE;
    }
    struct hato_options o = {.script = files.v[0],
                             .state = "state",
                             .dns = p.a.dns,
                             .sets = &p.a.sets,
                             .memory_state = true,
                             .sends_nothing = true};
    if ((r = hato_new(&o, &p.hato, &e)) || (r = hato_load(p.hato, &e)) || (r = hato_open(p.hato, &e))) {
        fprintf(stderr, "hato check: %s\n", e.text);
        hato_free(p.hato);
        return exit_of_script(r);
    }
    lint_script(p.hato, files.v[0], on_finding, &p);
    if (p.a.published)
        look_at_dns(&p);
    print_end(&p);
    hato_free(p.hato);
    buf_free(&p.out);
    return p.errors || p.unknown ? EXIT_FAILED : EXIT_DONE;
}
