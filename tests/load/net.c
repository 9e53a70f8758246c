#include "tests/load/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/mem.h"

#define ALLOWED_MAX 16

struct node {
    char name[LOAD_HOST_MAX + 8];
    struct sockaddr_storage address;
    socklen_t len;
};
static struct node nodes[LOAD_NODES_MAX];
static int node_count;

struct allowed {
    int family, bits;
    uint8_t bytes[16];
};
static struct allowed allowed[ALLOWED_MAX];
static int allowed_count;

/* URLs */

static int parse_authority(const char *text, size_t len, struct load_url *out)
{
    const char *end = text + len, *port = NULL;
    if (len && *text == '[') {
        const char *close = memchr(text, ']', len);
        if (!close || (close + 1 < end && close[1] != ':')) return -1;
        port = close + 1 < end ? close + 2 : NULL;
        text++;
        len = (size_t)(close - text);
    } else {
        const char *colon = memchr(text, ':', len);
        if (colon) {
            port = colon + 1;
            len = (size_t)(colon - text);
        }
    }
    if (!len || len >= sizeof out->host) return -1;
    memcpy(out->host, text, len);
    out->host[len] = '\0';
    out->port = out->tls ? 443 : 80;
    if (port) {
        char *stop;
        long n = strtol(port, &stop, 10);
        if (stop != end || n < 1 || n > 65535) return -1;
        out->port = (int)n;
    }
    return 0;
}

int load_url_parse(const char *text, const struct load_url *base, struct load_url *out, char **cause)
{
    const char *rest = text;
    struct load_url url = {0};
    if (base && *text == '/') {
        url = *base;
    } else if (!strncmp(text, "http://", 7) || !strncmp(text, "https://", 8)) {
        url.tls = text[4] == 's';
        const char *authority = text + 7 + url.tls;
        size_t len = strcspn(authority, "/?#");
        if (parse_authority(authority, len, &url)) return cause_set(cause, "%s: no host and port", text);
        rest = authority + len;
    } else {
        return cause_set(cause, "%s: not an http:// or https:// address", text);
    }
    size_t len = strcspn(rest, "#");
    if (strcspn(rest, " \t\r\n") < len) return cause_set(cause, "%s: a space in an address", text);
    int n = snprintf(url.target, sizeof url.target, "%s%.*s", *rest == '/' ? "" : "/", (int)len, rest);
    if (n < 0 || (size_t)n >= sizeof url.target) return cause_set(cause, "%.60s...: too long", text);
    *out = url;
    return 0;
}

void load_url_authority(const struct load_url *url, char *out, size_t size)
{
    int six = strchr(url->host, ':') != NULL;
    snprintf(out, size, "%s%s%s:%d", six ? "[" : "", url->host, six ? "]" : "", url->port);
}

/* Who may be asked */

int load_allow(const char *text, char **cause)
{
    char host[64];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct allowed a = {0};
    if (allowed_count == ALLOWED_MAX) return cause_set(cause, "--allow: at most %d times", ALLOWED_MAX);
    if (len < sizeof host) {
        memcpy(host, text, len);
        host[len] = '\0';
        a.family = inet_pton(AF_INET, host, a.bytes) == 1    ? AF_INET
                   : inet_pton(AF_INET6, host, a.bytes) == 1 ? AF_INET6
                                                             : 0;
    }
    int most = a.family == AF_INET ? 32 : 128;
    char *stop = NULL;
    a.bits = slash ? (int)strtol(slash + 1, &stop, 10) : most;
    /* nobody's machines are a /7 */
    if (!a.family || (slash && (*stop || stop == slash + 1)) || a.bits < 8 || a.bits > most)
        return cause_set(cause, "--allow %s: not a numeric address, or network of 8 bits or more", text);
    allowed[allowed_count++] = a;
    return 0;
}

static int same_network(const uint8_t *a, const uint8_t *b, int bits)
{
    for (int i = 0; i < bits; i += 8) {
        uint8_t mask = bits - i >= 8 ? 0xff : (uint8_t)(0xff << (8 - (bits - i)));
        if ((a[i / 8] ^ b[i / 8]) & mask) return 0;
    }
    return 1;
}

static const uint8_t *bytes_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr
                                         : ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
}

static int is_loopback(const struct sockaddr *address)
{
    static const uint8_t loopback4[4] = {127}, loopback6[16] = {[15] = 1};
    int four = address->sa_family == AF_INET;
    return same_network(bytes_of(address), four ? loopback4 : loopback6, four ? 8 : 128);
}

