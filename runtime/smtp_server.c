/* smtp_server.c - the receiving side of SMTP (RFC 5321, 1870, 2920, 3030, 3207), with the manners of a world.
 *
 * One step takes one command, or a stretch of a message, and leaves behind at most one reply. A reply that is
 * to come later stops all steps until then, so replies keep their order and a slow receiver is slow for
 * everything that was pipelined. Replies that are due go out together when nothing more can be done without
 * new input. */
#include "smtp_server.h"

#include "format/smtp_data.h"

#include <stdlib.h>

enum mode {
    MODE_COMMAND,
    MODE_DATA,    /* until CRLF . CRLF */
    MODE_CHUNK,   /* chunk_left bytes of BDAT */
    MODE_TLS,     /* handshake */
    MODE_CLOSING, /* nothing is read any more */
};

/* What follows a reply that was held back. */
enum then { THEN_GO_ON, THEN_STARTTLS, THEN_CLOSE };

enum {
    LINE_MAX_BYTES = 8192, /* a command; RFC 5321 asks for 512 and what extensions add */
    RCPTS_MAX = 1000,
    RING = 8,
    BACKLOG = 65536,
    ERRORS_MAX = 100, /* commands in a row that were none */
};

struct smtp_server {
    struct smtp_server_conf conf;
    const struct world_isp *isp;
    struct judge_source *source; /* NULL: over its connections */
    enum mode mode;
    int64_t now, heard; /* heard: when the client last said something */
    bool greeted, shut; /* shut: the greeting was a refusal, only QUIT is heard */
    bool in_tls, lost;
    int codes[SMTP_PHASE_STARTTLS + 1];
    unsigned messages, errors;

    /* input: borrowed `fed`, or `backlog` where something had to be kept */
    struct slice fed;
    struct buf backlog;
    size_t backlog_used;
    int64_t credit_since; /* bytes_per_second: since when credit is counted */
    uint64_t credit_used;

    /* the transaction */
    bool in_tx, reserved, chunked, too_big, refuse;
    struct smtp_server_tx tx;
    struct smtp_server_rcpt *rcpts;
    size_t rcpts_cap;
    struct arena arena;
    struct smtp_undot undot;
    uint64_t chunk_left;
    bool chunk_last;
    int chunk_refused; /* the code to answer once the chunk is thrown away; 0: none */

    /* output */
    struct buf out, sent;
    struct buf held; /* a reply for later */
    bool holding, asked_eod;
    int64_t held_until;
    enum then then;
    struct smtp_server_event ring[RING];
    unsigned ev_head, nevents;
};

static void push(struct smtp_server *s, enum smtp_server_event_type type, struct slice bytes)
{
    INVARIANT(s->nevents < RING);
    s->ring[(s->ev_head + s->nevents++) % RING] =
        (struct smtp_server_event){.type = type, .bytes = bytes, .tx = &s->tx};
}

static void flush(struct smtp_server *s)
{
    if (s->out.n == 0)
        return;
    struct buf done = s->sent;
    s->sent = s->out;
    s->out = done;
    buf_clear(&s->out);
    push(s, SMTP_SERVER_WRITE, buf_slice(&s->sent));
}

static bool offers(const struct smtp_server *s, unsigned extension)
{
    return s->isp->extensions & extension;
}

/* --- transactions --- */
static void end_tx(struct smtp_server *s)
{
    if (!s->in_tx)
        return;
    if (s->reserved)
        smtp_judge_release(s->source);
    s->in_tx = s->reserved = s->chunked = false;
    push(s, SMTP_SERVER_TRANSACTION, SLICE_NONE);
}

static void begin_tx(struct smtp_server *s, struct slice from)
{
    arena_reset(&s->arena);
    s->tx = (struct smtp_server_tx){.from = arena_copy(&s->arena, from), .tls = s->in_tls};
    memcpy(s->tx.codes, s->codes, sizeof s->codes);
    s->in_tx = true;
    s->too_big = s->refuse = false;
}

static struct slice first_accepted(const struct smtp_server *s)
{
    for (size_t i = 0; i < s->tx.nrcpts; i++)
        if (s->tx.rcpts[i].code / 100 == 2)
            return s->tx.rcpts[i].address;
    return SLICE_NONE;
}

/* --- replies --- */
/* Bytes that are not SMTP in any reading. */
static const char garbage[] = "\x01\xff}{ this is no reply\x00\r\n";

