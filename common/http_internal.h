/* http_internal: what the files of the HTTP server share: http.c (listening, routes, dispatch),
 * http_listen.c, http_preface.c and http_conn.c (a connection's life), http_peer.c, http_request.c (reading a
 * request), http_reply.c (answers).
 *
 * One request at a time lives on a connection: the next pipelined one is read only when the answer before
 * it has been written out, so output is bounded by one answer and a detached socket has nothing pending. */
#ifndef FOREVER_COMMON_HTTP_INTERNAL_H
#define FOREVER_COMMON_HTTP_INTERNAL_H
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "common/http.h"
#include "common/http_parse.h"

enum http_state {
    HTTP_CONN_PREFACE, /* a trusted peer may first say for whom it speaks; there is no bufferevent yet */
    HTTP_CONN_IDLE,    /* waits for the first byte of a request */
    HTTP_CONN_HEAD,    /* some of a header is in */
    HTTP_CONN_BODY,
    HTTP_CONN_ANSWER,  /* a handler has it */
    HTTP_CONN_WRITE,   /* the answer goes out */
    HTTP_CONN_LINGER,  /* answered and closed for writing: what the client still sends is thrown away, since
                          closing over unread bytes would reset the connection and lose the answer */
    HTTP_CONN_DETACHED /* the socket is gone */
};

/* Invariants: request is set exactly in BODY and ANSWER; in ANSWER outside of dispatch the request is
 * deferred; the connection is freed by http_conn_free only, never while `depth` > 0. */
struct http_conn {
    TAILQ_ENTRY(http_conn) entry;
    struct http_server *server;
    struct bufferevent *bev;
    int fd;
    struct tls *tls;           /* what its address presents; NULL: plain */
    struct tls_conn *tls_conn; /* once there is a bufferevent */
    struct event *preface;
    ssize_t preface_seen;     /* bytes of a part of a PROXY header */
    struct event deadline;    /* fires no later than due_ms; when that has moved, it waits again */
    int64_t due_ms, fires_ms; /* of the present state, INT64_MAX: none; of the timer, INT64_MAX: it is off */
    int state_ms;     /* what the state that has begun is given, if its end does not come at once; 0 */
    unsigned at_once; /* answers that went out from within this turn */
    enum http_state state;
    struct http_scan scan;
    struct http_request *request;
    unsigned depth;
    unsigned served;
    int loopback, over_limit, trusted;
    int eof, close_after, linger_after, dead;
    size_t lingered_bytes;
    struct net_addr peer;
};

struct http_request {
    struct http_conn *conn;
    struct http_parser *parser;
    const struct http_head *head;
    unsigned method;
    struct net_addr peer;
    char peer_text[NET_TEXT_MAX];
    int loopback, secure;
    int64_t began_ns;
    const char *target; /* as it was sent, without query */
    char *path;         /* decoded */
    const char *query;
    const struct http_route *route; /* NULL when none matched */
    struct evbuffer *headers;       /* extra ones of the answer; NULL until needed */
    int deferred;
    int upload; /* the body is not read here */
    void (*cancelled)(void *context);
    void *cancelled_context;
};

struct http_routes {
    const struct http_route *routes;
    size_t count;
    void *context;
};

struct http_server {
    struct event_base *base;
    struct http_limits limits;
    char *name;
    struct http_routes *tables;
    size_t table_count;
    struct http_listen *listens; /* a list; http_listen.c */
    TAILQ_HEAD(, http_conn) conns;
    unsigned conn_count;
    const struct net_list *trusted; /* NULL: nobody */
    struct http_counts counts;
    void (*answer)(void *context, const struct access_line *line);
    void *answer_context;
    int stopped;
    void (*done)(void *context, const char *route, int status);
    void *done_context;
    char common[128];
    int64_t common_s; /* the second `common` was written for */
};

/* http_conn.c */
void http_conn_accept(struct http_server *server, struct tls *tls, int fd, const struct sockaddr *address);
/* Tells a plain connection for which there is no room so, as far as its socket takes it, and closes it. */
void http_conn_shed(struct http_server *server, int fd, int plain);
void http_conn_free(struct http_conn *conn);
void http_conn_answered(struct http_conn *conn); /* an answer lies in the output, the request is gone */
/* An answer to the request that is being handled goes straight to the socket, as far as that takes it: 1 when
 * it is all out, 0 when it (or what is left) has to go into the output. */
int http_conn_send(struct http_conn *conn, const void *bytes, size_t len, size_t *sent);
void http_conn_sent(struct http_conn *conn); /* an answer is out, the request is gone */
/* Closes what only waits for a next request (the server stops). */
void http_conn_close_idle(struct http_conn *conn);

/* http_preface.c */
/* Waits for what a trusted peer may send in front of all else; http_conn_begin follows, or the end. 0 or -1.
 */
int http_preface_start(struct http_conn *conn);
void http_conn_begin(struct http_conn *conn);

/* http_peer.c */
/* Who asks, by what trusted proxies say. */
void http_request_set_peer(struct http_request *request);

/* http_request.c */
/* From a complete header of len bytes at the front of input. 0, or the status to refuse it with. */
int http_request_read(struct http_conn *conn, struct evbuffer *input, size_t len, const char **why);
void http_request_free(struct http_request *request);

/* http.c */
void http_server_dispatch(struct http_request *request);
/* 1 when the request's body is read by its handler (HTTP_UPLOAD). */
int http_server_uploads(struct http_request *request);
void http_server_count(struct http_server *server, const char *route, int status);

/* http_listen.c */
void http_listen_stop(struct http_server *server);

/* http_reply.c */
/* Answers a request that could not be read; the connection ends after it. */
void http_reply_refusal(struct http_conn *conn, int status, const char *why);
void http_add_allow(struct http_request *request, unsigned methods);

#endif
