/* One listener's life: wait, connect, ask, read the head, listen, and come back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "tests/load/crowd_internal.h"

#define HOPS_MAX        5
#define ROUNDS_MAX      8 /* of reading, then others have their turn */
#define REFERENCE_BYTES (8u << 20)

static int64_t in_s(int64_t now, double seconds)
{
    return now + (int64_t)(seconds * CLOCK_NS_PER_S);
}

static double random_s(struct load_crowd *c, double most)
{
    return most * rand_r(&c->seed) / RAND_MAX;
}

static void set_url(char **url, const char *text)
{
    char *fresh = xstrdup(text);
    free(*url);
    *url = fresh;
}

static void over(struct load_crowd *c, int i)
{
    struct load_listener *l = &c->listeners[i];
    if (l->state == LOAD_BODY) c->totals.now[l->node]--;
    load_close(&l->connection, 1);
    free(l->head);
    l->head = NULL;
    l->state = LOAD_OVER;
    c->due_ns[i] = INT64_MAX;
}

/* Whom to ask next. The root knows who has room; when it was asked and gave no answer, the node where one
 * was. */
static void choose(const struct load_crowd *c, struct load_listener *l, int answered)
{
    int known = strcmp(l->home, c->options->url) != 0;
    if (c->options->again && known) l->asking = answered || !l->asking;
    set_url(&l->url, l->asking ? c->options->url : l->home);
}

/* The connection is gone, or was of no use: comes back later, or not at all. answered: there was one, by
 * HTTP. */
static void come_back(struct load_crowd *c, int i, double after_s, int answered)
{
    struct load_listener *l = &c->listeners[i];
    if (l->state == LOAD_BODY && l->kind == LOAD_NORMAL && l->last_ns && !l->cut_ns) {
        l->cut_ns = clock_boot_ns();
        c->totals.cuts.count++;
    }
    over(c, i);
    if (l->kind != LOAD_NORMAL || !c->options->reconnect) {
        c->totals.cut += l->kind != LOAD_NORMAL;
        return;
    }
    /* the full range of each pause, so that those who left together do not return together */
    double most = c->options->jitter_s;
    for (int n = 0; n < l->tries && most < c->options->pause_s; n++)
        most *= 2;
    if (most > c->options->pause_s) most = c->options->pause_s;
    l->tries += l->tries < 16;
    l->hops = 0;
    l->asked_ns = 0;
    choose(c, l, answered);
    l->state = LOAD_WAITING;
    c->due_ns[i] = in_s(clock_boot_ns(), after_s + random_s(c, most));
    c->totals.reconnects++;
}

static void failed(struct load_crowd *c, int i)
{
    if (c->listeners[i].state == LOAD_CONNECTING)
        c->totals.connect_errors++;
    else if (errno == ECONNRESET || errno == EPIPE)
        c->totals.resets++;
    else
        c->totals.bad_answers++;
    come_back(c, i, 0, 0);
}

static void connect_now(struct load_crowd *c, int i, int64_t now)
{
    struct load_listener *l = &c->listeners[i];
    struct load_url url;
    char *cause = NULL;
    if (!l->asked_ns) l->asked_ns = now;
    if (load_url_parse(l->url, &c->start, &url, &cause) || (l->node = load_node(&url, &cause)) < 0) {
        c->totals.forbidden++;
        if (!c->forbidden)
            c->forbidden = cause;
        else
            free(cause);
        over(c, i);
        return;
    }
    unsigned source = c->sources ? 1 + (unsigned)i % c->sources : 0;
    c->totals.connections++;
    l->state = LOAD_CONNECTING;
    struct epoll_event e = {.events = EPOLLOUT, .data.u32 = (uint32_t)i};
    if (load_connect(&l->connection, l->node, &url, source) ||
        epoll_ctl(c->epoll, EPOLL_CTL_ADD, l->connection.fd, &e)) {
        failed(c, i);
        return;
    }
    c->due_ns[i] = in_s(now, c->options->timeout_s);
}

static void watch(struct load_crowd *c, int i, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)i};
    epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->listeners[i].connection.fd, &e);
}

/* /stream.mp3 is the mount "stream"; / the main one. */
static const char *listen_target(const char *target, char *out, size_t size)
{
    if (!strncmp(target, "/api/listen", 11)) return target;
    int len = (int)strcspn(++target, ".?");
    snprintf(out, size, "/api/listen%s%.*s", len ? "?mount=" : "", len < 64 ? len : 64, target);
    return out;
}

