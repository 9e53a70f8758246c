/* One connection of the HTTP server, from accept to close.
 *
 * The states follow each other as in enum http_state; one timer holds the deadline of the present one. A
 * deadline is absolute: it is set when the state begins, and no byte that trickles in moves it. A request
 * that comes in one piece and is answered at once passes through all states within one turn, and costs
 * neither a timer nor a wait for the socket: relays and crowds send thousands of them a second. */
#include "common/http_internal.h"

#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/tls.h"

#define OVER_LIMIT_MS     1000 /* what a connection beyond the limit gets to say what it wants */
#define LINGER_MS         2000
#define LINGER_BYTES      (1u << 20)
#define WRITE_RATE_BYTES  4096 /* per second: an answer is given idle_ms and what it takes at this rate */
#define READ_BUFFER_BYTES (64u << 10)
#define AT_ONCE_BYTES     16384u /* one record of TLS, which is taken or not as a whole */
#define AT_ONCE_MAX       16     /* of requests that came together, before others have their turn */

/* As libevent's timers have it, whatever a test makes of the program's clock. */
static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void arm(struct http_conn *c, int64_t ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    c->fires_ms = evtimer_add(&c->deadline, &t) ? INT64_MAX : now_ms() + ms;
}

/* Later than the timer fires is soon done: it will see. */
static void deadline(struct http_conn *c, int64_t ms)
{
    c->state_ms = 0;
    c->due_ms = now_ms() + ms;
    if (c->due_ms < c->fires_ms) arm(c, ms);
}

static void no_deadline(struct http_conn *c)
{
    c->state_ms = 0;
    c->due_ms = INT64_MAX;
}

static void free_now(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (r && r->deferred && r->cancelled) {
        void (*cancelled)(void *) = r->cancelled;
        r->cancelled = NULL;
        cancelled(r->cancelled_context);
    }
    http_request_free(c->request);
    event_del(&c->deadline);
    if (c->preface) event_free(c->preface);
    if (c->bev) bufferevent_free(c->bev);
    tls_conn_free(c->tls_conn,
                  c->state == HTTP_CONN_DETACHED); /* not asked for anything by a freed bufferevent */
    if (c->fd >= 0) close(c->fd);
    TAILQ_REMOVE(&c->server->conns, c, entry);
    c->server->conn_count--;
    free(c);
}

void http_conn_free(struct http_conn *c)
{
    if (c->depth)
        c->dead = 1;
    else
        free_now(c);
}

void http_conn_close_idle(struct http_conn *c)
{
    if (c->state == HTTP_CONN_IDLE) http_conn_free(c);
}

static void refuse(struct http_conn *c, int status, const char *why)
{
    http_reply_refusal(c, status, why);
}

static void linger(struct http_conn *c)
{
    c->state = HTTP_CONN_LINGER;
    if (c->tls_conn) tls_conn_shutdown(c->tls_conn);
    shutdown(c->fd, SHUT_WR);
    deadline(c, LINGER_MS);
}

static void dispatch(struct http_conn *c)
{
    c->state = HTTP_CONN_ANSWER;
    no_deadline(c);
    http_server_dispatch(c->request);
}

/* Scans what has come of a header; the steps return 1 when there may be more to do at once. */
static int step_head(struct http_conn *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    size_t have = evbuffer_get_length(input), max = c->server->limits.header_bytes;
    if (have == 0) {
        c->dead = c->eof;
        return 0;
    }
    if (c->state == HTTP_CONN_IDLE) {
        c->state = HTTP_CONN_HEAD;
        if (c->served) c->state_ms = c->server->limits.header_ms;
    }
    enum http_scan_result result = HTTP_SCAN_MORE;
    while (result == HTTP_SCAN_MORE && c->scan.bytes < have && c->scan.bytes < max) {
        struct evbuffer_ptr at;
        struct evbuffer_iovec piece;
        evbuffer_ptr_set(input, &at, c->scan.bytes, EVBUFFER_PTR_SET);
        if (evbuffer_peek(input, -1, &at, &piece, 1) < 1) break;
        size_t len = piece.iov_len < max - c->scan.bytes ? piece.iov_len : max - c->scan.bytes;
        result = http_scan(&c->scan, piece.iov_base, len);
    }
    if (result == HTTP_SCAN_BAD) {
        refuse(c, 400, "broken request header");
    } else if (result == HTTP_SCAN_FIELDS) {
        refuse(c, 431, "too many header fields");
    } else if (result == HTTP_SCAN_MORE) {
        if (c->scan.bytes >= max)
            refuse(c, c->scan.lines ? 431 : 414,
                   c->scan.lines ? "header too large" : "request line too long");
        else
            c->dead = c->eof;
        return 0;
    } else {
        const char *why;
        int status = http_request_read(c, input, c->scan.bytes, &why);
        if (status) {
            refuse(c, status, why);
        } else if (!c->request->head->has_body || c->over_limit || c->request->upload) {
            c->linger_after |= c->request->head->has_body || c->request->upload;
            dispatch(c);
            return c->state == HTTP_CONN_IDLE;
        } else {
            c->state = HTTP_CONN_BODY;
            no_deadline(c);
            c->state_ms = c->server->limits.body_ms;
            if (c->request->head->expects_continue && evbuffer_get_length(input) == 0)
                bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
            return 1;
        }
    }
    return 0;
}