static void close_now(struct smtp_server *s)
{
    s->mode = MODE_CLOSING;
    flush(s);
    end_tx(s);
    push(s, SMTP_SERVER_CLOSE, SLICE_NONE);
}

static void release_held(struct smtp_server *s)
{
    s->heard = s->now; /* our slowness is not the client's silence */
    s->holding = false;
    buf_adds(&s->out, buf_slice(&s->held));
    buf_clear(&s->held);
    switch (s->then) {
    case THEN_GO_ON:
        break;
    case THEN_STARTTLS:
        flush(s);
        /* RFC 3207 4.2: what came in clear text behind STARTTLS is thrown away. */
        s->fed = SLICE_NONE;
        buf_clear(&s->backlog);
        s->backlog_used = 0;
        push(s, SMTP_SERVER_STARTTLS, SLICE_NONE);
        s->mode = MODE_TLS;
        break;
    case THEN_CLOSE:
        close_now(s);
        break;
    }
}

/* Answer, now or after the delays that apply. script: NULL, or how the world bends this reply. */
static void answer(struct smtp_server *s, const struct world_reply *script, struct slice wire, enum then then)
{
    int64_t delay = s->isp->delay_ms;
    INVARIANT(!s->holding);
    if (script) {
        delay += script->delay_ms;
        if (script->garbage)
            buf_add(&s->held, garbage, sizeof garbage - 1);
        else if (script->answer.code || !script->disconnect)
            buf_adds(&s->held, wire);
        if (script->disconnect)
            then = THEN_CLOSE;
    } else {
        buf_adds(&s->held, wire);
    }
    s->then = then;
    s->holding = true;
    s->held_until = s->now + delay;
}

/* The code and wire of a phase's reply: the script's if it has one, else what we would say. A 421 ends the
 * session. Returns the code. */
static int decide(struct smtp_server *s, enum smtp_phase phase, struct slice to, int code, struct slice wire)
{
    const struct world_reply *script = smtp_judge_script(s->conf.judge, phase, to, s->now);
    if (script && script->answer.code) {
        code = script->answer.code;
        wire = script->answer.wire;
    }
    answer(s, script, wire, code == 421 ? THEN_CLOSE : THEN_GO_ON);
    return code;
}

static void say(struct smtp_server *s, struct slice wire)
{
    answer(s, NULL, wire, THEN_GO_ON);
}

/* --- commands --- */
static void banner(struct smtp_server *s)
{
    const struct world_reply *script =
        smtp_judge_script(s->conf.judge, SMTP_PHASE_CONNECT, SLICE_NONE, s->now);
    int code = 421;
    if (!s->source) {
        answer(s, NULL, S("421 4.7.0 too many connections from you\r\n"), THEN_CLOSE);
    } else if (script) {
        code = script->answer.code ? script->answer.code : 220;
        answer(s, script, script->answer.code ? script->answer.wire : S("220 ready\r\n"),
               code == 421 ? THEN_CLOSE : THEN_GO_ON);
    } else {
        struct buf line = {0};
        buf_printf(&line, "220 %.*s ESMTP\r\n", SLICE_FMT(s->conf.hostname));
        code = decide(s, SMTP_PHASE_BANNER, SLICE_NONE, 220, buf_slice(&line));
        buf_free(&line);
    }
    s->codes[SMTP_PHASE_BANNER] = code;
    s->shut = code / 100 != 2;
}

