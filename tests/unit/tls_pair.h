/* tls_pair: keys and certificates for tests, and a TLS client that never blocks. */
#ifndef FOREVER_TESTS_UNIT_TLS_PAIR_H
#define FOREVER_TESTS_UNIT_TLS_PAIR_H
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/tls.h"
#include "tests/unit/netclient.h"
#include "tests/unit/remove_tree.h"

static char tls_folder[64];

static inline const char *tls_path(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *out = paths[next++ % 8];
    snprintf(out, sizeof paths[0], "%s/%s", tls_folder, name);
    return out;
}

static inline void tls_folder_make(void)
{
    strcpy(tls_folder, "/tmp/forever-tls-XXXXXX");
    if (!mkdtemp(tls_folder)) abort();
    signal(SIGPIPE, SIG_IGN);
}

static inline void tls_folder_remove(void)
{
    if (remove_tree(tls_folder)) abort();
}

/* NAME.crt and NAME.key for that host name. */
static inline void tls_make(const char *file, const char *host)
{
    char cert[128], key[128];
    snprintf(cert, sizeof cert, "%s/%s.crt", tls_folder, file);
    snprintf(key, sizeof key, "%s/%s.key", tls_folder, file);
    unlink(cert);
    unlink(key);
    if (tls_identity_make(cert, key, host, NULL)) abort();
}

struct tls_client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static inline void tls_client_open(struct tls_client *c, int fd, const char *name)
{
    c->ctx = SSL_CTX_new(TLS_client_method());
    c->ssl = SSL_new(c->ctx);
    c->fd = fd;
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    SSL_set_fd(c->ssl, fd);
    if (name) SSL_set_tlsext_host_name(c->ssl, name);
    SSL_set_connect_state(c->ssl);
}

static inline void tls_client_close(struct tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
    *c = (struct tls_client){.fd = -1};
}

/* The common name of the certificate it was shown. */
static inline const char *tls_client_saw(const struct tls_client *c)
{
    static char name[128];
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    *name = '\0';
    if (cert) X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    X509_free(cert);
    return name;
}

/* Takes what is there, at most max bytes. */
static inline void tls_client_take(struct tls_client *c, struct net_bytes *b, size_t max)
{
    char piece[16384];
    while (!b->ended && max) {
        size_t got = 0;
        ERR_clear_error();
        if (!SSL_read_ex(c->ssl, piece, max < sizeof piece ? max : sizeof piece, &got)) {
            int why = SSL_get_error(c->ssl, 0);
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                b->ended = why == SSL_ERROR_ZERO_RETURN ? 1 : -1;
            return;
        }
        if (b->len + got + 1 > b->size) {
            b->size = (b->len + got + 1) * 2;
            b->data = realloc(b->data, b->size);
        }
        memcpy(b->data + b->len, piece, got);
        b->len += got;
        b->data[b->len] = '\0';
        max -= got;
    }
}

#endif
