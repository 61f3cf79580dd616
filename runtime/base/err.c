/* err.c - see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
        e->code = code;
    }
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char whole[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(whole, sizeof whole, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if ((size_t)n < sizeof whole)
        snprintf(whole + n, sizeof whole - (size_t)n, "%s", e->text);
    memcpy(e->text, whole, sizeof whole);
    return e->code;
}

const char *err_name(int code)
{
    switch (code) {
    case 0:
        return "ok";
    case ERR_INVAL:
        return "invalid value";
    case ERR_SYNTAX:
        return "syntax error";
    case ERR_RANGE:
        return "out of range";
    case ERR_NOTFOUND:
        return "not found";
    case ERR_EXISTS:
        return "already exists";
    case ERR_IO:
        return "input/output error";
    case ERR_FULL:
        return "disk full";
    case ERR_AGAIN:
        return "not now";
    case ERR_EOF:
        return "end of input";
    case ERR_LIMIT:
        return "limit reached";
    case ERR_CORRUPT:
        return "checksum does not match";
    case ERR_VERSION:
        return "newer format";
    case ERR_LOCKED:
        return "locked by another process";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_CANCELED:
        return "cancelled";
    case ERR_TLS:
        return "TLS failed";
    case ERR_UNSUPPORTED:
        return "not supported";
    case ERR_MISSING:
        return "value missing";
    case ERR_REFUSED:
        return "connection refused";
    case ERR_RESET:
        return "connection reset";
    }
    return "unknown error";
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EAGAIN:
        return ERR_AGAIN;
    case EINVAL:
        return ERR_INVAL;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERR_REFUSED;
    case ECONNRESET:
    case EPIPE:
        return ERR_RESET;
    }
    return ERR_IO;
}

_Noreturn void invariant_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "hato: broken invariant: %s (%s:%d)\n", expr, file, line);
    abort();
}