static void on_hello(struct smtp_server *s, bool extended)
{
    struct buf b = {0};
    end_tx(s);
    if (extended) {
        buf_printf(&b, "250-%.*s\r\n", SLICE_FMT(s->conf.hostname));
        if (offers(s, WORLD_EXT_PIPELINING))
            buf_adds(&b, S("250-PIPELINING\r\n"));
        if (offers(s, WORLD_EXT_SIZE) && s->isp->size_limit)
            buf_printf(&b, "250-SIZE %llu\r\n", (unsigned long long)s->isp->size_limit);
        else if (offers(s, WORLD_EXT_SIZE))
            buf_adds(&b, S("250-SIZE\r\n"));
        if (offers(s, WORLD_EXT_STARTTLS) && s->conf.can_tls && !s->in_tls)
            buf_adds(&b, S("250-STARTTLS\r\n"));
        if (offers(s, WORLD_EXT_ENHANCED))
            buf_adds(&b, S("250-ENHANCEDSTATUSCODES\r\n"));
        if (offers(s, WORLD_EXT_CHUNKING))
            buf_adds(&b, S("250-CHUNKING\r\n"));
        if (offers(s, WORLD_EXT_8BITMIME))
            buf_adds(&b, S("250-8BITMIME\r\n"));
        if (offers(s, WORLD_EXT_DSN))
            buf_adds(&b, S("250-DSN\r\n"));
        if (offers(s, WORLD_EXT_SMTPUTF8))
            buf_adds(&b, S("250-SMTPUTF8\r\n"));
        buf_adds(&b, S("250 HELP\r\n"));
    } else {
        buf_printf(&b, "250 %.*s\r\n", SLICE_FMT(s->conf.hostname));
    }
    s->codes[SMTP_PHASE_EHLO] = decide(s, SMTP_PHASE_EHLO, SLICE_NONE, 250, buf_slice(&b));
    s->greeted = s->codes[SMTP_PHASE_EHLO] / 100 == 2;
    buf_free(&b);
}

static void on_starttls(struct smtp_server *s)
{
    if (!offers(s, WORLD_EXT_STARTTLS) || !s->conf.can_tls) {
        say(s, S("502 5.5.1 STARTTLS is not offered\r\n"));
        return;
    }
    if (s->in_tls || s->in_tx) {
        say(s, S("503 5.5.1 STARTTLS out of order\r\n"));
        return;
    }
    int code = 220;
    if (s->isp->tls == WORLD_TLS_REFUSE)
        code = decide(s, SMTP_PHASE_STARTTLS, SLICE_NONE, 454, S("454 4.7.0 TLS not available now\r\n"));
    else
        code = decide(s, SMTP_PHASE_STARTTLS, SLICE_NONE, 220, S("220 2.0.0 go ahead\r\n"));
    s->codes[SMTP_PHASE_STARTTLS] = code;
    if (code / 100 != 2 || s->then == THEN_CLOSE)
        return;
    switch (s->isp->tls) {
    case WORLD_TLS_OK:
    case WORLD_TLS_REFUSE:
        s->then = THEN_STARTTLS;
        break;
    case WORLD_TLS_GARBAGE:
        buf_add(&s->held, garbage, sizeof garbage - 1);
        s->then = THEN_CLOSE;
        break;
    case WORLD_TLS_DISCONNECT:
        s->then = THEN_CLOSE;
        break;
    }
}

/* "FROM:<a@b> SIZE=1" behind the verb: what stands between the brackets, and the parameters. */
static int read_path(struct slice args, struct slice keyword, struct slice *path, struct slice *params)
{
    if (!slice_istarts(args, keyword))
        return ERR_SYNTAX;
    args = slice_trim(slice_of(args.p + keyword.n, args.n - keyword.n));
    if (args.n == 0 || args.p[0] != '<')
        return ERR_SYNTAX;
    bool quoted = false;
    for (size_t i = 1; i < args.n; i++) {
        if (quoted && args.p[i] == '\\')
            i++;
        else if (args.p[i] == '"')
            quoted = !quoted;
        else if (args.p[i] == '>' && !quoted) {
            *path = slice_of(args.p + 1, i - 1);
            *params = slice_trim(slice_of(args.p + i + 1, args.n - i - 1));
            return 0;
        }
    }
    return ERR_SYNTAX;
}

