#include "common/station_ask.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "common/ring.h"

/* Digits alone, up to max. 0, or -1. */
static int read_number(const char *text, const char *end, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (text == end) return -1;
    for (const char *c = text; c < end; c++) {
        if (*c < '0' || *c > '9') return -1;
        uint64_t digit = (uint64_t)(*c - '0');
        if (n > (max - digit) / 10) return -1;
        n = n * 10 + digit;
    }
    *out = n;
    return 0;
}

/* First byte of `bytes=N-` or `bytes=N-M`; where M lies does not matter in a stream. Several ranges, a
 * suffix, another unit, M < N: -1. */
static int read_range(const char *value, uint64_t *first)
{
    uint64_t last;
    if (strncasecmp(value, "bytes", 5)) return -1;
    value += 5;
    value += strspn(value, " \t");
    if (*value++ != '=') return -1;
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len && strchr(" \t", value[len - 1]))
        len--;
    const char *end = value + len, *dash = memchr(value, '-', len);
    if (!dash || read_number(value, dash, STATION_RANGE_END - 1, first)) return -1;
    if (dash + 1 == end) return 0;
    return read_number(dash + 1, end, INT64_MAX, &last) || last < *first ? -1 : 0;
}

/* A few digits, perhaps with a fraction: no sign, exponent or name of a number. */
static int read_seconds(const char *text, double *out)
{
    size_t len = strlen(text);
    if (!len || len > 8 || strspn(text, "0123456789.") != len) return -1;
    char *end;
    *out = strtod(text, &end);
    return *end ? -1 : 0;
}

/* FNV-1a, and never 0. */
uint64_t station_client_hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h ? h : 1;
}

void station_ask_read(struct station_ask *ask, const char *from, const char *burst, const char *client,
                      const char *range)
{
    *ask = (struct station_ask){.burst_s = -1};
    if (burst && read_seconds(burst, &ask->burst_s)) ask->burst_s = -1;
    if (ask->burst_s > STATION_BURST_MAX_S) ask->burst_s = STATION_BURST_MAX_S;
    if (client && *client && strlen(client) <= STATION_CLIENT_MAX) ask->client = station_client_hash(client);
    if (!from || read_number(from, from + strlen(from), RING_POSITION_MAX, &ask->from)) return;
    ask->has_from = 1;
    /* iOS asks for bytes=0-1 first, browsers for bytes=0-: both begin */
    if (!range || read_range(range, &ask->offset)) ask->offset = 0;
}

uint64_t station_ask_byte(const struct station_ask *ask, unsigned kbps)
{
    return mp3_frame_offset(kbps, ask->from) + ask->offset;
}

char *station_query_set(const char *query, const char *name, const char *value)
{
    size_t name_len = strlen(name), n = 0;
    char *out = xmalloc(strlen(query) + name_len + (value ? strlen(value) : 0) + 3);
    for (const char *s = query; *s;) {
        size_t len = strcspn(s, "&");
        int same = strcspn(s, "=&") == name_len && !strncmp(s, name, name_len);
        if (len && !same) {
            if (n) out[n++] = '&';
            memcpy(out + n, s, len);
            n += len;
        }
        s += len + (s[len] == '&');
    }
    out[n] = '\0';
    if (!value) return out;
    if (n) out[n++] = '&';
    memcpy(out + n, name, name_len);
    out[n + name_len] = '=';
    memcpy(out + n + name_len + 1, value, strlen(value) + 1);
    return out;
}
