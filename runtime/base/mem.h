/* mem.h - slices, growing buffers, arenas. Out of memory ends the process with a word: the spool makes a
 * restart safe, and a half-handled allocation failure is not. */
#ifndef HATO_BASE_MEM_H
#define HATO_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <string.h>

#define COUNT(a)                     (sizeof(a) / sizeof((a)[0]))
#define CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline int64_t least_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t most_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void *mem_alloc(size_t n);            /* never NULL */
void *mem_zalloc(size_t n);           /* zeroed */
void *mem_realloc(void *p, size_t n); /* p may be NULL */
/* The same for a table that is looked up at random: what is behind the first was bytes is zeroed, and a large
 * one asks for huge pages. */
void *mem_grow_table(void *p, size_t was, size_t n);
void mem_free_table(void *p, size_t n);
char *mem_dup(const void *p, size_t n); /* n bytes and a NUL behind them; free() it */

/* --- slice: borrowed bytes, no NUL promised; p is never NULL, not even when n is 0 --- */
struct slice {
    const char *p;
    size_t n;
};
/* *at (owned, or NULL) gives way to a copy of text, which may lie in it; a NUL behind it. */
void mem_replace(char **at, struct slice text);
#define S(lit)       ((struct slice){"" lit, sizeof(lit) - 1})
#define SLICE_NONE   ((struct slice){"", 0})
#define SLICE_FMT(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p /* for "%.*s" */

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){p ? (const char *)p : "", p ? n : 0};
}
static inline struct slice slice_cstr(const char *s)
{
    return slice_of(s, s ? strlen(s) : 0);
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}
/* ASCII only: never locale, never UTF-8 folding. */
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
bool slice_ieq(struct slice a, struct slice b);
int slice_cmp(struct slice a, struct slice b); /* by bytes, shorter first */
bool slice_starts(struct slice s, struct slice prefix);
bool slice_istarts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
struct slice slice_trim(struct slice s); /* SP, TAB, CR, LF off both ends */
/* Bytes up to the first c; *rest becomes what is behind it. Without c: all of s, and rest is empty. */
struct slice slice_cut(struct slice s, char c, struct slice *rest);
/* Index of needle in s, or -1. */
ptrdiff_t slice_find(struct slice s, struct slice needle);
/* Decimal digits only, no sign, no spaces. ERR_SYNTAX or ERR_RANGE. */
int slice_u64(struct slice s, uint64_t *out);

/* --- buf: grows, owned; zero-initialised is valid and empty --- */
struct buf {
    char *p;
    size_t n, cap;
};
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_drop_front(struct buf *b, size_t n);
void buf_free(struct buf *b); /* and leaves it empty, usable again */
static inline void buf_addc(struct buf *b, char c)
{
    if (b->n == b->cap)
        buf_reserve(b, 1);
    b->p[b->n++] = c;
}
static inline void buf_adds(struct buf *b, struct slice s)
{
    buf_add(b, s.p, s.n);
}
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p ? b->p : "", b->n);
}
/* A NUL behind the bytes (not counted); valid until the next change. */
const char *buf_cstr(struct buf *b);

/* --- arena: many small allocations, freed together; zero-initialised is valid and empty --- */
struct arena_block;
struct arena {
    struct arena_block *head;
    char *cur;
    size_t left;
};
void *arena_alloc(struct arena *a, size_t n); /* aligned to 16, not zeroed */
void *arena_zalloc(struct arena *a, size_t n);
struct slice arena_copy(struct arena *a, struct slice s); /* NUL behind it */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* keeps one block for the next use */
void arena_free(struct arena *a);

#endif