static int may_ask(const struct sockaddr *address)
{
    const uint8_t *bytes = bytes_of(address);
    if (is_loopback(address)) return 1;
    for (int i = 0; i < allowed_count; i++) {
        if (allowed[i].family == address->sa_family && same_network(bytes, allowed[i].bytes, allowed[i].bits))
            return 1;
    }
    return 0;
}

int load_node(const struct load_url *url, char **cause)
{
    char name[LOAD_HOST_MAX + 8], service[8];
    load_url_authority(url, name, sizeof name);
    for (int i = 0; i < node_count; i++) {
        if (!strcmp(nodes[i].name, name)) return i;
    }
    if (node_count == LOAD_NODES_MAX) return cause_set(cause, "%s: more than %d nodes", name, LOAD_NODES_MAX);
    snprintf(service, sizeof service, "%d", url->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int failed = getaddrinfo(url->host, service, &hints, &list);
    if (failed) return cause_set(cause, "%s: %s", name, gai_strerror(failed));
    int may = may_ask(list->ai_addr);
    if (may) {
        struct node *n = &nodes[node_count];
        memcpy(n->name, name, sizeof n->name);
        memcpy(&n->address, list->ai_addr, list->ai_addrlen);
        n->len = list->ai_addrlen;
    }
    freeaddrinfo(list);
    if (!may) return cause_set(cause, "%s is not loopback: --allow ADDRESS if that machine is yours", name);
    return node_count++;
}

int load_node_count(void)
{
    return node_count;
}

const char *load_node_name(int node)
{
    return nodes[node].name;
}

/* Connections */

static SSL_CTX *tls_context(void)
{
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        if (!context) abort();
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        /* nothing secret is sent, and test certificates are nobody's: whose it is does not matter */
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    }
    return context;
}

static int start_tls(struct load_connection *c, const struct load_url *url)
{
    struct in6_addr any;
    SSL *tls = SSL_new(tls_context());
    if (!tls || SSL_set_fd(tls, c->fd) != 1) {
        SSL_free(tls);
        errno = ENOMEM;
        return -1;
    }
    if (inet_pton(AF_INET, url->host, &any) != 1 && inet_pton(AF_INET6, url->host, &any) != 1)
        SSL_set_tlsext_host_name(tls, url->host);
    SSL_set_connect_state(tls);
    c->tls = tls;
    return 0;
}

int load_connect(struct load_connection *c, int node, const struct load_url *url, unsigned source)
{
    const struct node *n = &nodes[node];
    int on = 1;
    *c = (struct load_connection){
        .fd = socket(n->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (c->fd < 0) return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010000u + source)};
    if (source && is_loopback((const struct sockaddr *)&n->address) && n->address.ss_family == AF_INET) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) goto failed;
    }
    if (connect(c->fd, (const struct sockaddr *)&n->address, n->len) && errno != EINPROGRESS) goto failed;
    if (url->tls && start_tls(c, url)) goto failed;
    return 0;
failed:
    load_close(c, 1);
    return -1;
}

static int tls_result(SSL *tls, int result, uint32_t *events)
{
    int why = SSL_get_error(tls, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        if (events) *events = why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
        errno = EAGAIN;
    } else if (why == SSL_ERROR_ZERO_RETURN) {
        return 0;
    } else if (why != SSL_ERROR_SYSCALL || errno == 0) {
        errno = EPROTO;
    }
    return -1;
}

int load_connected(struct load_connection *c, uint32_t *events)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        errno = error;
        return -1;
    }
    if (!c->tls) return 1;
    errno = 0;
    int n = SSL_do_handshake(c->tls);
    if (n == 1) return 1;
    if (tls_result(c->tls, n, events) == 0) errno = ECONNRESET;
    return errno == EAGAIN ? 0 : -1;
}

ssize_t load_send(struct load_connection *c, const void *bytes, size_t len)
{
    if (!c->tls) return send(c->fd, bytes, len, MSG_NOSIGNAL);
    errno = 0;
    int n = SSL_write(c->tls, bytes, (int)len);
    return n > 0 ? n : -1;
}

ssize_t load_receive(struct load_connection *c, void *to, size_t size)
{
    if (!c->tls) return recv(c->fd, to, size, to ? 0 : MSG_TRUNC);
    errno = 0;
    int n = SSL_read(c->tls, to, (int)size);
    return n > 0 ? n : tls_result(c->tls, n, NULL);
}

void load_close(struct load_connection *c, int reset)
{
    int saved = errno;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    SSL_free(c->tls);
    if (reset && c->fd >= 0) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (c->fd >= 0) close(c->fd);
    *c = (struct load_connection){.fd = -1};
    errno = saved;
}