static void on_mail(struct smtp_server *s, struct slice args)
{
    struct slice from, params;
    if (!s->greeted || s->in_tx) {
        say(s, s->greeted ? S("503 5.5.1 a transaction is open\r\n") : S("503 5.5.1 EHLO first\r\n"));
        return;
    }
    if (read_path(args, S("FROM:"), &from, &params)) {
        say(s, S("501 5.5.4 MAIL FROM:<address>\r\n"));
        return;
    }
    uint64_t size = 0;
    bool utf8 = false, unknown = false;
    while (params.n) {
        struct slice one = slice_cut(params, ' ', &params);
        if (slice_istarts(one, S("SIZE=")) && offers(s, WORLD_EXT_SIZE))
            unknown |= slice_u64(slice_of(one.p + 5, one.n - 5), &size) != 0;
        else if (slice_ieq(one, S("SMTPUTF8")) && offers(s, WORLD_EXT_SMTPUTF8))
            utf8 = true;
        else if ((slice_ieq(one, S("BODY=8BITMIME")) || slice_ieq(one, S("BODY=7BIT"))) &&
                 offers(s, WORLD_EXT_8BITMIME))
            continue;
        else if ((slice_istarts(one, S("RET=")) || slice_istarts(one, S("ENVID="))) &&
                 offers(s, WORLD_EXT_DSN))
            continue;
        else
            unknown |= one.n != 0;
    }
    begin_tx(s, from);
    s->tx.smtputf8 = utf8;
    int code = 250;
    struct slice wire = S("250 2.1.0 sender ok\r\n");
    if (unknown) {
        code = 555, wire = S("555 5.5.4 a parameter is not known\r\n");
    } else if (s->isp->per_connection && s->messages >= s->isp->per_connection) {
        code = 421, wire = S("421 4.7.0 enough messages for one connection\r\n");
    } else if (s->isp->size_limit && size > s->isp->size_limit) {
        code = 552, wire = S("552 5.3.4 message too big\r\n");
    } else if (!smtp_judge_reserve(s->conf.judge, s->source, s->now)) {
        code = s->isp->over.code, wire = s->isp->over.wire;
    } else {
        s->reserved = true;
    }
    code = decide(s, SMTP_PHASE_MAIL, SLICE_NONE, code, wire);
    s->tx.codes[SMTP_PHASE_MAIL] = code;
    if (code / 100 != 2)
        end_tx(s);
}

static void on_rcpt(struct smtp_server *s, struct slice args)
{
    struct slice to, params;
    if (!s->in_tx) {
        say(s, S("503 5.5.1 MAIL first\r\n"));
        return;
    }
    if (read_path(args, S("TO:"), &to, &params) || to.n == 0) {
        say(s, S("501 5.5.4 RCPT TO:<address>\r\n"));
        return;
    }
    if (s->tx.nrcpts == RCPTS_MAX) {
        say(s, S("452 4.5.3 too many recipients\r\n"));
        return;
    }
    int code = 250;
    struct slice wire = S("250 2.1.5 recipient ok\r\n");
    switch (smtp_judge_rcpt(s->conf.judge, s->source, s->tx.from, to, s->now)) {
    case JUDGE_RCPT_OK:
        break;
    case JUDGE_RCPT_UNKNOWN:
        code = 550, wire = S("550 5.1.1 user unknown\r\n");
        break;
    case JUDGE_RCPT_GREYLISTED:
        code = 451, wire = S("451 4.7.1 greylisted, come back later\r\n");
        break;
    }
    code = decide(s, SMTP_PHASE_RCPT, to, code, wire);
    if (s->tx.nrcpts == s->rcpts_cap) {
        s->rcpts_cap = s->rcpts_cap ? s->rcpts_cap * 2 : 4;
        s->rcpts = mem_realloc(s->rcpts, s->rcpts_cap * sizeof *s->rcpts);
    }
    s->rcpts[s->tx.nrcpts++] = (struct smtp_server_rcpt){arena_copy(&s->arena, to), code};
    s->tx.rcpts = s->rcpts;
    s->tx.naccepted += code / 100 == 2;
    s->tx.codes[SMTP_PHASE_RCPT] = code;
}

static void on_data(struct smtp_server *s)
{
    if (!s->in_tx || s->chunked) {
        say(s, s->in_tx ? S("503 5.5.1 BDAT was begun\r\n") : S("503 5.5.1 MAIL first\r\n"));
        return;
    }
    int code = 354;
    struct slice wire = S("354 end with a dot on a line\r\n");
    if (s->tx.naccepted == 0)
        code = 554, wire = S("554 5.5.1 no valid recipient\r\n");
    code = decide(s, SMTP_PHASE_DATA, first_accepted(s), code, wire);
    s->tx.codes[SMTP_PHASE_DATA] = code;
    if (code / 100 == 3) {
        s->mode = MODE_DATA;
        s->undot = (struct smtp_undot){0};
    }
}

