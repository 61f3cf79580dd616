/* verp.c - see verp.h. */
#include "format/verp.h"
#include "base/err.h"
#include "format/codec.h"

#include <sodium.h>
#include <stdlib.h>

enum kind { RETURN_PATH = 1, MESSAGE_ID = 2 };

enum {
    MAC_BYTES = 10,
    ID_BYTES_MAX = 8,
    DOMAIN_MAX = 255,
    TEXT_MAX = (1 + ID_BYTES_MAX + MAC_BYTES) * 8 / 5 + 1,
};

/* head: kind, key number and message id as they stand in the address. */
static void mac_of(const struct verp_key *key, const unsigned char *head, size_t nhead, struct slice domain,
                   unsigned char out[MAC_BYTES])
{
    unsigned char text[1 + ID_BYTES_MAX + DOMAIN_MAX], whole[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    size_t n = nhead;

    INVARIANT(nhead <= 1 + ID_BYTES_MAX && domain.n <= DOMAIN_MAX);
    memcpy(text, head, nhead);
    for (size_t i = 0; i < domain.n; i++)
        text[n++] = (unsigned char)ascii_lower(domain.p[i]);
    crypto_auth_hmacsha256_init(&state, key->secret, sizeof key->secret);
    crypto_auth_hmacsha256_update(&state, text, n);
    crypto_auth_hmacsha256_final(&state, whole);
    sodium_memzero(&state, sizeof state);
    memcpy(out, whole, MAC_BYTES);
}

static void put(const struct verp_key *key, enum kind kind, uint64_t message_id, struct slice domain,
                struct buf *out)
{
    unsigned char bytes[1 + ID_BYTES_MAX + MAC_BYTES];
    size_t n = 0;

    INVARIANT(key->number < 16);
    bytes[n++] = (unsigned char)(kind << 4 | key->number);
    for (int shift = 56; shift >= 0; shift -= 8)
        if (n > 1 || message_id >> shift)
            bytes[n++] = (unsigned char)(message_id >> shift);
    mac_of(key, bytes, n, domain, bytes + n);
    codec_base32_lower(out, slice_of(bytes, n + MAC_BYTES));
    buf_addc(out, '@');
    buf_adds(out, domain);
}

static int parse(const struct verp_key *key, enum kind kind, struct slice text, struct slice domain,
                 uint64_t *message_id)
{
    struct buf b = {0};
    const unsigned char *bytes;
    unsigned char mac[MAC_BYTES];
    uint64_t id = 0;
    size_t head;
    int rc = ERR_SYNTAX;

    if (text.n > TEXT_MAX || domain.n > DOMAIN_MAX)
        goto out;
    if (codec_unbase32(text, &b) || b.n < 1 + MAC_BYTES)
        goto out;
    bytes = (const unsigned char *)b.p;
    head = b.n - MAC_BYTES;
    if (head > 1 + ID_BYTES_MAX || bytes[0] >> 4 != (int)kind || (head > 1 && bytes[1] == 0))
        goto out;
    rc = ERR_NOTFOUND;
    if ((bytes[0] & 15) != key->number)
        goto out;
    rc = ERR_CORRUPT;
    mac_of(key, bytes, head, domain, mac);
    if (sodium_memcmp(mac, bytes + head, MAC_BYTES))
        goto out;
    for (size_t i = 1; i < head; i++)
        id = id << 8 | bytes[i];
    *message_id = id;
    rc = 0;
out:
    buf_free(&b);
    return rc;
}

void verp_make(const struct verp_key *key, uint64_t message_id, struct slice domain, struct buf *out)
{
    buf_adds(out, S("b-"));
    put(key, RETURN_PATH, message_id, domain, out);
}

int verp_parse(const struct verp_key *key, struct slice local, struct slice domain, uint64_t *message_id)
{
    if (!slice_istarts(local, S("b-")))
        return ERR_SYNTAX;
    return parse(key, RETURN_PATH, slice_of(local.p + 2, local.n - 2), domain, message_id);
}

void verp_message_id(const struct verp_key *key, uint64_t message_id, struct slice domain, struct buf *out)
{
    put(key, MESSAGE_ID, message_id, domain, out);
}

int verp_parse_message_id(const struct verp_key *key, struct slice left, struct slice right,
                          uint64_t *message_id)
{
    return parse(key, MESSAGE_ID, left, right, message_id);
}
