/* rsa_pair.h - two RSA-2048 signatures in the time of one: PKCS#1 v1.5 over SHA-256 (RFC 8017 8.2).
 *
 * Four half exponentiations (mod p and mod q of two messages) run side by side in the four lanes of AVX2.
 * Two messages may have different keys, or the same. Bytes in, bytes out: the result is OpenSSL's to the
 * bit, and where the processor or the key is of another kind there is no rsa_pair_key and OpenSSL signs.
 *
 * Constant time: no branch and no address depends on a secret (tests/e2e/test_secrets.py runs it under
 * memcheck with the key marked undefined). What is left of a key on the stack is wiped. Each signature is
 * raised to e again before it leaves, so that a fault of the machine cannot give the factors away (Boneh,
 * DeMillo, Lipton: On the Importance of Checking Cryptographic Protocols for Faults). */
#ifndef HATO_FORMAT_RSA_PAIR_H
#define HATO_FORMAT_RSA_PAIR_H

#include <stdint.h>

struct evp_pkey_st;

enum { RSA_PAIR_BYTES = 256, RSA_PAIR_DIGEST = 32 };

/* Immutable: any number of threads may sign with it. */
struct rsa_pair_key;

/* NULL: not an RSA key of 2048 bits with two primes of 1024 bits and e = 65537, or the processor lacks AVX2
 * or FMA. pkey is read, not kept. */
struct rsa_pair_key *rsa_pair_key_new(struct evp_pkey_st *pkey);
void rsa_pair_key_free(struct rsa_pair_key *key); /* wipes it; NULL is fine */

/* Sign digest[i] with key[i]. Returns a set bit i (1, 2) for each that came out right; a signature whose bit
 * is missing is all zero, and OpenSSL has to make it. */
unsigned rsa_pair_sign(const struct rsa_pair_key *const key[2], const uint8_t digest[2][RSA_PAIR_DIGEST],
                       uint8_t signature[2][RSA_PAIR_BYTES]);

/* The bare operation: out[i] = in[i]^d mod n, big-endian; in[i] may be any number of 2048 bits. Returns as
 * above. */
unsigned rsa_pair_raw(const struct rsa_pair_key *const key[2], const uint8_t in[2][RSA_PAIR_BYTES],
                      uint8_t out[2][RSA_PAIR_BYTES]);

#endif
