/* Listeners that are led aside to the filler's tape, and back.
 *
 * The tape's frames are numbered on from the fork, so a listener crosses by looking elsewhere, its cursor
 * unchanged; back at the ring the cursor is that of the frame which follows. Crossing is a matter of the
 * listener's place, not of time: one that lags, or is in the middle of its burst, crosses when it comes
 * there. */
#include "common/clock.h"
#include "common/fanout_internal.h"
#include "common/mp3.h"

uint64_t fanout_now(struct fanout *f)
{
    uint64_t air = f->air = fanout_air(f);
    if (!f->conf.filler) return air;
    int runs = !f->conf.runs || f->conf.runs(f->conf.context);
    return filler_air(f->conf.filler, air, runs, clock_boot_ns());
}

int fanout_loops(struct fanout *f)
{
    if (!f->conf.filler) return 0;
    if (!fanout_served(f)) { /* then no turn looks after it */
        int runs = !f->conf.runs || f->conf.runs(f->conf.context);
        if (runs && ring_head(f->ring) >= fanout_air(f) + FILLER_HOME_FRAMES) filler_stop(f->conf.filler);
        if (!fanout_is_aside(f)) return 0;
    }
    fanout_now(f);
    return fanout_is_aside(f);
}

int fanout_loop_now(struct fanout *f)
{
    if (!f->conf.filler) return 0;
    filler_begin(f->conf.filler, fanout_air(f), clock_boot_ns());
    return fanout_loops(f);
}

const json_t *fanout_loop_title(const struct fanout *f)
{
    return f->conf.filler && filler_loops(f->conf.filler) ? filler_title(f->conf.filler) : NULL;
}

struct ring *fanout_ring_of(const struct fanout *f, const struct listener *l)
{
    if (!l->aside) return f->ring;
    return l->aside == filler_tape_number(f->conf.filler) ? filler_tape(f->conf.filler) : NULL;
}

static int is_lost(const struct fanout *f, const struct listener *l)
{
    return l->aside && !fanout_ring_of(f, l);
}

uint64_t fanout_crossing(const struct fanout *f, const struct listener *l)
{
    uint64_t from, to;
    if (l->resumable || !f->conf.filler || is_lost(f, l)) return FANOUT_NOWHERE;
    if (!l->aside && filler_on(f->conf.filler)) {
        uint64_t fork = mp3_frame_offset(f->kbps, filler_fork(f->conf.filler));
        return l->cursor <= fork ? fork : FANOUT_NOWHERE;
    }
    if (!l->aside || filler_on(f->conf.filler)) return FANOUT_NOWHERE;
    filler_join(f->conf.filler, &from, &to);
    return mp3_frame_offset(f->kbps, from);
}

void fanout_cross(struct fanout *f, struct listener *l)
{
    uint64_t from, to;
    if (is_lost(f, l)) { /* it lagged for longer than the tape is kept */
        f->counts.skips++;
        fanout_relocate(f, l);
        return;
    }
    if (l->cursor != fanout_crossing(f, l)) return;
    if (!l->aside) {
        l->aside = filler_tape_number(f->conf.filler);
        l->target = ring_byte_head(filler_tape(f->conf.filler));
        if (l->target < l->cursor) l->target = l->cursor;
    } else {
        filler_join(f->conf.filler, &from, &to);
        l->aside = 0;
        l->first = l->cursor = mp3_frame_offset(f->kbps, to);
        uint64_t air = mp3_frame_offset(f->kbps, fanout_air(f));
        l->target = air > l->cursor ? air : l->cursor;
        l->excused_lag_frames += (uint32_t)(mp3_frame_at(f->kbps, l->target) - to);
    }
    l->skip_at = FANOUT_NOWHERE;
}

uint64_t fanout_due(const struct fanout *f, const struct listener *l, uint64_t frame)
{
    uint64_t from, to;
    if (!l->aside) {
        return mp3_frame_offset(f->kbps, frame < f->air ? frame : f->air);
    }
    if (is_lost(f, l)) return l->cursor;
    if (filler_on(f->conf.filler)) return mp3_frame_offset(f->kbps, frame);
    filler_join(f->conf.filler, &from, &to);
    return mp3_frame_offset(f->kbps, from);
}

int fanout_place_aside(struct fanout *f, struct listener *l)
{
    if (l->resumable || !fanout_is_aside(f)) return 0;
    const struct ring *tape = filler_tape(f->conf.filler);
    uint64_t now = fanout_now(f), start = now > f->burst_frames ? now - f->burst_frames : 0;
    if (!fanout_is_aside(f)) return 0; /* it ended this moment */
    uint64_t fork = filler_fork(f->conf.filler);
    /* what was heard before the fork is a better beginning than none */
    l->aside = start >= fork || start < ring_tail(f->ring) ? filler_tape_number(f->conf.filler) : 0;
    if (l->aside && start < ring_tail(tape)) start = ring_tail(tape);
    l->cursor = mp3_frame_offset(f->kbps, start);
    l->target = mp3_frame_offset(f->kbps, now);
    l->skip_at = FANOUT_NOWHERE;
    l->excused_lag_frames = (uint32_t)(now - start);
    return 1;
}
