/* report.c - see report.h. */
#include "delivery/report.h"
#include "base/err.h"
#include "base/json.h"
#include "base/words.h"
#include "delivery/event.h"
#include "format/text.h"

#include <stdlib.h>

enum { ROWS_SHOWN = 20, NAME_WIDEST = 32, COLUMNS_MOST = 9 };

void report_init(struct report *r, struct hash_key hk)
{
    *r = (struct report){.total.name = SLICE_NONE, .no_isp.name = SLICE_NONE, .no_campaign.name = SLICE_NONE};
    map_init(&r->isps, hk);
    map_init(&r->campaigns, hk);
}

static void rows_free(struct map *m)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(m, &at));)
        free(e->value);
    map_free(m);
}

void report_free(struct report *r)
{
    rows_free(&r->isps);
    rows_free(&r->campaigns);
}

static struct report_row *row(struct map *m, struct report_row *nameless, struct slice name)
{
    if (!name.n)
        return nameless;
    struct report_row *found = map_get(m, name);
    if (found)
        return found;
    found = mem_zalloc(sizeof *found + name.n);
    memcpy(found + 1, name.p, name.n);
    found->name = slice_of(found + 1, name.n);
    map_put(m, name, found);
    return found;
}

/* The same change to the total, the isp's and the campaign's row. */
static void count(struct report *r, struct slice isp, struct slice campaign, size_t member, uint64_t n)
{
    struct report_row *rows[] = {&r->total, row(&r->isps, &r->no_isp, isp),
                                 row(&r->campaigns, &r->no_campaign, campaign)};
    for (size_t i = 0; i < COUNT(rows); i++)
        *(uint64_t *)((char *)rows[i] + member) += n;
}

#define COUNT_IN(r, isp, campaign, member, n) count(r, isp, campaign, offsetof(struct report_row, member), n)

void report_accepted(struct report *r, struct slice campaign, uint64_t n)
{
    r->total.accepted += n;
    row(&r->campaigns, &r->no_campaign, campaign)->accepted += n;
}

void report_waiting(struct report *r, struct slice isp, struct slice campaign, uint64_t n)
{
    COUNT_IN(r, isp, campaign, waiting, n);
}

static void count_error(struct report *r, const struct rec_event *ev)
{
    enum reply_class cls;
    if (class_parse(ev->class_name, &cls)) /* of a later version, or none */
        cls = CLASS_UNKNOWN;
    enum report_category category = class_report_of(cls, ev->code);
    r->classes[cls]++;
    r->errors[category == REPORT_NOT_AN_ERROR ? REPORT_UNKNOWN : category]++;
}

void report_event(struct report *r, const struct rec_event *ev, struct slice isp, struct slice campaign)
{
    switch ((enum rec_event_type)ev->type) {
    case EVENT_DELIVERED:
        COUNT_IN(r, isp, campaign, delivered, 1);
        r->unmappable += ev->unmappable;
        r->unmappable_mails += ev->unmappable > 0;
        break;
    case EVENT_BOUNCED:
        if (event_is_late(ev))
            COUNT_IN(r, isp, campaign, bounced_later, 1);
        else
            COUNT_IN(r, isp, campaign, bounced, 1);
        count_error(r, ev);
        break;
    case EVENT_EXPIRED:
        COUNT_IN(r, isp, campaign, expired, 1);
        count_error(r, ev);
        break;
    case EVENT_DEFERRED:
        COUNT_IN(r, isp, campaign, deferrals, 1);
        break;
    case EVENT_AMBIGUOUS:
        COUNT_IN(r, isp, campaign, ambiguous, 1);
        break;
    case EVENT_SUPPRESSED:
        COUNT_IN(r, isp, campaign, suppressed, 1);
        break;
    case EVENT_CANCELLED:
        COUNT_IN(r, isp, campaign, cancelled, 1);
        break;
    case EVENT_COMPLAINED:
        COUNT_IN(r, isp, campaign, complained, 1);
        break;
    case EVENT_ACCEPTED:
    case EVENT_OPENED:
    case EVENT_CLICKED:
    case EVENT_UNSUBSCRIBED:
    case EVENT_CONVERTED:
    case EVENT_REPLIED:
    case EVENT_HELD:
    case EVENT_TYPES:
        break;
    }
}