/* The message is whole: first its owner may store it, then it is answered (in the next step). */
static void end_message(struct smtp_server *s)
{
    s->mode = MODE_COMMAND;
    s->asked_eod = true;
    const struct world_reply *script =
        smtp_judge_script(s->conf.judge, SMTP_PHASE_EOD, first_accepted(s), s->now);
    int code = 250;
    struct slice wire = S("250 2.0.0 taken\r\n");
    if (s->tx.naccepted == 0)
        code = 554, wire = S("554 5.5.1 no valid recipient\r\n");
    else if (s->too_big)
        code = 552, wire = S("552 5.3.4 message too big\r\n");
    if (script && script->answer.code)
        code = script->answer.code, wire = script->answer.wire;
    answer(s, script, wire, code == 421 ? THEN_CLOSE : THEN_GO_ON);
    s->tx.codes[SMTP_PHASE_EOD] = code;
    s->tx.taken = s->tx.naccepted && code < 400;
    if (s->tx.taken && s->conf.want_body)
        push(s, SMTP_SERVER_MESSAGE, SLICE_NONE);
}

static void after_message(struct smtp_server *s)
{
    s->asked_eod = false;
    if (s->refuse && s->tx.taken) {
        s->tx.taken = false;
        s->tx.codes[SMTP_PHASE_EOD] = 451;
        buf_clear(&s->held);
        buf_adds(&s->held, S("451 4.3.0 could not store it\r\n"));
        s->then = THEN_GO_ON;
    }
    if (s->tx.taken) {
        smtp_judge_taken(s->conf.judge, s->source, s->now);
        s->messages++;
    }
    end_tx(s);
}

static void on_bdat(struct smtp_server *s, struct slice args)
{
    struct slice rest, number = slice_cut(args, ' ', &rest);
    uint64_t n;
    rest = slice_trim(rest);
    if (!offers(s, WORLD_EXT_CHUNKING) || slice_u64(number, &n) || (rest.n && !slice_ieq(rest, S("LAST")))) {
        /* How many bytes follow is not known, so nothing behind can be understood. */
        answer(s, NULL, S("501 5.5.4 BDAT bytes [LAST]\r\n"), THEN_CLOSE);
        return;
    }
    s->chunk_left = n;
    s->chunk_last = rest.n > 0;
    s->chunk_refused = !s->in_tx ? 503 : s->tx.naccepted == 0 ? 554 : 0;
    s->chunked |= s->in_tx;
    s->mode = MODE_CHUNK;
}

static void end_chunk(struct smtp_server *s)
{
    s->mode = MODE_COMMAND;
    if (s->chunk_refused == 503)
        say(s, S("503 5.5.1 MAIL first\r\n"));
    else if (s->chunk_refused)
        say(s, S("554 5.5.1 no valid recipient\r\n"));
    else if (s->chunk_last)
        end_message(s);
    else
        say(s, S("250 2.0.0 chunk ok\r\n"));
}

static void on_command(struct smtp_server *s, struct slice line)
{
    struct slice args, verb = slice_cut(slice_trim(line), ' ', &args);
    args = slice_trim(args);
    bool known = true;
    if (slice_ieq(verb, S("QUIT"))) {
        end_tx(s);
        const struct world_reply *script =
            smtp_judge_script(s->conf.judge, SMTP_PHASE_QUIT, SLICE_NONE, s->now);
        answer(s, script, script && script->answer.code ? script->answer.wire : S("221 2.0.0 bye\r\n"),
               THEN_CLOSE);
    } else if (s->shut) {
        say(s, S("503 5.5.1 there is no service for you\r\n"));
    } else if (slice_ieq(verb, S("EHLO")) || slice_ieq(verb, S("HELO"))) {
        on_hello(s, (verb.p[0] | 32) == 'e');
    } else if (slice_ieq(verb, S("STARTTLS"))) {
        on_starttls(s);
    } else if (slice_ieq(verb, S("MAIL"))) {
        on_mail(s, args);
    } else if (slice_ieq(verb, S("RCPT"))) {
        on_rcpt(s, args);
    } else if (slice_ieq(verb, S("DATA"))) {
        on_data(s);
    } else if (slice_ieq(verb, S("BDAT"))) {
        on_bdat(s, args);
    } else if (slice_ieq(verb, S("RSET"))) {
        end_tx(s);
        say(s, S("250 2.0.0 ok\r\n"));
    } else if (slice_ieq(verb, S("NOOP"))) {
        say(s, S("250 2.0.0 ok\r\n"));
    } else if (slice_ieq(verb, S("VRFY"))) {
        say(s, S("252 2.0.0 send it and see\r\n"));
    } else if (slice_ieq(verb, S("HELP"))) {
        say(s, S("214 2.0.0 RFC 5321\r\n"));
    } else {
        known = false;
        if (++s->errors > ERRORS_MAX)
            answer(s, NULL, S("421 4.7.0 too many errors\r\n"), THEN_CLOSE);
        else
            say(s, S("500 5.5.2 not a command\r\n"));
    }
    if (known)
        s->errors = 0;
}

