/* mem.c - see mem.h. */
#include "base/mem.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static void *checked(void *p, size_t n)
{
    if (!p && n) {
        fprintf(stderr, "hato: out of memory (%zu bytes)\n", n);
        abort();
    }
    return p;
}

void *mem_alloc(size_t n)
{
    return checked(malloc(n ? n : 1), n ? n : 1);
}

void *mem_zalloc(size_t n)
{
    return checked(calloc(1, n ? n : 1), n ? n : 1);
}

void *mem_realloc(void *p, size_t n)
{
    return checked(realloc(p, n ? n : 1), n ? n : 1);
}

/* A table of this size or more is a mapping of its own that begins at a huge page: whole huge pages then move
 * with it when it grows. */
enum { HUGE_BYTES = 2 << 20 };

static char *map_huge(size_t n)
{
    char *p = mmap(NULL, n + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    checked(p == MAP_FAILED ? NULL : p, n);
    size_t before = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
    if (before)
        munmap(p, before);
    munmap(p + before + n, HUGE_BYTES - before);
    madvise(p + before, n, MADV_HUGEPAGE); /* advice: without it there are more misses, nothing else */
    return p + before;
}

void *mem_grow_table(void *old, size_t was, size_t n)
{
    if (n < HUGE_BYTES) {
        char *p = mem_realloc(old, n);
        memset(p + was, 0, n - was);
        return p;
    }
    char *p = map_huge(n);
    if (was < HUGE_BYTES) {
        if (was)
            memcpy(p, old, was);
        free(old);
    } else {
        INVARIANT(mremap(old, was, was, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
        madvise(p, n, MADV_HUGEPAGE);
    }
    return p;
}

void mem_free_table(void *p, size_t n)
{
    if (n < HUGE_BYTES)
        free(p);
    else
        munmap(p, n);
}

char *mem_dup(const void *p, size_t n)
{
    char *d = mem_alloc(n + 1);
    if (n)
        memcpy(d, p, n);
    d[n] = 0;
    return d;
}

void mem_replace(char **at, struct slice text)
{
    char *old = *at;
    *at = mem_dup(text.p, text.n);
    free(old);
}

bool slice_ieq(struct slice a, struct slice b)
{
    return a.n == b.n && slice_istarts(a, b);
}

int slice_cmp(struct slice a, struct slice b)
{
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

bool slice_istarts(struct slice s, struct slice prefix)
{
    if (s.n < prefix.n)
        return false;
    for (size_t i = 0; i < prefix.n; i++)
        if (ascii_lower(s.p[i]) != ascii_lower(prefix.p[i]))
            return false;
    return true;
}

bool slice_ends(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct slice slice_cut(struct slice s, char c, struct slice *rest)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    if (!hit) {
        *rest = slice_of(s.p + s.n, 0);
        return s;
    }
    size_t at = (size_t)(hit - s.p);
    *rest = slice_of(hit + 1, s.n - at - 1);
    return slice_of(s.p, at);
}

ptrdiff_t slice_find(struct slice s, struct slice needle)
{
    if (!needle.n)
        return 0;
    const char *hit = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit ? hit - s.p : -1;
}

int slice_u64(struct slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (!s.n)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return ERR_SYNTAX;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return ERR_RANGE;
        v = v * 10 + digit;
    }
    *out = v;
    return 0;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->n + more;
    INVARIANT(need >= more);
    if (need <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    buf_reserve(b, 64);
    int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    INVARIANT(n >= 0);
    if ((size_t)n >= b->cap - b->n) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
    }
    va_end(again);
    b->n += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_drop_front(struct buf *b, size_t n)
{
    INVARIANT(n <= b->n);
    b->n -= n;
    if (b->n)
        memmove(b->p, b->p + n, b->n);
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

const char *buf_cstr(struct buf *b)
{
    buf_reserve(b, 1);
    b->p[b->n] = 0;
    return b->p;
}

/* A block is a header and its bytes; the newest is at the head. A large request gets a block of its own
 * behind the head, so that it does not throw away what is left in the current one. */
struct arena_block {
    struct arena_block *next;
    size_t size;
    _Alignas(16) char bytes[];
};

enum { ARENA_FIRST = 4096, ARENA_MOST = 256 * 1024 };

void *arena_alloc(struct arena *a, size_t n)
{
    n = n ? (n + 15) & ~(size_t)15 : 16;
    if (n > a->left) {
        size_t size = a->head ? a->head->size * 2 : ARENA_FIRST;
        if (size > ARENA_MOST)
            size = ARENA_MOST;
        bool own = n > size / 2;
        if (own)
            size = n;
        struct arena_block *b = mem_alloc(sizeof *b + size);
        b->size = size;
        if (own && a->head) {
            b->next = a->head->next;
            a->head->next = b;
            return b->bytes;
        }
        b->next = a->head;
        a->head = b;
        a->cur = b->bytes;
        a->left = size;
    }
    void *p = a->cur;
    a->cur += n;
    a->left -= n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n) /* nothing may be at NULL */
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return slice_of(p, s.n);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    INVARIANT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->head;
    if (!keep)
        return;
    for (struct arena_block *b = keep->next, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    keep->next = NULL;
    a->cur = keep->bytes;
    a->left = keep->size;
}

void arena_free(struct arena *a)
{
    arena_reset(a);
    free(a->head);
    *a = (struct arena){0};
}
