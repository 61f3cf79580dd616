/* libs.h - the libraries a script finds, and the clock, chance and order it lives in.
 *
 * Open: base, table, string, math, bit, coroutine, os and io without what reaches other programs, ffi only if
 * the operator allows it. Time and chance come from the loop, so a virtual loop gives the same numbers for
 * the same seed. load() takes text, never bytecode; debug has traceback alone.
 *
 * In a reproducible vm also: pairs and next go integers first, then strings by bytes, and refuse other keys;
 * tostring of a table, function, thread or userdata names a serial number; files are only read. */
#ifndef HATO_LUA_LIBS_H
#define HATO_LUA_LIBS_H

struct vm;

/* Fill vm->L. Called once, before any script. */
void libs_open(struct vm *vm);

#endif
