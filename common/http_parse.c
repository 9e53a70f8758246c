#include "common/http_parse.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANK_LINES_MAX 4 /* before a request line: some clients send one after a body */

struct http_parser {
    llhttp_t llhttp;
    llhttp_settings_t settings;
    struct http_head head;
    char *text;
    char empty[1];
    char *ends[2 * HTTP_FIELDS_MAX + 1]; /* where the strings of the head end */
    size_t end_count;
    char *body;
    size_t body_len, body_size, body_max;
    size_t raw; /* body bytes as sent, with the framing of chunks */
    int in_head, complete, status;
    const char *why;
};

enum http_scan_result http_scan(struct http_scan *s, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = bytes[i], last = s->last;
        s->bytes++;
        s->last = c;
        if ((last == '\r') != (c == '\n')) return HTTP_SCAN_BAD;
        if (c == '\n') {
            if (s->line_bytes == 0) {
                if (s->lines > 0) return HTTP_SCAN_END;
                if (++s->blank > BLANK_LINES_MAX) return HTTP_SCAN_BAD;
                continue;
            }
            s->line_bytes = 0;
            if (++s->lines > HTTP_FIELDS_MAX + 1) return HTTP_SCAN_FIELDS;
            continue;
        }
        if (c == '\r') continue;
        if (s->line_bytes == 0 && (c == ' ' || c == '\t')) return HTTP_SCAN_BAD;
        if (c == 0x7f || (c < 0x20 && !(c == '\t' && s->lines > 0))) return HTTP_SCAN_BAD;
        s->line_bytes++;
    }
    return HTTP_SCAN_MORE;
}

static int refuse(struct http_parser *p, int status, const char *why)
{
    p->status = status;
    p->why = why;
    return -1;
}

static int on_url(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (p->head.target) return refuse(p, 400, "broken request target");
    p->head.target = p->text + (at - p->text);
    p->ends[p->end_count++] = p->head.target + len;
    return 0;
}

static int is_token(const char *s, size_t len)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        int letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && (c == '\0' || !strchr(others, c))) return 0;
    }
    return len > 0;
}

static int on_field(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (!p->in_head) return 0; /* trailers are not kept */
    if (p->head.field_count == HTTP_FIELDS_MAX) return refuse(p, 431, "too many header fields");
    if (!is_token(at, len)) return refuse(p, 400, "broken header name");
    struct http_field *f = &p->head.fields[p->head.field_count++];
    f->name = p->text + (at - p->text);
    f->value = NULL;
    p->ends[p->end_count++] = f->name + len;
    return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (!p->in_head) return 0;
    struct http_field *f = &p->head.fields[p->head.field_count - 1];
    if (f->value) return refuse(p, 400, "folded header line");
    while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    if (len == 0) { /* llhttp then points behind the line */
        f->value = p->empty;
        return 0;
    }
    f->value = p->text + (at - p->text);
    p->ends[p->end_count++] = f->value + len;
    return 0;
}

/* RFC 9110 section 7.2 and 3.2.2 of RFC 3986, loosely: enough that a Host can be put into a URL. */
static int is_host(const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        int letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && !strchr(".-_:[]%~", c)) return 0;
    }
    return 1;
}

static int check_fields(struct http_parser *p)
{
    struct http_head *h = &p->head;
    unsigned hosts = 0, codings = 0, lengths = 0;
    for (size_t i = 0; i < h->field_count; i++) {
        const char *name = h->fields[i].name, *value = h->fields[i].value;
        if (!strcasecmp(name, "host")) {
            hosts++;
            if (!is_host(value)) return refuse(p, 400, "broken Host");
        } else if (!strcasecmp(name, "transfer-encoding")) {
            codings++;
            if (strcasecmp(value, "chunked")) return refuse(p, 501, "transfer coding not known");
        } else if (!strcasecmp(name, "content-length")) {
            lengths++;
        } else if (!strcasecmp(name, "expect")) {
            if (strcasecmp(value, "100-continue")) return refuse(p, 417, "expectation not known");
            h->expects_continue = h->minor > 0;
        }
    }
    if (hosts > 1 || (h->minor > 0 && hosts == 0)) return refuse(p, 400, "exactly one Host is needed");
    if (codings > 1 || lengths > 1 || (codings && lengths)) return refuse(p, 400, "ambiguous body length");
    if (codings && h->minor == 0) return refuse(p, 400, "transfer coding in HTTP/1.0");
    return 0;
}

