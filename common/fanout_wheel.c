/* Turns: which listener is sent to when.
 *
 * Cohorts go by frames, not by time: there are as many cohorts as a flight has frames, and cohort n mod count
 * has its turn when frame n is due. So each turn of a listener finds exactly one flight, whatever the timer's
 * jitter, and no two frames' turns fall together. The timer is set for the next cohort that has anybody in
 * it, and the first listeners share a cohort: few listeners wake the process about once a second.
 *
 * A new listener gets the first flight of its burst at once, the rest of it right after what else waits (a
 * queue, by small lots): when thousands come together nobody's first byte waits for another's burst. It joins
 * a cohort; its first turn is a shorter flight, every later one a full one. */
#include <event2/event.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/fanout_internal.h"
#include "common/mp3.h"

#define COHORT_SHARED  16 /* listeners before another cohort is begun */
#define BURSTS_PER_LOT 8  /* then the loop looks at its other events */
#define STANDING_US    100000
#define SLACK_US       200 /* the loop's idea of now is that of its last wake-up */

/* The first frame after `aired` whose cohort has anybody in it. */
static uint64_t next_turn(const struct fanout *f)
{
    uint64_t frame = f->aired + 1;
    while (!f->cohort_sizes[frame % f->cohort_count])
        frame++;
    return frame;
}

static void arm(struct fanout *f)
{
    if (!fanout_served(f)) {
        event_del(f->tick);
        return;
    }
    uint64_t frame = next_turn(f);
    int64_t left_us;
    if (fanout_is_aside(f)) {
        left_us = filler_until(f->conf.filler, frame, clock_boot_ns()) / 1000 + SLACK_US;
    } else if (f->conf.until) {
        int64_t left_ns = f->conf.until(f->conf.context, frame);
        left_us = left_ns == INT64_MAX ? STANDING_US : left_ns / 1000 + SLACK_US;
    } else {
        left_us = mp3_frame_to_ns(frame - f->aired) / 1000 - mp3_frame_to_ns(1) / 2000;
    }
    if (left_us < SLACK_US) left_us = SLACK_US;
    /* a clock that jumps, or a ring that begins anew, is noticed all the same */
    int64_t most_us = mp3_frame_to_ns(f->cohort_count + 1) / 1000;
    if (left_us > most_us) left_us = most_us;
    const struct timeval t = {left_us / 1000000, (suseconds_t)(left_us % 1000000)};
    event_add(f->tick, &t);
}

void fanout_wheel_join(struct fanout *f, uint32_t index)
{
    struct listener *l = fanout_slot(f, index);
    uint32_t best = 0;
    for (uint32_t c = 0; c < f->cohort_count; c++) {
        uint32_t size = f->cohort_sizes[c];
        if (size > 0 && size < COHORT_SHARED) {
            best = c;
            break;
        }
        if (size < f->cohort_sizes[best]) best = c;
    }
    l->cohort = (uint8_t)best;
    l->previous = FANOUT_NONE;
    l->next = f->cohorts[best];
    if (l->next != FANOUT_NONE) fanout_slot(f, l->next)->previous = index;
    f->cohorts[best] = index;
    f->cohort_sizes[best]++;
    if (fanout_served(f) == 1) f->aired = fanout_now(f);
    if (f->cohort_sizes[best] == 1) arm(f);
}

void fanout_wheel_leave(struct fanout *f, uint32_t index)
{
    struct listener *l = fanout_slot(f, index);
    if (l->next != FANOUT_NONE) fanout_slot(f, l->next)->previous = l->previous;
    if (l->previous != FANOUT_NONE)
        fanout_slot(f, l->previous)->next = l->next;
    else
        f->cohorts[l->cohort] = l->next;
    f->cohort_sizes[l->cohort]--;
}

