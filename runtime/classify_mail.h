/* classify_mail.h - `hato classify --mail`: what returned mails say, file by file. */
#ifndef HATO_CLASSIFY_MAIL_H
#define HATO_CLASSIFY_MAIL_H

#include "base/mem.h"
#include "format/returned.h"
#include "platform/file.h"

/* One object without its line end: file, format, recipients (recipient, action, status, code, phase, class,
 * kind, rule, text; null: not known). */
void classify_mail_json(const char *file, const struct returned *r, struct buf *out);
/* The same in lines for people. */
void classify_mail_text(const char *file, const struct returned *r, struct buf *out);

/* Read each file and write to stdout. A file that cannot be read or is too large is named on stderr and the
 * others go on. Returns the exit code: 1 if there was such a file or stdout failed. */
int classify_mails(struct fs *fs, const char *const *files, size_t n, bool json);

#endif
