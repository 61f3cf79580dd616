/* secret.h - the 32 bytes of a state folder from which its keys come: STATE/secret, mode 0600. Who has them
 * can make return paths that hato believes. */
#ifndef HATO_DELIVERY_SECRET_H
#define HATO_DELIVERY_SECRET_H

#include "delivery/message.h"
#include "platform/file.h"
#include "platform/loop.h"

/* ERR_NOTFOUND: the folder has none; ERR_CORRUPT with a sentence. */
int secret_read(struct fs *fs, const char *state, struct secret *out, struct err *e);
/* The same; made, from the loop's randomness, where there is none. The caller has the folder's lock. */
int secret_load(struct fs *fs, const char *state, struct loop *loop, struct secret *out, struct err *e);

#endif
