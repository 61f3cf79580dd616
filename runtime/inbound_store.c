/* inbound_store.c - see inbound_store.h. */
#include "inbound_store.h"
#include "base/json.h"
#include "control.h"
#include "delivery/event.h"
#include "delivery/secret.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_MS = 60000, REQUEST_MOST = CONTROL_LINE_BYTES - 1024, MAILS_MOST = 200 };

struct inbound_store {
    char *state;
    struct fs *fs;
    struct secret secret;
    /* At rest, from the first findings on. */
    struct loop *loop;
    struct net *net;
    struct conf *conf;
    struct deliver *deliver;
};

int inbound_store_open(const char *state, struct inbound_store **out, struct err *e)
{
    struct inbound_store *st = mem_zalloc(sizeof *st);
    st->state = mem_dup(state, strlen(state));
    st->fs = fs_real();
    int rc = secret_read(st->fs, state, &st->secret, e);
    if (rc == ERR_NOTFOUND)
        err_set(e, rc, "%s is no state folder from which mail was sent; --state DIR names another", state);
    if (rc) {
        inbound_store_close(st);
        return rc;
    }
    *out = st;
    return 0;
}

void inbound_store_close(struct inbound_store *st)
{
    if (!st)
        return;
    deliver_free(st->deliver);
    if (st->conf)
        conf_free(st->conf);
    net_free(st->net);
    if (st->loop)
        loop_free(st->loop);
    fs_free(st->fs);
    explicit_bzero(&st->secret, sizeof st->secret);
    free(st->state);
    free(st);
}

const struct verp_key *inbound_store_key(const struct inbound_store *st)
{
    return &st->secret.verp;
}

/* --- a folder at rest: delivery is opened, and nothing of it started --- */

static void on_notice(void *data, int level, const char *text)
{
    (void)data;
    if (level)
        fprintf(stderr, "hato inbound: %s\n", text);
}

static int open_here(struct inbound_store *st, struct err *e)
{
    if (st->deliver)
        return 0;
    if (!st->loop) {
        st->loop = loop_new_real();
        st->net = net_new(st->loop);
        st->conf = conf_new();
        st->conf->sources = arena_zalloc(&st->conf->arena, sizeof *st->conf->sources);
        st->conf->nsources = 1; /* through which nothing is sent */
        st->conf->sources[0] =
            (struct conf_source){.name = S("none"), .place = {.file = SLICE_NONE}, .ehlo = S("localhost")};
    }
    struct deliver_conf conf = {.loop = st->loop,
                                .fs = st->fs,
                                .state = st->state,
                                .net = st->net,
                                .conf = st->conf,
                                .threads = 1,
                                .hooks = {.notice = on_notice}};
    return deliver_new(&conf, &st->deliver, e);
}

struct here {
    struct loop *loop;
    enum inbound_result *results;
    bool over;
    int status;
    struct err *e;
};

static void on_taken_here(void *data, int status, const enum inbound_result *v, size_t n, const struct err *e)
{
    struct here *h = data;
    h->over = true;
    h->status = status;
    if (status)
        *h->e = *e;
    else
        memcpy(h->results, v, n * sizeof *v);
    loop_stop(h->loop);
}

static int give_here(struct inbound_store *st, const struct inbound_mail *v, size_t n,
                     enum inbound_result *results, struct err *e)
{
    struct here h = {.loop = st->loop, .results = results, .e = e};
    inbound_take(st->deliver, v, n, on_taken_here, &h);
    while (!h.over)
        loop_run(st->loop);
    return h.status;
}

/* --- the hato that runs --- */

static const char *const whats[] = {"bounced", "complained"};

static void put_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, ",\"%s\":", name);
    json_quote(out, text);
}

static void put_mail(struct buf *out, const struct inbound_mail *m)
{
    buf_printf(out, "{\"message\":\"m%llu\",\"what\":\"%s\",\"class\":\"%s\",\"code\":%d",
               (unsigned long long)m->id, whats[m->what], class_name(m->cls), m->code);
    if (m->phase != RULE_PHASE_UNKNOWN)
        buf_printf(out, ",\"phase\":\"%s\"", smtp_phase_name((enum smtp_phase)m->phase));
    if (m->enhanced.cls)
        buf_printf(out, ",\"enhanced\":[%u,%u,%u]", m->enhanced.cls, m->enhanced.subject, m->enhanced.detail);
    put_text(out, "rule", m->rule);
    put_text(out, "text", m->text);
    buf_addc(out, '}');
}

struct answers {
    enum inbound_result *v;
    size_t n, asked;
};

static void on_line(void *data, const json_t *line)
{
    struct answers *a = data;
    struct slice word = slice_cstr(json_string_value(json_object_get(line, "result")));
    for (int i = 0; i < INBOUND_RESULTS && a->n < a->asked; i++) {
        if (slice_eq(word, slice_cstr(inbound_result_name((enum inbound_result)i)))) {
            a->v[a->n++] = (enum inbound_result)i;
            return;
        }
    }
}

