/* smtp_server.c - the receiving side of SMTP (RFC 5321, 1870, 2920, 3030, 3207), with the manners of a world.
 *
 * One step takes one command, or a stretch of a message, and leaves behind at most one reply. A reply that is
 * to come later stops all steps until then, so replies keep their order and a slow receiver is slow for
 * everything that was pipelined. Replies that are due go out together when nothing more can be done without
 * new input. */
#include "smtp_server.h"

#include "format/smtp_command.h"
#include "format/smtp_data.h"
#include "smtp_intake.h"

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

    struct smtp_intake in;

    /* the transaction */
    bool in_tx, reserved, chunked, too_big, refuse;
    bool over, said_over; /* there was no place for it; the last reply was that */
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
    s->too_big = s->refuse = s->over = false;
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
        smtp_intake_drop(&s->in);
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

/* Whether this is where a source hears that it sent too much: at the phase that the world names, and whoever
 * got past one before MAIL hears it there. */
static bool says_over(struct smtp_server *s, enum smtp_phase phase)
{
    enum smtp_phase at = s->isp->over.phase;
    if (phase < SMTP_PHASE_MAIL)
        return phase == at && smtp_judge_is_full(s->conf.judge, s->source, s->now);
    return s->over && (phase == at || (phase == SMTP_PHASE_MAIL && at < SMTP_PHASE_MAIL));
}

/* How the world bends this phase's reply; NULL: not at all. */
static const struct world_reply *script_of(struct smtp_server *s, enum smtp_phase phase, struct slice to)
{
    const struct world_reply *script = smtp_judge_script(s->conf.judge, phase, to, s->now);
    return !script && says_over(s, phase) ? &s->isp->over : script;
}

/* Answer what the script has for the phase, else what we would say. A 421 ends the session. Returns the code.
 */
static int decide(struct smtp_server *s, enum smtp_phase phase, struct slice to, struct world_answer ours)
{
    const struct world_reply *script = script_of(s, phase, to);
    s->said_over = script == &s->isp->over;
    if (script && script->answer.code)
        ours = script->answer;
    answer(s, script, ours.wire, ours.code == 421 ? THEN_CLOSE : THEN_GO_ON);
    return ours.code;
}

static void say(struct smtp_server *s, struct slice wire)
{
    answer(s, NULL, wire, THEN_GO_ON);
}

/* --- commands --- */
static void banner(struct smtp_server *s)
{
    const struct world_reply *script = s->source ? script_of(s, SMTP_PHASE_CONNECT, SLICE_NONE) : NULL;
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
        code = decide(s, SMTP_PHASE_BANNER, SLICE_NONE, (struct world_answer){220, buf_slice(&line)});
        buf_free(&line);
    }
    s->codes[SMTP_PHASE_BANNER] = code;
    s->shut = code / 100 != 2;
}