/* --- messages --- */
static void body(struct smtp_server *s, struct slice bytes)
{
    if (bytes.n == 0)
        return;
    s->tx.size_bytes += bytes.n;
    s->too_big |= s->isp->size_limit && s->tx.size_bytes > s->isp->size_limit;
    if (s->conf.want_body && s->tx.naccepted)
        push(s, SMTP_SERVER_BODY, bytes);
}

/* Take message bytes off the front of in, up to and with the final dot, or up to the next piece to hand out.
 * Returns how many. */
static size_t take_data(struct smtp_server *s, struct slice in)
{
    struct slice piece, rest = in;
    int rc;
    while ((rc = smtp_undot_next(&s->undot, &rest, &piece)) == 1) {
        body(s, piece);
        if (s->nevents)
            return in.n - rest.n;
    }
    if (rc == 0)
        end_message(s);
    return in.n - rest.n;
}

static size_t take_chunk(struct smtp_server *s, struct slice in)
{
    size_t n = in.n < s->chunk_left ? in.n : (size_t)s->chunk_left;
    s->chunk_left -= n;
    if (!s->chunk_refused)
        body(s, slice_of(in.p, n));
    return n;
}

/* --- input --- */
static struct slice input(const struct smtp_server *s)
{
    if (s->backlog.n > s->backlog_used)
        return slice_of(s->backlog.p + s->backlog_used, s->backlog.n - s->backlog_used);
    return s->fed;
}

/* How many bytes a slow reader has read in all since credit_since. */
static uint64_t read_so_far(const struct smtp_server *s)
{
    return (uint64_t)(s->now - s->credit_since) * s->isp->bytes_per_second / 1000;
}

/* Of n bytes that are there, how many it may look at now. */
static size_t credit(const struct smtp_server *s, size_t n)
{
    if (!s->isp->bytes_per_second)
        return n;
    uint64_t all = read_so_far(s), left = all > s->credit_used ? all - s->credit_used : 0;
    return left < n ? (size_t)left : n;
}

static void used(struct smtp_server *s, size_t n)
{
    s->credit_used += n;
    s->heard = s->now; /* a slow reader does not take its own slowness for silence */
    if (s->backlog.n > s->backlog_used) {
        s->backlog_used += n;
        if (s->backlog_used == s->backlog.n) {
            buf_clear(&s->backlog);
            s->backlog_used = 0;
        }
    } else {
        s->fed = slice_of(s->fed.p + n, s->fed.n - n);
    }
}

static void keep_rest(struct smtp_server *s)
{
    if (s->fed.n == 0)
        return;
    if (s->backlog_used) {
        buf_drop_front(&s->backlog, s->backlog_used);
        s->backlog_used = 0;
    }
    buf_adds(&s->backlog, s->fed);
    s->fed = SLICE_NONE;
}

/* One command or one stretch of a message; false when more input or time is needed. */
static bool step(struct smtp_server *s)
{
    if (s->mode == MODE_CHUNK && s->chunk_left == 0) {
        end_chunk(s);
        return true;
    }
    struct slice in = input(s);
    in.n = credit(s, in.n);
    if (in.n == 0)
        return false;
    if (s->mode == MODE_DATA) {
        used(s, take_data(s, in));
        return true;
    }
    if (s->mode == MODE_CHUNK) {
        used(s, take_chunk(s, in));
        return true;
    }
    if (s->mode != MODE_COMMAND)
        return false;
    const char *lf = memchr(in.p, '\n', in.n < LINE_MAX_BYTES ? in.n : LINE_MAX_BYTES);
    if (!lf) {
        if (in.n < LINE_MAX_BYTES) {
            if (s->backlog.n > s->backlog_used && s->fed.n) {
                keep_rest(s); /* the line goes on in what was just fed */
                return true;
            }
            return false;
        }
        used(s, in.n);
        answer(s, NULL, S("500 5.5.2 line too long\r\n"), THEN_CLOSE);
        return true;
    }
    /* on_command copies what it keeps, so the line may be given up only behind it. */
    size_t n = (size_t)(lf - in.p) + 1;
    on_command(s, slice_of(in.p, n - 1));
    used(s, n);
    return true;
}

