#include "root/work/live_take.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/work/live_feed.h"

#define PIECE_SAMPLES ((uint64_t)600 * PCM_RATE)
#define FADE_SAMPLES  ((uint64_t)LIVE_FADE_S * PCM_RATE)
#define SCANT_SAMPLES ((uint64_t)PCM_RATE)
#define WAIT_S        15 /* for the first seconds of a source */
#define ASK_AGAIN_S   3
#define FEEDS         2 /* the session's, and the one before it while its last seconds are still read */
#define TITLES        8
#define TITLE_BYTES   512

enum phase { PHASE_NONE, PHASE_FILLING, PHASE_ASKED, PHASE_ON };

struct sound {
    int64_t session; /* 0: none */
    struct live_feed *feed;
    uint64_t origin; /* station sample of its sample 0, once on; UINT64_MAX before */
};

struct title {
    uint64_t at; /* sample of the session */
    char text[TITLE_BYTES];
};

/* Invariants: sounds[now] is the session's while phase is not NONE; origin is set exactly once it was on. */
struct live_take {
    struct work *work;
    struct show *show;
    enum phase phase;
    struct sound sounds[FEEDS];
    int now;
    int64_t heard_ns, asked_ns;
    const char *reason; /* it is to end, for this; NULL: not yet */
    int at_once;        /* not only when all that is held is out */
    char playing[TITLE_BYTES];
    struct title titles[TITLES]; /* still to come */
    size_t title_count;
};

static void read_live(void *context, int64_t session, uint64_t sample, float *out, size_t samples)
{
    const struct live_take *t = context;
    for (int i = 0; i < FEEDS; i++) {
        const struct sound *s = &t->sounds[i];
        if (s->session != session || s->origin == UINT64_MAX) continue;
        uint64_t before = s->origin > sample ? s->origin - sample : 0;
        if (before >= samples) return;
        live_feed_read(s->feed, sample + before - s->origin, out + before * PCM_CHANNELS,
                       samples - (size_t)before);
    }
}

struct live_take *live_take_new(struct work *work, struct show *show)
{
    struct live_take *t = xcalloc(1, sizeof *t);
    t->work = work;
    t->show = show;
    programme_set_live(show_programme(show), read_live, t);
    return t;
}

static void drop(struct sound *sound)
{
    live_feed_free(sound->feed);
    *sound = (struct sound){0};
}

void live_take_free(struct live_take *t)
{
    if (!t) return;
    for (int i = 0; i < FEEDS; i++)
        drop(&t->sounds[i]);
    free(t);
}

static struct sound *present(struct live_take *t)
{
    return &t->sounds[t->now];
}

static void tell(struct live_take *t, enum wire_type type, const char *reason)
{
    work_send(t->work, type, 0,
              json_pack("{s:I,s:s*}", "session", (json_int_t)present(t)->session, "reason", reason), -1);
}

/* The session is over; its sound stays as long as it may be read. */
static void finish(struct live_take *t, const char *reason)
{
    if (t->phase == PHASE_NONE) return;
    log_info("studio", "live session %" PRId64 " is over: %s", present(t)->session, reason);
    tell(t, WIRE_LIVE_OVER, reason);
    if (t->phase != PHASE_ON)
        drop(present(t));
    else
        live_feed_close(present(t)->feed);
    t->phase = PHASE_NONE;
    t->title_count = 0;
}

/* Messages */

static void note_title(struct live_take *t, const char *text)
{
    struct title *title;
    if (!text || !*text) return;
    if (t->title_count == TITLES) memmove(t->titles, t->titles + 1, --t->title_count * sizeof *t->titles);
    title = &t->titles[t->title_count++];
    title->at = live_feed_held(present(t)->feed);
    size_t len = strlen(text);
    if (len >= TITLE_BYTES) len = TITLE_BYTES - 1;
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--; /* no half of a character */
    memcpy(title->text, text, len);
    title->text[len] = '\0';
}

