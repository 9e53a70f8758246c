/* http: the one HTTP/1.x server of both programs: llhttp (strict) over libevent's bufferevents.
 *
 * Serves small requests and answers with keep-alive and pipelining, within limits: header bytes, number of
 * headers, body bytes, an absolute deadline for the header and one for the body (a slow sender can't hold a
 * connection), idle time, connections in all. A request that breaks them gets 400, 408, 413, 414, 431, 501
 * or 505 and the connection ends. Header names that end in space are refused, since llhttp lets them pass.
 * A stream's socket leaves the server: http_detach gives the bare descriptor (and http_take_tls what stands
 * between it and the wire), whose header the handler writes itself; from then on it belongs to the fan-out or
 * the link.
 *
 * Room is reserved: beyond limits.connections, and with descriptors that are nearly used up, only routes
 * marked HTTP_RESERVED are served (the operator's and the relays'), anybody else is told 503. Peers on the
 * trusted list may say for whom they ask (common/proxy.h); everything here that tells a peer's address means
 * that one then.
 *
 * Everything runs on the event base's thread and nothing blocks. */
#ifndef FOREVER_COMMON_HTTP_H
#define FOREVER_COMMON_HTTP_H
#include <stddef.h>
#include <stdint.h>

#include "common/access.h"
#include "common/net.h"

struct event_base;
struct evbuffer;
struct tls;
struct tls_conn;
struct http_server;
struct http_request;

struct http_limits {      /* 0 takes the default in brackets */
    size_t header_bytes;  /* [16 KiB] request line and headers */
    size_t body_bytes;    /* [64 KiB] */
    int header_ms;        /* [10 s] from the first byte, or from the accept, to the end of the header */
    int body_ms;          /* [20 s] */
    int idle_ms;          /* [30 s] between requests */
    unsigned connections; /* [4096] not yet detached; beyond it 503 and close */
    int descriptors; /* [no limit] a connection whose descriptor's number is this or higher is as one beyond
                        `connections`: the numbers above are kept for reserved routes and other work */
};

enum {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_OPTIONS = 8,
    HTTP_PUT = 16,
    HTTP_DELETE = 32,
    HTTP_SOURCE = 64
};
#define HTTP_RESERVED                                                                                        \
    0x100 /* with the methods of a route: also served when connections or descriptors run out */
#define HTTP_UPLOAD                                                                                          \
    0x200 /* with the methods of a route: its PUT and SOURCE are handled at the end of the header, however   \
             long the body; who wants the body takes it with http_take_input and http_detach */

struct http_route {
    unsigned methods; /* GET implies HEAD (same headers, no body) unless HEAD is handled too; OPTIONS is
                         answered by the server: 204 with Allow and, with cors, the CORS headers */
    const char *path; /* exact, or a prefix when it ends in "/" + "*" */
    void (*handler)(void *context, struct http_request *request);
    int cors;         /* answers may be read by any origin (also errors and redirects) */
    const char *help; /* one line for docs/API.md */
};

/* Routes stay owned by the caller. A path without a route is 404, a method without one 405 with Allow. */
struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits,
                                    const char *server_name);
void http_server_routes(struct http_server *server, const struct http_route *routes, size_t count,
                        void *context);
/* Takes back what http_server_routes was given. */
void http_server_unroute(struct http_server *server, const struct http_route *routes, void *context);
/* Ends every connection; deferred requests are cancelled. */
void http_server_free(struct http_server *server);
/* Listens; port 0 takes a free one. Sets *port_out (may be NULL). host "" is all addresses, IPv6 and IPv4.
 * 0, or -1 with an owned *cause. */
int http_server_listen(struct http_server *server, const char *host, int port, int *port_out, char **cause);
/* The same with TLS, which is borrowed; NULL: without. */
int http_server_listen_tls(struct http_server *server, struct tls *tls, const char *host, int port,
                           int *port_out, char **cause);
/* Peers that may say for whom they ask; borrowed. */
void http_server_trust(struct http_server *server, const struct net_list *trusted);
/* Listening sockets are left to the caller's new process or closed; established requests go on. */
void http_server_stop(struct http_server *server);
unsigned http_server_connections(const struct http_server *server);
/* Called after each finished request (for counters): its route's path (the row's own string) or "" for none,
 * and the status. */
