/* message.c - see message.h. */
#include "delivery/message.h"
#include "delivery/content.h"
#include "format/codec.h"
#include "format/iso2022jp.h"
#include "format/mp.h"

#include <stdlib.h>

struct message_scratch {
    struct dkim_work *dkim;
    struct content_scratch content;
    struct arena arena;
};

struct message_scratch *message_scratch_new(void)
{
    struct message_scratch *s = mem_zalloc(sizeof *s);
    s->dkim = dkim_work_new();
    return s;
}

void message_scratch_free(struct message_scratch *s)
{
    if (!s)
        return;
    dkim_work_free(s->dkim);
    content_scratch_free(&s->content);
    arena_free(&s->arena);
    free(s);
}

void message_clear(struct message *m)
{
    buf_clear(&m->payload);
    buf_clear(&m->head);
    buf_clear(&m->from);
    buf_clear(&m->rcpt);
    buf_clear(&m->rcpt_raw);
    m->nwire = 0;
    m->size_bytes = 0;
    m->unmappable = 0;
    m->message_id = SLICE_NONE;
    content_free(m->own);
    m->own = NULL;
    arena_reset(&m->arena);
}

void message_free(struct message *m)
{
    buf_free(&m->payload);
    buf_free(&m->head);
    buf_free(&m->from);
    buf_free(&m->rcpt);
    buf_free(&m->rcpt_raw);
    mime_out_free(&m->mime);
    content_free(m->own);
    free(m->wire);
    arena_free(&m->arena);
    *m = (struct message){0};
}

/* --- secrets and identities --- */

void secret_from_bytes(const unsigned char bytes[32], struct secret *out)
{
    /* Three keys from one: each is the keyed hash of its own name, so that none tells another. */
    struct hash_key root[2];
    memcpy(root, bytes, sizeof root);
    struct hash128 dup = hash128(root[0], S("duplicate key")), id = hash128(root[0], S("message id"));
    *out = (struct secret){.dup_key = {dup.lo, dup.hi}, .id_key = {id.lo, id.hi}};
    struct hash128 v0 = hash128(root[1], S("return path 0")), v1 = hash128(root[1], S("return path 1"));
    memcpy(out->verp.secret, &v0, sizeof v0);
    memcpy(out->verp.secret + sizeof v0, &v1, sizeof v1);
}

void message_id_text(const struct secret *s, uint64_t id, struct slice domain, struct buf *out)
{
    verp_message_id(&s->verp, id, domain, out);
}

static bool plain_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return s.n > 0;
}

int identity_new(const struct conf_stream *conf, const struct secret *secret, struct identity **out,
                 struct err *e)
{
    struct identity *i = mem_zalloc(sizeof *i);
    int r = 0;
    i->conf = conf;
    i->secret = secret;
    i->keys = mem_zalloc((conf->ndkim + 1) * sizeof *i->keys);
    i->dkim = mem_zalloc((conf->ndkim + 1) * sizeof *i->dkim);
    for (size_t k = 0; k < conf->ndkim; k++) {
        const struct conf_dkim *c = &conf->dkim[k];
        r = dkim_key_load(c->key_pem, &i->keys[k], e);
        if (!r) {
            i->dkim[k] = (struct dkim_identity){.key = i->keys[k],
                                                .domain = c->domain,
                                                .selector = c->selector,
                                                .auid = SLICE_NONE,
                                                .headers = SLICE_NONE};
            r = dkim_identity_check(&i->dkim[k], e);
        }
        if (r) {
            err_prefix(e, "%.*s:%d: stream %.*s: dkim key %.*s: ", SLICE_FMT(conf->place.file),
                       conf->place.line, SLICE_FMT(conf->name), SLICE_FMT(c->key_path));
            identity_free(i);
            return r;
        }
    }
    i->ndkim = conf->ndkim;
    if (conf->unsubscribe_url.n || conf->unsubscribe_mailto.n) {
        /* Two small templates; the room that compiles content does these too. */
        struct conf_content c = conf_content_empty();
        c.subject = conf->unsubscribe_url;
        c.preheader = conf->unsubscribe_mailto;
        c.text = S(" ");
        c.text_path = S("unsubscribe");
        r = content_compile(&c, conf->name, &i->unsubscribe, e);
        if (r) {
            err_prefix(e, "%.*s:%d: stream %.*s: unsubscribe: ", SLICE_FMT(conf->place.file),
                       conf->place.line, SLICE_FMT(conf->name));
            identity_free(i);
            return r;
        }
    }
    if (conf_stream_must_map(conf)) {
        r = iso2022jp_check(conf->from, "from", e);
        r = r ? r : iso2022jp_check(conf->reply_to, "reply_to", e);
        r = r ? r : iso2022jp_check(conf->list_id, "list_id", e);
        if (r) {
            err_prefix(e, "%.*s:%d: stream %.*s: ", SLICE_FMT(conf->place.file), conf->place.line,
                       SLICE_FMT(conf->name));
            identity_free(i);
            return r;
        }
    }
    static const char *const kinds[CONF_PRIORITIES] = {"urgent", "normal", "bulk"};
    struct buf b = {0};
    buf_printf(&b, ":%.*s:%s:%.*s", plain_word(conf->name) ? (int)conf->name.n : 6,
               plain_word(conf->name) ? conf->name.p : "stream", kinds[conf->priority],
               SLICE_FMT(conf->domain));
    i->feedback_tail = slice_of(mem_dup(b.p, b.n), b.n);
    buf_clear(&b);
    if (conf->list_id.n)
        buf_adds(&b, conf->list_id);
    else
        buf_printf(&b, "%.*s.%.*s", plain_word(conf->name) ? (int)conf->name.n : 4,
                   plain_word(conf->name) ? conf->name.p : "list", SLICE_FMT(conf->domain));
    i->list_id = slice_of(mem_dup(b.p, b.n), b.n);
    buf_free(&b);
    *out = i;
    return 0;
}

