/* api_impl.h - what the api_*.c files share, and nobody else sees. */
#ifndef HATO_LUA_API_IMPL_H
#define HATO_LUA_API_IMPL_H

#include "lua/api.h"
#include "lua/conv.h"
#include "lua/hooks.h"
#include "format/mp.h"
#include "platform/loop.h"

#include <lauxlib.h>

/* A name that is looked up when the conf is sealed. */
enum api_name_kind {
    NAME_OF_STREAM,
    NAME_OF_SOURCE,
    NAME_OF_POOL,
    NAME_OF_WARMED,
    NAME_OF_WARMED_ISP,
    NAME_OF_OVERFLOW
};
struct api_name {
    enum api_name_kind kind;
    struct slice name;
    struct conf_place place;
    const char *who;        /* "hato.stream \"promo\"" */
    uint16_t owner, member; /* whose field it fills: stream.pool, pool.members[member].source,
                               campaign.stream, warmup.source, .isp, .overflow */
};

struct api {
    struct vm *vm;
    struct conf *conf;
    struct api_host host;
    bool sealed;
    bool bounces_given;
    bool isps_none, isps_ready; /* hato.isps = "none"; the shipped ones are in the conf */
    struct api_name *names;
    size_t nnames;
    size_t cap_streams, cap_sources, cap_pools, cap_isps, cap_limits, cap_warmups, cap_campaigns, cap_names;
    struct arena scratch; /* of one hato.send or one person */
    struct buf text;      /* the same: what would leak when an error leaves by longjmp */
    struct every *every;  /* api_wait.c */
    struct tz *tz;        /* NULL: UTC */
    struct hooks *hooks;
};

struct api *api_of(lua_State *L);

/* The functions of each file, put into the table on top of the stack. */
void api_declare_open(lua_State *L);
int api_bounces(lua_State *L); /* hato.bounces, for api_declare_open(); and hato.isp, hato.limit */
int api_isp(lua_State *L);
int api_limit(lua_State *L);
extern const struct conv_word api_tls_words[];
/* The shipped isps are in the conf, unless hato.isps leaves them out. */
int api_isps_ready(struct api *api, struct err *e);
void api_set_isps(lua_State *L, struct slice word); /* hato.isps = word; may raise */
void api_act_open(lua_State *L);
int api_warmup(lua_State *L); /* hato.warmup */
int api_breaker(lua_State *L);
int api_spool(lua_State *L);
int api_check_spool(const struct conf *c, struct err *e);
/* Of warm-ups whose names are looked up: ERR_INVAL where two are about one pair. */
int api_check_warmups(const struct conf *c, struct err *e);
void api_campaign_open(lua_State *L);
void api_wait_open(lua_State *L);
void api_dns_open(lua_State *L);
void api_log_open(lua_State *L);
void api_json_open(lua_State *L);
void api_hooks_open(lua_State *L);

/* hato.stream "name" { … }: returns the C function that takes the table, with the name as its upvalue. May
 * raise. */
int api_curried(lua_State *L, const char *what, lua_CFunction take);
/* In such a function: "hato.stream \"news\"", in the conf's arena, and the name itself. */
const char *api_who(lua_State *L, const char *what, struct slice *name);

/* Raises when the script is loaded already. */
void api_declaring(lua_State *L, const char *who);
/* One more slot behind n, zeroed, in an array of the conf that doubles; at most 65,534. */
void *api_grow(lua_State *L, void *array_at, size_t *n, size_t *cap, size_t size, const char *who);
struct conf_place api_place(lua_State *L);
void api_name_later(lua_State *L, struct api_name name);

/* A stream, source or pool: its handle or its name → the name. */
struct slice api_name_of(struct conv *c, const char *field, int index, const char *kind);
/* Push a handle: a userdata that knows its kind and name and prints as `stream "news"`. */
void api_push_handle(lua_State *L, const char *kind, struct slice name);

/* A file that the script names, read whole into Lua's memory; raises at the script's line. Pushes the text;
 * returns it. field: the option that names it, or "". */
struct slice api_read_file(struct conv *c, const char *field, struct slice path);

/* hato.file on the stack at index? Its path and bytes, borrowed while it is there. */
bool api_is_file(lua_State *L, int index, struct slice *path, struct slice *data);

/* What hato.slow and its like returned on the stack at index? */
bool api_act_at(lua_State *L, int index, struct act *out);

/* Append the value at index as msgpack. what names it in errors. May raise. */
void api_put_value(struct conv *c, const char *what, int index, struct buf *out);
/* Push a msgpack value as Lua value; false if it is none. */
bool api_push_value(lua_State *L, struct mp *m);

/* A wall-clock text in hato.tz ("2026-07-01 10:00") → UTC ms. */
int64_t api_time(struct conv *c, const char *field, int index);

void api_every_free(struct api *api);

#endif