/* --- face --- */
struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf, int64_t now_ms)
{
    struct smtp_server *s = mem_zalloc(sizeof *s);
    s->conf = *conf;
    s->isp = smtp_judge_isp(conf->judge);
    s->now = s->heard = s->credit_since = now_ms;
    s->fed = SLICE_NONE;
    s->source = smtp_judge_connect(conf->judge, &conf->peer);
    banner(s);
    return s;
}

void smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    if (s->reserved)
        smtp_judge_release(s->source);
    if (s->source)
        smtp_judge_disconnect(s->source);
    free(s->rcpts);
    arena_free(&s->arena);
    buf_free(&s->backlog);
    buf_free(&s->out);
    buf_free(&s->sent);
    buf_free(&s->held);
    free(s);
}

static void moment(struct smtp_server *s, int64_t now_ms)
{
    if (now_ms > s->now)
        s->now = now_ms;
}

void smtp_server_feed(struct smtp_server *s, struct slice bytes, int64_t now_ms)
{
    moment(s, now_ms);
    s->heard = s->now;
    if (s->mode == MODE_TLS || s->mode == MODE_CLOSING)
        return;
    keep_rest(s);
    if (s->isp->bytes_per_second && input(s).n == 0) {
        s->credit_since = s->now; /* an idle reader saves up nothing */
        s->credit_used = 0;
    }
    s->fed = bytes;
}

void smtp_server_tls(struct smtp_server *s, int status, int64_t now_ms)
{
    moment(s, now_ms);
    if (s->mode != MODE_TLS)
        return;
    if (status) {
        close_now(s);
        return;
    }
    s->heard = s->now;
    s->mode = MODE_COMMAND;
    s->in_tls = true;
    s->greeted = false; /* RFC 3207 4.2: all that was said before is forgotten */
}

void smtp_server_lost(struct smtp_server *s, int64_t now_ms)
{
    moment(s, now_ms);
    s->lost = true;
}

void smtp_server_tick(struct smtp_server *s, int64_t now_ms)
{
    moment(s, now_ms);
}

void smtp_server_refuse(struct smtp_server *s)
{
    s->refuse = true;
}

bool smtp_server_wants(const struct smtp_server *s)
{
    if (s->mode == MODE_CLOSING)
        return false;
    return input(s).n < (s->isp->bytes_per_second ? 1 : BACKLOG);
}

/* All there is was looked at. */
static bool waits_for_client(const struct smtp_server *s)
{
    size_t n = input(s).n;
    return credit(s, n) == n;
}

static int64_t idle_end(const struct smtp_server *s)
{
    return s->heard + (s->conf.idle_ms ? s->conf.idle_ms : 300000);
}

int64_t smtp_server_deadline(const struct smtp_server *s)
{
    if (s->mode == MODE_CLOSING)
        return INT64_MAX;
    if (s->holding)
        return s->held_until;
    if (!waits_for_client(s)) {
        uint64_t bps = s->isp->bytes_per_second, next = (read_so_far(s) + 1) * 1000;
        return s->credit_since + (int64_t)((next + bps - 1) / bps);
    }
    return idle_end(s);
}

bool smtp_server_poll(struct smtp_server *s, struct smtp_server_event *ev)
{
    for (;;) {
        if (s->nevents) {
            *ev = s->ring[s->ev_head];
            s->ev_head = (s->ev_head + 1) % RING;
            s->nevents--;
            return true;
        }
        if (s->mode == MODE_CLOSING) {
            s->fed = SLICE_NONE;
            return false;
        }
        if (s->asked_eod) {
            after_message(s);
            continue;
        }
        if (s->holding && s->now >= s->held_until) {
            release_held(s);
            continue;
        }
        if (!s->holding && step(s))
            continue;
        if (s->out.n) {
            flush(s);
            continue;
        }
        keep_rest(s);
        if (s->lost) {
            close_now(s);
        } else if (!s->holding && waits_for_client(s) && s->now >= idle_end(s)) {
            answer(s, NULL, S("421 4.4.2 you have been silent for too long\r\n"), THEN_CLOSE);
            s->held_until = s->now;
        } else {
            return false;
        }
    }
}