static int step_body(struct http_conn *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    struct evbuffer_iovec piece;
    if (evbuffer_peek(input, -1, NULL, &piece, 1) < 1 || piece.iov_len == 0) {
        c->dead = c->eof;
        return 0;
    }
    size_t used;
    const char *why;
    int result = http_parser_body(c->request->parser, piece.iov_base, piece.iov_len, &used, &why);
    evbuffer_drain(input, used);
    if (result < 0)
        refuse(c, -result, why);
    else if (result)
        dispatch(c);
    return result == 0 || c->state == HTTP_CONN_IDLE;
}

static void step_linger(struct http_conn *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    c->lingered_bytes += evbuffer_get_length(input);
    evbuffer_drain(input, evbuffer_get_length(input));
    c->dead = c->eof || c->lingered_bytes > LINGER_BYTES;
}

static void process(struct http_conn *c)
{
    c->depth++;
    c->at_once = 0;
    for (int more = 1; more && !c->dead;) {
        if (c->state == HTTP_CONN_IDLE || c->state == HTTP_CONN_HEAD)
            more = step_head(c);
        else if (c->state == HTTP_CONN_BODY)
            more = step_body(c);
        else
            more = 0;
    }
    if (c->state == HTTP_CONN_LINGER) step_linger(c);
    if (c->state_ms) deadline(c, c->state_ms);
    if (--c->depth == 0 && c->dead) free_now(c);
}

static void begin_anew(struct http_conn *c, enum http_state state)
{
    c->state = state;
    c->served++;
    memset(&c->scan, 0, sizeof c->scan);
}

int http_conn_send(struct http_conn *c, const void *bytes, size_t len, size_t *sent)
{
    *sent = 0;
    /* an answer to a request that waited would begin the next one from within whatever gives it */
    if (!c->depth || c->close_after || c->eof || len > AT_ONCE_BYTES || c->at_once == AT_ONCE_MAX ||
        evbuffer_get_length(bufferevent_get_output(c->bev)))
        return 0;
    c->at_once++;
    if (c->tls_conn) return tls_conn_send(c->tls_conn, bytes, len); /* all or, for the caller, nothing */
    ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    *sent = n > 0 ? (size_t)n : 0;
    return *sent == len;
}

void http_conn_sent(struct http_conn *c)
{
    begin_anew(c, HTTP_CONN_IDLE);
    deadline(c, c->server->limits.idle_ms);
}

void http_conn_answered(struct http_conn *c)
{
    size_t len = evbuffer_get_length(bufferevent_get_output(c->bev));
    begin_anew(c, HTTP_CONN_WRITE);
    deadline(c, c->server->limits.idle_ms + (int64_t)len * 1000 / WRITE_RATE_BYTES);
}

static void on_read(struct bufferevent *bev, void *context)
{
    (void)bev;
    process(context);
}

