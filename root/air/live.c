#include "root/air/live.h"

#include <event2/buffer.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/stats.h"
#include "root/air/air.h"
#include "root/air/attempts.h"

#define PIPE_BYTES (1 << 20) /* three seconds: the studio may be busy for so long */
#define BEGIN_S    15        /* for the worker to be there */
#define TEXT_MAX   512

static const char *const reasons[] = {"closed",  "short",   "stalled", "slow",   "garbage",
                                      "stopped", "skipped", "decoder", "studio", "other"};
#define REASONS (sizeof reasons / sizeof *reasons)

static const char *const types[] = {"audio/mpeg", "audio/mp3",   "audio/ogg",    "application/ogg",
                                    "audio/opus", "audio/aac",   "audio/vorbis", "audio/aacp",
                                    "audio/flac", "audio/x-flac"};

/* Invariants: fd, pcm and early are held from the beginning of a session until its worker has taken over;
 * worker is set from the worker's start to its end, which may be after the session's. */
struct live {
    struct air *air;
    struct attempts *attempts;
    char *secret; /* what the Authorization of a source must be; NULL: nobody is let in */
    int64_t session;
    int open, worker, handed, ready;
    int64_t begun_ns;
    uint64_t position; /* where it goes on air; UINT64_MAX: not known yet */
    int fd, pcm[2];
    uint8_t *early; /* JSON, NUL, bytes: WIRE_LIVE_SOURCE */
    size_t early_len;
    char *name, *type, *agent, *peer;
    char *worker_reason; /* NULL: it has not said one */
    uint64_t sessions, refused, ended[REASONS];
};

/* A session's end */

static void shut(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void clear(struct live *l)
{
    shut(&l->fd);
    shut(&l->pcm[0]);
    shut(&l->pcm[1]);
    free(l->early);
    free(l->name);
    free(l->type);
    free(l->agent);
    free(l->peer);
    free(l->worker_reason);
    l->early = NULL;
    l->name = l->type = l->agent = l->peer = l->worker_reason = NULL;
}

static void finish(struct live *l, const char *reason)
{
    if (!l->open) return;
    size_t i = 0;
    while (i < REASONS - 1 && strcmp(reasons[i], reason) != 0)
        i++;
    l->ended[i]++;
    l->open = 0;
    log_info("live", "session %" PRId64 " of %s is over: %s", l->session, l->peer, reason);
    schedule_live_over(l->air->schedule);
    if (l->worker) workers_dismiss(l->air->workers, ROLE_LIVE);
    clear(l);
}

/* A source comes */

static char *base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text), at = 0;
    char *out = xmalloc((len + 2) / 3 * 4 + 1);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < len ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            out[at++] = i + k > len ? '=' : digits[v >> (18 - 6 * k) & 63];
    }
    out[at] = '\0';
    return out;
}

/* In a time that does not depend on how much of it is right. */
static int is_secret(const struct live *l, const char *given)
{
    size_t len = strlen(l->secret), have = strlen(given);
    unsigned wrong = have != len;
    for (size_t i = 0; i < len; i++)
        wrong |= (unsigned char)l->secret[i] ^ (unsigned char)given[i < have ? i : have];
    return !wrong;
}

static int put_off(struct live *l, struct http_request *request, unsigned wait_s)
{
    char text[16];
    l->refused++;
    snprintf(text, sizeof text, "%u", wait_s);
    http_add_header(request, "Retry-After", text);
    http_reply_text(request, 429, "too many wrong passwords: try again in %u s\n", wait_s);
    return 0;
}

/* 1 when it may; else it has been answered. */
static int may(struct live *l, struct http_request *request)
{
    if (!l->secret) {
        http_reply_text(request, 403, "live input is off here (--live-password-file)\n");
        return 0;
    }
    const char *given = http_header(request, "Authorization");
    const struct net_addr *from = http_peer_addr(request);
    int64_t now_ns = clock_boot_ns();
    if (given && !strncasecmp(given, "Basic ", 6)) {
        /* whoever has guessed too often is not told whether this guess is right */
        unsigned wait_s = attempts_take(l->attempts, from, now_ns);
        if (wait_s) return put_off(l, request, wait_s);
        given += 6;
        given += strspn(given, " ");
        if (is_secret(l, given)) {
            attempts_refund(l->attempts, from, now_ns);
            return 1;
        }
    }
    l->refused++;
    if (attempts_log(l->attempts, from, now_ns))
        log_warn("live", "%s has not the password of a source", http_peer(request));
    http_add_header(request, "WWW-Authenticate", "Basic realm=\"live\"");
    http_reply_text(request, 401, "user \"source\" and the password of live sources are needed\n");
    return 0;
}