static void ask(struct load_crowd *c, int i)
{
    struct load_listener *l = &c->listeners[i];
    struct load_url url;
    char authority[LOAD_HOST_MAX + 8], range[48] = "", request[LOAD_TARGET_MAX + LOAD_HOST_MAX + 256];
    load_url_parse(l->url, &c->start, &url, NULL);
    load_url_authority(&url, authority, sizeof authority);
    l->resuming = !l->asking && l->has_from && l->resource_bytes > 0;
    char listen[128];
    if (l->resuming) snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-\r\n", l->resource_bytes);
    int len = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.%d\r\nHost: %s\r\nUser-Agent: forever-load/" FOREVER_VERSION "\r\n%s%s\r\n",
        l->asking ? listen_target(url.target, listen, sizeof listen) : url.target, c->options->http10 ? 0 : 1,
        authority, range, c->options->icy && !l->asking ? "Icy-MetaData: 1\r\n" : "");
    if (load_send(&l->connection, request, (size_t)len) != len) {
        failed(c, i);
        return;
    }
    l->head = xmalloc(LOAD_HEADER_MAX + 1);
    l->head_len = 0;
    l->state = LOAD_HEAD;
    watch(c, i, EPOLLIN);
}

static struct load_reference *reference_of(struct load_crowd *c, unsigned kbps)
{
    for (int i = 0; i < LOAD_RATES_MAX; i++) {
        if (!c->references[i]) return c->references[i] = load_reference_new(kbps, REFERENCE_BYTES);
        if (load_reference_kbps(c->references[i]) == kbps) return c->references[i];
    }
    return NULL;
}

/* The place in the stream that the listener's address says is another now. */
static void go_on_from(struct load_listener *l, uint64_t from)
{
    char *url = load_url_from(l->home, from);
    if (!url) return;
    free(l->home);
    l->home = url;
    l->from = from;
    l->resource_bytes = 0;
}

/* What was heard so far and what comes now are one: the first silence is judged from here on. */
static void begin_audio(struct load_crowd *c, struct load_listener *l, const struct load_head *h)
{
    int first = l->last_ns == 0, goes_on = !first && l->resuming && h->status == 206;
    load_body_start(&l->body, h);
    l->walk = (struct load_walk){0};
    l->tries = 0;
    c->totals.served[l->node]++;
    if (++c->totals.now[l->node] > c->totals.most[l->node]) c->totals.most[l->node] = c->totals.now[l->node];
    if (h->kbps) l->kbps = h->kbps;
    int known = c->options->verify && h->has_position && mp3_kbps_valid(l->kbps);
    l->reference = known ? reference_of(c, l->kbps) : NULL;
    if (goes_on) {
        c->totals.resumed++;
        c->totals.breaks += h->has_range && h->range != l->resource_bytes;
        if (l->reference && h->position != mp3_frame_at(l->kbps, l->at)) {
            c->totals.jumps++; /* what was asked for is gone */
            l->at = mp3_frame_offset(l->kbps, h->position);
            if (c->options->again) go_on_from(l, h->position);
        }
        return;
    }
    c->totals.restarted += !first;
    if (l->reference) l->at = mp3_frame_offset(l->kbps, h->position);
    l->begun_ns = 0;
    l->resource_bytes = 0;
}

static void heard(struct load_crowd *c, struct load_listener *l, int64_t now)
{
    if (l->first_byte_ms < 0) {
        l->first_byte_ms = (double)(now - l->asked_ns) / 1e6;
        c->totals.hearing += l->kind == LOAD_NORMAL;
    }
    if (l->cut_ns) load_cuts_back(&c->totals.cuts, now - l->cut_ns);
    l->cut_ns = 0;
    if (l->last_ns && now - l->last_ns > l->gap_ns) l->gap_ns = now - l->last_ns;
    if (l->begun_ns && l->kbps) {
        int64_t silent = now - l->begun_ns - l->audio_bytes * 8000000 / l->kbps;
        if (silent > l->silence_ns) l->silence_ns = silent;
    }
    if (!l->begun_ns) {
        /* a new start plays when its first byte is there: what was missing until then */
        if (l->last_ns && now - l->last_ns > l->silence_ns) l->silence_ns = now - l->last_ns;
        l->begun_ns = now;
        l->audio_bytes = 0;
    }
    l->last_ns = now;
}

