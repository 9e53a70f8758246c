#include "relay/uplink.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mount.h"
#include "common/mp3.h"
#include "relay/icecast.h"

#define CONNECT_MS 3000
#define LEAD_MAX_S 86400.0
#define STALL_MS   5000 /* the parent's clock comes every second */

struct uplink {
    struct uplink_conf conf;
    int parent;
    char *url;
    struct fetch *fetch;
    struct link_decoder *decoder;
    struct icecast *icecast; /* makes records of what comes; NULL: records come */
    struct evbuffer *records;
    struct follow follow;
    char link[LINK_ID_MAX], station[40];
    uint32_t branch;      /* when it was asked for */
    uint64_t asked, head; /* held here then; held there, by HELLO */
    int64_t fresh_ns;
    int accepted;
    char *broken; /* why we end it ourselves */
};

/* What a text answer says: {"error": text}, or its first line. Fresh memory, never NULL. */
static char *answer_text(const void *body, size_t len)
{
    json_t *object = json_parse(body, len, 4096, NULL);
    const char *error = json_str_or(object, "error", NULL, NULL);
    char *text = error ? xstrndup(error, 200) : xstrndup(body, len < 200 ? len : 200);
    if (!error) text[strcspn(text, "\r\n")] = '\0';
    json_decref(object);
    return text;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct uplink *u = context;
    u->fetch = NULL;
    char *text, *answer = answer_text(body, len);
    int refused = status >= 400 && status < 500;
    if (u->broken)
        text =
            xasprintf(u->conf.icecast ? "%s can't be carried on: %s" : "%s broke the rules of the link: %s",
                      u->url, u->broken);
    else if (status == 0)
        text = xasprintf("%s can't be reached: %s", u->url, error ? error : "no answer");
    else if (status == 200)
        text = xasprintf("the link to %s was cut: %s", u->url, error ? error : "closed");
    else
        text = xasprintf("%s %s: %d%s%s", u->url,
                         !refused          ? "has no link for us now"
                         : u->conf.icecast ? "does not give its stream"
                                           : "refuses this relay (see --token-file)",
                         status, *answer ? " " : "", answer);
    free(answer);
    u->conf.ended(u->conf.context, u, text, refused);
}

static int on_status(void *context, int status)
{
    struct uplink *u = context;
    u->accepted = status == 200;
    return 0;
}

static void on_field(void *context, const char *name, const char *value)
{
    struct uplink *u = context;
    icecast_field(u->icecast, name, value);
}

static void read_hello(struct uplink *u, const json_t *body)
{
    int64_t air = json_int_or(body, "air_position", 0, 0, (int64_t)RING_POSITION_MAX, NULL);
    double lead_s = json_real_or(body, "lead_s", 0, NULL),
           frames_per_s = (double)MP3_RATE / MP3_FRAME_SAMPLES;
    snprintf(u->link, sizeof u->link, "%s", json_str_or(body, "link", "", NULL));
    if (!(lead_s >= 0 && lead_s < LEAD_MAX_S)) lead_s = 0;
    u->head = (uint64_t)air + (uint64_t)(lead_s * frames_per_s) + 1;
    u->fresh_ns = clock_boot_ns();
    if (u->asked > u->head) u->fresh_ns += (int64_t)((double)(u->asked - u->head) / frames_per_s * 1.2e9);
}

static int take(struct uplink *u, const struct link_record *record)
{
    uint64_t frames = u->follow.frames;
    if (record->type == LINK_HELLO) read_hello(u, record->body);
    int rc = u->conf.record(u->conf.context, u, record, &u->broken);
    if (u->follow.frames != frames) u->fresh_ns = clock_boot_ns();
    return rc;
}

static int take_records(struct uplink *u, const void *bytes, size_t len)
{
    struct link_record record;
    link_decoder_feed(u->decoder, bytes, len);
    int more;
    while ((more = link_decoder_next(u->decoder, &record, &u->broken)) > 0) {
        if (take(u, &record)) return -1;
    }
    return more < 0 ? -1 : 0;
}

