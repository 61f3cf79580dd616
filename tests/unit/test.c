/* test.c - runs every TEST, or those whose name or file contains one of the arguments:
 *   unit [-j PROCESSES] [NAME...]
 * -j: so many processes, each of which takes the next test when it is done with one. Last line: N passed, N
 * failed. */
#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MOST = 64 };

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

/* Where the processes meet. */
struct board {
    atomic_int next, passed, bad;
    int at[PROCESSES_MOST]; /* the test that each is in */
};

static bool wanted(const struct test *t, char **names)
{
    bool is = !*names;
    for (; *names; names++)
        is |= strstr(t->name, *names) || strstr(t->file, *names);
    return is;
}

static void run_tests(struct board *b, int process, char **names)
{
    int i;
    while ((i = atomic_fetch_add(&b->next, 1)) < ntests) {
        if (!wanted(&tests[i], names))
            continue;
        b->at[process] = i;
        failed = false;
        dir[0] = 0;
        tests[i].fn();
        while (nfiles)
            free(files[--nfiles]);
        if (dir[0] && !failed)
            nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (failed)
            fprintf(stderr, "FAILED %s\n", tests[i].name);
        atomic_fetch_add(failed ? &b->bad : &b->passed, 1);
    }
}

/* One that is ended by a signal, or that a sanitizer has something to say about, is a failure. */
static void run_beside(struct board *b, int processes, char **names)
{
    pid_t pids[PROCESSES_MOST];
    for (int p = 0; p < processes; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            run_tests(b, p, names);
            exit(0);
        }
        if (pids[p] < 0) {
            perror("fork");
            abort();
        }
    }
    for (int p = 0; p < processes; p++) {
        int status = 0;
        if (waitpid(pids[p], &status, 0) == pids[p] && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        fprintf(stderr, "FAILED a process that ended with %s %d; its last test was %s\n",
                WIFSIGNALED(status) ? "signal" : "code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), tests[b->at[p]].name);
        atomic_fetch_add(&b->bad, 1);
    }
}

int main(int argc, char **argv)
{
    int processes = 1;
    char **names = argv + 1;
    if (*names && strcmp(*names, "-j") == 0) {
        processes = names[1] ? atoi(names[1]) : 0;
        if (processes < 1 || processes > PROCESSES_MOST) {
            fprintf(stderr, "usage: unit [-j PROCESSES] [NAME...], 1 to %d of them\n", PROCESSES_MOST);
            return 2;
        }
        names += 2;
    }
    struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* lines of several processes stay whole */
    if (processes == 1)
        run_tests(b, 0, names);
    else
        run_beside(b, processes, names);
    printf("%d passed, %d failed\n", b->passed, b->bad);
    return b->bad ? 1 : 0;
}