/* As many of them as fit into one line: *taken. */
static int give_there(struct inbound_store *st, const struct inbound_mail *v, size_t n,
                      enum inbound_result *results, size_t *taken, struct err *e)
{
    struct buf request = {0}, one = {0};
    struct answers a = {.v = results};
    struct control_answer answer = {.data = &a, .line = on_line};
    buf_adds(&request, S("{\"command\":\"inbound\",\"mails\":["));
    for (; a.asked < n && a.asked < MAILS_MOST; a.asked++) {
        buf_clear(&one);
        put_mail(&one, &v[a.asked]);
        if (a.asked && request.n + one.n > REQUEST_MOST)
            break;
        if (a.asked)
            buf_addc(&request, ',');
        buf_adds(&request, buf_slice(&one));
    }
    buf_adds(&request, S("]}"));
    int rc = control_ask(st->state, buf_slice(&request), ASK_MS, &answer, e);
    if (!rc && a.n != a.asked)
        rc = err_set(e, ERR_SYNTAX, "the hato that runs on %s did not answer for each mail", st->state);
    json_decref(answer.last);
    buf_free(&request);
    buf_free(&one);
    *taken = a.asked;
    return rc;
}

int inbound_store_give(struct inbound_store *st, const struct inbound_mail *v, size_t n,
                       enum inbound_result *results, struct err *e)
{
    int rc = 0;
    size_t taken;
    for (size_t at = 0; !rc && at < n; at += taken) {
        rc = st->deliver ? ERR_NOTFOUND : give_there(st, v + at, n - at, results + at, &taken, e);
        if (rc != ERR_NOTFOUND)
            continue;
        taken = n - at;
        rc = open_here(st, e);
        if (!rc)
            rc = give_here(st, v + at, n - at, results + at, e);
    }
    return rc;
}

/* --- the process's side --- */

static struct slice text_of(const json_t *mail, const char *name)
{
    const json_t *s = json_object_get(mail, name);
    return slice_of(json_string_value(s), json_string_length(s));
}

static unsigned number_of(const json_t *n, unsigned most)
{
    json_int_t v = json_integer_value(n);
    return v < 0 || v > (json_int_t)most ? 0 : (unsigned)v;
}

/* The client is hato's own, but what comes over a socket is read like everything else. */
static int read_mail(const json_t *j, struct inbound_mail *out, struct err *e)
{
    const json_t *status = json_object_get(j, "enhanced");
    enum smtp_phase phase;
    struct slice what = text_of(j, "what");
    *out = (struct inbound_mail){.phase = RULE_PHASE_UNKNOWN,
                                 .code = (int)number_of(json_object_get(j, "code"), 999),
                                 .enhanced = {(uint16_t)number_of(json_array_get(status, 0), 9),
                                              (uint16_t)number_of(json_array_get(status, 1), 999),
                                              (uint16_t)number_of(json_array_get(status, 2), 999)},
                                 .rule = text_of(j, "rule"),
                                 .text = text_of(j, "text")};
    if (!smtp_phase_parse(text_of(j, "phase"), &phase))
        out->phase = (int)phase;
    if (slice_eq(what, slice_cstr(whats[INBOUND_COMPLAINT])))
        out->what = INBOUND_COMPLAINT;
    else if (!slice_eq(what, slice_cstr(whats[INBOUND_BOUNCE])))
        return err_set(e, ERR_INVAL, "\"what\" is bounced or complained");
    if (event_message_parse(text_of(j, "message"), &out->id) || class_parse(text_of(j, "class"), &out->cls))
        return err_set(e, ERR_INVAL, "\"message\" is a message and \"class\" a class");
    return 0;
}

static void on_taken(void *data, int status, const enum inbound_result *v, size_t n, const struct err *e)
{
    struct control_call *call = data;
    struct buf line = {0};
    for (size_t i = 0; !status && i < n; i++) {
        buf_clear(&line);
        buf_printf(&line, "{\"result\":\"%s\"}", inbound_result_name(v[i]));
        control_line(call, buf_slice(&line));
    }
    control_end(call, status, status ? slice_cstr(e->text) : SLICE_NONE);
    buf_free(&line);
}

void inbound_store_request(struct deliver *d, struct control_call *call, const json_t *request)
{
    const json_t *list = json_object_get(request, "mails");
    size_t n = json_array_size(list);
    struct inbound_mail *v = mem_zalloc((n + 1) * sizeof *v);
    struct err e;
    int rc =
        n && n <= MAILS_MOST ? 0 : err_set(&e, ERR_INVAL, "\"mails\" is an array of 1 to %d", MAILS_MOST);
    for (size_t i = 0; !rc && i < n; i++)
        rc = read_mail(json_array_get(list, i), &v[i], &e);
    if (rc)
        control_end(call, rc, slice_cstr(e.text));
    else
        inbound_take(d, v, n, on_taken, call);
    free(v);
}
