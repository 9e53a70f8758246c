/* Where to listen, and where a listener is: what pages and apps need that show or do something in step with
 * the sound. Whoever asks /api/listen gets an address that carries its position and a name for the listener;
 * the node that serves it tells under that name what was sent, which is all that a node can know, and from it
 * what is heard. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/station_internal.h"

#define SPARE_MAX    32
#define LOCATION_MAX 1024
#define FRAME_S      ((double)MP3_FRAME_SAMPLES / MP3_RATE)

uint64_t station_frames(double seconds)
{
    return seconds <= 0 ? 0 : (uint64_t)(seconds / FRAME_S + 0.999999);
}

unsigned station_spare(const struct station *s, const struct http_request *r)
{
    struct station_ask ask;
    struct fanout_place place;
    station_request_ask(r, &ask);
    return ask.offset && ask.client && fanout_find(s->fanout, ask.client, &place) ? SPARE_MAX : 0;
}

static double wall_s(void)
{
    return (double)clock_wall_ns() / 1e9;
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void reply(struct http_request *r, json_t *value)
{
    http_add_header(r, "Access-Control-Expose-Headers", "Retry-After");
    station_reply_json(r, 200, value);
}

/* Listen */

/* Far enough from the tail to be there still when the listener comes. */
static uint64_t start_before_air(const struct station *s, uint64_t air, double burst_s)
{
    uint64_t back = station_frames(burst_s), oldest = ring_tail(s->ring) + station_frames(2);
    uint64_t from = air > back ? air - back : 0;
    if (from < oldest) from = oldest;
    return from < air ? from : air;
}

static void make_client(char id[17])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint64_t)clock_boot_ns() * UINT64_C(0x9e3779b97f4a7c15);
    snprintf(id, 17, "%016" PRIx64, random);
}

/* stream: the stream's address at the node that will serve. */
static json_t *listen_json(const struct station *s, const char *stream, int sent_on, const char *ticket,
                           double burst_s)
{
    char client[17];
    make_client(client);
    uint64_t air = station_air(s), from = start_before_air(s, air, burst_s);
    int node_len = (int)(strrchr(stream, '/') - stream);
    /* while the loop plays there is no place to begin at: whoever hears it asks again now and then */
    int loops = !sent_on && fanout_loops(s->fanout);
    char *query = loops ? xasprintf("burst=%g&client=%s", burst_s, client)
                        : xasprintf("from=%" PRIu64 "&burst=%g&client=%s", from, burst_s, client);
    char *url = xasprintf("%s?%s%s%s%s", stream, query, sent_on ? "&hop=1" : "", ticket ? "&ticket=" : "",
                          ticket ? ticket : "");
    char *sync = xasprintf("%.*s/api/sync?%s", node_len, stream, query);
    char *node = xstrndup(stream, (size_t)node_len);
    json_t *o = json_object();
    json_object_set_new(o, "mount", json_string(s->mount));
    json_object_set_new(o, "node", json_text_lossy(node));
    json_object_set_new(o, "url", json_text_lossy(url));
    json_object_set_new(o, "sync", json_text_lossy(sync));
    json_object_set_new(o, "client", json_string(client));
    json_object_set_new(o, "from", loops ? json_null() : json_integer((json_int_t)from));
    json_object_set_new(o, "loop", json_boolean(loops));
    json_object_set_new(o, "burst_s", json_real(burst_s));
    set_count(o, "position", air);
    set_count(o, "branch", ring_branch(s->ring));
    set_count(o, "kbps", ring_kbps(s->ring));
    json_object_set_new(o, "frame_s", json_real(FRAME_S));
    json_object_set_new(o, "time", json_real(wall_s()));
    free(node);
    free(sync);
    free(url);
    free(query);
    return o;
}

/* NULL when there is no such mount. */
static struct station *mount_of(struct station *main, const char *mount)
{
    if (!strcmp(main->mount, mount)) return main;
    struct station *s;
    LIST_FOREACH(s, &main->further, sibling)
    {
        if (!strcmp(s->mount, mount)) return s;
    }
    return NULL;
}

