/* tls.c - see tls.h. A BIO of our own stands between OpenSSL and the connection: it reads from the bytes that
 * have just arrived and appends to the wire queue, so nothing is buffered twice. OpenSSL's error queue
 * belongs to the thread: it is emptied before each call whose outcome is looked at. */
#include "platform/conn_impl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIRE_BYTES = 65536, RECORD_BYTES = 16384 };

struct tls {
    SSL *ssl;
    bool server, done, failed, reported, said_goodbye, checks;
    int alert_in;       /* the alert the other side sent, or 0 */
    struct slice in;    /* what has arrived and is not yet read by OpenSSL */
    struct buf held;    /* the same, kept while reading is paused */
    SSL_SESSION *offer; /* the newest session the server gave */
    struct tls_info info;
    char error[128];
};

/* Contexts are OpenSSL's own; the types keep a client from being taken for a server. tls_session is
 * SSL_SESSION. */
struct tls_client {
    SSL_CTX *ctx;
    bool checks;
};
struct tls_server {
    SSL_CTX *ctx;
};

/* --- the BIO --- */

static int bio_read(BIO *b, char *out, int n)
{
    struct conn *c = BIO_get_data(b);
    struct slice *in = &c->tls->in;
    BIO_clear_retry_flags(b);
    if (!in->n) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t take = (size_t)n < in->n ? (size_t)n : in->n;
    memcpy(out, in->p, take);
    *in = slice_of(in->p + take, in->n - take);
    return (int)take;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    seg_copy(c->net, &c->wire, slice_of(p, (size_t)n));
    conn_mark_dirty(c);
    return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    return cmd == BIO_CTRL_FLUSH; /* 1: done. Everything else is not for us: 0 */
}

static BIO_METHOD *bio_method(struct net *n)
{
    if (!n->bio_method) {
        BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "hato conn");
        INVARIANT(m);
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_ctrl(m, bio_ctrl);
        n->bio_method = m;
    }
    return n->bio_method;
}

void tls_net_free(struct net *n)
{
    BIO_meth_free(n->bio_method);
}

/* --- contexts --- */