uint64_t report_errors(const struct report *r)
{
    return r->total.bounced + r->total.expired + r->total.bounced_later;
}

static uint64_t settled(const struct report_row *t)
{
    return t->delivered + t->bounced + t->expired + t->suppressed + t->cancelled;
}

int64_t report_unaccounted(const struct report *r)
{
    return (int64_t)(r->total.accepted + r->carried - settled(&r->total) - r->total.waiting);
}

/* --- for people --- */

struct column {
    const char *title;
    size_t member;
};

static uint64_t value(const struct report_row *row, const struct column *c)
{
    return *(const uint64_t *)((const char *)row + c->member);
}

static bool is_empty(const struct report_row *row, const struct column *columns, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (value(row, &columns[i]))
            return false;
    return true;
}

static int by_size(const void *a, const void *b)
{
    const struct report_row *x = *(const struct report_row *const *)a,
                            *y = *(const struct report_row *const *)b;
    uint64_t nx = settled(x) + x->waiting, ny = settled(y) + y->waiting;
    return nx != ny ? (nx < ny ? 1 : -1) : slice_cmp(x->name, y->name);
}

static void add_row(struct report_row *to, const struct report_row *from, const struct column *columns,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        *(uint64_t *)((char *)to + columns[i].member) += value(from, &columns[i]);
}

static void put_row(struct buf *out, struct slice name, size_t name_width, const struct report_row *row,
                    const struct column *columns, const size_t *widths, size_t n)
{
    struct buf word = {0};
    text_safe(&word, name);
    size_t fit = text_fit(buf_slice(&word), name_width);
    text_left(out, slice_of(word.p, fit), name_width);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&word);
        text_count(&word, value(row, &columns[i]));
        buf_adds(out, S("  "));
        text_right(out, buf_slice(&word), widths[i]);
    }
    buf_addc(out, '\n');
    buf_free(&word);
}

/* The largest rows, the rest in one, and the sum. */
static void put_table(struct buf *out, const struct report *r, const struct map *rows,
                      const struct report_row *nameless, const char *title, const char *nameless_title,
                      const struct column *columns, size_t n)
{
    const struct report_row **v = mem_alloc((rows->live + 1) * sizeof *v);
    struct report_row rest = {.name = SLICE_NONE};
    size_t nrows = 0, at = 0, name_width = text_width(slice_cstr(title)), widths[COLUMNS_MOST];
    struct buf word = {0};
    INVARIANT(n <= COLUMNS_MOST);
    for (struct map_entry *e; (e = map_next(rows, &at));)
        if (!is_empty(e->value, columns, n))
            v[nrows++] = e->value;
    if (!is_empty(nameless, columns, n))
        v[nrows++] = nameless;
    qsort(v, nrows, sizeof *v, by_size);
    size_t shown = nrows > ROWS_SHOWN + 1 ? ROWS_SHOWN : nrows;
    for (size_t i = shown; i < nrows; i++)
        add_row(&rest, v[i], columns, n);
    for (size_t i = 0; i < shown; i++) {
        size_t w = text_width(v[i]->name.n ? v[i]->name : slice_cstr(nameless_title));
        name_width = w > name_width ? w : name_width;
    }
    if (name_width < 12)
        name_width = 12; /* "9,999 others" */
    if (name_width > NAME_WIDEST)
        name_width = NAME_WIDEST;
    text_left(out, slice_cstr(title), name_width);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&word);
        text_count(&word, value(&r->total, &columns[i])); /* the widest there can be */
        widths[i] = strlen(columns[i].title) > word.n ? strlen(columns[i].title) : word.n;
        buf_adds(out, S("  "));
        text_right(out, slice_cstr(columns[i].title), widths[i]);
    }
    buf_addc(out, '\n');
    for (size_t i = 0; i < shown; i++)
        put_row(out, v[i]->name.n ? v[i]->name : slice_cstr(nameless_title), name_width, v[i], columns,
                widths, n);
    if (nrows > shown) {
        buf_clear(&word);
        text_count(&word, nrows - shown);
        buf_adds(&word, S(" others"));
        put_row(out, buf_slice(&word), name_width, &rest, columns, widths, n);
    }
    if (nrows > 1)
        put_row(out, S("in all"), name_width, &r->total, columns, widths, n);
    buf_free(&word);
    free(v);
}

