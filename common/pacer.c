#include "common/pacer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define STORE_NS      (5 * CLOCK_NS_PER_S)
#define JUMP_NS       (2 * CLOCK_NS_PER_S)
#define PATIENCE_NS   (3 * CLOCK_NS_PER_S) /* how long a start waits for frames of the root's present */
#define SLEW_SHARE    100                  /* 1 % */
#define FRAME_NS_LAST 26122448             /* of a frame's 26122448.98 ns */

/* While running: frame `anchor` began at anchor_ns of slewed time, which is the clock plus the part of
 * slew_ns that has been worked off since slew_from_ns. Integers throughout: the error never grows. */
struct pacer {
    struct ring *ring;
    uint64_t start_frames;
    uint64_t air;      /* first frame not yet aired; the ring's floor */
    int running, held; /* held: running, but behind what has aired */
    uint64_t anchor;
    int64_t anchor_ns;
    int64_t slew_from_ns, slew_ns;
    int64_t stand_ns;  /* standing since */
    int64_t stored_ns; /* anchor last kept */
    uint64_t starvations;
    /* the root's word: frame root began at root_ns */
    int has_root;
    uint64_t root;
    int64_t root_ns, offset_ns;
};

static int64_t slewed(const struct pacer *p, int64_t now)
{
    int64_t done = (now - p->slew_from_ns) / SLEW_SHARE;
    if (p->slew_ns >= 0) return now + (done < p->slew_ns ? done : p->slew_ns);
    return now - (done < -p->slew_ns ? done : -p->slew_ns);
}

/* Number of frames that have begun by now on a clock where frame `anchor` began at anchor_ns. */
static uint64_t begun(uint64_t anchor, int64_t anchor_ns, int64_t now, uint32_t *ns)
{
    int64_t since = now - anchor_ns;
    if (since < 0) {
        *ns = FRAME_NS_LAST;
        return anchor;
    }
    uint64_t frames = mp3_ns_to_frame(since);
    *ns = (uint32_t)(since - mp3_frame_to_ns(frames));
    return anchor + frames + 1;
}

static void store(struct pacer *p, int64_t now)
{
    struct ring_anchor anchor = {.position = p->anchor, .boot_ns = p->anchor_ns};
    uint32_t ns;
    if (p->slew_ns) {
        /* a clock without slew that agrees at this moment */
        uint64_t due = begun(p->anchor, p->anchor_ns, slewed(p, now), &ns);
        if (due == 0) return;
        anchor.position = due - 1;
        anchor.boot_ns = now - ns;
    }
    anchor.wall_ns = clock_wall_ns() - (now - anchor.boot_ns);
    ring_set_anchor(p->ring, &anchor);
    p->stored_ns = now;
}

static void run(struct pacer *p, uint64_t anchor, int64_t anchor_ns, int64_t now)
{
    p->running = 1;
    p->held = 0;
    p->anchor = anchor;
    p->anchor_ns = anchor_ns;
    p->slew_ns = 0;
    p->slew_from_ns = now;
    store(p, now);
}

static void stand(struct pacer *p, int64_t now)
{
    p->running = 0;
    p->stand_ns = now;
}

static void move(struct pacer *p, uint64_t air)
{
    if (air <= p->air) return;
    p->air = air;
    ring_set_floor(p->ring, air);
}

/* A ring begun anew takes the pacer with it. */
static void follow_reset(struct pacer *p)
{
    if (ring_floor(p->ring) == p->air) return;
    p->air = ring_floor(p->ring);
    p->has_root = 0;
    p->offset_ns = 0;
    stand(p, clock_boot_ns());
}

static void try_start(struct pacer *p, int64_t now)
{
    uint64_t head = ring_head(p->ring);
    if (head - p->air < p->start_frames) return;
    if (!p->has_root) {
        run(p, p->air, now, now);
        return;
    }
    uint32_t ns;
    uint64_t due = begun(p->root, p->root_ns, now, &ns);
    uint64_t jump = mp3_ns_to_frame(JUMP_NS);
    if (due >= p->air && due + p->start_frames <= head) {
        run(p, p->root, p->root_ns, now); /* the root's own clock */
    } else if (due >= p->air ? now - p->stand_ns >= PATIENCE_NS : due + jump >= p->air) {
        run(p, p->air, now, now); /* what is here, and closer to the root by and by */
    }
}