static void on_hello(struct smtp_server *s, bool extended)
{
    struct buf b = {0};
    end_tx(s);
    buf_printf(&b, extended ? "250-%.*s\r\n" : "250 %.*s\r\n", SLICE_FMT(s->conf.hostname));
    if (extended) {
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
    }
    s->codes[SMTP_PHASE_EHLO] =
        decide(s, SMTP_PHASE_EHLO, SLICE_NONE, (struct world_answer){250, buf_slice(&b)});
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
    struct world_answer ours = WORLD_ANSWER(220, "2.0.0 go ahead");
    if (s->isp->tls == WORLD_TLS_REFUSE)
        ours = WORLD_ANSWER(454, "4.7.0 TLS not available now");
    int code = decide(s, SMTP_PHASE_STARTTLS, SLICE_NONE, ours);
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

static void on_mail(struct smtp_server *s, struct slice args)
{
    struct slice from, params;
    if (!s->greeted || s->in_tx) {
        say(s, s->greeted ? S("503 5.5.1 a transaction is open\r\n") : S("503 5.5.1 EHLO first\r\n"));
        return;
    }
    if (smtp_path_read(args, S("FROM:"), &from, &params)) {
        say(s, S("501 5.5.4 MAIL FROM:<address>\r\n"));
        return;
    }
    struct smtp_mail_params p = smtp_mail_params_read(params);
    bool unknown = p.unknown || (p.has_size && !offers(s, WORLD_EXT_SIZE)) ||
                   (p.smtputf8 && !offers(s, WORLD_EXT_SMTPUTF8)) ||
                   (p.body && !offers(s, WORLD_EXT_8BITMIME)) || (p.dsn && !offers(s, WORLD_EXT_DSN));
    begin_tx(s, from);
    s->tx.smtputf8 = p.smtputf8;
    struct world_answer ours = WORLD_ANSWER(250, "2.1.0 sender ok");
    if (unknown) {
        ours = WORLD_ANSWER(555, "5.5.4 a parameter is not known");
    } else if (s->isp->per_connection && s->messages >= s->isp->per_connection) {
        ours = WORLD_ANSWER(421, "4.7.0 enough messages for one connection");
    } else if (s->isp->size_limit && p.size_bytes > s->isp->size_limit) {
        ours = WORLD_ANSWER(552, "5.3.4 message too big");
    } else {
        s->reserved = smtp_judge_reserve(s->conf.judge, s->source, s->now);
        s->over = !s->reserved;
    }
    int code = decide(s, SMTP_PHASE_MAIL, SLICE_NONE, ours);
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
    if (smtp_path_read(args, S("TO:"), &to, &params) || to.n == 0) {
        say(s, S("501 5.5.4 RCPT TO:<address>\r\n"));
        return;
    }
    if (s->tx.nrcpts == RCPTS_MAX) {
        say(s, S("452 4.5.3 too many recipients\r\n"));
        return;
    }
    int code =
        decide(s, SMTP_PHASE_RCPT, to, smtp_judge_rcpt(s->conf.judge, s->source, s->tx.from, to, s->now));
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
    struct world_answer ours = WORLD_ANSWER(354, "end with a dot on a line");
    if (s->tx.naccepted == 0)
        ours = WORLD_ANSWER(554, "5.5.1 no valid recipient");
    int code = decide(s, SMTP_PHASE_DATA, first_accepted(s), ours);
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
    struct world_answer ours = WORLD_ANSWER(250, "2.0.0 taken");
    if (s->tx.naccepted == 0)
        ours = WORLD_ANSWER(554, "5.5.1 no valid recipient");
    else if (s->too_big)
        ours = WORLD_ANSWER(552, "5.3.4 message too big");
    int code = decide(s, SMTP_PHASE_EOD, first_accepted(s), ours);
    s->tx.codes[SMTP_PHASE_EOD] = code;
    s->tx.taken = s->tx.naccepted && code < 400 && !s->said_over;
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
    if (!offers(s, WORLD_EXT_CHUNKING) || smtp_chunk_read(args, &s->chunk_left, &s->chunk_last)) {
        /* How many bytes follow is not known, so nothing behind can be understood. */
        answer(s, NULL, S("501 5.5.4 BDAT bytes [LAST]\r\n"), THEN_CLOSE);
        return;
    }
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

static void on_quit(struct smtp_server *s)
{
    end_tx(s);
    decide(s, SMTP_PHASE_QUIT, SLICE_NONE, WORLD_ANSWER(221, "2.0.0 bye"));
    s->then = THEN_CLOSE;
}

static void on_nonsense(struct smtp_server *s)
{
    if (++s->errors > ERRORS_MAX)
        answer(s, NULL, S("421 4.7.0 too many errors\r\n"), THEN_CLOSE);
    else
        say(s, S("500 5.5.2 not a command\r\n"));
}

static void on_command(struct smtp_server *s, struct slice line)
{
    struct slice args;
    enum smtp_verb verb = smtp_command_read(line, &args);
    if (s->shut && verb != SMTP_VERB_QUIT) {
        s->errors = 0;
        say(s, S("503 5.5.1 there is no service for you\r\n"));
        return;
    }
    if (verb != SMTP_VERB_NONE)
        s->errors = 0;
    switch (verb) {
    case SMTP_VERB_NONE:
        on_nonsense(s);
        break;
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
        on_hello(s, verb == SMTP_VERB_EHLO);
        break;
    case SMTP_VERB_STARTTLS:
        on_starttls(s);
        break;
    case SMTP_VERB_MAIL:
        on_mail(s, args);
        break;
    case SMTP_VERB_RCPT:
        on_rcpt(s, args);
        break;
    case SMTP_VERB_DATA:
        on_data(s);
        break;
    case SMTP_VERB_BDAT:
        on_bdat(s, args);
        break;
    case SMTP_VERB_RSET:
    case SMTP_VERB_NOOP:
        if (verb == SMTP_VERB_RSET)
            end_tx(s);
        say(s, S("250 2.0.0 ok\r\n"));
        break;
    case SMTP_VERB_VRFY:
        say(s, S("252 2.0.0 send it and see\r\n"));
        break;
    case SMTP_VERB_HELP:
        say(s, S("214 2.0.0 RFC 5321\r\n"));
        break;
    case SMTP_VERB_QUIT:
        on_quit(s);
        break;
    }
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
static void used(struct smtp_server *s, size_t n)
{
    smtp_intake_take(&s->in, n);
    s->heard = s->now; /* a slow reader does not take its own slowness for silence */
}

/* One command or one stretch of a message; false when more input or time is needed. */
static bool step(struct smtp_server *s)
{
    struct slice in = smtp_intake_look(&s->in, s->now), line;
    switch (s->mode) {
    case MODE_COMMAND:
        break;
    case MODE_DATA:
        if (in.n)
            used(s, take_data(s, in));
        return in.n > 0;
    case MODE_CHUNK:
        if (s->chunk_left == 0)
            end_chunk(s);
        else if (in.n)
            used(s, take_chunk(s, in));
        else
            return false;
        return true;
    case MODE_TLS:
    case MODE_CLOSING:
        return false;
    }
    int rc = smtp_intake_line(&s->in, LINE_MAX_BYTES, s->now, &line);
    if (rc == ERR_AGAIN)
        return false;
    if (rc) {
        used(s, in.n);
        answer(s, NULL, S("500 5.5.2 line too long\r\n"), THEN_CLOSE);
        return true;
    }
    /* on_command copies what it keeps, so the line may be given up only behind it. */
    on_command(s, line);
    used(s, line.n + 1);
    return true;
}

/* --- face --- */
struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf, int64_t now_ms)
{
    struct smtp_server *s = mem_zalloc(sizeof *s);
    s->conf = *conf;
    s->isp = smtp_judge_isp(conf->judge);
    s->now = s->heard = now_ms;
    s->in = (struct smtp_intake){
        .bytes_per_second = s->isp->bytes_per_second, .since_ms = now_ms, .fed = SLICE_NONE};
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
    smtp_intake_free(&s->in);
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
    smtp_intake_feed(&s->in, bytes, s->now);
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
    return smtp_intake_size(&s->in) < (s->isp->bytes_per_second ? 1 : BACKLOG);
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
    int64_t due = smtp_intake_due(&s->in, s->now);
    return due < INT64_MAX ? due : idle_end(s);
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
            smtp_intake_drop(&s->in);
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
        smtp_intake_keep(&s->in);
        if (s->lost) {
            close_now(s);
        } else if (!s->holding && smtp_intake_due(&s->in, s->now) == INT64_MAX && s->now >= idle_end(s)) {
            answer(s, NULL, S("421 4.4.2 you have been silent for too long\r\n"), THEN_CLOSE);
            s->held_until = s->now;
        } else {
            return false;
        }
    }
}