static void put_counted(struct buf *out, uint64_t n, const char *what, bool *first)
{
    if (!n)
        return;
    if (!*first)
        buf_adds(out, S(", "));
    *first = false;
    text_count(out, n);
    buf_printf(out, " %s", what);
}

static void put_summary(struct buf *out, const struct report *r)
{
    const struct report_row *t = &r->total;
    uint64_t done = settled(t);
    bool first = true;
    put_counted(out, t->accepted, "accepted", &first);
    put_counted(out, r->carried, "taken over from before", &first);
    put_counted(out, r->known, "known already", &first);
    put_counted(out, r->rejected_rows, r->rejected_rows == 1 ? "row rejected" : "rows rejected", &first);
    if (!first)
        buf_adds(out, S("; "));
    text_count(out, t->delivered);
    buf_adds(out, S(" delivered"));
    first = false;
    put_counted(out, t->bounced, "bounced", &first);
    put_counted(out, t->expired, "expired", &first);
    put_counted(out, t->suppressed, "suppressed", &first);
    put_counted(out, t->cancelled, "cancelled", &first);
    put_counted(out, t->waiting, "deferred", &first);
    put_counted(out, t->bounced_later, "of those delivered bounced later", &first);
    put_counted(out, t->complained, t->complained == 1 ? "complaint" : "complaints", &first);
    buf_addc(out, '\n');
    uint64_t ends = t->delivered + t->bounced + t->expired;
    if (ends) {
        buf_adds(out, S("delivery rate "));
        text_percent(out, t->delivered > t->bounced_later ? t->delivered - t->bounced_later : 0, ends);
        if (t->waiting)
            buf_adds(out, S(" of those that came to an end"));
        buf_addc(out, '\n');
    }
    if (t->ambiguous) {
        text_count(out, t->ambiguous);
        buf_adds(out, t->ambiguous == 1 ? S(" transaction") : S(" transactions"));
        buf_adds(out, S(" broke off between the last byte and the reply: these may arrive twice\n"));
    }
    if (r->unmappable) {
        text_count(out, r->unmappable);
        buf_adds(out, r->unmappable == 1 ? S(" character in ") : S(" characters in "));
        text_count(out, r->unmappable_mails);
        buf_adds(out, r->unmappable_mails == 1 ? S(" mail") : S(" mails"));
        buf_adds(out, S(" that ISO-2022-JP does not have, or that were folded: the stream's `unmappable` "
                        "says which\n"));
    }
    if (r->forgotten) {
        text_count(out, r->forgotten);
        buf_adds(out, S(" more came to an end so long ago that their events are no longer kept\n"));
    }
    if (r->elapsed_ms > 0) {
        buf_adds(out, S("took "));
        words_duration_text(out, r->elapsed_ms);
        buf_adds(out, S(", "));
        text_count(out, (done * 1000 + (uint64_t)r->elapsed_ms / 2) / (uint64_t)r->elapsed_ms);
        buf_adds(out, S(" a second\n"));
    }
    int64_t off = report_unaccounted(r);
    if ((t->accepted || r->carried) && off)
        buf_printf(out, "NOT ACCOUNTED FOR: %lld; please report this\n", (long long)off);
}

