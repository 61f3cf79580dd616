/* person.c - see person.h. */
#include "delivery/person.h"
#include "base/map.h"
#include "base/words.h"
#include "delivery/event.h"
#include "delivery/suppression.h"
#include "format/text.h"

#include <stdlib.h>

enum { RULES_MOST = 64, HOUR_MS = 3600000 };
static const int64_t DAY_MS = 24 * (int64_t)HOUR_MS;

/* A hard bounce that may be taken back. */
struct uncertain {
    struct hash128 who;
    int64_t until_ms;
    uint32_t isp;
};

struct person {
    struct person_conf conf;
    const struct acts *acts;
    struct arena arena;
    struct act_rule shipped[RULES_MOST];
    size_t nshipped;
    struct soft_count *soft;
    struct guard *guard;
    struct keyset aside;     /* who is in quarantine */
    struct uncertain *first; /* a queue: v[head .. head + n), in order of time */
    size_t head, n, cap;
    struct buf why;
};

/* lua/hato/people.rules, written into the program by scripts/embed-file.cmake */
extern const unsigned char rules_people_bytes[];
extern const size_t rules_people_size;

void person_conf_default(struct person_conf *conf)
{
    *conf = (struct person_conf){
        .guard = {.attempts = 200, .share_ppm = GUARD_WHOLE / 5, .usual_ppm = GUARD_WHOLE / 20},
        .provisional_ms = DAY_MS,
        .nxdomain_ms = DAY_MS,
        .clear_ms = 5 * DAY_MS};
}

/* --- the shipped rules --- */

static bool take_word(struct slice *text, const char *word)
{
    struct slice w = slice_cstr(word);
    if (!slice_starts(*text, w))
        return false;
    *text = slice_trim(slice_of(text->p + w.n, text->n - w.n));
    return true;
}

/* "mailbox_full, inactive" up to two blanks, which stand between the columns. */
static int read_whom(struct slice *rest, struct act_rule *out)
{
    ptrdiff_t end = slice_find(*rest, S("  "));
    if (end < 0)
        return ERR_SYNTAX;
    struct slice words = slice_of(rest->p, (size_t)end);
    *rest = slice_trim(slice_of(rest->p + end, rest->n - (size_t)end));
    while (words.n) {
        struct slice word = slice_trim(slice_cut(words, ',', &words));
        enum reply_class cls;
        enum class_kind kind = KIND_HARD;
        while (kind <= KIND_BLOCK && !slice_eq(word, slice_cstr(class_kind_name(kind))))
            kind++;
        if (kind <= KIND_BLOCK)
            out->kinds |= 1u << kind;
        else if (!class_parse(word, &cls))
            out->classes |= 1ull << cls;
        else
            return ERR_SYNTAX;
    }
    return 0;
}

static int read_rule(struct slice line, struct act_rule *out)
{
    int64_t ms;
    *out = (struct act_rule){.act.kind = ACT_SUPPRESS, .isp = SLICE_NONE};
    if (read_whom(&line, out))
        return ERR_SYNTAX;
    if (!slice_starts(line, S("suppress"))) {
        uint64_t n;
        struct slice when, number = slice_cut(line, ' ', &when);
        ptrdiff_t end = slice_find(when, S("  "));
        if (slice_u64(number, &n) || n < 2 || n > 60 || !take_word(&when, "in ") || end < 0)
            return ERR_SYNTAX;
        end = slice_find(when, S("  "));
        if (end < 0 || words_duration(slice_of(when.p, (size_t)end), &out->within_ms))
            return ERR_SYNTAX;
        out->after = (uint32_t)n;
        line = slice_trim(slice_of(when.p + end, when.n - (size_t)end));
    }
    if (!take_word(&line, "suppress") || words_duration(line, &ms) || ms <= 0)
        return ERR_SYNTAX;
    out->act.for_ms = ms == INT64_MAX ? ACT_FOREVER : ms;
    return 0;
}

static int read_shipped(struct person *p, struct err *e)
{
    struct slice rest = slice_of(rules_people_bytes, rules_people_size);
    for (int number = 1; rest.n; number++) {
        struct slice line = slice_trim(slice_cut(rest, '\n', &rest));
        if (!line.n || *line.p == '#')
            continue;
        if (p->nshipped == RULES_MOST || read_rule(line, &p->shipped[p->nshipped]))
            return err_set(e, ERR_SYNTAX, "people.rules:%d: not a rule: %.*s", number, SLICE_FMT(line));
        p->shipped[p->nshipped++].name =
            slice_cstr(arena_printf(&p->arena, "shipped:people.rules:%d", number));
    }
    return 0;
}

/* --- life --- */

