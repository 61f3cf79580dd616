/* dkim_published.c - see dkim_published.h. */
#include "format/dkim_published.h"

/* A tag of the list; absent: false. Names keep their case, blanks around both sides do not count. */
static bool find_tag(struct slice record, const char *name, struct slice *out)
{
    for (struct slice rest = record; rest.n;) {
        struct slice tag = slice_cut(rest, ';', &rest), value;
        ptrdiff_t eq = slice_find(tag, S("="));
        if (eq < 0)
            continue;
        value = slice_trim(slice_of(tag.p + eq + 1, tag.n - (size_t)eq - 1));
        if (slice_eq(slice_trim(slice_of(tag.p, (size_t)eq)), slice_cstr(name))) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* "sha1:sha256" has word, or *. */
static bool list_has(struct slice list, struct slice word)
{
    while (list.n) {
        struct slice item = slice_trim(slice_cut(list, ':', &list));
        if (slice_ieq(item, word) || slice_eq(item, S("*")))
            return true;
    }
    return false;
}

/* Base64, in which white space may stand anywhere. */
static bool same_bytes(struct slice a, struct slice b)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a.n && memchr(" \t\r\n", a.p[i], 4))
            i++;
        while (j < b.n && memchr(" \t\r\n", b.p[j], 4))
            j++;
        if (i == a.n || j == b.n)
            return i == a.n && j == b.n;
        if (a.p[i++] != b.p[j++])
            return false;
    }
}

struct dkim_look dkim_published_look(struct slice record, const struct dkim_key *key)
{
    struct dkim_look look = {.is = DKIM_PUBLISHED_NO_KEY};
    struct slice v, p, k = S("rsa"), own, h, s, t;
    struct buf ours = {0};
    if (!find_tag(record, "p", &p) || (find_tag(record, "v", &v) && !slice_eq(v, S("DKIM1"))))
        return look;
    look.testing = find_tag(record, "t", &t) && list_has(t, S("y"));
    find_tag(record, "k", &k);
    bool same_type = slice_ieq(k, key->type == DKIM_RSA ? S("rsa") : S("ed25519"));
    if (!p.n)
        look.is = DKIM_PUBLISHED_REVOKED;
    else if (dkim_record(key, &ours) || !find_tag(buf_slice(&ours), "p", &own) || !same_type ||
             !same_bytes(p, own))
        look.is = DKIM_PUBLISHED_OTHER;
    else if ((find_tag(record, "h", &h) && !list_has(h, S("sha256"))) ||
             (find_tag(record, "s", &s) && !list_has(s, S("email"))))
        look.is = DKIM_PUBLISHED_UNFIT;
    else
        look.is = DKIM_PUBLISHED;
    buf_free(&ours);
    return look;
}