/* A laggard is moved on at the end of the frame under way, once; a resumable one is cut. */
static void judge_lag(struct fanout *f, uint32_t index, uint64_t frame)
{
    struct listener *l = fanout_slot(f, index);
    uint64_t at = mp3_frame_at(f->kbps, l->cursor), due = mp3_frame_at(f->kbps, fanout_due(f, l, frame));
    uint64_t lag = due > at ? due - at : 0;
    if (lag <= (uint64_t)f->limit_frames + l->excused_lag_frames) return;
    if (l->skipped || l->resumable) {
        fanout_end_listener(f, index, FANOUT_SLOW, 1);
        return;
    }
    l->skipped = 1;
    l->excused_lag_frames = (uint32_t)lag; /* time to let go of the frame under way */
    const struct ring *ring = fanout_ring_of(f, l);
    if (!ring || l->cursor < ring_byte_tail(ring)) {
        fanout_relocate(f, l);
    } else {
        uint64_t boundary = mp3_frame_offset(f->kbps, at);
        l->skip_at = boundary == l->cursor ? l->cursor : mp3_frame_offset(f->kbps, at + 1);
    }
    f->counts.skips++;
}

static void take_turn(struct fanout *f, uint32_t index, uint64_t frame)
{
    struct listener *l = fanout_slot(f, index);
    uint64_t to = fanout_due(f, l, frame);
    if (l->broken) {
        fanout_end_listener(f, index, FANOUT_CLIENT, 1);
        return;
    }
    /* further on than the air: the ring began anew at an earlier place */
    if (!l->aside && l->cursor > mp3_frame_offset(f->kbps, f->air + f->ahead_frames + MP3_PERIOD_FRAMES)) {
        if (l->resumable) {
            fanout_end_listener(f, index, FANOUT_LOST, 1);
            return;
        }
        f->counts.skips++;
        fanout_relocate(f, l);
    }
    if (to > l->target) l->target = to;
    l->bursting = 0;
    if (l->blocked)
        judge_lag(f, index, frame);
    else
        fanout_send_or_end(f, index);
}

static void turn(struct fanout *f, uint64_t frame)
{
    for (uint32_t i = f->cohorts[frame % f->cohort_count], next; i != FANOUT_NONE; i = next) {
        next = fanout_slot(f, i)->next;
        take_turn(f, i, frame);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct fanout *f = context;
    uint64_t air = fanout_now(f), from = f->aired + 1;
    f->counts.turns++;
    /* after a pause of the loop, or a ring that began anew, every cohort has one turn */
    if (air < f->aired || air - f->aired > f->cohort_count)
        from = air >= f->cohort_count ? air - f->cohort_count + 1 : 0;
    for (uint64_t frame = from; frame <= air; frame++)
        turn(f, frame);
    f->aired = air;
    arm(f);
}

static void arm_bursts(struct fanout *f)
{
    const struct timeval now = {0, 0};
    event_add(f->burst, &now);
}

static void on_burst(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct fanout *f = context;
    uint64_t now = fanout_now(f);
    for (int i = 0; i < BURSTS_PER_LOT && f->bursts_count; i++) {
        uint32_t index = fanout_of_handle(f, f->bursts[f->bursts_at]);
        f->bursts_at = (f->bursts_at + 1) % FANOUT_BURSTS_MAX;
        f->bursts_count--;
        if (index == FANOUT_NONE) continue;
        struct listener *l = fanout_slot(f, index);
        if (!l->bursting) continue;
        uint64_t due = fanout_due(f, l, now);
        if (due > l->target) l->target = due;
        l->bursting = 0;
        if (!l->blocked && !l->broken) fanout_send_or_end(f, index);
    }
    if (f->bursts_count) arm_bursts(f);
}

void fanout_wheel_burst(struct fanout *f, uint32_t index)
{
    if (f->bursts_count == FANOUT_BURSTS_MAX) return;
    f->bursts[(f->bursts_at + f->bursts_count) % FANOUT_BURSTS_MAX] = fanout_handle(f, index);
    if (f->bursts_count++ == 0) arm_bursts(f);
}

int fanout_wheel_init(struct fanout *f)
{
    for (uint32_t c = 0; c < FANOUT_FLIGHT_FRAMES; c++)
        f->cohorts[c] = FANOUT_NONE;
    f->bursts = malloc(FANOUT_BURSTS_MAX * sizeof *f->bursts);
    f->tick = evtimer_new(f->base, on_tick, f);
    f->burst = evtimer_new(f->base, on_burst, f);
    return f->bursts && f->tick && f->burst ? 0 : -1;
}

void fanout_wheel_free(struct fanout *f)
{
    event_free(f->tick);
    event_free(f->burst);
    free(f->bursts);
}
