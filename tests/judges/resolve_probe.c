/* resolve_probe.c - asks DNS as hato does and prints what it learned, one JSON object a question, in order:
 *   resolve_probe SERVERS TIMEOUT_MS KIND NAME [KIND NAME ...]     KIND: mx, a, aaaa, both, txt, ptr
 * All are asked at once. Names and texts of a test hold nothing that JSON needs escaped but backslash and
 * quote. */
#include "format/ip.h"
#include "platform/resolve.h"

#include <stdio.h>
#include <stdlib.h>

struct probe {
    struct resolve_req req;
    struct loop *loop;
    int *due;
    const char *kind, *name;
    struct buf out;
};

static void add_string(struct buf *b, struct slice s)
{
    buf_addc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_addc(b, '\\');
        buf_addc(b, s.p[i]);
    }
    buf_addc(b, '"');
}

static void begin(struct probe *p, enum resolve_status status, uint32_t ttl_s)
{
    buf_printf(&p->out, "{\"kind\":\"%s\",\"name\":", p->kind);
    add_string(&p->out, slice_cstr(p->name));
    buf_printf(&p->out, ",\"status\":\"%s\",\"ttl\":%u", resolve_status_name(status), ttl_s);
}

static void end(struct probe *p)
{
    buf_adds(&p->out, S("}\n"));
    if (!--*p->due)
        loop_stop(p->loop);
}

static void on_mx(struct resolve_req *req, const struct mx_set *s)
{
    static const char *const kinds[] = {"listed", "implicit", "null"};
    struct probe *p = req->data;
    begin(p, s->status, s->ttl_s);
    buf_printf(&p->out, ",\"mx\":\"%s\",\"skipped\":%zu,\"hosts\":[", kinds[s->kind], s->skipped);
    for (size_t i = 0; i < s->n; i++) {
        buf_printf(&p->out, "%s[%d,", i ? "," : "", s->hosts[i].pref);
        add_string(&p->out, s->hosts[i].name);
        buf_addc(&p->out, ']');
    }
    buf_addc(&p->out, ']');
    end(p);
}

static void on_addr(struct resolve_req *req, const struct addr_set *s)
{
    struct probe *p = req->data;
    char text[IP_TEXT];
    begin(p, s->status, s->ttl_s);
    buf_adds(&p->out, S(",\"addresses\":["));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&p->out, "%s\"%s\"", i ? "," : "", ip_text(&s->v[i], text).p);
    buf_addc(&p->out, ']');
    end(p);
}

static void on_text(struct resolve_req *req, const struct text_set *s)
{
    struct probe *p = req->data;
    begin(p, s->status, s->ttl_s);
    buf_adds(&p->out, S(",\"texts\":["));
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            buf_addc(&p->out, ',');
        add_string(&p->out, s->v[i]);
    }
    buf_addc(&p->out, ']');
    end(p);
}

static int ask(struct resolve *r, struct probe *p)
{
    struct slice kind = slice_cstr(p->kind), name = slice_cstr(p->name);
    struct ip ip;
    int families = slice_eq(kind, S("a"))      ? RESOLVE_IP4
                   : slice_eq(kind, S("aaaa")) ? RESOLVE_IP6
                   : slice_eq(kind, S("both")) ? RESOLVE_IP4 | RESOLVE_IP6
                                               : 0;
    if (families)
        resolve_addr(r, name, families, &p->req, on_addr);
    else if (slice_eq(kind, S("mx")))
        resolve_mx(r, name, &p->req, on_mx);
    else if (slice_eq(kind, S("txt")))
        resolve_txt(r, name, &p->req, on_text);
    else if (slice_eq(kind, S("ptr")) && ip_parse(name, &ip) == 0)
        resolve_ptr(r, ip, &p->req, on_text);
    else
        return ERR_INVAL;
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int n = (argc - 3) / 2, due = n, rc = 0;
    if (argc < 5 || argc % 2 == 0) {
        fprintf(stderr, "usage: resolve_probe SERVERS TIMEOUT_MS KIND NAME [KIND NAME ...]\n");
        return 2;
    }
    struct loop *loop = loop_new_real();
    struct resolve_conf conf = {.servers = argv[1], .timeout_ms = atoi(argv[2])};
    struct resolve *r = resolve_new(loop, &conf, &e);
    struct probe *probes = mem_zalloc((size_t)n * sizeof *probes);
    if (!r)
        fprintf(stderr, "resolve_probe: %s\n", e.text);
    for (int i = 0; r && !rc && i < n; i++) {
        probes[i] =
            (struct probe){.loop = loop, .due = &due, .kind = argv[3 + 2 * i], .name = argv[4 + 2 * i]};
        probes[i].req.data = &probes[i];
        rc = ask(r, &probes[i]);
        if (rc)
            fprintf(stderr, "resolve_probe: cannot ask %s %s\n", probes[i].kind, probes[i].name);
    }
    if (r && !rc)
        loop_run(loop);
    for (int i = 0; i < n; i++) {
        fwrite(probes[i].out.p, 1, probes[i].out.n, stdout);
        buf_free(&probes[i].out);
    }
    resolve_free(r);
    loop_free(loop);
    free(probes);
    return r && !rc ? 0 : 2;
}
