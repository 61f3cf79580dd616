/* rule_needle.c - see rule_needle.h.
 *
 * A pattern is read as far as it must be to say what every match contains: literals, groups, alternatives,
 * quantifiers. A sequence needs the best of what its parts need, alternatives need one of theirs, what may be
 * absent needs nothing. Anything else ends the reading with "nothing is known", which is always true. */
#include "format/rule_needle.h"
#include "base/err.h"
#include "format/charset.h"

#include <stdlib.h>

/* --- what a pattern needs --- */

struct set {
    struct slice *v;
    size_t n; /* 0: nothing is needed */
};

struct reader {
    struct slice rest;
    struct arena *arena;
    unsigned depth;
    bool lost; /* something is not understood */
};

static struct set alternatives(struct reader *r);

static size_t shortest(const struct set *s)
{
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < s->n; i++)
        least = s->v[i].n < least ? s->v[i].n : least;
    return s->n ? least : 0;
}

/* The longer its shortest needle, the seldomer a set is met; of equals the one with fewer needles. */
static struct set better(struct set a, struct set b)
{
    size_t x = shortest(&a), y = shortest(&b);

    if (x != y)
        return x > y ? a : b;
    return a.n <= b.n ? a : b;
}

static struct set both(struct reader *r, struct set a, struct set b)
{
    struct set s = {.n = a.n + b.n};

    if (!a.n || !b.n || s.n > NEEDLES_MOST)
        return (struct set){0};
    s.v = arena_alloc(r->arena, s.n * sizeof *s.v);
    memcpy(s.v, a.v, a.n * sizeof *s.v);
    memcpy(s.v + a.n, b.v, b.n * sizeof *s.v);
    return s;
}

/* The literal gathered so far as a set, and a new one begins. */
static struct set end_literal(struct reader *r, char *literal, size_t *n)
{
    struct set s = {0};

    if (*n >= NEEDLE_MIN) {
        s.v = arena_alloc(r->arena, sizeof *s.v);
        s.v[0] = arena_copy(r->arena, slice_of(literal, *n));
        s.n = 1;
    }
    *n = 0;
    return s;
}