void http_server_on_done(struct http_server *server,
                         void (*done)(void *context, const char *route, int status), void *context);

/* Called for each answer, with a line for the access log (without a mount and a reason). */
void http_server_on_answer(struct http_server *server,
                           void (*answer)(void *context, const struct access_line *line), void *context);

struct http_counts { /* since the start */
    uint64_t accepted, accepted_tls;
    uint64_t over_connections, over_descriptors; /* connections that only reserved routes were open to */
    uint64_t shed;                               /* closed unheard: not even for a 503 was there room */
    uint64_t late;                               /* header or body took too long */
    uint64_t handshakes, handshakes_failed, handshakes_late;
    uint64_t proxy_headers, proxy_broken;
};
const struct http_counts *http_server_counts(const struct http_server *server);

/* The request, valid until it is answered, detached or cancelled. Strings are owned by it. */
unsigned http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);  /* decoded, without query */
const char *http_query(const struct http_request *request); /* raw, without `?`; "" when there is none */
/* A query parameter, decoded, into buf; NULL when absent or longer than size - 1. */
const char *http_query_get(const struct http_request *request, const char *name, char *buf, size_t size);
const char *http_header(const struct http_request *request, const char *name); /* case-insensitive; NULL */
const void *http_body(const struct http_request *request, size_t *len);
int http_minor(const struct http_request *request);        /* 0 or 1 of HTTP/1.x */
const char *http_peer(const struct http_request *request); /* numeric address */
const struct net_addr *http_peer_addr(const struct http_request *request);
/* 1 when it comes from this machine itself, not through a proxy. */
int http_peer_is_loopback(const struct http_request *request);
/* 1 when it was asked over TLS, here or at a trusted proxy. */
int http_secure(const struct http_request *request);
/* 1 when this very connection speaks TLS. */
int http_is_tls(const struct http_request *request);
/* The request's part of a line for the access log; strings are the request's. */
void http_access_line(const struct http_request *request, struct access_line *line);

/* Extra headers of the answer, before http_reply. Values with CR or LF are refused (-1). */
int http_add_header(struct http_request *request, const char *name, const char *value);
/* Answers and gives the request up. len bytes are copied; type NULL: no body type. Content-Length always set.
 */
void http_reply(struct http_request *request, int status, const char *type, const void *body, size_t len);
void http_reply_text(struct http_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void http_reply_buffer(struct http_request *request, int status, const char *type, struct evbuffer *body);
/* An error as JSON {"error": text}. */
void http_reply_error(struct http_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A header that the handler wrote itself, whole and without a body, as a HEAD of a stream gets it; the
 * connection ends. len bytes are copied. */
void http_reply_raw(struct http_request *request, int status, const void *header, size_t len);
/* A handler that answers later says so; cancelled is called (once) when the client goes away first, after
 * which the request must not be touched. */
void http_defer(struct http_request *request, void (*cancelled)(void *context), void *context);

/* Ends HTTP on this connection and hands its socket out: non-blocking, TCP_NODELAY set, nothing written yet.
 * Pipelined bytes are dropped. The request is given up (copy what you need before). -1 never happens. */
int http_detach(struct http_request *request);
/* Before http_detach: the bytes that came behind the header, fresh memory; NULL and 0 when there are none. */
void *http_take_input(struct http_request *request, size_t *len);
/* How the body is framed: 1 and *chunked, or *length; 0 when the header says nothing of a body. */
int http_body_framing(const struct http_request *request, int *chunked, uint64_t *length);
/* The client waits for an interim 100 before it sends its body. */
int http_expects_continue(const struct http_request *request);
/* Before http_detach: what its bytes must go through, from then on the caller's; NULL on a plain connection.
 * One that is not taken ends with the request, and its socket is of use for a reset only. */
struct tls_conn *http_take_tls(struct http_request *request);
const char *http_status_text(int status);
/* "Date: ...\r\nServer: ...\r\n" for handlers that write their own header. Static storage, one second's. */
const char *http_common_headers(const struct http_server *server);
struct http_server *http_request_server(const struct http_request *request);

#endif