void identity_free(struct identity *i)
{
    if (!i)
        return;
    for (size_t k = 0; k < i->conf->ndkim; k++)
        dkim_key_free(i->keys[k]);
    free(i->keys);
    free(i->dkim);
    content_free(i->unsubscribe);
    if (i->feedback_tail.n)
        free((char *)i->feedback_tail.p);
    if (i->list_id.n)
        free((char *)i->list_id.p);
    free(i);
}

/* --- edits --- */

void message_edits_begin(struct buf *out, uint32_t n)
{
    mp_put_array(out, n);
}

void message_edits_add(struct buf *out, struct slice name, struct slice value)
{
    mp_put_array(out, 2);
    mp_put_str(out, name);
    mp_put_str(out, value);
}

bool message_header_is_ours(struct slice name)
{
    static const char *const ours[] = {
        "From",       "To",          "Subject",          "Date",
        "Message-ID", "Reply-To",    "MIME-Version",     "DKIM-Signature",
        "List-Id",    "Feedback-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
        "Received",   "Return-Path", "Sender",           "Cc",
        "Bcc"};
    for (size_t i = 0; i < COUNT(ours); i++)
        if (slice_ieq(name, slice_cstr(ours[i])))
            return true;
    return slice_istarts(name, S("Content-")) || slice_istarts(name, S("ARC-"));
}

/* Later headers of one name replace earlier ones: what the hook says beats what the script says. */
static int add_edits(struct slice edits, struct mime_header *v, size_t *n, size_t most)
{
    struct mp m = {edits};
    struct mp_value head, pair, name, value;
    if (!edits.n)
        return 0;
    if (mp_next(&m, &head) || head.kind != MP_ARRAY)
        return ERR_SYNTAX;
    for (uint32_t i = 0; i < head.n; i++) {
        if (mp_next(&m, &pair) || pair.kind != MP_ARRAY || pair.n != 2 || mp_next(&m, &name) ||
            name.kind != MP_STR || mp_next(&m, &value) || value.kind != MP_STR)
            return ERR_SYNTAX;
        size_t at = 0;
        while (at < *n && !slice_ieq(v[at].name, name.s))
            at++;
        if (at == most)
            return ERR_LIMIT;
        v[at] = (struct mime_header){name.s, value.s};
        *n += at == *n;
    }
    return 0;
}

/* --- assembly --- */

enum { HEADERS_MOST = 100 };

/* RFC 2369 3.2, RFC 8058: the link first, the address behind it. */
static int put_unsubscribe(const struct identity *id, const struct content_values *v,
                           struct message_scratch *s, struct arena *a, struct mime_message *mm, struct err *e)
{
    struct content_rendered r;
    int rc = content_render(id->unsubscribe, 0, SLICE_NONE, v, &s->content, a, &r, e);
    if (rc)
        return rc;
    struct buf b = {0};
    if (r.subject.n)
        buf_printf(&b, "<%.*s>", SLICE_FMT(r.subject));
    if (r.preheader.n) {
        bool scheme = slice_istarts(r.preheader, S("mailto:"));
        buf_printf(&b, "%s<%s%.*s>", b.n ? ", " : "", scheme ? "" : "mailto:", SLICE_FMT(r.preheader));
    }
    mm->list_unsubscribe = arena_copy(a, buf_slice(&b));
    mm->list_unsubscribe_post = id->conf->one_click && r.subject.n;
    buf_free(&b);
    return 0;
}