static void put_errors(struct buf *out, const struct report *r)
{
    uint64_t all = report_errors(r);
    struct buf word = {0};
    size_t en = 0, ja = 0;
    for (int i = 0; i < REPORT_COUNT; i++) {
        size_t w = text_width(slice_cstr(report_label_en((enum report_category)i)));
        en = w > en ? w : en;
        w = text_width(slice_cstr(report_label_ja((enum report_category)i)));
        ja = w > ja ? w : ja;
    }
    text_left(out, S("errors"), en + 2 + ja);
    text_count(&word, all);
    size_t numbers = word.n > 6 ? word.n : 6;
    buf_adds(out, S("  "));
    text_right(out, buf_slice(&word), numbers);
    buf_adds(out, S("\n"));
    for (int i = 0; i < REPORT_COUNT; i++) {
        text_left(out, slice_cstr(report_label_en((enum report_category)i)), en + 2);
        text_left(out, slice_cstr(report_label_ja((enum report_category)i)), ja + 2);
        buf_clear(&word);
        text_count(&word, r->errors[i]);
        text_right(out, buf_slice(&word), numbers);
        if (r->errors[i]) {
            buf_clear(&word);
            text_percent(&word, r->errors[i], all);
            buf_adds(out, S("  "));
            text_right(out, buf_slice(&word), 8);
        }
        buf_addc(out, '\n');
    }
    buf_free(&word);
}

#define COLUMN(title, member)                                                                                \
    {                                                                                                        \
        title, offsetof(struct report_row, member)                                                           \
    }

void report_text(const struct report *r, struct buf *out)
{
    /* The last two only where mail came back. */
    static const struct column of_isp[] = {
        COLUMN("delivered", delivered),  COLUMN("bounced", bounced),   COLUMN("expired", expired),
        COLUMN("deferred", waiting),     COLUMN("retries", deferrals), COLUMN("bounced later", bounced_later),
        COLUMN("complained", complained)};
    static const struct column of_campaign[] = {
        COLUMN("accepted", accepted),     COLUMN("delivered", delivered),
        COLUMN("bounced", bounced),       COLUMN("expired", expired),
        COLUMN("suppressed", suppressed), COLUMN("cancelled", cancelled),
        COLUMN("deferred", waiting),      COLUMN("bounced later", bounced_later),
        COLUMN("complained", complained)};
    size_t less = r->total.bounced_later || r->total.complained ? 0 : 2;
    put_table(out, r, &r->isps, &r->no_isp, "receiver", "(none found)", of_isp, COUNT(of_isp) - less);
    if (r->campaigns.live > 1 ||
        (r->campaigns.live && !is_empty(&r->no_campaign, of_campaign, COUNT(of_campaign) - less))) {
        buf_addc(out, '\n');
        put_table(out, r, &r->campaigns, &r->no_campaign, "campaign", "(hato.send)", of_campaign,
                  COUNT(of_campaign) - less);
    }
    if (report_errors(r)) {
        buf_addc(out, '\n');
        put_errors(out, r);
    }
    buf_addc(out, '\n');
    put_summary(out, r);
}

/* --- for programs --- */

static void put_json_rows(struct buf *out, const char *key, const char *name_key, const struct map *rows,
                          const struct report_row *nameless, const struct column *columns, size_t n)
{
    size_t at = 0;
    bool first = true;
    buf_printf(out, ",\"%s\":[", key);
    for (const struct report_row *row = nameless; row;) {
        if (row != nameless || !is_empty(row, columns, n)) {
            buf_printf(out, "%s{\"%s\":", first ? "" : ",", name_key);
            if (row->name.n)
                json_quote(out, row->name);
            else
                buf_adds(out, S("null"));
            for (size_t i = 0; i < n; i++)
                buf_printf(out, ",\"%s\":%llu", columns[i].title,
                           (unsigned long long)value(row, &columns[i]));
            buf_addc(out, '}');
            first = false;
        }
        struct map_entry *e = map_next(rows, &at);
        row = e ? e->value : NULL;
    }
    buf_addc(out, ']');
}