struct pacer *pacer_new(struct ring *ring, const struct pacer_conf *conf)
{
    struct pacer *p = xcalloc(1, sizeof *p);
    struct ring_anchor anchor;
    int64_t now = clock_boot_ns();
    uint32_t ns;
    double frames = ceil(conf->start_lead_s * MP3_RATE / MP3_FRAME_SAMPLES);
    double most = (double)ring_capacity(ring) / 2;
    p->ring = ring;
    p->start_frames = (uint64_t)(frames < 1 ? 1 : frames < most ? frames : most);
    p->air = ring_floor(ring);
    stand(p, now);
    int known = ring_anchor(ring, &anchor);
    if (known < 0) return p;
    int64_t since = known ? now - anchor.boot_ns : clock_wall_ns() - anchor.wall_ns;
    if (since < 0) since = 0; /* wall time went back */
    uint64_t due = begun(anchor.position, 0, since, &ns);
    if (due < p->air) return p; /* the clocks say less than has aired: begins anew from there */
    if (known) {
        run(p, anchor.position, now - since, now);
    } else if (due >= ring_head(ring)) {
        move(p, ring_head(ring));
    } else {
        run(p, due - 1, now - ns, now);
    }
    return p;
}

void pacer_free(struct pacer *p)
{
    if (p && p->running) store(p, clock_boot_ns());
    free(p);
}

uint64_t pacer_air(struct pacer *p, uint32_t *ns)
{
    int64_t now = clock_boot_ns();
    uint32_t into = FRAME_NS_LAST;
    follow_reset(p);
    if (!p->running) try_start(p, now);
    if (p->running) {
        uint64_t head = ring_head(p->ring), due = begun(p->anchor, p->anchor_ns, slewed(p, now), &into);
        p->held = due < p->air;
        if (p->held) into = FRAME_NS_LAST;
        if (due > head) {
            into = FRAME_NS_LAST;
            due = head;
            stand(p, now);
            p->starvations++;
            log_warn("pacer", "nothing left to play: the air stands at frame %" PRIu64, head);
        }
        move(p, due);
        if (p->running && now - p->stored_ns >= STORE_NS) store(p, now);
    }
    if (ns) *ns = into;
    return p->air;
}

int64_t pacer_until(const struct pacer *p, uint64_t position)
{
    if (position <= p->air) return 0;
    if (!p->running) return INT64_MAX;
    /* it airs when the frame before it begins */
    int64_t frames = (int64_t)(position - 1 - p->anchor);
    int64_t since_ns = frames < 0 ? -mp3_frame_to_ns((uint64_t)-frames) : mp3_frame_to_ns((uint64_t)frames);
    int64_t left_ns = p->anchor_ns + since_ns - slewed(p, clock_boot_ns());
    if (left_ns <= 0 || p->slew_ns == 0) return left_ns;
    return p->slew_ns > 0 ? left_ns - left_ns / SLEW_SHARE : left_ns + left_ns / SLEW_SHARE;
}

uint64_t pacer_on_air(struct pacer *p, uint32_t *ns)
{
    uint64_t air = pacer_air(p, ns);
    return p->running && !p->held && air > 0 ? air - 1 : UINT64_MAX;
}

int pacer_starved(const struct pacer *p)
{
    return !p->running;
}

uint64_t pacer_starvations(const struct pacer *p)
{
    return p->starvations;
}

double pacer_lead_s(struct pacer *p)
{
    uint64_t air = pacer_air(p, NULL);
    return (double)(ring_head(p->ring) - air) * MP3_FRAME_SAMPLES / MP3_RATE;
}

void pacer_follow(struct pacer *p, uint64_t position, uint32_t ns)
{
    int64_t now = clock_boot_ns();
    if (position > RING_POSITION_MAX || ns > FRAME_NS_LAST) return;
    follow_reset(p);
    /* a link has come up: what was waited for before is not what is waited for now */
    if (!p->running && (!p->has_root || now - p->root_ns > PATIENCE_NS)) p->stand_ns = now;
    p->has_root = 1;
    p->root = position;
    p->root_ns = now - ns;
    int64_t theirs = mp3_frame_to_ns(position) + ns;
    if (!p->running) {
        p->offset_ns = mp3_frame_to_ns(p->air) - theirs;
        return;
    }
    p->offset_ns = mp3_frame_to_ns(p->anchor) + (slewed(p, now) - p->anchor_ns) - theirs;
    if (p->offset_ns > JUMP_NS || p->offset_ns < -JUMP_NS) {
        log_info("pacer", "%.1f s off the root's clock: jumps to frame %" PRIu64, (double)p->offset_ns / 1e9,
                 position);
        run(p, position, now - ns, now);
        return;
    }
    /* what has been slewed so far goes into the anchor, then the rest is aimed at anew */
    p->anchor_ns -= slewed(p, now) - now;
    p->slew_from_ns = now;
    p->slew_ns = -p->offset_ns;
}

double pacer_offset_s(const struct pacer *p)
{
    return (double)p->offset_ns / 1e9;
}
