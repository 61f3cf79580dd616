/* dkim_published.h - is the TXT record of a selector the key on disk (RFC 6376 3.6.1, RFC 8463 4). */
#ifndef HATO_FORMAT_DKIM_PUBLISHED_H
#define HATO_FORMAT_DKIM_PUBLISHED_H

#include "format/dkim.h"

enum dkim_published {
    DKIM_PUBLISHED,         /* it is this key */
    DKIM_PUBLISHED_OTHER,   /* it is another key, or another type of key */
    DKIM_PUBLISHED_REVOKED, /* p= is empty */
    DKIM_PUBLISHED_UNFIT,   /* this key, and h= or s= forbid what it is for */
    DKIM_PUBLISHED_NO_KEY,  /* no key record at all */
};
struct dkim_look {
    enum dkim_published is;
    bool testing; /* t=y: receivers treat the mail as if it were not signed */
};
/* record: the strings of one TXT record, joined. */
struct dkim_look dkim_published_look(struct slice record, const struct dkim_key *key);

#endif
