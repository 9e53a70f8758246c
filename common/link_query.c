#include "common/link_query.h"

#include <stdio.h>
#include <string.h>

#include "common/mount.h"

#define STATION_HEX 32
#define LEAD_MAX_S  86400
#define BACK_MAX_S  30

/* Decimal digits only, up to `end`. */
static int read_number(const char *text, char end, uint64_t max, uint64_t *out, const char **after)
{
    uint64_t n = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (n > (max - (uint64_t)(*c - '0')) / 10) return -1;
        n = n * 10 + (uint64_t)(*c - '0');
    }
    if (c == text || *c != end) return -1;
    *out = n;
    if (after) *after = end ? c + 1 : c;
    return 0;
}

static int is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static int refuse(const char **why, const char *text, int status)
{
    *why = text;
    return status;
}

static int read_from(const struct http_request *request, struct link_query *q, const char **why)
{
    char text[64], station[64];
    uint64_t branch, position;
    const char *from = http_query_get(request, "from", text, sizeof text), *rest;
    const char *id = http_query_get(request, "station", station, sizeof station);
    if (!from && !id) return 0;
    if (!from || !id || !is_hex(id, STATION_HEX))
        return refuse(why, "from and station (32 hex digits) come together", 400);
    if (read_number(from, ',', UINT32_MAX, &branch, &rest) ||
        read_number(rest, '\0', INT64_MAX, &position, NULL))
        return refuse(why, "from must be BRANCH,POSITION", 400);
    memcpy(q->station, id, sizeof q->station);
    q->ask.has_from = 1;
    q->ask.branch = (uint32_t)branch;
    q->ask.position = position;
    q->ask.station = q->station;
    return 0;
}

int link_query_read(const struct http_request *request, struct link_query *q, const char **why)
{
    char text[64];
    uint64_t version = LINK_VERSION, lead_s = 0, back_s = 0, less_ms = 0;
    *q = (struct link_query){0};
    if (http_query_get(request, "version", text, sizeof text) &&
        read_number(text, '\0', 1000000, &version, NULL))
        return refuse(why, "version must be a number", 400);
    if (version != LINK_VERSION) return refuse(why, "version 1 of the link is spoken here", 409);
    if (!http_query_get(request, "mount", q->mount, sizeof q->mount))
        snprintf(q->mount, sizeof q->mount, "%s", MOUNT_MAIN);
    if (http_query_get(request, "lead", text, sizeof text) &&
        (read_number(text, '\0', LEAD_MAX_S, &lead_s, NULL) || !lead_s))
        return refuse(why, "lead must be a whole number of seconds, up to a day", 400);
    if (http_query_get(request, "back", text, sizeof text) &&
        read_number(text, '\0', BACK_MAX_S, &back_s, NULL))
        return refuse(why, "back must be a whole number of seconds, up to 30", 400);
    if (http_query_get(request, "less", text, sizeof text) &&
        read_number(text, '\0', (uint64_t)(LINK_LESS_MAX_S * 1000), &less_ms, NULL))
        return refuse(why, "less must be a whole number of milliseconds, up to 3000", 400);
    if (http_query_get(request, "node", text, sizeof text)) {
        size_t len = strlen(text);
        if (!len || len >= LINK_NODE_MAX || !is_hex(text, len))
            return refuse(why, "node must be up to 16 hex digits", 400);
        memcpy(q->node, text, len + 1);
    }
    q->ask.ahead_s = (double)lead_s;
    q->ask.back_s = (double)back_s;
    q->ask.less_s = (double)less_ms / 1000;
    return read_from(request, q, why);
}

int link_query_pace(const struct http_request *request, char id[LINK_ID_MAX], double *times)
{
    char fill[8];
    if (!http_query_get(request, "link", id, LINK_ID_MAX) || !is_hex(id, LINK_ID_MAX - 1)) return -1;
    if (!http_query_get(request, "fill", fill, sizeof fill) || (strcmp(fill, "1") && strcmp(fill, "2")))
        return -1;
    *times = *fill - '0';
    return 0;
}