static int ssl_error(struct err *e, const char *what)
{
    unsigned long code = ERR_peek_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;
    err_set(e, ERR_TLS, "%s: %s", what, why ? why : "failed");
    ERR_clear_error();
    return ERR_TLS;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    INVARIANT(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

static int on_session(SSL *ssl, SSL_SESSION *s)
{
    struct tls *t = ((struct conn *)SSL_get_app_data(ssl))->tls;
    SSL_SESSION_free(t->offer);
    t->offer = s;
    return 1; /* ours now */
}

static int accept_any(X509_STORE_CTX *store, void *data)
{
    return 1;
}

int tls_client_new(const char *ca_file, struct tls_client **out, struct err *e)
{
    SSL_CTX *ctx = new_ctx(TLS_client_method());
    ERR_clear_error();
    if (ca_file && SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
        SSL_CTX_free(ctx);
        return ssl_error(e, ca_file);
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (!ca_file) /* no chain is built for nobody */
        SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    struct tls_client *t = mem_zalloc(sizeof *t);
    t->ctx = ctx;
    t->checks = ca_file != NULL;
    *out = t;
    return 0;
}

void tls_client_free(struct tls_client *t)
{
    if (t)
        SSL_CTX_free(t->ctx);
    free(t);
}

static struct tls_server *new_server(void)
{
    struct tls_server *t = mem_zalloc(sizeof *t);
    t->ctx = new_ctx(TLS_server_method());
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF); /* sessions live in tickets */
    SSL_CTX_set_num_tickets(t->ctx, 1);
    INVARIANT(SSL_CTX_set_session_id_context(t->ctx, (const unsigned char *)"hato", 4) == 1);
    return t;
}

void tls_server_free(struct tls_server *t)
{
    if (t)
        SSL_CTX_free(t->ctx);
    free(t);
}

/* The key must fit the certificate: SSL_CTX_check_private_key() has the last word. */
static int use_pem(SSL_CTX *ctx, BIO *certs, BIO *key_bio, struct err *e)
{
    int r = 0;
    X509 *leaf = PEM_read_bio_X509_AUX(certs, NULL, NULL, NULL);
    EVP_PKEY *key = leaf ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
    if (!leaf)
        r = ssl_error(e, "certificate");
    else if (!key)
        r = ssl_error(e, "private key");
    else if (SSL_CTX_use_certificate(ctx, leaf) != 1)
        r = ssl_error(e, "certificate");
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        r = ssl_error(e, "private key");
    X509 *more;
    while (!r && (more = PEM_read_bio_X509(certs, NULL, NULL, NULL))) {
        if (SSL_CTX_add0_chain_cert(ctx, more) != 1) {
            X509_free(more);
            r = ssl_error(e, "certificate chain");
        }
    }
    ERR_clear_error(); /* the end of the file is an error to OpenSSL */
    X509_free(leaf);
    EVP_PKEY_free(key);
    return r;
}

int tls_server_new(struct slice cert_pem, struct slice key_pem, struct tls_server **out, struct err *e)
{
    struct tls_server *t = new_server();
    BIO *certs = BIO_new_mem_buf(cert_pem.p, (int)cert_pem.n),
        *key = BIO_new_mem_buf(key_pem.p, (int)key_pem.n);
    INVARIANT(certs && key);
    ERR_clear_error();
    int r = use_pem(t->ctx, certs, key, e);
    BIO_free(certs);
    BIO_free(key);
    if (r)
        tls_server_free(t);
    else
        *out = t;
    return r;
}

/* A certificate that never ends: nobody checks its dates, and a virtual clock may show any year. */
static X509 *self_sign(EVP_PKEY *key, struct slice name)
{
    char san[300];
    X509 *x = X509_new();
    snprintf(san, sizeof san, "DNS:%.*s", SLICE_FMT(name));
    INVARIANT(x && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), 1));
    X509_NAME *subject = X509_get_subject_name(x);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    bool ok = ASN1_TIME_set_string(X509_getm_notBefore(x), "19700101000000Z") &&
              ASN1_TIME_set_string(X509_getm_notAfter(x), "99991231235959Z") &&
              X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name.p,
                                         (int)(name.n < 64 ? name.n : 64), -1, 0) &&
              X509_set_issuer_name(x, subject) && X509_set_pubkey(x, key) && ext &&
              X509_add_ext(x, ext, -1) && X509_sign(x, key, EVP_sha256());
    X509_EXTENSION_free(ext);
    if (!ok) {
        X509_free(x);
        return NULL;
    }
    return x;
}