void live_take_source(struct live_take *t, const json_t *body, int fd)
{
    int64_t session = json_int_or(body, "session", 0, 1, INT64_MAX, NULL);
    if (fd < 0 || !session) {
        log_error("studio", "LIVE_PCM is malformed");
        if (fd >= 0) close(fd);
        return;
    }
    finish(t, "replaced");
    t->now = (t->now + 1) % FEEDS;
    drop(present(t));
    *present(t) = (struct sound){.session = session, .feed = live_feed_new(fd), .origin = UINT64_MAX};
    t->phase = PHASE_FILLING;
    t->heard_ns = clock_boot_ns();
    t->reason = NULL;
    t->at_once = 0;
    t->title_count = 0;
    t->playing[0] = '\0';
    note_title(t, json_str_or(body, "title", "", NULL));
}

static int is_present(struct live_take *t, const json_t *body)
{
    return t->phase != PHASE_NONE &&
           json_int_or(body, "session", 0, 1, INT64_MAX, NULL) == present(t)->session;
}

void live_take_title(struct live_take *t, const json_t *body)
{
    if (is_present(t, body)) note_title(t, json_str_or(body, "title", "", NULL));
}

void live_take_stop(struct live_take *t, const json_t *body)
{
    if (!is_present(t, body)) return;
    t->reason = "stopped";
    t->at_once = 1;
    if (t->phase == PHASE_FILLING) finish(t, t->reason);
}

/* As time goes by */

static void forget_old(struct live_take *t, uint64_t read)
{
    for (int i = 0; i < FEEDS; i++) {
        struct sound *s = &t->sounds[i];
        if (!s->session || (t->phase != PHASE_NONE && i == t->now)) continue;
        uint64_t end = s->origin + live_feed_held(s->feed);
        if (read > end + LIVE_FEED_PAST + FADE_SAMPLES) drop(s);
    }
}

static void poll_filling(struct live_take *t, int ended)
{
    int64_t now = clock_boot_ns();
    uint64_t held = live_feed_held(present(t)->feed);
    if (held >= (uint64_t)LIVE_TAKE_S * PCM_RATE) {
        t->phase = PHASE_ASKED;
        t->asked_ns = now;
        tell(t, WIRE_LIVE_READY, NULL);
    } else if (ended) {
        finish(t, "short");
    } else if (now - t->heard_ns > WAIT_S * CLOCK_NS_PER_S) {
        finish(t, "stalled");
    }
}

void live_take_poll(struct live_take *t, uint64_t read)
{
    forget_old(t, read);
    if (t->phase == PHASE_NONE) return;
    struct sound *s = present(t);
    if (t->phase == PHASE_ON && read > s->origin) live_feed_keep(s->feed, read - s->origin);
    int64_t now = clock_boot_ns();
    int came = live_feed_fill(s->feed);
    if (came > 0) t->heard_ns = now;
    if (t->phase == PHASE_FILLING) {
        poll_filling(t, came < 0);
    } else if (came < 0) {
        if (!t->reason) t->reason = "closed";
    } else if (t->phase == PHASE_ON && !t->reason && now - t->heard_ns > LIVE_STALL_S * CLOCK_NS_PER_S &&
               live_feed_held(s->feed) + s->origin < read + FADE_SAMPLES + SCANT_SAMPLES) {
        t->reason = "stalled";
        live_feed_close(s->feed);
    }
    if (t->phase == PHASE_ASKED && now - t->asked_ns > ASK_AGAIN_S * CLOCK_NS_PER_S) {
        t->asked_ns = now;
        tell(t, WIRE_LIVE_READY, NULL);
    }
}

int live_take_busy(const struct live_take *t)
{
    return t->phase != PHASE_NONE || t->sounds[0].session || t->sounds[1].session;
}

int live_take_asked(const struct live_take *t)
{
    return t->phase == PHASE_ASKED;
}

int live_take_on(const struct live_take *t)
{
    return t->phase == PHASE_ON;
}

/* On air */

/* "Artist - Title" as players show it, taken apart again. */
static json_t *entry_of(const char *text)
{
    const char *dash = strstr(text, " - ");
    json_t *entry = json_pack("{s:b,s:s}", "live", 1, "title", dash ? dash + 3 : *text ? text : "Live");
    if (dash) json_object_set_new(entry, "artist", json_stringn(text, (size_t)(dash - text)));
    return entry;
}

/* The next title plays now. */
static void title_take(struct live_take *t)
{
    memcpy(t->playing, t->titles[0].text, sizeof t->playing);
    memmove(t->titles, t->titles + 1, --t->title_count * sizeof *t->titles);
}

