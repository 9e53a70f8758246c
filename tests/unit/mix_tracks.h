/* mix_tracks: tracks as the analysis would describe them, for tests of the planner. */
#ifndef FOREVER_TESTS_UNIT_MIX_TRACKS_H
#define FOREVER_TESTS_UNIT_MIX_TRACKS_H
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "root/track.h"

/* duration_s of even loudness with beats at bpm from first_s on, bars of four, phrases from the first bar.
 * bpm 0: no beats. */
static inline void make_track(struct track *t, int64_t id, double duration_s, double bpm, double first_s)
{
    track_init(t);
    t->id = id;
    t->path = xasprintf("/music/%d.flac", (int)id);
    t->hash = xasprintf("hash%d", (int)id);
    struct features *f = &t->features;
    f->duration_s = f->music_end_s = duration_s;
    f->music_start_s = 0;
    f->loudness_lufs = f->loud_part_lufs = -16;
    f->loudness_count = (size_t)(duration_s / LOUDNESS_STEP_S) + 1;
    f->loudness_curve = xcalloc(f->loudness_count, 1);
    memset(f->loudness_curve, (int)(16 / BAR_LU), f->loudness_count);
    if (!(bpm > 0)) return;
    double period = 60 / bpm;
    f->tempo_bpm = bpm;
    f->tempo_confidence = 1;
    f->metre = 4;
    f->phrase_bar = 0;
    f->beats_s = xcalloc((size_t)(duration_s / period) + 2, sizeof(double));
    f->downbeats_s = xcalloc((size_t)(duration_s / period) + 2, sizeof(double));
    for (int k = 0; first_s + k * period < duration_s - 1e-6; k++) {
        f->beats_s[f->beat_count++] = first_s + k * period;
        if (k % 4 == 0) f->downbeats_s[f->downbeat_count++] = first_s + k * period;
    }
}

#endif