int tls_server_self_signed(struct slice name, struct tls_server **out, struct err *e)
{
    if (!name.n || name.n > 253)
        return err_set(e, ERR_INVAL, "a certificate needs a name of 1 to 253 bytes");
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? self_sign(key, name) : NULL;
    struct tls_server *t = new_server();
    int r = 0;
    if (!cert || SSL_CTX_use_certificate(t->ctx, cert) != 1 || SSL_CTX_use_PrivateKey(t->ctx, key) != 1)
        r = ssl_error(e, "self-signed certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    if (r)
        tls_server_free(t);
    else
        *out = t;
    return r;
}

/* --- handshake --- */

static void on_ssl_info(const SSL *ssl, int where, int what)
{
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        ((struct conn *)SSL_get_app_data(ssl))->tls->alert_in = what & 0xff;
}

/* Who ended it, and why. */
static void explain(struct conn *c, int reason)
{
    struct tls *t = c->tls;
    const char *other = t->server ? "client" : "server";
    unsigned long code = ERR_peek_error();
    if (reason == ERR_EOF)
        snprintf(t->error, sizeof t->error, "the %s closed the connection during the handshake", other);
    else if (reason != ERR_TLS)
        snprintf(t->error, sizeof t->error, "during the handshake with the %s: %s", other, err_name(reason));
    else if (t->alert_in)
        snprintf(t->error, sizeof t->error, "the %s sent an alert: %s", other,
                 SSL_alert_desc_string_long(t->alert_in));
    else
        snprintf(t->error, sizeof t->error, "we refused what the %s sent: %s", other,
                 code && ERR_reason_error_string(code) ? ERR_reason_error_string(code) : "not TLS");
    t->info.error = slice_cstr(t->error);
    conn_say(c, "TLS: %s", t->error);
    ERR_clear_error();
}

static void fail(struct conn *c, int reason)
{
    explain(c, reason);
    c->tls->failed = true;
    c->ended = true;
}

/* True once done. Callbacks are for the caller. */
static bool shake(struct conn *c)
{
    struct tls *t = c->tls;
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (r != 1) {
        if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
            fail(c, ERR_TLS);
        return false;
    }
    t->done = true;
    t->info.version = slice_cstr(SSL_get_version(t->ssl));
    t->info.cipher = slice_cstr(SSL_get_cipher_name(t->ssl));
    t->info.resumed = SSL_session_reused(t->ssl) == 1;
    t->info.verified =
        t->checks && SSL_get0_peer_certificate(t->ssl) && SSL_get_verify_result(t->ssl) == X509_V_OK;
    conn_mark_dirty(c);
    return true;
}

void tls_report(struct conn *c, int status)
{
    struct tls *t = c->tls;
    if (t->reported || c->state != CONN_OPEN)
        return;
    t->reported = true;
    if (c->ops && c->ops->on_tls)
        c->ops->on_tls(c, status, &t->info);
}

void tls_lost(struct conn *c, int reason)
{
    fail(c, reason);
    tls_report(c, reason == ERR_EOF ? ERR_TLS : reason);
}

/* NULL when the connection has ended: then there is nobody to talk to, and its owner knows. */
static struct tls *start(struct conn *c, SSL_CTX *ctx, bool server)
{
    INVARIANT(!c->tls);
    if (c->state != CONN_OPEN || c->ended)
        return NULL;
    struct tls *t = c->tls = mem_zalloc(sizeof *t);
    BIO *bio = BIO_new(bio_method(c->net));
    t->ssl = SSL_new(ctx);
    t->server = server;
    INVARIANT(bio && t->ssl);
    t->info = (struct tls_info){SLICE_NONE, SLICE_NONE, false, false, SLICE_NONE};
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, c);
    SSL_set_info_callback(t->ssl, on_ssl_info);
    if (server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    return t;
}

static bool is_dns_name(const char *name)
{
    struct ip ip;
    return name[0] && strchr(name, '.') && ip_parse(slice_cstr(name), &ip) != 0;
}

void conn_start_tls_client(struct conn *c, struct tls_client *ctx, struct slice server_name,
                           const struct tls_session *resume)
{
    struct tls *t = start(c, ctx->ctx, false);
    char name[256] = "";
    if (!t)
        return;
    if (server_name.n && server_name.p[server_name.n - 1] == '.')
        server_name.n--;
    if (server_name.n < sizeof name && !memchr(server_name.p, 0, server_name.n))
        memcpy(name, server_name.p, server_name.n);
    /* RFC 6066 3: a Server Name is a DNS name, never an address. */
    if (is_dns_name(name) && SSL_set_tlsext_host_name(t->ssl, name) == 1 && SSL_set1_host(t->ssl, name) == 1)
        t->checks = ctx->checks;
    if (resume) {
        /* A copy: OpenSSL spoils the one it is given as soon as a newer ticket arrives. One that does not fit
         * this context means a full handshake. */
        SSL_SESSION *copy = SSL_SESSION_dup((const SSL_SESSION *)resume);
        if (copy && SSL_set_session(t->ssl, copy) != 1)
            ERR_clear_error();
        SSL_SESSION_free(copy);
    }
    if (!shake(c) && t->failed)
        conn_later(c, ERR_TLS);
}

void conn_start_tls_server(struct conn *c, struct tls_server *ctx)
{
    start(c, ctx->ctx, true); /* the client speaks first */
}

/* --- bytes --- */

static bool may_read(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->paused && !c->ended;
}

static void decrypt(struct conn *c)
{
    struct tls *t = c->tls;
    while (may_read(c)) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, c->net->plain_buf, sizeof c->net->plain_buf);
        if (n > 0) {
            conn_deliver(c, slice_of(c->net->plain_buf, (size_t)n));
            continue;
        }
        switch (SSL_get_error(t->ssl, n)) {
        case SSL_ERROR_WANT_READ:
            return;
        case SSL_ERROR_ZERO_RETURN:
            conn_ended(c, ERR_EOF);
            return;
        default: {
            unsigned long code = ERR_peek_error();
            const char *why = code ? ERR_reason_error_string(code) : NULL;
            conn_say(c, "TLS: %s", why ? why : "broken record");
            ERR_clear_error();
            t->failed = t->reported = true;
            conn_ended(c, ERR_TLS);
            return;
        }
        }
    }
}

