/* maildir.h - a folder of mails, one a file: new/ is what nobody has looked at, cur/ what somebody has.
 *
 * Names in cur/ end in ":2," and flags: S, done with; F as well, somebody should look. */
#ifndef HATO_MAILDIR_H
#define HATO_MAILDIR_H

#include "platform/file.h"

enum { MAILDIR_NAMES_MOST = 20000 };

struct maildir {
    struct fs *fs;
    const char *dir;
};

/* Make the folder and its three folders where they are missing. */
int maildir_make(const struct maildir *m, struct err *e);
/* One that an MTA fills: it has new/, the others are made. ERR_NOTFOUND with a sentence. */
int maildir_open(const struct maildir *m, struct err *e);

/* The first names in new/, at most MAILDIR_NAMES_MOST; freed with maildir_names_free(). */
struct maildir_names {
    char **v;
    size_t n;
};
int maildir_new_names(const struct maildir *m, struct maildir_names *out, struct err *e);
void maildir_names_free(struct maildir_names *names);

/* One mail of new/, at most so many of its bytes. ERR_NOTFOUND: somebody else took it. */
int maildir_read(const struct maildir *m, const char *name, size_t most, struct buf *out, struct err *e);
/* From new/ to cur/. ERR_NOTFOUND: somebody else did. */
int maildir_done(const struct maildir *m, const char *name, bool look, struct err *e);

/* Of cur/: what is done with and came before before_s (UTC; by its name, which begins with that) goes.
 * *look: how many mails wait for somebody to look. */
int maildir_tidy(const struct maildir *m, int64_t before_s, uint64_t *look, struct err *e);

/* How many are in new/. */
int maildir_count(const struct maildir *m, uint64_t *out, struct err *e);
/* Put a mail into new/, durable when it returns 0. unique: what no other name has. */
int maildir_put(const struct maildir *m, int64_t now_s, const char *unique, struct slice mail, struct err *e);

#endif
