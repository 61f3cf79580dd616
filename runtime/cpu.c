/* cpu.c - see cpu.h. */
#include "cpu.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

void cpu_prefer_fast_rsa(char **argv)
{
#ifdef __x86_64__
    /* Zen 4 is of the same family, and has AVX-512 code that beats both. */
    if (getenv("OPENSSL_ia32cap") || !__builtin_cpu_is("amdfam19h") || !__builtin_cpu_supports("avx2") ||
        __builtin_cpu_supports("avx512ifma"))
        return;
    char self[PATH_MAX]; /* by its own path: a process is called by what was executed */
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0 || setenv("OPENSSL_ia32cap", ":~0x80000", 1)) /* no ADX */
        return;
    self[n] = '\0';
    execv(self, argv);
#endif
}
