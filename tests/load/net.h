/* net: URLs, the addresses that may be asked, and connections, plain or TLS, that never block.
 *
 * A load generator in the wrong hands, or with a slip in its command line, is a weapon: addresses other than
 * loopback are refused, at the start and in every redirect, unless the operator has named them one by one. */
#ifndef FOREVER_LOAD_NET_H
#define FOREVER_LOAD_NET_H
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define LOAD_HOST_MAX   256
#define LOAD_TARGET_MAX 1024
#define LOAD_NODES_MAX  64

struct load_url {
    int tls, port;
    char host[LOAD_HOST_MAX];     /* without the brackets of IPv6 */
    char target[LOAD_TARGET_MAX]; /* path and query */
};
/* http:// or https://; or, with `base`, also a path. 0, or -1 with an owned *cause. */
int load_url_parse(const char *text, const struct load_url *base, struct load_url *out, char **cause);
/* host:port as in a Host header and in reports. */
void load_url_authority(const struct load_url *url, char *out, size_t size);

/* Names one more address, or with /BITS a network, that may be asked besides loopback. 0, or -1 with *cause.
 */
int load_allow(const char *text, char **cause);
/* Resolves (blocks for names; each is looked up once) and checks. The number of the node, for statistics and
 * load_node_name, or -1 with an owned *cause. */
int load_node(const struct load_url *url, char **cause);
int load_node_count(void);
const char *load_node_name(int node);

struct load_connection {
    int fd;
    void *tls; /* SSL */
};
/* Begins to connect; source: the n-th address of 127.1/16 to come from (to loopback only), 0 the system's
 * choice. 0, or -1 with errno. */
int load_connect(struct load_connection *connection, int node, const struct load_url *url, unsigned source);
/* 1 when requests can be sent, 0 when it has to wait (for *events of epoll), -1 with errno. */
int load_connected(struct load_connection *connection, uint32_t *events);
ssize_t load_send(struct load_connection *connection, const void *bytes, size_t len);
/* Bytes, 0 at the end, -1 with errno (EAGAIN: none now). to NULL: thrown away (plain only). */
ssize_t load_receive(struct load_connection *connection, void *to, size_t size);
/* reset: nothing of it stays behind in the kernel. */
void load_close(struct load_connection *connection, int reset);

#endif