static int on_bytes(void *context, const void *bytes, size_t len)
{
    struct uplink *u = context;
    int result = 0;
    if (!u->icecast) {
        result = take_records(u, bytes, len);
    } else {
        if (icecast_feed(u->icecast, bytes, len, u->records, &u->broken)) return -1;
        size_t made = evbuffer_get_length(u->records);
        if (made) result = take_records(u, evbuffer_pullup(u->records, -1), made);
        evbuffer_drain(u->records, made);
    }
    if (result == 0) u->conf.taken(u->conf.context, u, len);
    return result;
}

static char *link_url(const struct uplink_conf *conf)
{
    char from[96] = "";
    if (conf->has_from)
        snprintf(from, sizeof from, "&from=%" PRIu32 ",%" PRIu64 "&station=%s", ring_branch(conf->ring),
                 ring_head(conf->ring), ring_station(conf->ring));
    return xasprintf("%s/link?version=1&mount=%s&lead=%.0f&back=%.0f&less=%.0f&node=%s%s", conf->parent->url,
                     conf->mount ? conf->mount : MOUNT_MAIN, conf->lead_s, conf->back_s,
                     ceil(conf->less_s * 1000), conf->node, from);
}

struct uplink *uplink_start(const struct uplink_conf *conf, char **cause)
{
    struct uplink *u = xcalloc(1, sizeof *u);
    u->conf = *conf;
    u->parent = conf->parent->id;
    u->url = xstrdup(conf->parent->url);
    u->decoder = link_decoder_new();
    u->fresh_ns = clock_boot_ns();
    u->follow.asked_from = conf->icecast || conf->has_from; /* an Icecast's knows what is held */
    u->branch = ring_branch(conf->ring);
    u->asked = conf->has_from ? ring_head(conf->ring) : 0;
    snprintf(u->station, sizeof u->station, "%s", ring_station(conf->ring));
    struct fetch_conf fetch = {.connect_ms = CONNECT_MS,
                               .stall_ms = STALL_MS,
                               .on_status = on_status,
                               .on_bytes = on_bytes,
                               .on_end = on_end,
                               .context = u};
    char *url = conf->icecast ? xstrdup(u->url) : link_url(conf);
    fetch.url = url;
    if (conf->icecast) {
        u->icecast = icecast_new(u->url, conf->ring);
        u->records = evbuffer_new();
        fetch.header = "Icy-MetaData: 1";
        fetch.redirects = 3;
        fetch.on_field = on_field;
    } else {
        fetch.bearer = conf->parent->token;
        fetch.pin = conf->parent->pin;
    }
    u->fetch = fetch_start(conf->client, &fetch, cause);
    free(url);
    u->conf.parent = NULL;
    u->conf.ring = NULL;
    u->conf.mount = u->conf.node = NULL;
    if (u->fetch) return u;
    uplink_free(u);
    return NULL;
}

void uplink_free(struct uplink *u)
{
    if (!u) return;
    fetch_cancel(u->fetch);
    link_decoder_free(u->decoder);
    icecast_free(u->icecast);
    if (u->records) evbuffer_free(u->records);
    free(u->broken);
    free(u->url);
    free(u);
}

int uplink_parent(const struct uplink *u)
{
    return u->parent;
}

const char *uplink_url(const struct uplink *u)
{
    return u->url;
}

int uplink_accepted(const struct uplink *u)
{
    return u->accepted;
}

const char *uplink_link(const struct uplink *u)
{
    return u->link;
}

struct follow *uplink_follow(struct uplink *u)
{
    return &u->follow;
}

int uplink_still_fits(const struct uplink *u, const struct ring *ring)
{
    return u->branch == ring_branch(ring) && !strcmp(u->station, ring_station(ring));
}

uint64_t uplink_head(const struct uplink *u)
{
    return u->head;
}

int64_t uplink_fresh_ns(const struct uplink *u)
{
    return u->fresh_ns;
}
