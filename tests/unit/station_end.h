/* A station over a ring of made frames, asked by raw clients. */
#ifndef FOREVER_TESTS_STATION_END_H
#define FOREVER_TESTS_STATION_END_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/json.h"
#include "common/mp3.h"
#include "common/station.h"
#include "tests/unit/frames.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#define KBPS 192
#define SEED 11

static struct ring *ring;
static struct http_server *http;
static struct fanout *fanout;
static struct station *station;
static struct station_conf conf;
static int port;
static uint64_t air;
static enum station_verdict verdict;
static unsigned probes, asked;
static int well;

static uint64_t get_air(void *context)
{
    (void)context;
    return air;
}

static enum station_verdict admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size)
{
    (void)context;
    assert_non_null(http_path(request));
    asked++;
    probes += asking == STATION_HEAD;
    snprintf(location, size, "http://other.example:8000/stream.mp3");
    return verdict;
}

static const char *others[3]; /* streams at other nodes */

static int elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    (void)context;
    if (secure || i >= 3 || !others[i]) return -1;
    snprintf(location, size, "%s", others[i]);
    return 0;
}

static int healthy(void *context, char *text, size_t size)
{
    (void)context;
    snprintf(text, size, "the studio is silent");
    return well;
}

static inline void start(void)
{
    char *cause = NULL;
    struct ring_conf rc = {.kbps = KBPS, .past_s = 30, .lead_s = 30};
    if (ring_open(&ring, &rc, &cause)) fail_msg("%s", cause);
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 0, 1200, SEED, &len);
    if (ring_append(ring, ring_branch(ring), 0, 1200, bytes, len, &cause)) fail_msg("%s", cause);
    free(bytes);
    json_t *title = json_pack("{s:s,s:s,s:s}", "artist", "A", "title", "T", "text", "A - T");
    if (ring_mark_add(ring, ring_branch(ring), 0, "title", title, &cause)) fail_msg("%s", cause);
    json_decref(title);
    air = 1000;
    verdict = STATION_SERVE;
    well = 1;
    probes = asked = 0;
    http = http_server_new(base, NULL, "forever-test");
    if (http_server_listen(http, "127.0.0.1", 0, &port, &cause)) fail_msg("%s", cause);
    static struct net_prefix near;
    static const struct net_list trusted = {&near, 1};
    net_prefix_parse("127.0.0.0/8", &near, NULL);
    http_server_trust(http, &trusted);
    struct fanout_conf fc = {.burst_s = 2, .lag_limit_s = 15, .air = get_air};
    fanout = fanout_new(base, ring, &fc);
    conf = (struct station_conf){
        .identity = {.name = "Night\r\nX-Evil: 1", .genre = "mixed", .url = "http://forever.example/"},
        .wait_ms = 200,
        .admit = admit,
        .elsewhere = elsewhere,
        .healthy = healthy,
        .air = get_air};
    station = station_new(base, http, ring, fanout, &conf);
}

static inline void stop(void)
{
    station_free(station);
    fanout_free(fanout, 1);
    http_server_free(http);
    ring_close(ring);
}

/* Sends a request and reads until expect came, or to the end with NULL. */
static inline int ask(const char *request, const char *expect, struct net_bytes *b)
{
    *b = (struct net_bytes){0};
    int fd = net_connect(port, 0);
    assert_true(fd >= 0);
    net_send(fd, request);
    assert_true(net_until(base, fd, b, expect, NET_DEADLINE_MS));
    return fd;
}

static inline size_t body_at(const struct net_bytes *b)
{
    const char *end = strstr(b->data, "\r\n\r\n");
    assert_non_null(end);
    return (size_t)(end - b->data) + 4;
}

static inline void await_len(int fd, struct net_bytes *b, size_t len)
{
    net_until_len(base, fd, b, len);
    assert_true(b->len >= len);
}

static inline json_t *get_json(const char *path, int expected)
{
    struct net_bytes b;
    char request[512];
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: radio.example:8000\r\nConnection: close\r\n\r\n", path);
    close(ask(request, NULL, &b));
    assert_int_equal(net_status(&b), expected);
    char *cause = NULL;
    json_t *value = json_parse(b.data + body_at(&b), b.len - body_at(&b), 1 << 16, &cause);
    if (!value) fail_msg("%s", cause);
    free(b.data);
    return value;
}

#endif
