/* http_parse: one request from bytes, without I/O: what may be in a header, how long the body is.
 *
 * llhttp (strict mode) is the grammar. In front of it stands a scan of the raw header bytes that refuses what
 * llhttp lets pass and servers disagree about, which is what request smuggling lives on: a bare LF, a CR
 * alone, a folded line, control characters. After it: names that are no tokens, a missing or doubled Host, a
 * Transfer-Encoding other than a single `chunked`, or one in HTTP/1.0. llhttp itself refuses Content-Length
 * beside Transfer-Encoding and a doubled Content-Length. */
#ifndef FOREVER_COMMON_HTTP_PARSE_H
#define FOREVER_COMMON_HTTP_PARSE_H
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX 100

enum http_scan_result { HTTP_SCAN_MORE, HTTP_SCAN_END, HTTP_SCAN_BAD, HTTP_SCAN_FIELDS };

/* Zeroed at the start of a request; fed with each header byte once. */
struct http_scan {
    size_t bytes; /* seen, up to and with the end of the header */
    unsigned lines, line_bytes, blank;
    unsigned char last;
};
/* Stops at the end of the header (scan->bytes is then its length) or at the first offence: END, MORE when
 * all len bytes were taken, BAD for 400, FIELDS for 431. */
enum http_scan_result http_scan(struct http_scan *scan, const unsigned char *bytes, size_t len);

struct http_field {
    char *name, *value;
};

struct http_head {
    const char *method; /* "GET" */
    char *target;       /* as sent */
    int minor;          /* of HTTP/1.x */
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t field_count;
    uint64_t content_length; /* may be over body_max: whoever reads the body judges */
    int has_body, chunked, keep_alive, expects_continue;
};

struct http_parser;

/* NULL without memory. */
struct http_parser *http_parser_new(size_t body_max);
void http_parser_free(struct http_parser *parser);
/* Takes over text (malloc'd, len bytes, a whole header that passed the scan). 0, or the status to answer
 * with, *why then says what was wrong. */
int http_parser_head(struct http_parser *parser, char *text, size_t len, const char **why);
const struct http_head *http_parser_get(const struct http_parser *parser);
/* Takes body bytes; *used says how many. 1 when the body is complete, 0 for more, or -status. */
int http_parser_body(struct http_parser *parser, const char *bytes, size_t len, size_t *used,
                     const char **why);
const void *http_parser_body_bytes(const struct http_parser *parser, size_t *len);

/* Decodes %XX in place; -1 for a broken escape, a NUL, an encoded slash, or a `.` or `..` segment. */
int http_path_decode(char *path);
/* As a form does (+ is a space): up to the next & or the end; -1 when it is broken or does not fit. */
int http_query_decode(const char *text, size_t len, char *out, size_t size);

#endif