static json_t *segment_new(const struct live_take *t, uint64_t start, uint64_t samples, json_t *plan)
{
    const struct sound *s = &t->sounds[t->now];
    char *id = xasprintf("live-%" PRIu64 "-%" PRId64, start, s->session);
    json_t *body = json_pack("{s:s,s:s,s:I,s:I,s:[o],s:I,s:f,s:o}", "id", id, "technique", "live",
                             "start_sample", (json_int_t)start, "end_sample",
                             (json_int_t)start + (json_int_t)samples, "tracks", entry_of(t->playing),
                             "session", (json_int_t)s->session, "tempo_change_pct", 0.0, "plan", plan);
    free(id);
    return body;
}

static json_t *plan_of(const struct live_take *t)
{
    return json_pack("{s:i,s:[],s:{s:I}}", "version", 1, "voices", "live", "session",
                     (json_int_t)t->sounds[t->now].session);
}

static json_t *fade_of(const char *way)
{
    return json_pack("[{s:s,s:s,s:i,s:I}]", "curve", "power", "way", way, "from", 0, "to",
                     (json_int_t)FADE_SAMPLES);
}

int live_take_begin(struct live_take *t, int64_t session)
{
    struct sound *s = present(t);
    if (t->phase != PHASE_ASKED || s->session != session || t->at_once) {
        live_take_forked(t);
        return -1;
    }
    uint64_t at;
    json_t *under = show_under(t->show, &at), *plan = plan_of(t);
    while (t->title_count && t->titles[0].at < FADE_SAMPLES)
        title_take(t);
    s->origin = at;
    json_object_set_new(json_object_get(plan, "live"), "level", fade_of("in"));
    json_object_set_new(plan, "under", json_pack("{s:o,s:o}", "segments", under, "level", fade_of("out")));
    json_t *body = segment_new(t, at, FADE_SAMPLES, plan);
    int result = show_add(t->show, body);
    json_decref(body);
    if (result) {
        finish(t, "failed");
        return -1;
    }
    t->phase = PHASE_ON;
    t->heard_ns = clock_boot_ns();
    log_info("studio", "live session %" PRId64 " from %.1f s on", session, (double)at / PCM_RATE);
    return 0;
}

void live_take_forked(struct live_take *t)
{
    if (t->phase == PHASE_ON || t->at_once) {
        finish(t, t->reason ? t->reason : "skipped");
    } else if (t->phase == PHASE_ASKED) {
        t->phase = PHASE_FILLING;
    }
}

void live_take_grow(struct live_take *t, uint64_t sample)
{
    struct programme *programme = show_programme(t->show);
    while (programme_end(programme) < sample) {
        json_t *body = segment_new(t, programme_end(programme), PIECE_SAMPLES, plan_of(t));
        int result = show_add(t->show, body);
        json_decref(body);
        if (result) return;
    }
}

uint64_t live_take_limit(const struct live_take *t)
{
    const struct sound *s = &t->sounds[t->now];
    uint64_t held = live_feed_held(s->feed);
    return s->origin + (held > FADE_SAMPLES ? held - FADE_SAMPLES : 0);
}

int live_take_due(struct live_take *t, int stuck, int hungry)
{
    if (stuck && hungry && !t->reason) {
        t->reason = "slow";
        live_feed_close(present(t)->feed);
    }
    return t->at_once || (t->reason && stuck);
}

json_t *live_take_mark(struct live_take *t, uint64_t from, uint64_t to)
{
    const struct sound *s = present(t);
    if (t->phase != PHASE_ON || !t->title_count) return NULL;
    uint64_t at = (s->origin + t->titles[0].at) / MP3_FRAME_SAMPLES;
    if (at >= to) return NULL;
    title_take(t);
    json_t *entry = entry_of(t->playing);
    json_t *body = json_pack("{s:s,s:s,s:s}", "title", json_str_or(entry, "title", "", NULL), "artist",
                             json_str_or(entry, "artist", "", NULL), "text", t->playing);
    json_decref(entry);
    return json_pack("{s:I,s:s,s:o}", "position", (json_int_t)(at > from ? at : from), "kind", "title",
                     "body", body);
}
