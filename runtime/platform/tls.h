/* tls.h - TLS on a connection: OpenSSL over conn's own buffers.
 *
 * STARTTLS (RFC 3207 6, CVE-2011-0411): plaintext that arrived before the handshake must not be read after
 * it. conn keeps none: a byte is either handed out in on_data, where the caller forgets all of it when it
 * starts TLS, or it arrives later and then breaks the handshake. So: drop what your parser still holds, then
 * start.
 *
 * From conn_start_tls_*() on, conn_write() waits for the handshake, and on_data gives decrypted bytes only.
 * The handshake has no clock of its own: close the connection when it lasts too long. */
#ifndef HATO_PLATFORM_TLS_H
#define HATO_PLATFORM_TLS_H

#include "platform/conn.h"

struct tls_client;
struct tls_server;
struct tls_session;

struct tls_info {
    struct slice version; /* "TLSv1.3" */
    struct slice cipher;  /* "TLS_AES_256_GCM_SHA384" */
    bool resumed;
    bool verified;      /* chain and name, and only where the client was given authorities */
    struct slice error; /* when it failed: "the server sent an alert: handshake failure" ... */
};

/* Opportunistic: any certificate will do. ca_file: PEM of the authorities that make `verified` true; NULL:
 * none. No certificate ever stops a handshake here; who needs one looks at verified. TLS 1.2 at least. */
int tls_client_new(const char *ca_file, struct tls_client **out, struct err *e);
void tls_client_free(struct tls_client *t);

/* A certificate chain (leaf first) and its key as PEM. */
int tls_server_new(struct slice cert_pem, struct slice key_pem, struct tls_server **out, struct err *e);
/* A new P-256 key and a certificate for this name, signed with it. */
int tls_server_self_signed(struct slice name, struct tls_server **out, struct err *e);
void tls_server_free(struct tls_server *t);

/* server_name: sent (RFC 6066) when it is a DNS name, and what `verified` compares. resume: NULL or a session
 * of an earlier connection to the same server, borrowed. Contexts may be freed while connections live on. */
void conn_start_tls_client(struct conn *c, struct tls_client *t, struct slice server_name,
                           const struct tls_session *resume);
void conn_start_tls_server(struct conn *c, struct tls_server *t);
/* NULL before the handshake is done. Borrowed from the connection. */
const struct tls_info *conn_tls(const struct conn *c);

/* The newest session the server offered, owned by the caller now; NULL if none. TLS 1.3 sends it after the
 * handshake, so ask when the connection ends. */
struct tls_session *conn_take_tls_session(struct conn *c);
void tls_session_free(struct tls_session *s);

#endif
