/* smtp_command.h - a command line of SMTP as its receiver reads it (RFC 5321 4.1.1; 3207, 3030 for STARTTLS
 * and BDAT). All results point into the line. */
#ifndef HATO_FORMAT_SMTP_COMMAND_H
#define HATO_FORMAT_SMTP_COMMAND_H

#include "base/mem.h"

enum smtp_verb {
    SMTP_VERB_NONE, /* not a command */
    SMTP_VERB_EHLO,
    SMTP_VERB_HELO,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_BDAT,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_VRFY,
    SMTP_VERB_HELP,
    SMTP_VERB_QUIT,
};

/* line: without its end; blanks around it and in front of args are passed over. */
enum smtp_verb smtp_command_read(struct slice line, struct slice *args);

/* "FROM:<a@b> SIZE=1" with the keyword "FROM:": what stands between the brackets, which may be empty, and the
 * parameters behind. A bracket in a quoted local part is not the end. ERR_SYNTAX: no such path. */
int smtp_path_read(struct slice args, struct slice keyword, struct slice *path, struct slice *params);

/* The parameters of MAIL. */
struct smtp_mail_params {
    bool has_size, body, dsn, smtputf8; /* RFC 1870; 6152; 3461; 6531 */
    uint64_t size_bytes;
    bool unknown; /* one is none of these, or its value cannot be read */
};
struct smtp_mail_params smtp_mail_params_read(struct slice params);

/* BDAT's "1000 LAST" (RFC 3030 2). ERR_SYNTAX: how many bytes follow is not known. */
int smtp_chunk_read(struct slice args, uint64_t *bytes, bool *last);

#endif
