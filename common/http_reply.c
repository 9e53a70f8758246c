#include "common/http_internal.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define WHOLE_MAX 16384 /* an answer of one piece */
#define HEAD_ENDS 128   /* of a header: what is not the caller's */

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {508, "Loop Detected"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].status == status) return statuses[i].text;
    }
    return "Unknown";
}

int http_add_header(struct http_request *r, const char *name, const char *value)
{
    if (strpbrk(name, "\r\n: ") || strpbrk(value, "\r\n") || !*name) return -1;
    if (!r->headers && !(r->headers = evbuffer_new())) return -1;
    return evbuffer_add_printf(r->headers, "%s: %s\r\n", name, value) < 0 ? -1 : 0;
}

void http_add_allow(struct http_request *r, unsigned methods)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{HTTP_GET, "GET, "}, {HTTP_HEAD, "HEAD, "},     {HTTP_POST, "POST, "},
                 {HTTP_PUT, "PUT, "}, {HTTP_DELETE, "DELETE, "}, {HTTP_SOURCE, "SOURCE, "}};
    char text[64] = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (methods & names[i].bit) strncat(text, names[i].name, sizeof text - strlen(text) - 1);
    }
    strncat(text, "OPTIONS", sizeof text - strlen(text) - 1);
    http_add_header(r, "Allow", text);
}

/* Status line and the headers that every answer has; extra: such as the answer brings. How long it is; more
 * than size: it did not fit. */
static size_t write_head(struct http_conn *c, char *out, size_t size, int minor, int status, const char *type,
                         size_t len)
{
    char length[48] = "";
    /* RFC 9110 8.6: none in a 204; in a 304 it would have to be the full answer's */
    if (status != 204 && status != 304) snprintf(length, sizeof length, "Content-Length: %zu\r\n", len);
    int n = snprintf(out, size, "HTTP/1.%d %d %s\r\n%s%s%s%s%s", minor, status, http_status_text(status),
                     http_common_headers(c->server), type ? "Content-Type: " : "", type ? type : "",
                     type ? "\r\nX-Content-Type-Options: nosniff\r\n" : "", length);
    return n < 0 ? SIZE_MAX : (size_t)n;
}

/* sent: it is with the socket, else in the output. */
static void finish(struct http_request *r, int status, size_t bytes, int sent)
{
    struct http_conn *c = r->conn;
    const char *route = r->route ? r->route->path : NULL;
    if (c->server->answer) {
        struct access_line line;
        http_access_line(r, &line);
        line.status = status;
        line.bytes = bytes;
        c->server->answer(c->server->answer_context, &line);
    }
    http_request_free(r);
    http_server_count(c->server, route, status);
    if (sent)
        http_conn_sent(c);
    else
        http_conn_answered(c);
}

/* bytes, or what is in body. */
static void reply(struct http_request *r, int status, const char *type, const void *bytes, size_t len,
                  struct evbuffer *body)
{
    static char whole[WHOLE_MAX];
    struct http_conn *c = r->conn;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    size_t sent = 0, extra = r->headers ? evbuffer_get_length(r->headers) : 0;
    if (!r->head->keep_alive || c->server->stopped || c->over_limit || r->upload) c->close_after = 1;
    size_t n = write_head(c, whole, sizeof whole, r->head->minor, status, type, len);
    if (extra + HEAD_ENDS > sizeof whole - n) {
        evbuffer_add(out, whole, n);
        evbuffer_add_buffer(out, r->headers);
        n = 0;
    } else if (extra) {
        evbuffer_remove(r->headers, whole + n, extra);
        n += extra;
    }
    n += (size_t)snprintf(whole + n, HEAD_ENDS, "%s%s\r\n",
                          r->route && r->route->cors ? "Access-Control-Allow-Origin: *\r\n" : "",
                          c->close_after        ? "Connection: close\r\n"
                          : r->head->minor == 0 ? "Connection: keep-alive\r\n"
                                                : "");
    int bare = r->method == HTTP_HEAD || status == 204 || status == 304;
    if (bare && body) evbuffer_drain(body, len);
    if (bare) len = 0;
    int behind = len > 0 && (body || len > sizeof whole - n);
    if (len && !behind) {
        memcpy(whole + n, bytes, len);
        n += len;
    }
    if (!behind && http_conn_send(c, whole, n, &sent)) {
        finish(r, status, len, 1);
        return;
    }
    evbuffer_add(out, whole + sent, n - sent);
    if (behind && body) evbuffer_add_buffer(out, body);
    if (behind && !body) evbuffer_add(out, bytes, len);
    finish(r, status, len, 0);
}

void http_reply_buffer(struct http_request *r, int status, const char *type, struct evbuffer *body)
{
    reply(r, status, type, NULL, body ? evbuffer_get_length(body) : 0, body);
}

void http_reply_raw(struct http_request *r, int status, const void *header, size_t len)
{
    r->conn->close_after = 1;
    evbuffer_add(bufferevent_get_output(r->conn->bev), header, len);
    finish(r, status, 0, 0);
}

void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len)
{
    reply(r, status, type, body, len, NULL);
}

void http_reply_text(struct http_request *r, int status, const char *format, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0) text = NULL;
    http_reply(r, status, "text/plain; charset=utf-8", text, text ? (size_t)n : 0);
    free(text);
}

static char *error_text(const char *why)
{
    json_t *value = json_object();
    json_object_set_new(value, "error", json_text_lossy(why));
    char *text = json_text(value);
    json_decref(value);
    return text;
}

void http_reply_error(struct http_request *r, int status, const char *format, ...)
{
    char why[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    char *text = error_text(why);
    http_reply(r, status, "application/json", text, strlen(text));
    free(text);
}

void http_reply_refusal(struct http_conn *c, int status, const char *why)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    char *text = error_text(why);
    http_request_free(c->request);
    c->close_after = c->linger_after = 1;
    char head[HEAD_ENDS + 1024];
    evbuffer_add(out, head, write_head(c, head, sizeof head, 1, status, "application/json", strlen(text)));
    evbuffer_add_printf(out, "%sConnection: close\r\n\r\n%s", status == 503 ? "Retry-After: 5\r\n" : "",
                        text);
    if (c->server->answer) {
        const struct access_line line = {
            .peer = c->peer, .status = status, .bytes = strlen(text), .minor = 1};
        c->server->answer(c->server->answer_context, &line);
    }
    free(text);
    http_server_count(c->server, NULL, status);
    http_conn_answered(c);
}

void http_defer(struct http_request *r, void (*cancelled)(void *context), void *context)
{
    r->deferred = 1;
    r->cancelled = cancelled;
    r->cancelled_context = context;
}
