/* tls: TLS 1.2 and 1.3 for listening sockets, by OpenSSL.
 *
 * struct tls is what one listening address presents: certificates with their keys, chosen by the name the
 * client asks for (SNI; the first one where none fits), and replaced as a whole by tls_reload, which never
 * touches a connection that is there. struct tls_conn is one connection: its handshake and its request are
 * driven by libevent (common/http), then it leaves with the socket for the fan-out, whose transport the
 * functions below are: one record for a flight, one write of the kernel for a record, no buffer kept between
 * flights.
 *
 * Session tickets are sealed with a key of this process that is renewed every TLS_TICKET_KEY_S, so that
 * nothing is kept for a client that may come back. Nothing here blocks but the reading of files. */
#ifndef FOREVER_COMMON_TLS_H
#define FOREVER_COMMON_TLS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;
struct ssl_st;
struct tls;
struct tls_conn;

#define TLS_TICKET_KEY_S 43200

struct tls_conf {
    /* PEM files: chains (the server's own first) and their keys, pairwise. A key that is NULL is in its
     * certificate's file. */
    const char *const *certs, *const *keys;
    size_t count;
    /* Or with them a folder, NULL for none: NAME.crt or NAME.pem with NAME.key (or the key in the same file),
     * and folders with fullchain.pem and privkey.pem. In the order of their names, behind the files. */
    const char *dir;
};

/* NULL with *cause, which names the file. The strings are copied. */
struct tls *tls_new(const struct tls_conf *conf, char **cause);
void tls_free(struct tls *tls);
/* Reads everything again: 0, or -1 with *cause, and then all is as it was. */
int tls_reload(struct tls *tls, char **cause);
/* 1 when a file is not as it was read, once for each change. */
int tls_changed(struct tls *tls);
/* Certificates at hand; the earliest moment one of them ends (seconds since 1970). */
size_t tls_count(const struct tls *tls);
int64_t tls_not_after(const struct tls *tls);

/* A connection on an accepted socket, which stays the caller's; NULL without memory. */
struct tls_conn *tls_conn_new(struct tls *tls, int fd);
struct ssl_st *tls_conn_ssl(struct tls_conn *conn);
int tls_conn_established(const struct tls_conn *conn);
/* Says that nothing more comes (close_notify), if that can be said at once. */
void tls_conn_shutdown(struct tls_conn *conn);
/* One record of at most 16 KiB, on a connection that libevent drives and has nothing to write on: 1 when the
 * socket took it all. Else 0: the same bytes have to be the next that are written. */
int tls_conn_send(struct tls_conn *conn, const void *bytes, size_t len);
/* The request is read: what only the handshake needed is given up. */
void tls_conn_settle(struct tls_conn *conn);

/* The fan-out's transport (struct fanout_transport); self is the tls_conn. */
ssize_t tls_conn_write(void *self, int fd, const struct iovec *pieces, int count, int *full);
int tls_conn_drain(void *self, int fd);
/* Unless reset with a close_notify. The socket stays the caller's. */
void tls_conn_free(void *self, int reset);

/* An own long-lived identity, for those who know the key and not a name: makes a P-256 key (mode 0600) and a
 * certificate signed by itself where the files are not there. 0, or -1 with *cause. */
int tls_identity_make(const char *cert_file, const char *key_file, const char *name, char **cause);
/* The pin of a certificate's key as libcurl takes it, "sha256//BASE64"; fresh memory, NULL with *cause. */
char *tls_pin(const char *cert_file, char **cause);

#endif