int person_new(const struct person_conf *conf, const struct acts *acts, struct person **out, struct err *e)
{
    struct person *p = mem_zalloc(sizeof *p);
    p->conf = *conf;
    p->acts = acts;
    p->soft = soft_count_new();
    p->guard = guard_new(&conf->guard);
    int rc = read_shipped(p, e);
    if (rc) {
        person_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void person_free(struct person *p)
{
    if (!p)
        return;
    soft_count_free(p->soft);
    guard_free(p->guard);
    keyset_free(&p->aside);
    arena_free(&p->arena);
    buf_free(&p->why);
    free(p->first);
    free(p);
}

/* --- which rule --- */

static const struct act_rule *find_rule(const struct person *p, const struct act_rule *given,
                                        struct slice isp, enum reply_class cls, enum class_kind kind)
{
    struct acts_found found;
    struct acts_in in = {.rule = -1, .isp = isp, .cls = cls, .kind = kind};
    if (given)
        return given;
    acts_find(p->acts, &in, &found);
    if (!found.person)
        acts_find(&(struct acts){.rules = p->shipped, .nrules = p->nshipped}, &in, &found);
    return found.person;
}

static bool is_shipped(const struct person *p, const struct act_rule *r)
{
    return r >= p->shipped && r < p->shipped + p->nshipped;
}

/* The classes of which this rule counts failures, this one among them. */
static uint64_t classes_of(const struct act_rule *r, enum reply_class cls)
{
    uint64_t all = r->classes | 1ull << cls;
    for (int c = 0; c < CLASS_COUNT && r->kinds; c++)
        if (r->kinds & 1u << class_kind_of((enum reply_class)c, 0))
            all |= 1ull << c;
    return all;
}

/* --- judging --- */

/* What an isp answered to an attempt there. */
static bool is_answer(const struct rec_event *ev)
{
    bool ended = ev->type == EVENT_DELIVERED || ev->type == EVENT_BOUNCED;
    bool deferred = (ev->type == EVENT_DEFERRED || ev->type == EVENT_AMBIGUOUS) && ev->charged;
    return ev->isp && ev->session && (ended || deferred) && !(ev->flags & REC_FLAG_TEST);
}

static bool is_unknown(const struct rec_event *ev)
{
    return ev->type == EVENT_BOUNCED && slice_eq(ev->class_name, S("no_such_user"));
}

/* Whether as many have come as the rule wants; *days: how many did. */
static bool has_enough(struct person *p, struct hash128 who, const struct act_rule *r, enum reply_class cls,
                       const struct rec_event *ev)
{
    struct soft_asked asked = {.classes = classes_of(r, cls),
                               .now_ms = ev->at_ms,
                               .since_ms = r->within_ms ? ev->at_ms - r->within_ms : INT64_MIN / 2,
                               .clear_ms = p->conf.clear_ms};
    int64_t first_ms;
    unsigned days = soft_count_days(p->soft, who, &asked, &first_ms);
    buf_printf(&p->why, "the %u%s day since ", days,
               days == 1   ? "st"
               : days == 2 ? "nd"
               : days == 3 ? "rd"
                           : "th");
    text_time_plain(&p->why, first_ms);
    buf_adds(&p->why, S(", "));
    return days >= r->after;
}

static void judge_end(struct person *p, struct hash128 who, const struct act_rule *given, struct slice isp,
                      struct rec_event *ev)
{
    enum reply_class cls;
    if (class_parse(ev->class_name, &cls))
        return;
    enum class_kind kind = event_kind(ev, cls);
    const struct act_rule *r = find_rule(p, given, isp, cls, kind);
    ev->person |= REC_PERSON_JUDGED;
    if (!r || r->act.ignore)
        return;
    buf_clear(&p->why);
    bool counts = r->after > 1, enough = !counts || has_enough(p, who, r, cls, ev);
    if (counts)
        ev->person |= REC_PERSON_COUNTED;
    if (!enough)
        return;
    if (counts || !is_shipped(p, r)) /* that a hard bounce suppresses needs no words */
        buf_printf(&p->why, "rule %.*s", SLICE_FMT(r->name));
    bool hard = kind == KIND_HARD;
    if (r->act.kind == ACT_QUARANTINE) {
        ev->person |= REC_PERSON_QUARANTINED;
    } else if (hard && guard_outbreak(p->guard, ev->isp)) {
        ev->person |= REC_PERSON_QUARANTINED;
        ev->person_until_ms = ev->at_ms / 1000 * 1000; /* it has ended: mail goes on */
        buf_adds(&p->why, p->why.n ? S("; set aside: ") : S("set aside: "));
        guard_text(p->guard, ev->isp, &p->why);
    } else {
        ev->person |= REC_PERSON_SUPPRESSED;
        ev->person_until_ms = r->act.for_ms > 0 ? ev->at_ms + r->act.for_ms : 0;
        ev->person_certain_ms = hard && p->conf.provisional_ms ? ev->at_ms + p->conf.provisional_ms : 0;
    }
    ev->person_why = buf_slice(&p->why);
}

void person_judge(struct person *p, const struct hash128 *who, const struct act_rule *rule, struct slice isp,
                  struct rec_event *ev)
{
    if (is_answer(ev) && guard_attempt(p->guard, ev->isp, is_unknown(ev), ev->at_ms))
        ev->person |= REC_PERSON_OUTBREAK;
    if (!who)
        return;
    if (event_is_late(ev))
        ev->person |= REC_PERSON_LATE;
    if (ev->type == EVENT_BOUNCED || ev->type == EVENT_EXPIRED)
        judge_end(p, *who, rule, isp, ev);
    else if (ev->type == EVENT_DELIVERED && (soft_count_wants(p->soft, *who) || keyset_has(&p->aside, *who)))
        ev->person |= REC_PERSON_WELL;
}

/* --- learning --- */

static void add_uncertain(struct person *p, const struct uncertain *u)
{
    if (p->head + p->n == p->cap && p->head > p->cap / 2) {
        memmove(p->first, p->first + p->head, p->n * sizeof *p->first);
        p->head = 0;
    }
    if (p->head + p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->first = mem_realloc(p->first, p->cap * sizeof *p->first);
    }
    p->first[p->head + p->n++] = *u;
}

static void drop_certain(struct person *p, int64_t now_ms)
{
    while (p->n && p->first[p->head].until_ms <= now_ms) {
        p->head++;
        p->n--;
    }
}

void person_replay(struct person *p, const struct rec_event *ev)
{
    if (is_answer(ev))
        guard_attempt(p->guard, ev->isp, is_unknown(ev), ev->at_ms);
}

void person_uncertain(struct person *p, struct hash128 who, const struct rec_event *ev)
{
    drop_certain(p, ev->at_ms);
    if (ev->person & REC_PERSON_SUPPRESSED && ev->person_certain_ms)
        add_uncertain(p, &(struct uncertain){.who = who, .until_ms = ev->person_certain_ms, .isp = ev->isp});
}

void person_learn(struct person *p, struct hash128 who, const struct rec_event *ev)
{
    enum reply_class cls;
    if (ev->person & REC_PERSON_LATE)
        soft_count_late(p->soft, who, ev->at_ms - p->conf.clear_ms);
    if (ev->person & REC_PERSON_COUNTED && !class_parse(ev->class_name, &cls))
        soft_count_hit(p->soft, who, cls, ev->at_ms);
    if (ev->person & REC_PERSON_WELL && soft_count_wants(p->soft, who))
        soft_count_delivered(p->soft, who, ev->at_ms);
    if (ev->person & REC_PERSON_QUARANTINED)
        keyset_add(&p->aside, who);
    else if (ev->person & (REC_PERSON_SUPPRESSED | REC_PERSON_WELL))
        keyset_del(&p->aside, who);
}

bool person_watches(const struct person *p)
{
    return p->aside.n || soft_count_entries(p->soft);
}

bool person_is_aside(const struct person *p, struct hash128 who)
{
    return keyset_has(&p->aside, who);
}

void person_counted(struct person *p, struct hash128 who, struct slice what, int64_t at_ms)
{
    enum reply_class cls;
    if (class_parse(what, &cls))
        return; /* a word of a later version's */
    if (cls == CLASS_DELIVERED)
        soft_count_delivered(p->soft, who, at_ms);
    else
        soft_count_hit(p->soft, who, cls, at_ms);
}

void person_set_aside(struct person *p, struct hash128 who)
{
    keyset_add(&p->aside, who);
}

void person_release(struct person *p, struct hash128 who)
{
    keyset_del(&p->aside, who);
}

void person_forget(struct person *p, struct hash128 who)
{
    soft_count_forget(p->soft, who);
    keyset_del(&p->aside, who);
}

void person_take_back(struct person *p, uint32_t isp, int64_t now_ms,
                      void (*fn)(void *data, struct hash128 who), void *data)
{
    drop_certain(p, now_ms);
    size_t to = p->head;
    for (size_t i = p->head; i < p->head + p->n; i++) {
        if (p->first[i].isp == isp && fn) {
            keyset_add(&p->aside, p->first[i].who);
            fn(data, p->first[i].who);
        } else if (p->first[i].isp != isp) {
            p->first[to++] = p->first[i];
        }
    }
    p->n = to - p->head;
}

bool person_outbreak(const struct person *p, uint32_t isp)
{
    return guard_outbreak(p->guard, isp);
}

void person_outbreak_text(const struct person *p, uint32_t isp, struct buf *out)
{
    guard_text(p->guard, isp, out);
}

void person_expire(struct person *p, int64_t now_ms)
{
    soft_count_expire(p->soft, now_ms - 366 * DAY_MS);
    drop_certain(p, now_ms);
}
