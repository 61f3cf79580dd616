/* vm_test.c - the state a script lives in: what it finds, what it may not, and how its errors read. */
#include "script.h"
#include "test.h"

#include <lauxlib.h>

static const struct script SIM = {.reproducible = true, .budget = 50000000};

TEST(a_script_error_names_file_line_and_the_way_there)
{
    CHECK_SAYS("local function inner(t)\n"
               "  return t.x.y\n"
               "end\n"
               "local function outer()\n"
               "  local v = inner({})\n"
               "  return v\n"
               "end\n"
               "outer()\n",
               "dir/init.lua:2: attempt to index field 'x' (a nil value)\n"
               "    from dir/init.lua:5\n"
               "    from dir/init.lua:8");
    CHECK_SAYS("x = = 1\n", "dir/init.lua:1: unexpected symbol near '='");
    CHECK_SAYS("error({})\n", "a script raised a table instead of a text\n    from dir/init.lua:1");
    CHECK_SAYS("error(setmetatable({}, { __tostring = function() return 'named' end }))\n",
               "named\n    from dir/init.lua:1");
}

TEST(a_mark_and_a_first_line_for_the_shell_are_left_out_and_lines_still_count)
{
    CHECK_SAYS("\xef\xbb\xbf#!/usr/bin/env -S hato run\nprint(1)\nerror 'here'\n", "1\ndir/init.lua:3: here");
}

TEST(bytecode_is_refused_everywhere)
{
    CHECK_SAYS("print(loadstring(string.dump(function() end)))\n"
               "print(type(load(function() return nil end)))\n"
               "print(load(string.dump(function() end), 'x', 'b'))\n"
               "print((load('return a', 'x', 't', { a = 5 }))())\n",
               "nil\tattempt to load chunk with wrong mode\nfunction\n"
               "nil\tattempt to load chunk with wrong mode\n5\n");
}

TEST(require_finds_what_ships_and_what_lies_beside_the_script)
{
    struct script s = {0};
    script_file(&s, "dir/helper.lua", "local M = { name = ... }\nreturn M\n");
    script_file(&s, "dir/deep.lua", "return require 'helper'.name\n");
    struct buf b =
        script_says(&s, "print(require 'helper'.name, require 'deep', require 'helper' == require 'helper')\n"
                        "print(type(require 'hato'), require 'string' == string)\n");
    CHECK_STR(buf_slice(&b), S("helper\thelper\ttrue\ntable\ttrue\n"));
    buf_free(&b);
    CHECK_SAYS(
        "require 'helpr'\n",
        "dir/init.lua:1: no module \"helpr\": it does not come with hato, and there is no dir/helpr.lua "
        "and no dir/helpr/init.lua");
    CHECK_SAYS("\nrequire '..secret'\n",
               "dir/init.lua:2: no module \"..secret\": a name is words joined by dots");
    CHECK_SAYS("require '/etc/passwd'\n",
               "dir/init.lua:1: no module \"/etc/passwd\": a name is words joined by dots");
}

TEST(a_module_that_requires_itself_or_fails_says_so)
{
    struct script s = {0};
    script_file(&s, "dir/a.lua", "local b = require 'b'\nreturn b\n");
    script_file(&s, "dir/b.lua", "local a = require 'a'\nreturn a\n");
    script_file(&s, "dir/c.lua", "local x = nil\nreturn x.y\n");
    struct buf b = script_says(
        &s, "print(pcall(require, 'a'))\nprint(pcall(require, 'c'))\nprint(pcall(require, 'c'))\n");
    CHECK_STR(buf_slice(&b),
              S("false\tdir/b.lua:1: module \"a\" requires itself, straight or through another\n"
                "false\tdir/c.lua:2: attempt to index local 'x' (a nil value)\n"
                "false\tdir/c.lua:2: attempt to index local 'x' (a nil value)\n"));
    buf_free(&b);
}

TEST(what_reaches_other_programs_is_closed_unless_the_operator_opens_it)
{
    const char *look = "print(os.execute, io.popen, pcall(require, 'ffi'))\n";
    CHECK_SAYS(look, "nil\tnil\tfalse\tdir/init.lua:1: no module \"ffi\": it does not come with hato, and "
                     "there is no dir/ffi.lua and "
                     "no dir/ffi/init.lua\n");
    CHECK_SAYS_IN((struct script){.unsafe = true},
                  "print(type(os.execute), type(io.popen), type(require 'ffi'.cdef))\n",
                  "function\tfunction\tfunction\n");
    CHECK_SAYS("print(os.exit, os.setlocale, loadfile, dofile, package, jit, debug.sethook, newproxy)\n"
               "print((pcall(require, 'jit')), type(debug.traceback), bit.bor(1, 2))\n",
               "nil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\n"
               "false\tfunction\t3\n");
}