static int read_record(const struct message_in *in, struct message *m, struct err *e)
{
    struct rec rec;
    if (rec_get(buf_slice(&m->payload), &rec) || rec.type != REC_RECIPIENT || rec.recipient.id != in->id)
        return err_set(e, ERR_CORRUPT, "the record of message %llu cannot be read",
                       (unsigned long long)in->id);
    m->rec = rec.recipient;
    return 0;
}

static void put_wire(struct message *m)
{
    size_t need = m->mime.nbody + 1;
    if (need > m->cap_wire) {
        m->cap_wire = need;
        m->wire = mem_realloc(m->wire, need * sizeof *m->wire);
    }
    m->wire[0] = buf_slice(&m->head);
    memcpy(m->wire + 1, m->mime.body, m->mime.nbody * sizeof *m->wire);
    m->nwire = need;
    m->size_bytes = m->head.n + m->mime.body_bytes;
}

static struct dkim_message unsigned_message(const struct message_in *in, struct message *m)
{
    buf_clear(&m->head);
    return (struct dkim_message){in->identity->dkim,
                                 in->identity->ndkim,
                                 buf_slice(&m->mime.head),
                                 m->mime.body,
                                 m->mime.nbody,
                                 in->date_s,
                                 &m->head,
                                 0};
}

/* The signatures are in m->head, or r says why not. */
static int finish(const struct message_in *in, struct message *m, int r, struct err *e)
{
    if (r)
        return err_set(e, r, "message %llu cannot be signed: %s", (unsigned long long)in->id, err_name(r));
    buf_adds(&m->head, buf_slice(&m->mime.head));
    buf_adds(&m->head, S("\r\n"));
    put_wire(m);
    return 0;
}

static void put_envelope(const struct message_in *in, const struct addr *to, const struct mailbox *from,
                         struct message *m)
{
    const struct conf_stream *conf = in->identity->conf;
    if (conf->bounce.n)
        verp_make(&in->identity->secret->verp, in->id, conf->bounce, &m->from);
    else
        addr_smtp(&m->from, &from->addr, ADDR_QUOTED);
    addr_smtp(&m->rcpt, to, ADDR_QUOTED);
    if (to->needs_quoting) {
        addr_smtp(&m->rcpt_raw, to, ADDR_RAW);
        if (slice_eq(buf_slice(&m->rcpt_raw), buf_slice(&m->rcpt)))
            buf_clear(&m->rcpt_raw);
    }
    m->needs_smtputf8 = m->mime.needs_smtputf8 || to->needs_smtputf8 || from->addr.needs_smtputf8;
}

/* The part of a return path that names the message: what an unsubscribe link carries until links have tokens
 * of their own. */
static struct slice token_of(const struct message_in *in, struct arena *a)
{
    struct buf b = {0};
    struct slice rest;
    verp_make(&in->identity->secret->verp, in->id, in->identity->conf->domain, &b);
    struct slice local = slice_cut(buf_slice(&b), '@', &rest);
    struct slice token = arena_copy(a, slice_of(local.p + 2, local.n - 2));
    buf_free(&b);
    return token;
}

/* hato.send: the message brings its content along. */
static int own_content(struct message *m, struct message_scratch *s, struct err *e)
{
    struct conf_content c;
    int r = content_thaw(m->rec.content, &s->arena, &c);
    if (r)
        return err_set(e, r, "message %llu: its content cannot be read", (unsigned long long)m->rec.id);
    r = content_compile(&c, S("hato.send"), &m->own, e);
    if (!r)
        content_add_columns(m->own, m->rec.columns, c.columns);
    return r;
}

static void put_feedback_id(const struct message_in *in, struct arena *a, struct mime_message *mm)
{
    struct buf b = {0};
    if (!in->campaign.n)
        buf_adds(&b, S("single"));
    else if (plain_word(in->campaign))
        buf_adds(&b, in->campaign);
    else
        buf_adds(&b, S("campaign"));
    buf_adds(&b, in->identity->feedback_tail);
    mm->feedback_id = arena_copy(a, buf_slice(&b));
    buf_free(&b);
}

