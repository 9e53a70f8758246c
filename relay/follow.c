#include "relay/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define STATION_DIGITS 32

struct hello {
    const char *station;
    struct station_identity identity;
    int64_t version, kbps, branch, position, void_from, air;
    double lead_s;
};

static int read_hello(const json_t *body, struct hello *h, char **cause)
{
    int bad = 0;
    h->version = json_int_or(body, "version", 0, 0, INT32_MAX, &bad);
    h->station = json_str_or(body, "station", "", &bad);
    h->identity.name = json_str_or(body, "name", NULL, &bad);
    h->identity.description = json_str_or(body, "description", NULL, &bad);
    h->identity.genre = json_str_or(body, "genre", NULL, &bad);
    h->identity.url = json_str_or(body, "url", NULL, &bad);
    h->kbps = json_int_or(body, "kbps", 0, 0, MP3_KBPS_MAX, &bad);
    h->branch = json_int_or(body, "branch", -1, 0, UINT32_MAX, &bad);
    h->position = json_int_or(body, "position", -1, 0, (int64_t)RING_POSITION_MAX, &bad);
    h->void_from = json_int_or(body, "void_from", -1, 0, (int64_t)RING_POSITION_MAX, &bad);
    h->air = json_int_or(body, "air_position", 0, 0, (int64_t)RING_POSITION_MAX, &bad);
    h->lead_s = json_real_or(body, "lead_s", 0, &bad);
    if (h->version != 1)
        return cause_set(cause, "HELLO of version %" PRId64 ", 1 is spoken here", h->version);
    if (bad || h->branch < 0 || h->position < 0 || !mp3_kbps_valid((unsigned)h->kbps) ||
        strlen(h->station) != STATION_DIGITS || strspn(h->station, "0123456789abcdef") != STATION_DIGITS)
        return cause_set(cause, "HELLO with a member that is missing or wrong");
    return 0;
}

/* Drops what was held from `position` on, but nothing that has aired, and goes on in the branch. */
static int retract(struct follow *f, uint64_t position, uint32_t branch, char **cause)
{
    pacer_air(f->pacer, NULL); /* the floor is now exact */
    uint64_t floor = ring_floor(f->ring), head = ring_head(f->ring);
    if (position < floor) position = floor;
    if (position > head) position = head;
    return ring_retract(f->ring, branch, position, cause);
}

static enum follow_result hello(struct follow *f, const struct link_record *r, char **cause)
{
    struct hello h;
    if (read_hello(r->body, &h, cause)) return FOLLOW_BROKEN;
    f->kbps = (unsigned)h.kbps;
    if (f->kbps != ring_kbps(f->ring)) return FOLLOW_RATE;
    f->greeted = 1;
    f->root_lead_s = h.lead_s;
    f->root_air = (uint64_t)h.air;
    f->identity = h.identity;

    uint32_t branch = (uint32_t)h.branch;
    uint64_t position = (uint64_t)h.position;
    int joins = !strcmp(h.station, ring_station(f->ring)) && ring_head(f->ring) > ring_tail(f->ring);
    uint64_t void_from = h.void_from >= 0 ? (uint64_t)h.void_from : UINT64_MAX;
    if (joins && branch != ring_branch(f->ring)) {
        /* another branch, and where it parts is known only when we said what we hold */
        joins = f->asked_from && branch > ring_branch(f->ring) && !retract(f, void_from, branch, NULL);
    } else if (joins && void_from < ring_head(f->ring)) {
        /* the root lost frames it had sent in this very branch: none of ours may stand beside its new ones */
        pacer_air(f->pacer, NULL);
        uint64_t floor = ring_floor(f->ring);
        f->begun_anew = 1;
        ring_reset(f->ring, h.station, branch, void_from > floor ? void_from : floor);
    }
    if (joins && position <= ring_head(f->ring)) return FOLLOW_ON;
    f->begun_anew = 1;
    ring_reset(f->ring, h.station, branch, position);
    return FOLLOW_ON;
}

static enum follow_result frames(struct follow *f, const struct link_record *r, char **cause)
{
    uint64_t head = ring_head(f->ring);
    if (r->position > head) {
        cause_set(cause, "frames from %" PRIu64 " on, expected %" PRIu64, r->position, head);
        return FOLLOW_BROKEN;
    }
    if (r->position + r->count <= head) return FOLLOW_ON; /* all known */
    unsigned kbps = ring_kbps(f->ring), known = (unsigned)(head - r->position);
    size_t skip = (size_t)(mp3_frame_offset(kbps, head) - mp3_frame_offset(kbps, r->position));
    if (skip > r->len) {
        cause_set(cause, "frames from %" PRIu64 " on: %u in %zu bytes", r->position, r->count, r->len);
        return FOLLOW_BROKEN;
    }
    uint64_t before = ring_floor(f->ring);
    if (ring_append(f->ring, r->branch, head, r->count - known, r->bytes + skip, r->len - skip, cause)) {
        /* perhaps for want of room: what has aired by now makes some */
        pacer_air(f->pacer, NULL);
        if (ring_floor(f->ring) == before) return FOLLOW_BROKEN;
        free(*cause);
        *cause = NULL;
        if (ring_append(f->ring, r->branch, head, r->count - known, r->bytes + skip, r->len - skip, cause))
            return FOLLOW_BROKEN;
    }
    f->frames += r->count - known;
    return FOLLOW_ON;
}

/* A mark the ring does not take is no reason to stop the music. */
static void mark(struct follow *f, const struct link_record *r)
{
    char *cause = NULL;
    uint64_t position = r->position, floor = ring_floor(f->ring);
    /* of a branch whose start has aired here in the old one: it holds from now on */
    if (position < floor && position > ring_tail(f->ring)) {
        const struct ring_mark *last = ring_mark_at(f->ring, r->kind, floor);
        if (last && last->position < position) position = floor;
    }
    if (ring_mark_add(f->ring, ring_branch(f->ring), position, r->kind, r->body, &cause))
        log_debug("link", "a mark is left out: %s", cause);
    free(cause);
}

static enum follow_result branch(struct follow *f, const struct link_record *r, char **cause)
{
    return retract(f, r->position, r->branch, cause) ? FOLLOW_BROKEN : FOLLOW_ON;
}

enum follow_result follow_record(struct follow *f, const struct link_record *r, char **cause)
{
    if ((r->type == LINK_HELLO) == f->greeted) {
        cause_set(cause, f->greeted ? "a second HELLO" : "a record before HELLO");
        return FOLLOW_BROKEN;
    }
    switch (r->type) {
    case LINK_HELLO:
        return hello(f, r, cause);
    case LINK_FRAMES:
        return frames(f, r, cause);
    case LINK_MARK:
        mark(f, r);
        return FOLLOW_ON;
    case LINK_BRANCH:
        return branch(f, r, cause);
    case LINK_CLOCK:
        pacer_follow(f->pacer, r->position, r->ns);
        return FOLLOW_ON;
    case LINK_COMMAND: /* the caller's */
        return FOLLOW_ON;
    }
    return FOLLOW_ON;
}
