/* err.h - error codes and the one error object that people get to read.
 *
 * A function that can fail returns 0 or a negative ERR_*; the result goes through an out-pointer that is
 * untouched on error. Where a person will read the failure, a struct err carries a sentence that names the
 * file, line, value and what would be right. A remote 4xx or 5xx is a verdict, never an error. */
#ifndef HATO_BASE_ERR_H
#define HATO_BASE_ERR_H

#include <stddef.h>

enum err_code {
    ERR_INVAL = -1,    /* a value is not allowed */
    ERR_SYNTAX = -2,   /* bytes that do not follow their format */
    ERR_RANGE = -3,    /* a number out of its range */
    ERR_NOTFOUND = -4, /* no such file, name or key */
    ERR_EXISTS = -5,   /* already there */
    ERR_IO = -6,       /* the operating system refused; text has its words */
    ERR_FULL = -7,     /* disk full or quota */
    ERR_AGAIN = -8,    /* nothing now, ask later */
    ERR_EOF = -9,      /* the other side ended */
    ERR_LIMIT = -10,   /* a budget or bound of ours was reached */
    ERR_CORRUPT = -11, /* stored bytes do not match their checksum */
    ERR_VERSION = -12, /* a newer format than this program knows */
    ERR_LOCKED = -13,  /* another process holds it */
    ERR_TIMEOUT = -14,
    ERR_CANCELED = -15,
    ERR_TLS = -16,
    ERR_UNSUPPORTED = -17, /* well-formed, but not something we do */
    ERR_MISSING = -18,     /* a value that is needed is absent */
    ERR_REFUSED = -19,     /* connection refused or unreachable */
    ERR_RESET = -20,       /* connection reset */
};

struct err {
    int code; /* 0 or ERR_* */
    char text[504];
};

/* Fill e (may be NULL) and return code, so that `return err_set(e, ERR_INVAL, "...")` reads as one line. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put words in front of the text that e already has: "people.csv:7: " + text. Returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "not found", "disk full" ... Never NULL. */
const char *err_name(int code);

/* ERR_* for an errno value: ENOSPC and EDQUOT are ERR_FULL, ENOENT is ERR_NOTFOUND, and so on. */
int err_from_errno(int errnum);

/* Stays on in release. What it checks is a promise of the program to itself; when it fails, going on could
 * lose or double mail, so the process stops with file, line and expression (the spool makes that safe). */
#define INVARIANT(x) ((x) ? (void)0 : invariant_failed(#x, __FILE__, __LINE__))
_Noreturn void invariant_failed(const char *expr, const char *file, int line);

#endif