static int put_addresses(const struct message_in *in, const struct content_rendered *out, struct message *m,
                         struct mime_message *mm, struct err *e)
{
    const struct conf_stream *conf = in->identity->conf;
    struct slice reply_to = out->reply_to.n ? out->reply_to : conf->reply_to;
    int r = addr_parse_mailbox(out->from.n ? out->from : conf->from, &m->arena, &mm->from, e);
    if (!r && reply_to.n)
        r = addr_parse_mailbox(reply_to, &m->arena, &mm->reply_to, e);
    if (!r)
        r = addr_parse(in->redirect.n ? in->redirect : m->rec.address, &m->arena, &mm->to.addr, e);
    return r;
}

/* All but the signatures. */
static int build(const struct message_in *in, struct message_scratch *s, struct message *m, struct err *e)
{
    const struct identity *id = in->identity;
    struct arena *a = &m->arena;
    struct mime_header extra[HEADERS_MOST];
    struct content_rendered out;
    int r = read_record(in, m, e);
    arena_reset(&s->arena);
    if (!r && !in->content)
        r = own_content(m, s, e);
    if (r)
        return r;
    const struct content *content = in->content ? in->content : m->own;
    struct content_values v = {.address = m->rec.address,
                               .token = token_of(in, a),
                               .now_s = in->date_s,
                               .offset_at = id->offset_at,
                               .offset_arg = id->offset_arg};
    struct mime_message mm = {
        .to.name = SLICE_NONE,
        .date_unix_s = in->date_s,
        .utc_offset_min = id->offset_at ? id->offset_at(id->offset_arg, in->date_s) / 60 : 0,
        .list_id = in->campaign.n ? id->list_id : SLICE_NONE,
        .list_unsubscribe = SLICE_NONE,
        .extra = extra,
        .boundary_seed = hash64(id->secret->id_key, slice_of(&in->id, sizeof in->id)),
        .charset = id->conf->charset,
        .unmappable = id->conf->unmappable,
        .flowed = id->conf->flowed,
    };
    mm.parts = content_parts(content, &mm.nparts);
    if (id->unsubscribe)
        r = put_unsubscribe(id, &v, s, a, &mm, e);
    if (!r)
        r = content_render(content, m->rec.columns, m->rec.values, &v, &s->content, a, &out, e);
    if (!r)
        r = put_addresses(in, &out, m, &mm, e);
    if (r)
        return r;
    if (out.nheaders > HEADERS_MOST)
        return err_set(e, ERR_LIMIT, "more than %d headers", HEADERS_MOST);
    memcpy(extra, out.headers, out.nheaders * sizeof *extra);
    mm.nextra = out.nheaders;
    if (add_edits(in->edits, extra, &mm.nextra, HEADERS_MOST))
        return err_set(e, ERR_LIMIT, "the message hook's headers cannot be added: more than %d in all?",
                       HEADERS_MOST);
    struct buf text = {0};
    message_id_text(id->secret, in->id, id->conf->domain, &text);
    mm.message_id = m->message_id = arena_copy(a, buf_slice(&text));
    buf_free(&text);
    put_feedback_id(in, a, &mm);
    mm.subject = out.subject;
    mm.text = out.text;
    mm.html = out.html;
    mm.preheader = out.preheader;
    r = mime_build(&mm, &m->mime, e);
    if (r)
        return r;
    m->unmappable = m->mime.unmappable;
    put_envelope(in, &mm.to.addr, &mm.from, m);
    return 0;
}

int message_assemble(const struct message_in *in, struct message_scratch *s, struct message *m, struct err *e)
{
    int r = build(in, s, m, e);
    if (r)
        return r;
    struct dkim_message d = unsigned_message(in, m);
    dkim_sign_all(s->dkim, &d, 1);
    return finish(in, m, d.rc, e);
}

bool identity_signs_two(const struct identity *i)
{
    for (size_t k = 0; k < i->ndkim; k++)
        if (i->keys[k]->pair)
            return true;
    return false;
}

void message_assemble_two(struct message_making two[2], struct message_scratch *s)
{
    struct message_making *built[2];
    struct dkim_message d[2];
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        if (!two[i].rc)
            two[i].rc = build(two[i].in, s, two[i].m, two[i].e);
        if (two[i].rc)
            continue;
        d[n] = unsigned_message(two[i].in, two[i].m);
        built[n++] = &two[i];
    }
    dkim_sign_all(s->dkim, d, n);
    for (size_t i = 0; i < n; i++)
        built[i]->rc = finish(built[i]->in, built[i]->m, d[i].rc, built[i]->e);
}
