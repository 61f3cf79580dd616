/* test.c - runs every TEST, or those whose name or file contains one of the arguments. Last line: N passed, N
 * failed. */
#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

struct test {
    const char *name, *file;
    void (*fn)(void);
};
static struct test tests[4096];
static int ntests;
static bool failed;
static char dir[256];
static void *files[64];
static int nfiles;

void test_add(const char *name, const char *file, void (*fn)(void))
{
    if (ntests == (int)COUNT(tests)) {
        fprintf(stderr, "too many tests\n");
        abort();
    }
    tests[ntests++] = (struct test){name, file, fn};
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    failed = true;
    fprintf(stderr, "  %s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

const char *test_dir(void)
{
    if (!dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/hato-unit.XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(dir)) {
            perror(dir);
            abort();
        }
    }
    return dir;
}

struct slice test_file(const char *path)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/%s", TEST_ROOT, path);
    FILE *f = fopen(whole, "rb");
    if (!f) {
        perror(whole);
        abort();
    }
    struct buf b = {0};
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)))
        buf_add(&b, chunk, n);
    fclose(f);
    buf_cstr(&b);
    if (nfiles == (int)COUNT(files))
        abort();
    files[nfiles++] = b.p;
    return buf_slice(&b);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

int main(int argc, char **argv)
{
    int passed = 0, bad = 0;
    for (int i = 0; i < ntests; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strstr(tests[i].name, argv[a]) || strstr(tests[i].file, argv[a]);
        if (!wanted)
            continue;
        failed = false;
        dir[0] = 0;
        tests[i].fn();
        while (nfiles)
            free(files[--nfiles]);
        if (dir[0] && !failed)
            nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (failed)
            fprintf(stderr, "FAILED %s\n", tests[i].name);
        *(failed ? &bad : &passed) += 1;
    }
    printf("%d passed, %d failed\n", passed, bad);
    return bad ? 1 : 0;
}
