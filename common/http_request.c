#include "common/http_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},     {"OPTIONS", HTTP_OPTIONS},
    {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"SOURCE", HTTP_SOURCE},
};

/* Splits the target into path and query: origin form, absolute form (a proxy's) or `*`. 0 or a status. */
static int read_target(struct http_request *r, char *target, const char **why)
{
    *why = "broken request target";
    if (!strncasecmp(target, "http://", 7) || !strncasecmp(target, "https://", 8)) {
        char *authority = strchr(target, ':') + 3;
        target = authority + strcspn(authority, "/?");
    } else if (target[0] != '/' && !(r->method == HTTP_OPTIONS && !strcmp(target, "*"))) {
        return 400;
    }
    if (strchr(target, '#')) return 400;
    char *query = strchr(target, '?');
    if (query) *query++ = '\0';
    r->query = query ? query : "";
    r->target = *target ? target : "/";
    r->path = strdup(*target ? target : "/");
    if (!r->path) return 503;
    return http_path_decode(r->path) ? 400 : 0;
}

int http_request_read(struct http_conn *conn, struct evbuffer *input, size_t len, const char **why)
{
    *why = "out of memory";
    struct http_request *r = calloc(1, sizeof *r);
    char *text = r ? malloc(len + 1) : NULL;
    if (!text || !(r->parser = http_parser_new(conn->server->limits.body_bytes))) {
        free(text);
        free(r);
        return 503;
    }
    evbuffer_remove(input, text, len);
    text[len] = '\0';
    r->conn = conn;
    r->head = http_parser_get(r->parser);
    int status = http_parser_head(r->parser, text, len, why);
    for (size_t i = 0; !status && i < sizeof methods / sizeof *methods; i++) {
        if (!strcmp(r->head->method, methods[i].name)) r->method = methods[i].bit;
    }
    if (!status && !r->method) {
        *why = "method not known";
        status = 501;
    }
    if (!status) status = read_target(r, r->head->target, why);
    if (!status) r->upload = http_server_uploads(r);
    if (!status && !r->upload && r->head->content_length > conn->server->limits.body_bytes) {
        *why = "body too large";
        status = 413;
    }
    if (status) {
        http_request_free(r);
        return status;
    }
    http_request_set_peer(r);
    r->began_ns = clock_boot_ns();
    conn->request = r;
    return 0;
}

void http_request_free(struct http_request *r)
{
    if (!r) return;
    if (r->conn->request == r) r->conn->request = NULL;
    if (r->headers) evbuffer_free(r->headers);
    http_parser_free(r->parser);
    free(r->path);
    free(r);
}

unsigned http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_path(const struct http_request *r)
{
    return r->path;
}

const char *http_query(const struct http_request *r)
{
    return r->query;
}

const char *http_query_get(const struct http_request *r, const char *name, char *buf, size_t size)
{
    for (const char *s = r->query; *s;) {
        size_t len = strcspn(s, "&"), name_len = strcspn(s, "=&");
        if (http_query_decode(s, name_len, buf, size) == 0 && !strcmp(buf, name)) {
            size_t skip = name_len < len ? name_len + 1 : name_len;
            return http_query_decode(s + skip, len - skip, buf, size) ? NULL : buf;
        }
        s += len;
        if (*s) s++;
    }
    return NULL;
}

const char *http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->head->field_count; i++) {
        if (!strcasecmp(r->head->fields[i].name, name)) return r->head->fields[i].value;
    }
    return NULL;
}

const void *http_body(const struct http_request *r, size_t *len)
{
    return http_parser_body_bytes(r->parser, len);
}

int http_body_framing(const struct http_request *r, int *chunked, uint64_t *length)
{
    *chunked = r->head->chunked;
    *length = r->head->content_length;
    return r->head->has_body;
}

int http_is_tls(const struct http_request *r)
{
    return r->conn->tls != NULL;
}

int http_expects_continue(const struct http_request *r)
{
    return r->head->expects_continue;
}

int http_minor(const struct http_request *r)
{
    return r->head->minor;
}

struct http_server *http_request_server(const struct http_request *r)
{
    return r->conn->server;
}