/* The output is empty. */
static void on_write(struct bufferevent *bev, void *context)
{
    struct http_conn *c = context;
    if (c->state != HTTP_CONN_WRITE || evbuffer_get_length(bufferevent_get_output(bev))) return;
    int unread = evbuffer_get_length(bufferevent_get_input(bev)) > 0;
    if (c->close_after) {
        if (c->eof || !(c->linger_after || unread)) {
            http_conn_free(c);
            return;
        }
        linger(c);
    } else {
        c->state = HTTP_CONN_IDLE;
        if (c->server->stopped && !unread) {
            http_conn_free(c);
            return;
        }
        deadline(c, c->server->limits.idle_ms);
    }
    process(c);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    (void)bev;
    struct http_conn *c = context;
    if (what & BEV_EVENT_CONNECTED) {
        c->server->counts.handshakes++;
        return;
    }
    if (c->tls_conn && (what & BEV_EVENT_ERROR) && !tls_conn_established(c->tls_conn))
        c->server->counts.handshakes_failed++;
    if (what & BEV_EVENT_EOF) c->eof = 1;
    if ((what & BEV_EVENT_ERROR) || c->state == HTTP_CONN_ANSWER) {
        http_conn_free(c);
    } else if (c->state != HTTP_CONN_WRITE) {
        /* a client may close its half after the request: what came is still answered */
        process(c);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_conn *c = context;
    c->fires_ms = INT64_MAX;
    if (c->due_ms == INT64_MAX) return;
    int64_t left_ms = c->due_ms - now_ms();
    if (left_ms > 0) {
        arm(c, left_ms);
        return;
    }
    c->server->counts.late += c->state == HTTP_CONN_HEAD || c->state == HTTP_CONN_BODY;
    if (c->tls && c->state <= HTTP_CONN_IDLE && (!c->tls_conn || !tls_conn_established(c->tls_conn)))
        c->server->counts.handshakes_late++;
    if (c->state == HTTP_CONN_HEAD)
        refuse(c, 408, "the header took too long");
    else if (c->state == HTTP_CONN_BODY)
        refuse(c, 408, "the body took too long");
    else
        http_conn_free(c);
}

void http_conn_shed(struct http_server *s, int fd, int plain)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
                                 "Connection: close\r\n\r\n";
    char said[1024];
    s->counts.shed++;
    if (plain && send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        shutdown(fd, SHUT_WR);
        while (recv(fd, said, sizeof said, MSG_DONTWAIT) >
               0) { /* unread bytes would turn the end into a reset */
        }
    }
    close(fd);
}

void http_conn_begin(struct http_conn *c)
{
    struct http_server *s = c->server;
    c->state = HTTP_CONN_IDLE;
    if (c->tls) {
        c->tls_conn = tls_conn_new(c->tls, c->fd);
        if (c->tls_conn)
            c->bev = bufferevent_openssl_socket_new(s->base, c->fd, tls_conn_ssl(c->tls_conn),
                                                    BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_DEFER_CALLBACKS);
    } else {
        c->bev = bufferevent_socket_new(s->base, c->fd, 0);
    }
    if (!c->bev) {
        http_conn_free(c);
        return;
    }
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    size_t high = s->limits.header_bytes > READ_BUFFER_BYTES ? s->limits.header_bytes : READ_BUFFER_BYTES;
    bufferevent_setwatermark(c->bev, EV_READ, 0, high);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void http_conn_accept(struct http_server *s, struct tls *tls, int fd, const struct sockaddr *address)
{
    unsigned spare = s->limits.connections / 8 + 16; /* are told so instead of just cut off */
    int scarce = s->limits.descriptors && fd >= s->limits.descriptors,
        many = s->conn_count >= s->limits.connections;
    struct http_conn *c = s->conn_count < s->limits.connections + spare ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        http_conn_shed(s, fd, !tls);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->server = s;
    c->fd = fd;
    c->tls = tls;
    c->over_limit = scarce || many;
    s->counts.accepted++;
    s->counts.accepted_tls += tls != NULL;
    s->counts.over_connections += many;
    s->counts.over_descriptors += scarce && !many;
    net_addr_of(address, &c->peer);
    c->loopback = net_addr_is_loopback(&c->peer);
    c->trusted = s->trusted && net_list_has(s->trusted, &c->peer);
    evtimer_assign(&c->deadline, s->base, on_deadline, c);
    c->due_ms = c->fires_ms = INT64_MAX;
    TAILQ_INSERT_TAIL(&s->conns, c, entry);
    s->conn_count++;
    deadline(c, c->over_limit ? OVER_LIMIT_MS : s->limits.header_ms);
    if (!c->trusted || http_preface_start(c)) http_conn_begin(c);
}

void *http_take_input(struct http_request *r, size_t *len)
{
    struct evbuffer *input = bufferevent_get_input(r->conn->bev);
    *len = evbuffer_get_length(input);
    void *bytes = *len ? malloc(*len) : NULL;
    if (!bytes) *len = 0;
    if (bytes) evbuffer_remove(input, bytes, *len);
    return bytes;
}

struct tls_conn *http_take_tls(struct http_request *r)
{
    struct tls_conn *tls = r->conn->tls_conn;
    if (tls) tls_conn_settle(tls);
    r->conn->tls_conn = NULL;
    return tls;
}

int http_detach(struct http_request *r)
{
    struct http_conn *c = r->conn;
    struct evbuffer *output = bufferevent_get_output(c->bev);
    int fd = c->fd;
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    /* at most an interim 100 lies here */
    while (!c->tls && evbuffer_get_length(output) && evbuffer_write(output, fd) > 0) {
    }
    c->fd = -1;
    const char *route = r->route ? r->route->path : NULL;
    http_request_free(r);
    c->state = HTTP_CONN_DETACHED;
    http_server_count(c->server, route, 200);
    http_conn_free(c);
    return fd;
}