void report_json(const struct report *r, struct buf *out)
{
    static const char *const categories[REPORT_COUNT] = {
        "permanent_no_such_user",      "permanent_no_such_domain", "permanent_unknown",
        "temporary_connection_failed", "temporary_mailbox_full",   "temporary_refused",
        "temporary_too_large",         "temporary_unknown",        "unknown"};
    static const struct column of_isp[] = {COLUMN("delivered", delivered),
                                           COLUMN("bounced", bounced),
                                           COLUMN("expired", expired),
                                           COLUMN("suppressed", suppressed),
                                           COLUMN("cancelled", cancelled),
                                           COLUMN("deferred", waiting),
                                           COLUMN("deferrals", deferrals),
                                           COLUMN("ambiguous", ambiguous),
                                           COLUMN("bounced_later", bounced_later),
                                           COLUMN("complained", complained)};
    static const struct column of_campaign[] = {
        COLUMN("accepted", accepted),     COLUMN("delivered", delivered),
        COLUMN("bounced", bounced),       COLUMN("expired", expired),
        COLUMN("suppressed", suppressed), COLUMN("cancelled", cancelled),
        COLUMN("deferred", waiting),      COLUMN("deferrals", deferrals),
        COLUMN("ambiguous", ambiguous),   COLUMN("bounced_later", bounced_later),
        COLUMN("complained", complained)};
    const struct report_row *t = &r->total;
    bool first = true;
    buf_printf(
        out,
        "{\"accepted\":%llu,\"delivered\":%llu,\"bounced\":%llu,\"expired\":%llu,\"suppressed\":%llu,"
        "\"deferred\":%llu,\"rejected_rows\":%llu,\"seconds\":%lld.%03d",
        (unsigned long long)t->accepted, (unsigned long long)t->delivered, (unsigned long long)t->bounced,
        (unsigned long long)t->expired, (unsigned long long)t->suppressed, (unsigned long long)t->waiting,
        (unsigned long long)r->rejected_rows, (long long)(r->elapsed_ms / 1000), (int)(r->elapsed_ms % 1000));
    buf_printf(out,
               ",\"cancelled\":%llu,\"carried\":%llu,\"known\":%llu,\"deferrals\":%llu,\"ambiguous\":%llu",
               (unsigned long long)t->cancelled, (unsigned long long)r->carried, (unsigned long long)r->known,
               (unsigned long long)t->deferrals, (unsigned long long)t->ambiguous);
    buf_printf(out, ",\"bounced_later\":%llu,\"complained\":%llu", (unsigned long long)t->bounced_later,
               (unsigned long long)t->complained);
    buf_printf(out, ",\"unmappable\":%llu,\"unmappable_mails\":%llu", (unsigned long long)r->unmappable,
               (unsigned long long)r->unmappable_mails);
    buf_adds(out, S(",\"errors\":{"));
    for (int i = 0; i < REPORT_COUNT; i++)
        buf_printf(out, "%s\"%s\":%llu", i ? "," : "", categories[i], (unsigned long long)r->errors[i]);
    buf_adds(out, S("},\"classes\":{"));
    for (int i = 0; i < CLASS_COUNT; i++) {
        if (!r->classes[i])
            continue;
        buf_printf(out, "%s\"%s\":%llu", first ? "" : ",", class_name((enum reply_class)i),
                   (unsigned long long)r->classes[i]);
        first = false;
    }
    buf_addc(out, '}');
    put_json_rows(out, "isps", "isp", &r->isps, &r->no_isp, of_isp, COUNT(of_isp));
    put_json_rows(out, "campaigns", "campaign", &r->campaigns, &r->no_campaign, of_campaign,
                  COUNT(of_campaign));
    buf_addc(out, '}');
}