static int on_head(llhttp_t *l)
{
    struct http_parser *p = l->data;
    struct http_head *h = &p->head;
    p->in_head = 0;
    if (l->http_major != 1) return refuse(p, 505, "only HTTP/1.0 and 1.1 are spoken");
    for (size_t i = 0; i < p->end_count; i++)
        *p->ends[i] = '\0';
    for (size_t i = 0; i < h->field_count; i++) {
        if (!h->fields[i].value) h->fields[i].value = p->empty;
    }
    h->minor = l->http_minor;
    h->method = llhttp_method_name((llhttp_method_t)l->method);
    h->keep_alive = llhttp_should_keep_alive(l);
    h->chunked = (l->flags & F_CHUNKED) != 0;
    h->content_length = l->flags & F_CONTENT_LENGTH ? l->content_length : 0;
    h->has_body = h->chunked || h->content_length > 0;
    if (l->method == HTTP_CONNECT) return refuse(p, 501, "no tunnels");
    if (check_fields(p)) return -1;
    l->upgrade = 0; /* an offer to upgrade is answered in HTTP/1.1 */
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (len > p->body_max - p->body_len) return refuse(p, 413, "body too large");
    if (p->body_len + len + 1 > p->body_size) {
        size_t size = p->body_size ? p->body_size * 2 : 1024;
        while (size < p->body_len + len + 1)
            size *= 2;
        char *body = realloc(p->body, size);
        if (!body) return refuse(p, 503, "out of memory");
        p->body = body;
        p->body_size = size;
    }
    memcpy(p->body + p->body_len, at, len);
    p->body_len += len;
    p->body[p->body_len] = '\0';
    return 0;
}

static int on_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    p->complete = 1;
    return HPE_PAUSED;
}

struct http_parser *http_parser_new(size_t body_max)
{
    struct http_parser *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    llhttp_settings_init(&p->settings);
    p->settings.on_url = on_url;
    p->settings.on_header_field = on_field;
    p->settings.on_header_value = on_value;
    p->settings.on_headers_complete = on_head;
    p->settings.on_body = on_body;
    p->settings.on_message_complete = on_complete;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &p->settings);
    p->llhttp.data = p;
    p->body_max = body_max;
    p->in_head = 1;
    return p;
}

void http_parser_free(struct http_parser *p)
{
    if (!p) return;
    free(p->text);
    free(p->body);
    free(p);
}

/* A method that is a token, only not one of llhttp's, is "not implemented" rather than broken. */
static int is_unknown_method(const char *text, size_t len)
{
    while (len && (*text == '\r' || *text == '\n'))
        text++, len--;
    size_t n = 0;
    while (n < len && text[n] != ' ')
        n++;
    return n < len && is_token(text, n);
}

static int failed(struct http_parser *p, llhttp_errno_t error, const char *text, size_t len, const char **why)
{
    int status = 400;
    *why = "broken request";
    if (p->status) { /* one of the callbacks refused */
        *why = p->why;
        return p->status;
    }
    if (error == HPE_INVALID_METHOD && is_unknown_method(text, len)) {
        *why = "method not known";
        status = 501;
    } else if (error == HPE_INVALID_VERSION) {
        *why = "only HTTP/1.0 and 1.1 are spoken";
        status = 505;
    } else if (p->llhttp.reason) {
        *why = p->llhttp.reason;
    }
    return status;
}

int http_parser_head(struct http_parser *p, char *text, size_t len, const char **why)
{
    p->text = text;
    llhttp_errno_t error = llhttp_execute(&p->llhttp, text, len);
    if (error == HPE_PAUSED && p->complete) return 0;
    if (error != HPE_OK) return failed(p, error, text, len, why);
    if (p->in_head) { /* the scan saw the end and llhttp did not: never trust such a request */
        *why = "broken request";
        return 400;
    }
    return 0;
}

const struct http_head *http_parser_get(const struct http_parser *p)
{
    return &p->head;
}

int http_parser_body(struct http_parser *p, const char *bytes, size_t len, size_t *used, const char **why)
{
    *used = 0;
    if (p->complete) return 1;
    /* chunks of one byte carry five of framing; extensions and trailers don't go on for ever */
    size_t room = 8 * p->body_max + 4096 - p->raw;
    if (len > room) len = room;
    llhttp_errno_t error = llhttp_execute(&p->llhttp, bytes, len);
    if (error == HPE_PAUSED && p->complete) {
        *used = (size_t)(llhttp_get_error_pos(&p->llhttp) - bytes);
        return 1;
    }
    if (error != HPE_OK) return -failed(p, error, "", 0, why);
    *used = len;
    p->raw += len;
    if (len == room) {
        *why = "body too large";
        return -413;
    }
    return 0;
}

const void *http_parser_body_bytes(const struct http_parser *p, size_t *len)
{
    *len = p->body_len;
    return p->body ? p->body : "";
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_path_decode(char *path)
{
    char *out = path;
    for (const char *in = path; *in; in++, out++) {
        *out = *in;
        if (*in != '%') continue;
        int high = hex(in[1]), low = high < 0 ? -1 : hex(in[2]), c = high * 16 + low;
        if (low < 0 || c == 0 || c == '/') return -1;
        *out = (char)c;
        in += 2;
    }
    *out = '\0';
    for (const char *s = path; (s = strchr(s, '/'));) {
        size_t n = strcspn(++s, "/");
        if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.')) return -1;
    }
    return 0;
}

int http_query_decode(const char *text, size_t len, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int c = text[i] == '+' ? ' ' : (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < len ? hex(text[i + 1]) : -1, low = high < 0 ? -1 : hex(text[i + 2]);
            if (low < 0 || (c = high * 16 + low) == 0) return -1;
            i += 2;
        }
        if (n + 1 >= size) return -1;
        out[n++] = (char)c;
    }
    if (size == 0) return -1;
    out[n] = '\0';
    return 0;
}