static bool take(struct reader *r, struct slice word)
{
    if (!slice_starts(r->rest, word))
        return false;
    r->rest = slice_of(r->rest.p + word.n, r->rest.n - word.n);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

enum often { ONCE, REPEATED /* at least once, more than once may be */, ABSENT /* may be */ };

/* The quantifier behind an atom, if there is one. */
static enum often read_quantifier(struct reader *r)
{
    enum often often = ONCE;
    size_t n = 1;

    if (!r->rest.n)
        return ONCE;
    switch (r->rest.p[0]) {
    case '?':
    case '*':
        often = ABSENT;
        break;
    case '+':
        often = REPEATED;
        break;
    case '{':
        while (n < r->rest.n && is_digit(r->rest.p[n]))
            n++;
        if (n == 1 || n == r->rest.n || (r->rest.p[n] != ',' && r->rest.p[n] != '}')) {
            r->lost = true; /* a brace that is a brace, or {,3}, which PCRE2's versions read differently */
            return ONCE;
        }
        often = ABSENT;
        for (size_t i = 1; i < n; i++)
            if (r->rest.p[i] != '0')
                often = REPEATED;
        while (n < r->rest.n && (is_digit(r->rest.p[n]) || r->rest.p[n] == ','))
            n++;
        if (n == r->rest.n || r->rest.p[n++] != '}') {
            r->lost = true;
            return ONCE;
        }
        break;
    default:
        return ONCE;
    }
    r->rest = slice_of(r->rest.p + n, r->rest.n - n);
    if (r->rest.n && (r->rest.p[0] == '?' || r->rest.p[0] == '+')) /* lazy, possessive */
        r->rest = slice_of(r->rest.p + 1, r->rest.n - 1);
    return often;
}

/* Behind "[". A class matches something, and that is all that is said of it. */
static void skip_class(struct reader *r)
{
    take(r, S("^"));
    take(r, S("]"));
    while (r->rest.n && r->rest.p[0] != ']') {
        if (r->rest.p[0] == '[' || (r->rest.p[0] == '\\' && (r->rest.n < 2 || strchr("QE", r->rest.p[1])))) {
            r->lost = true; /* [:alpha:] and \Q…\E are not read */
            return;
        }
        size_t n = r->rest.p[0] == '\\' ? 2 : 1;
        r->rest = slice_of(r->rest.p + n, r->rest.n - n);
    }
    r->lost |= !take(r, S("]"));
}

/* Behind "(". */
static struct set read_group(struct reader *r)
{
    bool around = false;
    struct set s;

    if (slice_starts(r->rest, S("?")) || slice_starts(r->rest, S("*"))) {
        around = take(r, S("?=")) || take(r, S("?!")) || take(r, S("?<=")) || take(r, S("?<!"));
        if (!around && !take(r, S("?:")) && !take(r, S("?>"))) {
            r->lost = true;
            return (struct set){0};
        }
    }
    s = alternatives(r);
    r->lost |= !take(r, S(")"));
    return around ? (struct set){0} : s;
}

/* A letter that stands for itself, as its bytes; 0: an escape that stands for something else. Letters outside
 * ASCII count only where there is no case: kana and kanji. */
static size_t read_letter(struct reader *r, char out[4])
{
    uint32_t cp;
    bool escaped = take(r, S("\\"));
    int n = utf8_decode(r->rest, &cp);

    if (n <= 0) {
        r->lost = true;
        return 0;
    }
    memcpy(out, r->rest.p, (size_t)n);
    out[0] = ascii_lower(out[0]);
    r->rest = slice_of(r->rest.p + n, r->rest.n - (size_t)n);
    if (!escaped)
        return cp < 0x80 || (cp >= 0x3041 && cp <= 0x9fff) ? (size_t)n : 0;
    if (cp >= 0x80 || !((out[0] >= 'a' && out[0] <= 'z') || is_digit(out[0])))
        return cp < 0x80 ? 1 : 0;
    r->lost |= !strchr("bBdDsSwWAzZ", r->rest.p[-1]); /* the rest takes arguments or changes the reading */
    return 0;
}

static struct set sequence(struct reader *r)
{
    struct set best = {0}, s;
    char literal[NEEDLE_MAX], letter[4];
    size_t n = 0;

    while (r->rest.n && !r->lost && r->rest.p[0] != '|' && r->rest.p[0] != ')') {
        size_t bytes = 0;
        s = (struct set){0};
        if (take(r, S("("))) {
            s = read_group(r);
        } else if (take(r, S("["))) {
            skip_class(r);
        } else if (strchr(".^$", r->rest.p[0])) {
            r->rest = slice_of(r->rest.p + 1, r->rest.n - 1);
        } else if (strchr("?*+", r->rest.p[0])) {
            r->lost = true;
        } else {
            bytes = read_letter(r, letter);
        }
        if (r->lost)
            break;
        enum often often = read_quantifier(r);
        if (often == ABSENT) {
            bytes = 0;
            s = (struct set){0};
        }
        if (!bytes || n + bytes > sizeof literal)
            best = better(best, end_literal(r, literal, &n));
        memcpy(literal + n, letter, bytes);
        n += bytes;
        if (often == REPEATED)
            best = better(best, end_literal(r, literal, &n));
        best = better(best, s);
    }
    return better(best, end_literal(r, literal, &n));
}

static struct set alternatives(struct reader *r)
{
    enum { DEEPEST = 50 };
    struct set s;

    if (++r->depth > DEEPEST)
        r->lost = true;
    s = sequence(r);
    while (!r->lost && take(r, S("|")))
        s = both(r, s, sequence(r));
    r->depth--;
    return s;
}

size_t pattern_needles(struct slice pattern, struct arena *a, struct slice **out)
{
    struct reader r = {.rest = pattern, .arena = a};
    struct set s = alternatives(&r);

    if (r.lost || r.rest.n)
        return 0;
    *out = s.v;
    return s.n;
}

/* --- finding them --- */

/* State 0 is the root. A state's hits are a list in links[]; 0 ends it, and is no link. */
struct haystack {
    struct arena arena;
    struct needle {
        struct slice text;
        uint32_t bit;
    } * needles;
    size_t n, cap;
    /* From here on by haystack_build(). */
    unsigned char class_of[256]; /* letters that stand in no needle share class 0 */
    unsigned classes;
    size_t nstates;
    uint32_t *next; /* states × classes: a state, FOUND with it where hits or more is set */
    uint32_t *hits; /* the first link of what ends here */
    uint32_t *more; /* the longest proper end of this state that has hits; 0: none */
    struct link {
        uint32_t bit, next;
    } * links; /* one a needle, from 1 */
};

enum { FOUND = 1 << 30 };

struct haystack *haystack_new(void)
{
    return mem_zalloc(sizeof(struct haystack));
}

void haystack_free(struct haystack *h)
{
    if (!h)
        return;
    arena_free(&h->arena);
    free(h->needles);
    free(h->next);
    free(h->hits);
    free(h->more);
    free(h->links);
    free(h);
}

void haystack_add(struct haystack *h, struct slice needle, uint32_t bit)
{
    INVARIANT(needle.n && !h->next);
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 256;
        h->needles = mem_realloc(h->needles, h->cap * sizeof *h->needles);
    }
    h->needles[h->n++] = (struct needle){arena_copy(&h->arena, needle), bit};
}