TEST(time_and_chance_come_from_the_loop)
{
    CHECK_SAYS("print(os.time(), os.date('%Y-%m-%d %H:%M:%S'), os.date('!%F %T %z', 0), os.clock())\n"
               "print(os.time { year = 2026, month = 7, day = 1, hour = 0 }, os.date('*t').wday)\n"
               "print(os.time { year = 2026, month = 14, day = -3 })\n",
               "1782864000\t2026-07-01 00:00:00\t1970-01-01 00:00:00 +0000\t0\n"
               "1782864000\t4\n"
               "1801137600\n");
    CHECK_SAYS("os.date('%Q')\n", "dir/init.lua:1: os.date: no conversion %Q");
    CHECK_SAYS("os.time {}\n", "dir/init.lua:1: os.time: the table has no day");
    CHECK_SAYS("os.time { year = 1e300, month = 1, day = 1 }\n",
               "dir/init.lua:1: os.time: no year is 1e+300");
    CHECK_SAYS("os.date('%Y', 0/0)\n", "dir/init.lua:1: os.date: nan is no time");
    const char *roll =
        "math.randomseed(1)\n"
        "local t = {}\n"
        "for i = 1, 20 do t[i] = math.random(1, 6) .. ' ' .. math.random(3) .. ' ' .. math.random() end\n"
        "print(table.concat(t, ','))\n";
    struct script one = {.seed = 7}, two = {.seed = 7}, other = {.seed = 8};
    struct buf a = script_says(&one, roll), b = script_says(&two, roll), c = script_says(&other, roll);
    bool same = slice_eq(buf_slice(&a), buf_slice(&b)), differs = !slice_eq(buf_slice(&a), buf_slice(&c));
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
    CHECK(same);
    CHECK(differs);
    CHECK_SAYS(
        "for i = 1, 1000 do local n = math.random(-2, 2) assert(n >= -2 and n <= 2 and n % 1 == 0) end\n"
        "for i = 1, 1000 do local n = math.random() assert(n >= 0 and n < 1) end\n"
        "print(math.random(4, 4))\n"
        "math.random(0)\n",
        "4\ndir/init.lua:4: math.random: there is no whole number from 1 to 0");
}

/* Trap: the order of pairs() differs between runs, since LuaJIT's string hashes do. */
TEST(pairs_and_next_have_one_order_in_a_reproducible_vm)
{
    CHECK_SAYS_IN(
        SIM,
        "local t = { zeta = 1, alpha = 2, ['あ'] = 3, [10] = 'x', [2] = 'y', [-1] = 'z', [1.5] = 'w', "
        "Alpha = 4 }\n"
        "local out = {}\n"
        "for k, v in pairs(t) do out[#out + 1] = k .. '=' .. v end\n"
        "print(table.concat(out, ' '))\n"
        "local k, v, n = nil, nil, {}\n"
        "repeat k, v = next(t, k) n[#n + 1] = tostring(k) until k == nil\n"
        "print(table.concat(n, ' '), next({}))\n",
        "-1=z 1.5=w 2=y 10=x Alpha=4 alpha=2 zeta=1 あ=3\n"
        "-1 1.5 2 10 Alpha alpha zeta あ nil\tnil\n");
    CHECK_SAYS_IN(
        SIM, "for k in pairs({ [true] = 1 }) do end\n",
        "dir/init.lua:1: pairs: a key that is a boolean has no order that is the same in every run");
    CHECK_SAYS_IN(
        SIM, "next({ [print] = 1 })\n",
        "dir/init.lua:1: next: a key that is a function has no order that is the same in every run");
    /* Clearing fields while going over them is Lua's own promise. */
    CHECK_SAYS_IN(SIM,
                  "local t, n = { a = 1, b = 2, c = 3 }, 0\n"
                  "for k in pairs(t) do t[k] = nil t.c = nil n = n + 1 end\n"
                  "print(n, next(t))\n",
                  "2\tnil\n");
}

TEST(names_of_tables_are_serial_numbers_in_a_reproducible_vm)
{
    CHECK_SAYS_IN(
        SIM,
        "local a, b = {}, function() end\n"
        "print(a, b, a)\n"
        "print(('%s %d %s %%'):format(b, 3, a), tostring(nil), tostring(true), tostring(1.5))\n"
        "print(setmetatable({}, { __tostring = function() return 'mine' end }))\n"
        "print(pcall(string.format, '%p', a))\n",
        "table: 1\tfunction: 2\ttable: 1\n"
        "function: 2 3 table: 1 %\tnil\ttrue\t1.5\n"
        "mine\n"
        "false\tdir/init.lua:5: string.format: %p prints an address, which is another one in every run\n");
}

TEST(a_reproducible_vm_writes_no_file)
{
    CHECK_SAYS_IN(SIM,
                  "print(os.remove, os.tmpname, io.output, io.open('/no/such/file'))\nio.open('x', 'w')\n",
                  "nil\tnil\tnil\tnil\t/no/such/file: No such file or directory\t2\n"
                  "dir/init.lua:2: io.open: nothing is written in a simulation");
}

/* Trap: a count hook never fires inside a JIT-compiled loop; a budget turns the JIT off. */
TEST(an_endless_loop_is_a_named_error_under_a_budget)
{
    CHECK_SAYS_IN(
        SIM, "local n = 0\nwhile true do\n  n = n + 1\nend\n",
        "dir/init.lua:3: dir/init.lua ran 50 million instructions without waiting: an endless loop?");
    CHECK_SAYS_IN(
        SIM, "while true do pcall(function() while true do end end) end\n",
        "dir/init.lua:1: dir/init.lua ran 50 million instructions without waiting: an endless loop?");
    CHECK_SAYS_IN(
        SIM, "local co = coroutine.wrap(function() while true do end end)\nco()\n",
        "dir/init.lua:2: dir/init.lua:1: dir/init.lua ran 50 million instructions without waiting: an "
        "endless loop?");
}

TEST(sorted_keys_come_in_byte_order)
{
    struct script s = {0};
    script_run(&s, "");
    lua_State *L = s.vm->L;
    lua_newtable(L);
    static const char *const keys[] = {"b", "a", "ab", "Z", "あ", ""};
    for (size_t i = 0; i < COUNT(keys); i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, keys[i]);
    }
    lua_pushboolean(L, 1);
    lua_rawseti(L, -2, 1);
    int n = vm_sorted_keys(L, -1);
    struct buf b = {0};
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        buf_printf(&b, "%s,", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    bool right = slice_eq(buf_slice(&b), S(",Z,a,ab,b,あ,"));
    buf_free(&b);
    script_end(&s);
    CHECK(right);
}
