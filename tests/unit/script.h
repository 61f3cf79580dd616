/* script.h - a script's whole life in one call, for tests: on a virtual loop, from files in memory.
 *
 *   struct script s = {.reproducible = true};
 *   script_run(&s, "print(1)\n");
 *   CHECK_STR(buf_slice(&s.out), S("1\n"));
 *   script_end(&s); */
#ifndef HATO_TESTS_UNIT_SCRIPT_H
#define HATO_TESTS_UNIT_SCRIPT_H

#include "lua/api.h"
#include "lua/vm.h"
#include "platform/loop.h"

struct script {
    /* before: as vm_options */
    uint64_t seed;
    bool reproducible, unsafe;
    int64_t budget;
    bool api;                          /* with `hato`, not only the language */
    struct api_host host;              /* for it */
    int64_t run_ms;                    /* of virtual time at most; 0: an hour */
    struct api_arg arg;                /* one of its hato.args; name empty: none */
    void (*prepare)(struct script *s); /* the vm is there, nothing has run */
    void (*cleanup)(struct script *s); /* the vm is gone, the loop is there */
    /* during and after */
    struct loop *loop;
    struct loop_timer stop;
    struct fs *fs;
    struct vm *vm;
    struct conf *conf; /* sealed when the main file has ended well */
    struct api *hato;
    struct buf out, log; /* printed and logged lines */
    bool done;           /* the main file ended */
    int status;
    struct buf error;
};

/* A file for the script to find; before or in prepare. */
void script_file(struct script *s, const char *path, const char *text);
/* Run text as dir/init.lua until nothing can happen any more, or run_ms have passed. */
void script_run(struct script *s, const char *text);
/* The same, ended; returns what it printed, or its error. Owned by the caller. */
struct buf script_says(struct script *s, const char *text);
void script_end(struct script *s);

/* CHECK_SAYS("print(1)", "1\n"): run in a fresh vm, compare what it printed or its error. */
#define CHECK_SAYS_IN(script_options, text, want)                                                            \
    do {                                                                                                     \
        struct script s_ = script_options;                                                                   \
        struct buf b_ = script_says(&s_, text);                                                              \
        bool same_ = slice_eq(buf_slice(&b_), slice_cstr(want));                                             \
        if (!same_)                                                                                          \
            test_fail(__FILE__, __LINE__, "script:\n%s\n  got  \"%s\"\n  want \"%s\"", text, buf_cstr(&b_),  \
                      want);                                                                                 \
        buf_free(&b_);                                                                                       \
        if (!same_)                                                                                          \
            return;                                                                                          \
    } while (0)
#define CHECK_SAYS(text, want) CHECK_SAYS_IN((struct script){0}, text, want)

#endif
