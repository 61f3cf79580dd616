/* api_dns.c - hato.dns: mx, a, aaaa, txt, ptr. */
#include "lua/api_impl.h"

#include <stdlib.h>

enum question { ASK_MX, ASK_A, ASK_AAAA, ASK_TXT, ASK_PTR };

struct asking {
    struct resolve_req req;
    struct vm *vm;
    struct task_wait wait;
};

static void on_cancel(void *data)
{
    struct asking *k = data;
    resolve_cancel(&k->req);
    free(k);
}

/* nil, text, code: what the domain says of itself and what nobody knows now are told apart by code. */
static int push_failure(lua_State *L, enum resolve_status status)
{
    static const char *const words[] = {"it is there",
                                        "the name does not exist",
                                        "the name exists and has no such record",
                                        "a name server failed",
                                        "no name server answered",
                                        "the name servers refuse to answer",
                                        "aliases lead in a circle",
                                        "no DNS name, or an answer that cannot be read"};
    lua_pushnil(L);
    lua_pushstring(L, words[status]);
    lua_pushstring(L, resolve_status_name(status));
    return 3;
}

/* The stack to answer on, or NULL when nobody waits any more; k is gone either way. */
static lua_State *answer(struct asking *k, struct vm **vm, struct task_wait *wait)
{
    *vm = k->vm;
    *wait = k->wait;
    free(k);
    return task_complete(*vm, *wait);
}

static void on_mx(struct resolve_req *req, const struct mx_set *set)
{
    struct vm *vm;
    struct task_wait wait;
    lua_State *L = answer(req->data, &vm, &wait);
    if (!L)
        return;
    int n = 1;
    if (set->status != RESOLVE_OK) {
        n = push_failure(L, set->status);
    } else {
        lua_createtable(L, (int)set->n, 1);
        for (size_t i = 0; i < set->n; i++) {
            lua_createtable(L, 0, 2);
            lua_pushlstring(L, set->hosts[i].name.p, set->hosts[i].name.n);
            lua_setfield(L, -2, "host");
            lua_pushinteger(L, set->hosts[i].pref);
            lua_setfield(L, -2, "preference");
            lua_rawseti(L, -2, (int)i + 1);
        }
        lua_pushstring(L, set->kind == MX_LISTED ? "listed" : set->kind == MX_IMPLICIT ? "implicit" : "null");
        lua_setfield(L, -2, "kind");
    }
    task_resume(vm, wait, n);
}

static void on_addr(struct resolve_req *req, const struct addr_set *set)
{
    struct vm *vm;
    struct task_wait wait;
    lua_State *L = answer(req->data, &vm, &wait);
    if (!L)
        return;
    int n = 1;
    if (set->status != RESOLVE_OK) {
        n = push_failure(L, set->status);
    } else {
        lua_createtable(L, (int)set->n, 0);
        for (size_t i = 0; i < set->n; i++) {
            char text[IP_TEXT];
            struct slice s = ip_text(&set->v[i], text);
            lua_pushlstring(L, s.p, s.n);
            lua_rawseti(L, -2, (int)i + 1);
        }
    }
    task_resume(vm, wait, n);
}

static void on_text(struct resolve_req *req, const struct text_set *set)
{
    struct vm *vm;
    struct task_wait wait;
    lua_State *L = answer(req->data, &vm, &wait);
    if (!L)
        return;
    int n = 1;
    if (set->status != RESOLVE_OK) {
        n = push_failure(L, set->status);
    } else {
        lua_createtable(L, (int)set->n, 0);
        for (size_t i = 0; i < set->n; i++) {
            lua_pushlstring(L, set->v[i].p, set->v[i].n);
            lua_rawseti(L, -2, (int)i + 1);
        }
    }
    task_resume(vm, wait, n);
}

static int ask(lua_State *L, enum question q, const char *what)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, what};
    if (lua_type(L, 1) != LUA_TSTRING || !lua_objlen(L, 1))
        conv_wrong(&c, "it", q == ASK_PTR ? "an IP address" : "a name", 1);
    struct slice name = vm_slice(L, 1);
    struct ip ip;
    if (q == ASK_PTR && ip_parse(name, &ip))
        conv_wrong(&c, "it", "an IP address", 1);
    struct task_wait wait = task_wait_begin(L, what);
    if (!api->host.resolve)
        vm_fail(L, "%s: there is no DNS here", what);
    struct asking *k = mem_zalloc(sizeof *k);
    k->vm = api->vm;
    k->wait = wait;
    k->req.data = k;
    switch (q) {
    case ASK_MX:
        resolve_mx(api->host.resolve, name, &k->req, on_mx);
        break;
    case ASK_A:
        resolve_addr(api->host.resolve, name, RESOLVE_IP4, &k->req, on_addr);
        break;
    case ASK_AAAA:
        resolve_addr(api->host.resolve, name, RESOLVE_IP6, &k->req, on_addr);
        break;
    case ASK_TXT:
        resolve_txt(api->host.resolve, name, &k->req, on_text);
        break;
    case ASK_PTR:
        resolve_ptr(api->host.resolve, ip, &k->req, on_text);
        break;
    }
    return task_yield(L, wait, on_cancel, k);
}

static int dns_mx(lua_State *L)
{
    return ask(L, ASK_MX, "hato.dns.mx");
}

static int dns_a(lua_State *L)
{
    return ask(L, ASK_A, "hato.dns.a");
}

static int dns_aaaa(lua_State *L)
{
    return ask(L, ASK_AAAA, "hato.dns.aaaa");
}

static int dns_txt(lua_State *L)
{
    return ask(L, ASK_TXT, "hato.dns.txt");
}

static int dns_ptr(lua_State *L)
{
    return ask(L, ASK_PTR, "hato.dns.ptr");
}

void api_dns_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"mx", dns_mx},   {"a", dns_a},     {"aaaa", dns_aaaa},
                                         {"txt", dns_txt}, {"ptr", dns_ptr}, {0}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, "dns");
}