static int is_known(const char *type)
{
    size_t len = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i]) == len && !strncasecmp(types[i], type, len)) return 1;
    }
    return 0;
}

static char *text_of(const struct http_request *request, const char *header)
{
    const char *value = http_header(request, header);
    char *cut = xstrndup(value ? value : "", TEXT_MAX);
    json_t *clean = json_text_lossy(cut);
    char *text = xstrdup(json_string_value(clean));
    json_decref(clean);
    free(cut);
    return text;
}

/* Why it can't be let in now; 0 when it can. */
static int obstacle(const struct live *l, const struct http_request *request, const char **why)
{
    const char *type = http_header(request, "Content-Type");
    *why = "a source is here already";
    if (l->open || l->worker) return 403; /* as Icecast answers: programs know it */
    *why = "send audio/mpeg, audio/ogg (Vorbis, Opus, FLAC), audio/aac or audio/flac";
    if (type && !is_known(type)) return 415;
    *why = "the station is not ready for a source";
    if (!switchboard_serving(workers_switchboard(l->air->workers), ROLE_STUDIO) || !air_has_music(l->air))
        return 503;
    *why = "a source can't be taken over TLS: send to a plain address";
    return http_is_tls(request) ? 403 : 0;
}

/* What the worker is to know, and the socket; from here on the request is gone. */
static void take_over(struct live *l, struct http_request *request)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n", welcome[] = "HTTP/1.0 200 OK\r\n\r\n";
    int chunked, expects = http_expects_continue(request);
    uint64_t length;
    int framed = http_body_framing(request, &chunked, &length) && http_method(request) == HTTP_PUT;
    json_t *body = json_pack("{s:I,s:s,s:b,s:I,s:b}", "session", (json_int_t)l->session, "type", l->type,
                             "chunked", framed && chunked, "length",
                             framed && !chunked ? (json_int_t)(length & INT64_MAX) : (json_int_t)-1, "answer",
                             expects || framed);
    char *text = json_text(body);
    size_t head = strlen(text) + 1, len;
    uint8_t *bytes = http_take_input(request, &len);
    l->early = xmalloc(head + len);
    memcpy(l->early, text, head);
    if (len) memcpy(l->early + head, bytes, len);
    l->early_len = head + len;
    free(bytes);
    free(text);
    json_decref(body);
    l->fd = http_detach(request);
    const char *answer = expects ? go_on : framed ? "" : welcome;
    if (*answer && send(l->fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
        log_debug("live", "the source is gone before its answer");
}

static void on_source(void *context, struct http_request *request)
{
    struct live *l = context;
    const char *why;
    if (!may(l, request)) return;
    int status = obstacle(l, request, &why), pcm[2];
    if (!status && pipe2(pcm, O_CLOEXEC)) {
        why = "no descriptors are left";
        status = 503;
    }
    if (status) {
        l->refused++;
        log_warn("live", "the source %s is refused: %s", http_peer(request), why);
        http_reply_text(request, status, "%s\n", why);
        return;
    }
    if (fcntl(pcm[1], F_SETPIPE_SZ, PIPE_BYTES) < 0) log_debug("live", "the pipe stays small");
    l->open = l->worker = 1;
    l->handed = l->ready = 0;
    l->session++;
    l->sessions++;
    l->begun_ns = clock_boot_ns();
    l->position = UINT64_MAX;
    l->pcm[0] = pcm[0];
    l->pcm[1] = pcm[1];
    l->name = text_of(request, "Ice-Name");
    l->type = text_of(request, "Content-Type");
    l->agent = text_of(request, "User-Agent");
    l->peer = xstrdup(http_peer(request));
    take_over(l, request);
    log_info("live", "session %" PRId64 ": %s sends %s (%s)", l->session, l->peer,
             *l->type ? l->type : "something", l->agent);
    workers_begin(l->air->workers, ROLE_LIVE);
}

void live_up(struct live *l, struct switch_end *end)
{
    struct switch_end *studio = switchboard_serving(workers_switchboard(l->air->workers), ROLE_STUDIO);
    if (!l->open) {
        workers_dismiss(l->air->workers, ROLE_LIVE);
        return;
    }
    json_t *body = json_pack("{s:I,s:s}", "session", (json_int_t)l->session, "title", l->name);
    char *text = json_text(body);
    json_decref(body);
    int failed = !studio || switchboard_hand(studio, WIRE_LIVE_PCM, text, strlen(text), l->pcm[0]) ||
                 switchboard_hand(end, WIRE_LIVE_PCM, text, strlen(text), l->pcm[1]) ||
                 switchboard_hand(end, WIRE_LIVE_SOURCE, l->early, l->early_len, l->fd);
    free(text);
    /* theirs from now on: each end is seen as closed when they close it */
    shut(&l->fd);
    shut(&l->pcm[0]);
    shut(&l->pcm[1]);
    free(l->early);
    l->early = NULL;
    l->handed = 1;
    if (failed) finish(l, "studio");
}

void live_down(struct live *l)
{
    l->worker = 0;
    /* what it has decoded is in the pipe; the studio says when it is out */
    if (l->open && !l->handed) finish(l, "decoder");
    if (l->open && !l->worker_reason) l->worker_reason = xstrdup("decoder");
}

void live_studio_down(struct live *l)
{
    finish(l, "studio");
}

static void try_take(struct live *l)
{
    char *cause = NULL;
    if (!l->open || !l->ready) return;
    if (schedule_live(l->air->schedule, l->session, &l->position, &cause) == 0)
        l->ready = 0;
    else
        log_debug("live", "not yet: %s", cause);
    free(cause);
}

void live_tick(struct live *l)
{
    try_take(l);
    if (l->open && !l->handed && clock_boot_ns() - l->begun_ns > BEGIN_S * CLOCK_NS_PER_S)
        finish(l, "decoder");
}

int live_event(struct live *l, const struct wire_row *row, const json_t *body)
{
    if (row->type != WIRE_LIVE_READY && row->type != WIRE_LIVE_OVER && row->type != WIRE_LIVE_ENDED) return 0;
    if (!l->open || json_int_or(body, "session", 0, 1, INT64_MAX, NULL) != l->session) return 1;
    const char *reason = json_str_or(body, "reason", "", NULL);
    if (row->type == WIRE_LIVE_READY) {
        l->ready = 1;
        try_take(l);
    } else if (row->type == WIRE_LIVE_ENDED) {
        free(l->worker_reason);
        l->worker_reason = xstrdup(reason);
    } else {
        /* that the pipe has ended is all the studio knows */
        int closed = !strcmp(reason, "closed") || !strcmp(reason, "short");
        int worker_knows = closed && l->worker_reason && strcmp(l->worker_reason, "closed") != 0;
        finish(l, worker_knows ? l->worker_reason : reason);
    }
    return 1;
}

int live_stop(struct live *l, char **cause)
{
    if (!l->open) return cause_set(cause, "no source is here");
    json_t *body = json_pack("{s:I}", "session", (json_int_t)l->session);
    if (!l->handed || switchboard_send(workers_switchboard(l->air->workers), ROLE_STUDIO, WIRE_LIVE_STOP,
                                       json_incref(body)))
        finish(l, "stopped");
    json_decref(body);
    return 0;
}

/* Titles: GET /admin/metadata?mount=/live&mode=updinfo&song=... */

static void on_metadata(void *context, struct http_request *request)
{
    static const char done[] = "<?xml version=\"1.0\"?>\n<iceresponse><message>Metadata update successful"
                               "</message><return>1</return></iceresponse>\n";
    struct live *l = context;
    char song[TEXT_MAX], artist[TEXT_MAX], mode[16];
    if (!may(l, request)) return;
    if (!http_query_get(request, "mode", mode, sizeof mode) || strcmp(mode, "updinfo") != 0) {
        http_reply_text(request, 400, "mode=updinfo is what there is\n");
        return;
    }
    const char *given = http_query_get(request, "song", song, sizeof song);
    if (!given) given = http_query_get(request, "title", song, sizeof song);
    if (!given || !l->open) {
        http_reply_text(request, given ? 404 : 400, given ? "no source is here\n" : "song=TEXT is missing\n");
        return;
    }
    int by = !http_query_get(request, "song", artist, sizeof artist) &&
             http_query_get(request, "artist", artist, sizeof artist) && *artist;
    char *text = by ? xasprintf("%s - %s", artist, song) : xstrdup(song);
    switchboard_send(
        workers_switchboard(l->air->workers), ROLE_STUDIO, WIRE_LIVE_TITLE,
        json_pack("{s:I,s:o}", "session", (json_int_t)l->session, "title", json_text_lossy(text)));
    free(text);
    http_reply(request, 200, "text/xml", done, strlen(done));
}

static const struct http_route routes[] = {
    {HTTP_PUT | HTTP_SOURCE | HTTP_UPLOAD | HTTP_RESERVED, "/live", on_source, 0, "a live source sends"},
    {HTTP_PUT | HTTP_SOURCE | HTTP_UPLOAD | HTTP_RESERVED, "/live.mp3", on_source, 0, "the same"},
    {HTTP_PUT | HTTP_SOURCE | HTTP_UPLOAD | HTTP_RESERVED, "/live.ogg", on_source, 0, "the same"},
    {HTTP_GET | HTTP_RESERVED, "/admin/metadata", on_metadata, 0, "a live source's title"},
};

struct live *live_new(struct air *air)
{
    struct live *l = xcalloc(1, sizeof *l);
    l->air = air;
    l->fd = l->pcm[0] = l->pcm[1] = -1;
    /* who knows the password is never kept out by others who guess */
    l->attempts = attempts_new(0);
    if (air->options->live_password) {
        char *text = xasprintf("source:%s", air->options->live_password);
        l->secret = base64(text);
        free(text);
    }
    http_server_routes(air->http, routes, sizeof routes / sizeof *routes, l);
    return l;
}

void live_free(struct live *l)
{
    if (!l) return;
    clear(l);
    attempts_free(l->attempts);
    free(l->secret);
    free(l);
}

/* Told */

static int on_air(const struct live *l)
{
    /* its first segment's mark is a frame behind the fork */
    return l->open && l->position < UINT64_MAX && l->position + 2 < air_position(l->air);
}

json_t *live_now(const struct live *l)
{
    if (!on_air(l)) return json_null();
    return json_pack("{s:s,s:s,s:f}", "name", l->name, "type", l->type, "since_s",
                     (double)mp3_frame_to_ns(air_position(l->air) - l->position) / 1e9);
}

json_t *live_json(const struct live *l)
{
    const char *state = !l->secret                 ? "off"
                        : !l->open                 ? "none"
                        : !l->handed               ? "starting"
                        : on_air(l)                ? "on air"
                        : l->position < UINT64_MAX ? "coming"
                                                   : "buffering";
    json_t *ended = json_object();
    for (size_t i = 0; i < REASONS; i++)
        json_object_set_new(ended, reasons[i], json_integer((json_int_t)l->ended[i]));
    json_t *o = json_pack("{s:s,s:I,s:I,s:o}", "state", state, "sessions", (json_int_t)l->sessions, "refused",
                          (json_int_t)l->refused, "ended", ended);
    if (l->open) {
        json_object_set_new(o, "session", json_integer(l->session));
        json_object_set_new(o, "name", json_string(l->name));
        json_object_set_new(o, "type", json_string(l->type));
        json_object_set_new(o, "client", json_string(l->agent));
        json_object_set_new(o, "connected_s", json_real((double)(clock_boot_ns() - l->begun_ns) / 1e9));
    }
    return o;
}

void live_metrics(const struct live *l, struct evbuffer *out)
{
    stats_write_head(out, "forever_live", STATS_GAUGE, "1 while a live source is on air.");
    stats_write_sample(out, "forever_live", "", on_air(l));
    stats_write_head(out, "forever_live_sessions_total", STATS_COUNTER, "Live sources that were let in.");
    stats_write_sample(out, "forever_live_sessions_total", "", (double)l->sessions);
    stats_write_head(out, "forever_live_ended_total", STATS_COUNTER,
                     "Live sessions by the reason of their end.");
    for (size_t i = 0; i < REASONS; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "reason", reasons[i]);
        stats_write_sample(out, "forever_live_ended_total", label, (double)l->ended[i]);
    }
}
