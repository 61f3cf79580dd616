/* journal_rig.c - see journal_rig.h. */
#include "journal_rig.h"
#include "format/smtp_phase.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "journal_rig.c: %s\n", #x);                                                      \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static int no_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    return 0;
}

void journal_rig_open(struct journal_rig *r)
{
    char secret[32], path[320];
    snprintf(r->dir, sizeof r->dir, "%s/state", test_dir());
    r->fs = fs_real();
    r->loop = loop_new_virtual(1, (int64_t)RIG_WALL_S * 1000);
    r->work = work_new(&(struct work_conf){.loop = r->loop, .name = "sync", .threads = 1});
    struct spool_conf conf = {
        .fs = r->fs, .dir = r->dir, .loop = r->loop, .sync = r->work, .reserve_bytes = 65536};
    MUST(spool_open(&r->spool, &conf, no_record, NULL, NULL, NULL) == 0);
    memset(secret, 7, sizeof secret);
    snprintf(path, sizeof path, "%s/secret", r->dir);
    MUST(fs_write_atomic(r->fs, path, slice_of(secret, sizeof secret), 0600, NULL) == 0);
}

void journal_rig_close(struct journal_rig *r)
{
    spool_stop(r->spool);
    work_free(r->work);
    spool_free(r->spool);
    loop_free(r->loop);
    fs_free(r->fs);
}

static void on_time(struct loop_timer *t)
{
    loop_stop(t->data);
}

void journal_rig_turn(struct journal_rig *r)
{
    struct loop_timer t = {.data = r->loop};
    loop_timer_start(r->loop, &t, 50, on_time);
    loop_run(r->loop);
}

void journal_rig_put(struct journal_rig *r, enum spool_kind kind, const struct rec *rec)
{
    struct buf b = {0};
    struct spool_pos pos;
    rec_put(&b, rec);
    MUST(spool_append(r->spool, kind, buf_slice(&b), &pos) == 0);
    buf_free(&b);
}

void journal_rig_name(struct journal_rig *r, enum rec_name_kind kind, uint32_t number, const char *name)
{
    struct rec rec = {.type = REC_NAME};
    rec.name = (struct rec_name){.kind = (uint8_t)kind, .number = number, .name = slice_cstr(name)};
    journal_rig_put(r, SPOOL_NAMES, &rec);
}

void journal_rig_event(struct journal_rig *r, struct rec_event ev)
{
    struct rec rec = {.type = REC_EVENT};
    struct slice *texts[] = {&ev.recipient, &ev.text, &ev.class_name, &ev.rule, &ev.meta};
    for (size_t i = 0; i < COUNT(texts); i++)
        *texts[i] = slice_of(texts[i]->p, texts[i]->n);
    ev.event = ++r->next_event;
    rec.event = ev;
    journal_rig_put(r, SPOOL_EVENTS, &rec);
}

void journal_rig_accept(struct journal_rig *r, uint64_t id, const char *address)
{
    struct rec rec = {.type = REC_RECIPIENT};
    rec.recipient = (struct rec_recipient){.id = id,
                                           .campaign = 1,
                                           .stream = 1,
                                           .accepted_ms = (int64_t)RIG_WALL_S * 1000,
                                           .address = slice_cstr(address),
                                           .values = SLICE_NONE,
                                           .content = SLICE_NONE};
    journal_rig_put(r, SPOOL_RECIPIENTS, &rec);
}

static struct rec_event attempt(unsigned type, uint64_t id, int second, const char *recipient)
{
    return (struct rec_event){.type = (uint8_t)type,
                              .id = id,
                              .at_ms = ((int64_t)RIG_WALL_S + second) * 1000,
                              .accepted_ms = (int64_t)RIG_WALL_S * 1000,
                              .campaign = 1,
                              .stream = 1,
                              .isp = 1,
                              .source = 1,
                              .domain = 1,
                              .sender = 1,
                              .attempt = 1,
                              .session = 1001,
                              .phase = SMTP_PHASE_RCPT + 1,
                              .charged = true,
                              .recipient = slice_cstr(recipient)};
}

