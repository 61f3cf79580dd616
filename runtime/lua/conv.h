/* conv.h - an options table → a C struct, by a table of fields; and the sentence when it does not fit.
 *
 *   static const struct conv_field fields[] = {
 *       {"connections", CONV_INT, CONV_AT(struct conf_isp, connections), .least = 1, .most = 1000},
 *       {"tls", CONV_WORD, CONV_AT(struct conf_isp, tls), .words = tls_words},
 *       {0}};
 *   conv_table(&(struct conv){L, arena, "hato.isp \"gmail\""}, 1, fields, 0, &isp);
 *
 * A key that the script does not give leaves its field as it was: defaults are set before. Every error is
 * raised at the script's line and names the option, the value, and what would be right; a key that nobody
 * knows gets the near name. All functions here may raise; what they copy belongs to the arena. */
#ifndef HATO_LUA_CONV_H
#define HATO_LUA_CONV_H

#include "base/mem.h"

#include <lua.h>

enum conv_type {
    CONV_END = 0,
    CONV_TEXT,     /* struct slice: not empty */
    CONV_BOOL,     /* bool */
    CONV_INT,      /* 2, 4 or 8 bytes; from least to most where most is not 0 */
    CONV_DURATION, /* int64_t in ms */
    CONV_RATE,     /* struct conv_rate */
    CONV_TEXTS,    /* struct slice *, and its count at count_at: one text or a list of them */
    CONV_WORD,     /* an enum: one of words */
    CONV_TABLE,    /* a struct in place: fields */
    CONV_FUNCTION, /* int: a reference in Lua's registry */
    CONV_OTHER,    /* read() makes what it likes of the value on top of the stack */
    CONV_LATER,    /* known, and refused: comes with a later version */
};

struct conv {
    lua_State *L;
    struct arena *arena;
    const char *who; /* how an error begins: hato.stream "news" */
    bool may_unset;  /* a value may be hato.unset: the field becomes zero again */
    char path[96];   /* of the table that is read now: "dkim[1]." */
};

/* Its address, as light userdata, is hato.unset. */
extern const char conv_unset;

struct conv_word {
    const char *word; /* NULL ends the list */
    int value;
};

struct conv_rate {
    int64_t count, per_ms;
};

struct conv_field {
    const char *name;
    enum conv_type type;
    size_t offset, size; /* CONV_AT(struct, member) */
    bool required;
    int64_t least, most;
    const struct conv_word *words;
    const struct conv_field *fields;
    size_t count_at;
    void (*read)(struct conv *c, const struct conv_field *f, void *out);
};
#define CONV_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)

/* Read the table at index. items: how many values without a key ({ "mx1", "mx2" }) it may hold; the caller
 * reads those with lua_rawgeti. */
void conv_table(struct conv *c, int index, const struct conv_field *fields, size_t items, void *out);

/* One value by itself, named as the error should name it ("to", "[2]"). */
struct slice conv_text(struct conv *c, const char *name, int index); /* copied to the arena */
int64_t conv_duration(struct conv *c, const char *name, int index);
struct conv_rate conv_rate(struct conv *c, const char *name, int index);
int conv_word(struct conv *c, const char *name, int index, const struct conv_word *words);
/* Length of the list at index, after checking that it is a table. */
size_t conv_items(struct conv *c, const char *name, int index, const char *want);

/* "hato.isp \"gmail\": connections wants a whole number, not \"many\"". The value is the one at index. */
_Noreturn void conv_wrong(struct conv *c, const char *name, const char *want, int index);
/* who + ": " + path + the text. */
_Noreturn void conv_fail(struct conv *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Go into a nested table for what follows ("dkim[1]"); returns what to give to conv_leave. */
size_t conv_enter(struct conv *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void conv_leave(struct conv *c, size_t before);

#endif