/* How many states there can be at most. */
static size_t number_letters(struct haystack *h)
{
    size_t most = 1;

    h->classes = 1;
    for (size_t i = 0; i < h->n; i++) {
        struct slice t = h->needles[i].text;
        most += t.n;
        for (size_t k = 0; k < t.n; k++) {
            unsigned char *c = &h->class_of[(unsigned char)ascii_lower(t.p[k])];
            if (!*c)
                *c = (unsigned char)h->classes++;
        }
    }
    for (int c = 'A'; c <= 'Z'; c++)
        h->class_of[c] = h->class_of[c + 'a' - 'A'];
    return most;
}

static void plant(struct haystack *h, size_t i)
{
    struct slice t = h->needles[i].text;
    uint32_t state = 0;

    for (size_t k = 0; k < t.n; k++) {
        uint32_t *to = &h->next[state * h->classes + h->class_of[(unsigned char)t.p[k]]];
        if (!*to)
            *to = (uint32_t)h->nstates++;
        state = *to;
    }
    h->links[i + 1] = (struct link){h->needles[i].bit, h->hits[state]};
    h->hits[state] = (uint32_t)i + 1;
}

void haystack_build(struct haystack *h)
{
    size_t most = number_letters(h), head = 0, tail = 0;
    uint32_t *queue = mem_alloc(most * sizeof *queue), *fail = mem_zalloc(most * sizeof *fail);

    h->nstates = 1;
    h->next = mem_zalloc(most * h->classes * sizeof *h->next);
    h->hits = mem_zalloc(most * sizeof *h->hits);
    h->more = mem_zalloc(most * sizeof *h->more);
    h->links = mem_zalloc((h->n + 1) * sizeof *h->links);
    for (size_t i = 0; i < h->n; i++)
        plant(h, i);
    for (unsigned c = 0; c < h->classes; c++)
        if (h->next[c])
            queue[tail++] = h->next[c];
    /* By depth: where a state has no edge it gets that of its longest proper end, which is complete. */
    while (head < tail) {
        uint32_t s = queue[head++], end = fail[s];
        h->more[s] = h->hits[end] ? end : h->more[end];
        for (unsigned c = 0; c < h->classes; c++) {
            uint32_t *to = &h->next[s * h->classes + c], past = h->next[end * h->classes + c];
            if (*to) {
                fail[*to] = past;
                queue[tail++] = *to;
            } else {
                *to = past;
            }
        }
    }
    h->next = mem_realloc(h->next, h->nstates * h->classes * sizeof *h->next);
    for (size_t i = 0; i < h->nstates * h->classes; i++)
        if (h->hits[h->next[i]] || h->more[h->next[i]])
            h->next[i] |= FOUND;
    free(queue);
    free(fail);
}

/* U+017F (long s) or U+212A (the Kelvin sign) in UTF-8. */
static bool ends_odd_letter(const unsigned char *p, size_t i)
{
    return (p[i] == 0xbf && i && p[i - 1] == 0xc5) ||
           (p[i] == 0xaa && i > 1 && p[i - 1] == 0x84 && p[i - 2] == 0xe2);
}

bool haystack_scan(const struct haystack *h, struct slice text, uint64_t *bits)
{
    const unsigned char *p = (const unsigned char *)text.p;
    uint32_t state = 0;
    bool plain = true;

    for (size_t i = 0; i < text.n; i++) {
        if (p[i] >= 0x80)
            plain &= !ends_odd_letter(p, i);
        state = h->next[state * h->classes + h->class_of[p[i]]];
        if (!(state & FOUND))
            continue;
        state &= ~(uint32_t)FOUND;
        for (uint32_t s = h->hits[state] ? state : h->more[state]; s; s = h->more[s])
            for (uint32_t l = h->hits[s]; l; l = h->links[l].next)
                bits[h->links[l].bit / 64] |= 1ull << h->links[l].bit % 64;
    }
    return plain;
}
