/* The stream's answer: its header, and the socket on to the fan-out.
 *
 * Without from= a body ends with the connection, the only end that players of HTTP/1.0 and ICY know. With it
 * the player is to see a cut as a cut and ask for the rest: chunked for HTTP/1.1 (which proxies pass on),
 * else the socket is reset. Either way it counts bytes, so it gets no metadata and is never skipped. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/station_internal.h"
#include "common/tls.h"

#define HEADER_MAX 4096
#define TWIN_S     3

struct header {
    char text[HEADER_MAX];
    size_t len;
};

static void __attribute__((format(printf, 2, 3))) put(struct header *h, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(h->text + h->len, sizeof h->text - h->len, format, ap);
    va_end(ap);
    /* a line that does not fit is left out whole */
    if (n > 0 && (size_t)n < sizeof h->text - h->len) h->len += (size_t)n;
    h->text[h->len] = '\0';
}

static void put_text(struct header *h, const char *name, const char *value)
{
    char clean[512];
    size_t n = 0;
    for (const char *v = value; v && *v && n + 1 < sizeof clean; v++) {
        if ((unsigned char)*v >= 0x20 && *v != 0x7f) clean[n++] = *v;
    }
    clean[n] = '\0';
    if (n) put(h, "%s: %s\r\n", name, clean);
}

struct answer {
    struct station_ask ask;
    uint64_t byte; /* of the endless stream, the first one sent */
    int icy, chunked;
    int loops; /* the programme is missing: what comes has no position */
};