static int decide(struct station *s, struct http_request *r)
{
    char location[LOCATION_MAX] = "", *stream = NULL;
    const char *ticket = NULL;
    int sent_on = 0;
    switch (s->conf.admit(s->conf.context, r, STATION_LISTEN, location, sizeof location)) {
    case STATION_WAIT:
        return 0;
    case STATION_FULL:
        station_refuse_full(s, r);
        return 1;
    case STATION_REDIRECT:
        sent_on = 1;
        stream = station_elsewhere_url(s, location);
        ticket = station_location_ticket(location);
        break;
    case STATION_AWAY:
        stream = xstrdup(location);
        break;
    case STATION_SERVE:
    case STATION_CARRY:
        stream = station_stream_url(s, r);
        break;
    }
    reply(r, listen_json(s, stream, sent_on, ticket, station_burst_s(r, STATION_LISTEN)));
    free(stream);
    return 1;
}

void station_on_listen(void *context, struct http_request *r)
{
    struct station *s = context;
    char mount[64];
    if (http_query_get(r, "mount", mount, sizeof mount)) s = mount_of(s, mount);
    if (s)
        station_answer(s, r, STATION_LISTEN, decide);
    else
        http_reply_error(r, 404, "no such mount");
}

/* Sync */

/* A place in the stream as a position: frames, with a fraction within one. */
static json_t *position_json(unsigned kbps, uint64_t byte)
{
    uint64_t frame = mp3_frame_at(kbps, byte);
    double within = (double)(byte - mp3_frame_offset(kbps, frame)) / (double)mp3_frame_bytes(kbps, frame);
    return json_real((double)frame + within);
}

/* A player that has begun plays what comes first. One that resumes has some seconds yet which another
 * connection, or another node, brought: as much as it began behind the air, which its address says. */
static uint64_t heard(const struct station *s, const struct station_ask *ask, const struct fanout_place *p)
{
    unsigned kbps = ring_kbps(s->ring);
    if (!ask->has_from || p->asked_byte <= mp3_frame_offset(kbps, ask->from)) return p->heard_byte;
    uint64_t air = station_air(s);
    uint64_t back =
        ask->burst_s < 0 ? air - fanout_start_position(s->fanout, 0, 0) : station_frames(ask->burst_s);
    uint64_t byte = mp3_frame_offset(kbps, air > back ? air - back : 0);
    return byte < p->received_byte ? byte : p->received_byte;
}

/* The mount where that client listens; NULL when it does at none. */
static const struct station *find(const struct station *main, uint64_t client, struct fanout_place *place)
{
    if (fanout_find(main->fanout, client, place)) return main;
    const struct station *s;
    LIST_FOREACH(s, &main->further, sibling)
    {
        if (fanout_find(s->fanout, client, place)) return s;
    }
    return NULL;
}

void station_on_sync(void *context, struct http_request *r)
{
    const struct station *s = context;
    struct station_ask ask;
    struct fanout_place p;
    char client[STATION_CLIENT_MAX + 1];
    station_request_ask(r, &ask);
    if (!http_query_get(r, "client", client, sizeof client) || !ask.client) {
        http_reply_error(r, 400, "client must be the id in the stream's address");
        return;
    }
    s = find(s, ask.client, &p);
    if (!s) {
        http_reply_error(r, 404, "no such listener here");
        return;
    }
    unsigned kbps = ring_kbps(s->ring);
    json_t *o = json_object();
    json_object_set_new(o, "client", json_text_lossy(client));
    json_object_set_new(o, "mount", json_string(s->mount));
    set_count(o, "position", station_air(s));
    set_count(o, "branch", ring_branch(s->ring));
    json_object_set_new(o, "first", position_json(kbps, p.first_byte));
    uint64_t zero = mp3_frame_offset(kbps, ask.from);
    int known = ask.has_from && p.asked_byte >= zero;
    json_object_set_new(o, "offset", known ? json_integer((json_int_t)(p.asked_byte - zero)) : json_null());
    json_object_set_new(o, "exact", json_boolean(p.first_byte == p.asked_byte));
    json_object_set_new(o, "heard", position_json(kbps, heard(s, &ask, &p)));
    json_object_set_new(o, "received", position_json(kbps, p.received_byte));
    json_object_set_new(o, "sent", position_json(kbps, p.sent_byte));
    json_object_set_new(o, "seconds", json_real(p.seconds));
    set_count(o, "kbps", kbps);
    json_object_set_new(o, "frame_s", json_real(FRAME_S));
    json_object_set_new(o, "time", json_real(wall_s()));
    reply(r, o);
}
