/* Any bytes as a request: the parser neither crashes nor depends on how a body was cut, and what it accepts
 * is a request that no other server reads differently: one Host, one body length, clean names. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http_parse.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX 4096

static void check(const struct http_head *h)
{
    unsigned hosts = 0, lengths = 0;
    for (size_t i = 0; i < h->field_count; i++) {
        const char *name = h->fields[i].name, *value = h->fields[i].value;
        if (!*name || strpbrk(name, " \t\r\n:") || strpbrk(value, "\r\n")) abort();
        hosts += !strcasecmp(name, "host");
        lengths += !strcasecmp(name, "content-length") || !strcasecmp(name, "transfer-encoding");
    }
    if (hosts > 1 || (h->minor && !hosts) || lengths > 1 || h->content_length > BODY_MAX) abort();
    if (h->has_body && !lengths) abort();
    char *path = strdup(h->target);
    if (!http_path_decode(path) && strstr(path, "/../")) abort();
    free(path);
}

/* Result of the body and how many bytes it took, fed in pieces. */
static long body(struct http_parser *parser, const uint8_t *bytes, size_t len, size_t piece)
{
    const char *why = NULL;
    size_t at = 0, used;
    int result = 0;
    while (result == 0 && at < len) {
        size_t n = piece < len - at ? piece : len - at;
        result = http_parser_body(parser, (const char *)bytes + at, n, &used, &why);
        if (used > n || (result < 0 && !why)) abort();
        at += used;
    }
    size_t have;
    http_parser_body_bytes(parser, &have);
    if (have > BODY_MAX) abort();
    return result < 0 ? result : (long)(at * 2 + (size_t)result);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct http_scan scan = {0};
    if (http_scan(&scan, bytes, len) != HTTP_SCAN_END) return 0;
    long results[2] = {0};
    for (int cut = 0; cut < 2; cut++) {
        struct http_parser *parser = http_parser_new(BODY_MAX);
        char *text = malloc(scan.bytes + 1);
        if (!parser || !text) abort();
        memcpy(text, bytes, scan.bytes);
        text[scan.bytes] = '\0';
        const char *why = NULL;
        int status = http_parser_head(parser, text, scan.bytes, &why);
        if (status && (status < 400 || status > 505 || !why)) abort();
        if (!status) {
            check(http_parser_get(parser));
            results[cut] = body(parser, bytes + scan.bytes, len - scan.bytes, cut ? 1 : len);
        }
        http_parser_free(parser);
    }
    if (results[0] != results[1]) abort();
    return 0;
}
