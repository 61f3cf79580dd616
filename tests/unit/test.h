/* test.h - unit tests: TEST(name_that_states_behaviour) { CHECK(...); } anywhere in tests/unit/, no list to
 * keep. A failed CHECK prints file, line and values, marks the test failed and leaves it. */
#ifndef HATO_TESTS_UNIT_TEST_H
#define HATO_TESTS_UNIT_TEST_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

void test_add(const char *name, const char *file, void (*fn)(void));
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A folder of this test's own, empty at its start, removed when it passes. */
const char *test_dir(void);
/* A file under the source tree, read whole; owned by the runner until the test ends. */
struct slice test_file(const char *path_from_root);

#define TEST(name)                                                                                           \
    static void test_##name(void);                                                                           \
    __attribute__((constructor)) static void add_##name(void)                                                \
    {                                                                                                        \
        test_add(#name, __FILE__, test_##name);                                                              \
    }                                                                                                        \
    static void test_##name(void)

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            test_fail(__FILE__, __LINE__, "%s", #x);                                                         \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)
#define CHECK_INT(got, want)                                                                                 \
    do {                                                                                                     \
        long long g_ = (long long)(got), w_ = (long long)(want);                                             \
        if (g_ != w_) {                                                                                      \
            test_fail(__FILE__, __LINE__, "%s: got %lld, want %lld", #got, g_, w_);                          \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)
#define CHECK_STR(got, want)                                                                                 \
    do {                                                                                                     \
        struct slice g_ = (got), w_ = (want);                                                                \
        if (!slice_eq(g_, w_)) {                                                                             \
            test_fail(__FILE__, __LINE__, "%s:\n  got  \"%.*s\"\n  want \"%.*s\"", #got, SLICE_FMT(g_),      \
                      SLICE_FMT(w_));                                                                        \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)

#endif