static void write_header(const struct station *s, const struct http_request *r, const struct answer *a,
                         struct header *h)
{
    unsigned kbps = ring_kbps(s->ring);
    h->len = 0;
    put(h, "HTTP/1.%d %s\r\n%sContent-Type: audio/mpeg\r\nCache-Control: no-store\r\n", http_minor(r),
        a->ask.offset ? "206 Partial Content" : "200 OK", http_common_headers(s->http));
    put(h, "Connection: close\r\nAccept-Ranges: %s\r\nX-Content-Type-Options: nosniff\r\n",
        a->ask.has_from ? "bytes" : "none");
    /* always what was asked for, even when other bytes are all there is: anything else ends the playing */
    if (a->ask.offset)
        put(h, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/*\r\n", a->ask.offset, STATION_RANGE_END);
    if (a->chunked) put(h, "Transfer-Encoding: chunked\r\n");
    put(h, "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: " STATION_EXPOSED "\r\n");
    if (!a->loops) put(h, "X-Forever-Position: %" PRIu64 "\r\n", mp3_frame_at(kbps, a->byte));
    put(h, "icy-br: %u\r\nice-audio-info: ice-samplerate=%d;ice-bitrate=%u;ice-channels=2\r\n", kbps,
        MP3_RATE, kbps);
    put_text(h, "icy-name", s->conf.identity.name);
    put_text(h, "icy-genre", s->conf.identity.genre);
    put_text(h, "icy-description", s->conf.identity.description);
    put_text(h, "icy-url", s->conf.identity.url);
    put(h, "icy-pub: 0\r\n");
    if (a->icy) put(h, "icy-metaint: %d\r\n", FANOUT_ICY_METAINT);
    put(h, "\r\n");
}

void station_request_ask(const struct http_request *r, struct station_ask *ask)
{
    char from[24], burst[16], client[STATION_CLIENT_MAX + 1];
    station_ask_read(ask, http_query_get(r, "from", from, sizeof from),
                     http_query_get(r, "burst", burst, sizeof burst),
                     http_query_get(r, "client", client, sizeof client), http_header(r, "Range"));
}

uint64_t station_first_byte(const struct station *s, const struct station_ask *ask)
{
    unsigned kbps = ring_kbps(s->ring);
    if (ask->has_from) return fanout_start_byte(s->fanout, station_ask_byte(ask, kbps));
    if (ask->burst_s < 0) return mp3_frame_offset(kbps, fanout_start_position(s->fanout, 0, 0));
    uint64_t air = station_air(s), back = station_frames(ask->burst_s);
    return mp3_frame_offset(kbps, fanout_start_position(s->fanout, 1, air > back ? air - back : 0));
}

static const struct fanout_transport over_tls = {
    .write = tls_conn_write, .drain = tls_conn_drain, .free = tls_conn_free};

/* Safari and what plays for it open two sockets alike for one listener (common/fanout_twin.c). */
static int opens_two(const char *agent)
{
    if (strcasestr(agent, "applecoremedia")) return 1;
    return strcasestr(agent, "safari/") && !strcasestr(agent, "chrom") && !strcasestr(agent, "android");
}

/* What tells such a pair when it gave itself no name. */
static uint64_t pair_name(const struct http_request *r, const char *agent)
{
    char *text = xasprintf("%s %s %s?%s", http_peer(r), agent, http_path(r), http_query(r));
    uint64_t name = station_client_hash(text);
    free(text);
    return name;
}

int station_is_twin(const struct station *s, const struct http_request *r)
{
    const char *agent = http_header(r, "User-Agent");
    struct station_ask ask;
    struct fanout_place place;
    station_request_ask(r, &ask);
    if (http_method(r) == HTTP_HEAD || !agent || !opens_two(agent) || ask.offset) return 0;
    if (!ask.client) ask.client = pair_name(r, agent);
    return fanout_find(s->fanout, ask.client, &place) && place.seconds < TWIN_S && !place.twin;
}

void station_serve(struct station *s, struct http_request *r, int carrier)
{
    struct answer a;
    const char *metadata = http_header(r, "Icy-MetaData");
    station_request_ask(r, &a.ask);
    a.icy = !a.ask.has_from && metadata && atoi(metadata) > 0;
    a.chunked = a.ask.has_from && http_minor(r) == 1;
    a.byte = station_first_byte(s, &a.ask);
    a.loops = !a.ask.has_from && fanout_loops(s->fanout);
    struct header h;
    write_header(s, r, &a, &h);
    char agent[256];
    const char *sent = http_header(r, "User-Agent");
    snprintf(agent, sizeof agent, "%s", sent ? sent : "");
    int two = opens_two(agent) && !a.ask.offset && !carrier;
    if (two && !a.ask.client) a.ask.client = pair_name(r, agent);
    if (http_method(r) == HTTP_HEAD) {
        /* the very header of a GET, which has no length */
        http_reply_raw(r, a.ask.offset ? 206 : 200, h.text, h.len);
        return;
    }
    void *tag = NULL;
    if (s->conf.gate && !carrier) {
        enum limits_verdict verdict = gate_enter(s->conf.gate, s->mount, ring_kbps(s->ring), r,
                                                 station_spare(s, r), a.ask.offset ? 206 : 200, &tag);
        if (verdict != LIMITS_OK) {
            station_refuse(s, r, verdict);
            return;
        }
    }
    if (s->conf.taken) s->conf.taken(s->conf.context, r);
    struct tls_conn *tls = http_take_tls(r);
    int fd = http_detach(r);
    /* with from= the fan-out is told what was asked for, and comes to the same; else the byte that the header
     * names, whatever frame is due by now */
    struct fanout_listener_conf listener = {
        .icy = a.icy,
        .user_agent = agent,
        .has_byte = !a.loops,
        .byte = a.ask.has_from ? station_ask_byte(&a.ask, ring_kbps(s->ring)) : a.byte,
        .resumable = a.ask.has_from,
        .carrier = carrier,
        .chunked = a.chunked,
        .client = a.ask.client,
        .twin_s = two ? TWIN_S : 0,
        .tag = tag,
        .transport = tls ? &over_tls : NULL,
        .transport_self = tls,
        .header = h.text,
        .header_len = h.len};
    if (fanout_add(s->fanout, fd, &listener)) {
        log_warn("station", "a listener was not taken: %s", strerror(errno));
        if (tag) gate_give_up(s->conf.gate, tag);
        return;
    }
    uint64_t now = fanout_counts(s->fanout)->listening;
    if (now > s->peak) s->peak = now;
}
