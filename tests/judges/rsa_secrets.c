/* rsa_secrets.c - signs with a key that memcheck is told not to know, so that a branch or an address that
 * depends on it is reported (Langley's ctgrind).
 *
 *   valgrind --error-exitcode=9 rsa_secrets KEY.pem          signs, and compares with OpenSSL's signatures
 *   valgrind --error-exitcode=9 rsa_secrets KEY.pem leak     and looks at the key: to see that it is reported
 *
 * Exit: 0 the signatures are right, 1 they are not, 2 misuse, 77 OpenSSL signs on this processor. It is built
 * without sanitizers in every build, as memcheck needs it. */
#include "format/rsa_pair.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND               0
#define VALGRIND_MAKE_MEM_UNDEFINED(p, n) ((void)(p), (void)(n))
#define VALGRIND_MAKE_MEM_DEFINED(p, n)   ((void)(p), (void)(n))
#endif

static int sign_openssl(EVP_PKEY *pkey, const uint8_t digest[RSA_PAIR_DIGEST], uint8_t out[RSA_PAIR_BYTES])
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    size_t n = RSA_PAIR_BYTES;
    int ok = c && EVP_PKEY_sign_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
             EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 &&
             EVP_PKEY_sign(c, out, &n, digest, RSA_PAIR_DIGEST) == 1;
    EVP_PKEY_CTX_free(c);
    return ok;
}

int main(int argc, char **argv)
{
    uint8_t digest[2][RSA_PAIR_DIGEST] = {{1}, {2}}, got[2][RSA_PAIR_BYTES], want[RSA_PAIR_BYTES];
    FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
    EVP_PKEY *pkey = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    if (f)
        fclose(f);
    if (!pkey || !RUNNING_ON_VALGRIND) {
        fprintf(stderr, "usage: valgrind rsa_secrets KEY.pem [leak]\n");
        return 2;
    }
    struct rsa_pair_key *key = rsa_pair_key_new(pkey);
    if (!key) {
        EVP_PKEY_free(pkey);
        return 77;
    }
    size_t nkey = malloc_usable_size(key);
    const struct rsa_pair_key *const pair[2] = {key, key};
    VALGRIND_MAKE_MEM_UNDEFINED(key, nkey);
    unsigned made = rsa_pair_sign(pair, (const uint8_t(*)[RSA_PAIR_DIGEST])digest, got);
    if (argc > 2 && *(const volatile char *)key & 1)
        fprintf(stderr, "the first bit is set\n");
    /* Signatures, and whether they are right, are for everybody. */
    VALGRIND_MAKE_MEM_DEFINED(key, nkey);
    VALGRIND_MAKE_MEM_DEFINED(&made, sizeof made);
    VALGRIND_MAKE_MEM_DEFINED(got, sizeof got);
    int wrong = made != 3;
    for (int i = 0; i < 2; i++)
        wrong |= !sign_openssl(pkey, digest[i], want) || memcmp(want, got[i], sizeof want) != 0;
    rsa_pair_key_free(key);
    EVP_PKEY_free(pkey);
    return wrong;
}
