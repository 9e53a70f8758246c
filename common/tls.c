/* One TLS connection.
 *
 * A flight becomes one record: SSL_write of at most 16 KiB, gathered into one piece first when it has
 * several. When the socket does not take the whole record, OpenSSL keeps the sealed rest, and wants the same
 * call again; what that call brings is not read (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER), only how long it is.
 * So the flight counts as taken at once, and `held` is the length to call again with. */
#include "common/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/tls_internal.h"

#define RECORD_MAX      16384
#define READS_PER_EVENT 4

struct tls_conn {
    SSL *ssl;
    size_t held; /* bytes of the record the socket has not taken whole; 0: none */
};

/* Flights are gathered here, and what listeners say is read into it and forgotten. */
static unsigned char scratch[RECORD_MAX];

const char *tls_error(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return text ? text : "no reason given";
}

struct tls_conn *tls_conn_new(struct tls *tls, int fd)
{
    struct tls_conn *c = calloc(1, sizeof *c);
    if (c) c->ssl = SSL_new(tls_first(tls));
    if (!c || !c->ssl || !SSL_set_fd(c->ssl, fd)) {
        ERR_clear_error();
        if (c) SSL_free(c->ssl);
        free(c);
        return NULL;
    }
    SSL_set_accept_state(c->ssl);
    return c;
}

struct ssl_st *tls_conn_ssl(struct tls_conn *c)
{
    return c->ssl;
}

int tls_conn_established(const struct tls_conn *c)
{
    return SSL_is_init_finished(c->ssl);
}

void tls_conn_shutdown(struct tls_conn *c)
{
    if (!c->held && SSL_is_init_finished(c->ssl)) SSL_shutdown(c->ssl);
    ERR_clear_error();
}

/* OpenSSL's own way to a socket is write(), which passes through the file layer and may raise SIGPIPE. */

static int wire_write(BIO *bio, const char *bytes, size_t len, size_t *written)
{
    ssize_t n = send((int)(intptr_t)BIO_get_data(bio), bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    BIO_clear_retry_flags(bio);
    *written = n > 0 ? (size_t)n : 0;
    if (n > 0) return 1;
    if (errno == EAGAIN || errno == EINTR) BIO_set_retry_write(bio);
    return 0;
}

static long wire_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *wire_new(int fd)
{
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "wire");
        if (!method) return NULL;
        BIO_meth_set_write_ex(method, wire_write);
        BIO_meth_set_ctrl(method, wire_ctrl);
    }
    BIO *bio = BIO_new(method);
    if (!bio) return NULL;
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    return bio;
}

void tls_conn_settle(struct tls_conn *c)
{
    BIO *wire = wire_new(SSL_get_fd(c->ssl));
    if (wire) SSL_set0_wbio(c->ssl, wire); /* without memory it goes on as it was */
    SSL_certs_clear(c->ssl);
    SSL_free_buffers(c->ssl);
    ERR_clear_error();
}

/* As SSL_write: 1, 0 when the socket is full, or -1 with errno. */
static int put(struct tls_conn *c, const void *bytes, size_t len)
{
    size_t written;
    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(c->ssl, bytes, len, &written)) {
        c->held = 0;
        return 1;
    }
    int why = SSL_get_error(c->ssl, 0), error = errno;
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_WRITE) {
        c->held = len;
        return 0;
    }
    errno = why == SSL_ERROR_SYSCALL && error ? error : why == SSL_ERROR_ZERO_RETURN ? EPIPE : EPROTO;
    return -1;
}

int tls_conn_send(struct tls_conn *c, const void *bytes, size_t len)
{
    int sent = put(c, bytes, len) == 1;
    c->held = 0; /* libevent calls again, and finds what there is to find */
    return sent;
}

ssize_t tls_conn_write(void *self, int fd, const struct iovec *pieces, int count, int *full)
{
    struct tls_conn *c = self;
    (void)fd;
    *full = 0;
    if (c->held) {
        int sent = put(c, scratch, c->held);
        if (sent < 0) return -1;
        if (!sent) {
            *full = 1;
            errno = EAGAIN;
            return -1;
        }
    }
    ssize_t taken = 0;
    for (int i = 0; i < count && !*full;) {
        const unsigned char *from = pieces[i].iov_base;
        size_t len = pieces[i].iov_len;
        if (len >= RECORD_MAX || i + 1 == count) {
            i++;
        } else { /* as many whole pieces as fit one record */
            for (len = 0; i < count && pieces[i].iov_len <= RECORD_MAX - len; i++) {
                memcpy(scratch + len, pieces[i].iov_base, pieces[i].iov_len);
                len += pieces[i].iov_len;
            }
            from = scratch;
        }
        while (len && !*full) {
            size_t record = len < RECORD_MAX ? len : RECORD_MAX;
            int sent = put(c, from, record);
            if (sent < 0) return -1;
            *full = !sent;
            from += record;
            len -= record;
            taken += (ssize_t)record;
        }
    }
    return taken;
}

int tls_conn_drain(void *self, int fd)
{
    struct tls_conn *c = self;
    size_t got;
    (void)fd;
    ERR_clear_error();
    for (int i = 0; i < READS_PER_EVENT; i++) {
        if (SSL_read_ex(c->ssl, scratch, sizeof scratch, &got)) continue;
        int why = SSL_get_error(c->ssl, 0);
        ERR_clear_error();
        return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
    }
    return 0; /* the rest waits for more to come, and holds the talker up */
}

void tls_conn_free(void *self, int reset)
{
    struct tls_conn *c = self;
    if (!c) return;
    if (!reset) tls_conn_shutdown(c);
    SSL_free(c->ssl);
    ERR_clear_error();
    free(c);
}