/* Audio as it came. 0, or -1 when it is not what it should be. */
static int check(struct load_listener *l, const uint8_t *bytes, size_t len)
{
    if (!l->reference) return load_walk(&l->walk, bytes, len);
    int wrong = load_reference_check(l->reference, l->at, bytes, len);
    l->at += len;
    return wrong;
}

static void take(struct load_crowd *c, struct load_listener *l, size_t len)
{
    l->audio_bytes += (int64_t)len;
    l->resource_bytes += len;
    c->totals.bytes += len;
}

/* A piece of the body. 0, or -1 when the connection is of no more use. */
static int hear(struct load_crowd *c, struct load_listener *l, const uint8_t *bytes, size_t len)
{
    const uint8_t *audio;
    long n;
    if (l->kind == LOAD_NORMAL && len) heard(c, l, clock_boot_ns());
    while ((n = load_body_next(&l->body, &bytes, &len, &audio)) > 0) {
        take(c, l, (size_t)n);
        if (c->options->verify && check(l, audio, (size_t)n)) {
            c->totals.breaks++;
            l->reference = NULL; /* where it is now nobody knows: its frames are still followed */
            l->walk = (struct load_walk){0};
        }
    }
    if (n < 0) {
        c->totals.breaks++;
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

/* The answer of /api/listen, once it is whole. 1, 0 or -1. */
static int listen_answer(struct load_listener *l, size_t head_len, int64_t length)
{
    if (length < 0 || length > (int64_t)(LOAD_HEADER_MAX - head_len)) return -1;
    if (l->head_len < head_len + (size_t)length) return 0;
    json_t *answer = json_parse(l->head + head_len, (size_t)length, LOAD_HEADER_MAX, NULL);
    const char *url = json_str_or(answer, "url", NULL, NULL);
    /* another address, the same place in the stream */
    char *same = url && l->has_from ? load_url_from(url, l->from) : NULL;
    if (url) {
        set_url(&l->home, same ? same : url);
        set_url(&l->url, l->home);
        l->asking = 0;
        if (!same) {
            l->from = (uint64_t)json_int_or(answer, "from", 0, 0, INT64_MAX, NULL);
            l->has_from = strstr(url, "from=") != NULL;
            l->resource_bytes = 0;
        }
    }
    free(same);
    json_decref(answer);
    return url ? 1 : -1;
}

/* On at once: the next request of the same errand. */
static void go_on(struct load_crowd *c, int i)
{
    load_close(&c->listeners[i].connection, 1);
    free(c->listeners[i].head);
    c->listeners[i].head = NULL;
    connect_now(c, i, clock_boot_ns());
}

static void redirected(struct load_crowd *c, int i, const struct load_head *h)
{
    struct load_listener *l = &c->listeners[i];
    struct load_url from, to;
    char *cause = NULL, authority[LOAD_HOST_MAX + 8];
    c->totals.redirects++;
    if (++l->hops > HOPS_MAX || load_url_parse(l->url, &c->start, &from, NULL) ||
        load_url_parse(h->location, &from, &to, &cause)) {
        free(cause);
        c->totals.bad_answers++;
        come_back(c, i, 0, 1);
        return;
    }
    load_url_authority(&to, authority, sizeof authority);
    char *url = xasprintf("http%s://%s%s", to.tls ? "s" : "", authority, to.target);
    free(l->url);
    l->url = url;
    go_on(c, i);
}

static void answered(struct load_crowd *c, int i, const struct load_head *h, size_t head_len)
{
    struct load_listener *l = &c->listeners[i];
    if (h->status >= 300 && h->status < 400 && *h->location) {
        redirected(c, i, h);
    } else if (h->status == 429 || h->status == 503 || h->status == 403) {
        c->totals.refused++;
        c->totals.refused_at[l->node]++;
        come_back(c, i, h->retry_after_s > 0 ? h->retry_after_s : 1, 1);
    } else if (h->status != 200 && h->status != 206) {
        c->totals.bad_answers++;
        come_back(c, i, 1, 1);
    } else if (l->asking) {
        int whole = listen_answer(l, head_len, h->length);
        if (whole > 0) go_on(c, i);
        if (whole < 0) {
            c->totals.bad_answers++;
            come_back(c, i, 1, 1);
        }
    } else {
        begin_audio(c, l, h);
        l->state = LOAD_BODY;
        if (l->kind != LOAD_NORMAL) { /* reads no more by itself: only its end is heard of */
            watch(c, i, EPOLLRDHUP);
            c->due_ns[i] = l->kind == LOAD_TRICKLE ? in_s(clock_boot_ns(), 1) : INT64_MAX;
            l->first_byte_ms = 0;
        } else if (hear(c, l, (const uint8_t *)l->head + head_len, l->head_len - head_len)) {
            failed(c, i);
        }
        free(l->head);
        l->head = NULL;
    }
}

static void read_head(struct load_crowd *c, int i)
{
    struct load_listener *l = &c->listeners[i];
    ssize_t n = load_receive(&l->connection, l->head + l->head_len, LOAD_HEADER_MAX - l->head_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n == 0) errno = ECONNRESET;
    struct load_head h;
    if (n > 0) {
        l->head_len += (size_t)n;
        l->head[l->head_len] = '\0';
        int len = load_head_parse(l->head, l->head_len, &h);
        if (len == 0) return;
        if (len > 0) {
            answered(c, i, &h, (size_t)len);
            return;
        }
        errno = EPROTO;
    }
    failed(c, i);
}

static void read_body(struct load_crowd *c, int i)
{
    struct load_listener *l = &c->listeners[i];
    int blind = !c->options->verify && !l->connection.tls && !l->body.chunked && !l->body.metaint;
    int64_t now = clock_boot_ns();
    for (int round = 0; round < ROUNDS_MAX || l->connection.tls; round++) {
        ssize_t n = load_receive(&l->connection, blind ? NULL : c->piece, LOAD_PIECE);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n > 0 && blind) {
            heard(c, l, now);
            take(c, l, (size_t)n);
        }
        if (n > 0 && !blind && hear(c, l, c->piece, (size_t)n)) n = -1;
        if (n <= 0 || l->body.ended) {
            if (n < 0) {
                failed(c, i);
            } else {
                c->totals.ends++;
                come_back(c, i, 0, 1);
            }
            return;
        }
        if ((size_t)n < LOAD_PIECE && !l->connection.tls) break; /* level-triggered: what comes now is told */
    }
    c->due_ns[i] = in_s(now, c->options->timeout_s);
}

void load_listener_event(struct load_crowd *c, int i, uint32_t events)
{
    struct load_listener *l = &c->listeners[i];
    uint32_t wanted = EPOLLOUT;
    int connected;
    switch (l->state) {
    case LOAD_CONNECTING:
        connected = load_connected(&l->connection, &wanted);
        if (connected > 0)
            ask(c, i);
        else if (connected < 0)
            failed(c, i);
        else
            watch(c, i, wanted);
        break;
    case LOAD_HEAD:
        read_head(c, i);
        break;
    case LOAD_BODY:
        if (l->kind == LOAD_NORMAL)
            read_body(c, i);
        else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            come_back(c, i, 0, 1);
        break;
    case LOAD_WAITING:
    case LOAD_OVER:
        break;
    }
}

void load_listener_due(struct load_crowd *c, int i, int64_t now)
{
    struct load_listener *l = &c->listeners[i];
    uint8_t byte;
    switch (l->state) {
    case LOAD_WAITING:
        connect_now(c, i, now);
        break;
    case LOAD_BODY:
        if (l->kind == LOAD_TRICKLE) {
            if (load_receive(&l->connection, &byte, 1) > 0) c->totals.bytes++;
            c->due_ns[i] = in_s(now, 1);
            break;
        }
        __attribute__((fallthrough)); /* silent for too long */
    case LOAD_CONNECTING:
    case LOAD_HEAD:
        c->totals.timeouts++;
        come_back(c, i, 0, 0);
        break;
    case LOAD_OVER:
        c->due_ns[i] = INT64_MAX;
        break;
    }
}

void load_listener_close(struct load_crowd *c, int i, int64_t now)
{
    struct load_listener *l = &c->listeners[i];
    if (l->kind == LOAD_NORMAL && l->last_ns) {
        if (now - l->last_ns > l->gap_ns) l->gap_ns = now - l->last_ns;
        int64_t silent = !l->begun_ns ? now - l->last_ns
                         : l->kbps    ? now - l->begun_ns - l->audio_bytes * 8000000 / l->kbps
                                      : 0;
        if (silent > l->silence_ns) l->silence_ns = silent;
    }
    if (l->cut_ns) load_cuts_out(&c->totals.cuts, now - l->cut_ns);
    over(c, i);
    free(l->home);
    free(l->url);
}