static void advance(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t->done) {
        if (shake(c))
            tls_report(c, 0);
        else if (t->failed)
            tls_report(c, ERR_TLS);
    }
    if (t->done)
        decrypt(c);
}

void tls_feed(struct conn *c, struct slice cipher)
{
    struct tls *t = c->tls;
    if (t->failed)
        return;
    if (t->held.n)
        buf_adds(&t->held, cipher);
    t->in = t->held.n ? buf_slice(&t->held) : cipher;
    advance(c);
    if (t->held.n)
        buf_drop_front(&t->held, t->held.n - t->in.n);
    else
        buf_adds(&t->held, t->in);
    t->in = SLICE_NONE;
    if (!t->held.n)
        buf_free(&t->held);
}

void tls_encrypt(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t->done || t->failed) {
        if (t->failed || c->state == CONN_FLUSHING) /* there is no key to send it under */
            seg_drop(c->net, &c->plain, c->plain.bytes);
        return;
    }
    while (c->plain.bytes && c->wire.bytes < WIRE_BYTES) {
        struct seg *s = c->plain.first;
        ERR_clear_error();
        int n = SSL_write(t->ssl, s->p, (int)(s->n < RECORD_BYTES ? s->n : RECORD_BYTES));
        /* Only a connection that already broke refuses; reading tells its owner. */
        seg_drop(c->net, &c->plain, n > 0 ? (size_t)n : c->plain.bytes);
    }
}

void tls_goodbye(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t->done || t->failed || t->said_goodbye)
        return;
    t->said_goodbye = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl); /* puts close_notify on the wire; theirs is not waited for */
}

bool tls_handshaking(const struct conn *c)
{
    return c->tls && !c->tls->done && !c->tls->failed;
}

bool tls_failed(const struct conn *c)
{
    return c->tls && c->tls->failed;
}

const struct tls_info *conn_tls(const struct conn *c)
{
    return c->tls && c->tls->done ? &c->tls->info : NULL;
}

struct tls_session *conn_take_tls_session(struct conn *c)
{
    SSL_SESSION *s = c->tls ? c->tls->offer : NULL;
    if (s)
        c->tls->offer = NULL;
    return (struct tls_session *)s;
}

void tls_session_free(struct tls_session *s)
{
    SSL_SESSION_free((SSL_SESSION *)s);
}

void tls_free(struct conn *c)
{
    if (!c->tls)
        return;
    /* Without both goodbyes OpenSSL takes the session for broken, for every connection that shares it. */
    if (c->tls->done && !c->tls->failed)
        SSL_set_shutdown(c->tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->tls->ssl);
    SSL_SESSION_free(c->tls->offer);
    buf_free(&c->tls->held);
    free(c->tls);
    c->tls = NULL;
}