void journal_rig_story(struct journal_rig *r)
{
    static const struct {
        enum rec_name_kind kind;
        const char *name;
    } names[] = {{NAME_CAMPAIGN, "hello"}, {NAME_STREAM, "news"},         {NAME_ISP, "gmail"},
                 {NAME_SOURCE, "mx1"},     {NAME_DOMAIN, "m.example.jp"}, {NAME_SENDER, "@b.m.example.jp"}};
    for (size_t i = 0; i < COUNT(names); i++)
        journal_rig_name(r, names[i].kind, 1, names[i].name);
    journal_rig_accept(r, 1, "taro@example.jp");
    journal_rig_accept(r, 2, "hanako@example.jp");
    journal_rig_accept(r, 3, "jiro@example.jp");
    struct rec s = {.type = REC_SESSION};
    s.session = (struct rec_session){.session = 1001,
                                     .source = 1,
                                     .isp = 1,
                                     .local_ip = ip_v4(203, 0, 113, 7),
                                     .ip = ip_v4(127, 0, 1, 1),
                                     .mx = S("mx.gmail.test"),
                                     .ehlo = S("mx1.m.example.jp"),
                                     .tls_policy = S("opportunistic"),
                                     .tls_version = SLICE_NONE,
                                     .tls_cipher = SLICE_NONE,
                                     .note = SLICE_NONE};
    journal_rig_put(r, SPOOL_EVENTS, &s);
    struct rec_event ev = attempt(EVENT_DEFERRED, 1, 1, "taro@example.jp");
    ev.code = 451;
    ev.text = S("451 4.7.1 Greylisted");
    ev.class_name = S("greylisted");
    ev.rule = S("text \"greylist\"");
    ev.next_due_ms = ev.at_ms + 1000;
    journal_rig_event(r, ev);
    ev = attempt(EVENT_DELIVERED, 1, 2, "taro@example.jp");
    ev.attempt = 2;
    ev.phase = SMTP_PHASE_EOD + 1;
    ev.code = 250;
    ev.text = S("250 2.0.0 OK");
    journal_rig_event(r, ev);
    ev = attempt(EVENT_BOUNCED, 2, 2, "hanako@example.jp");
    ev.code = 550;
    ev.text = S("550 5.1.1 No such user");
    ev.class_name = S("no_such_user");
    ev.rule = S("status 5.1.1");
    journal_rig_event(r, ev);
    journal_rig_event(r, (struct rec_event){.type = EVENT_HELD,
                                            .id = 3,
                                            .at_ms = ((int64_t)RIG_WALL_S + 3) * 1000,
                                            .campaign = 1,
                                            .stream = 1,
                                            .recipient = S("jiro@example.jp"),
                                            .text = S("a template failed")});
    journal_rig_turn(r);
}

int journal_rig_run(struct journal_rig *r, int (*cmd)(int argc, char **argv), struct buf *out,
                    const char *word, ...)
{
    char *argv[32] = {(char *)word}, bytes[4096];
    int argc = 1, kept = dup(STDOUT_FILENO);
    bool has_state = false;
    va_list ap;
    va_start(ap, word);
    for (char *w; (w = va_arg(ap, char *)) && argc < 29;) {
        has_state |= strcmp(w, "--state") == 0;
        argv[argc++] = w;
    }
    va_end(ap);
    if (!has_state) {
        argv[argc++] = "--state";
        argv[argc++] = r->dir;
    }
    FILE *f = tmpfile();
    fflush(stdout);
    MUST(f && kept >= 0 && dup2(fileno(f), STDOUT_FILENO) >= 0);
    int code = cmd(argc, argv);
    fflush(stdout);
    MUST(dup2(kept, STDOUT_FILENO) >= 0);
    close(kept);
    rewind(f);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        buf_add(out, bytes, n);
    fclose(f);
    return code;
}
