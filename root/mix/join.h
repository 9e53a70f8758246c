/* join: how two tracks are joined, chosen from their grids; pure.
 *
 * blend  4, 8, 16 or 32 bars, every beat of one on a beat of the other (half and double tempo folded),
 * downbeat on downbeat where known. The length of beat k glides from a's to b's, so the first and the last
 * beat are at a's and b's own speed and join what plays alone before and after. The bass changes hands in the
 * half beat before the middle bar. swap   tempi known but too far apart: b enters at its own speed with its
 * one on a's, a falls away over a bar. fade   all else: equal power, 6 s or less.
 *
 * Candidates are pairs of bars; the cost of each is music left unplayed, phrases broken, a length other than
 * the usual one, and too little played; in seconds of music one would give to avoid it. */
#ifndef FOREVER_ROOT_MIX_JOIN_H
#define FOREVER_ROOT_MIX_JOIN_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

#define JOIN_BEATS_MAX  512
#define JOIN_S_MAX      64  /* no transition is longer */
#define JOIN_CHANGE_MAX 8.0 /* per cent of tempo change that no configuration exceeds */

enum join_technique { JOIN_FADE, JOIN_SWAP, JOIN_BLEND };

struct join {
    enum join_technique technique;
    int64_t a_from, a_to; /* source samples of a in the transition */
    int64_t b_from, b_to; /* and of b, which plays on alone from b_to */
    int64_t b_at;         /* where b begins in the transition */
    int64_t length;       /* of the transition, output samples */
    /* blend: position of beat k in a, in b and in the transition; first beat 0, count beats + 1 */
    int64_t a_beat[JOIN_BEATS_MAX + 1], b_beat[JOIN_BEATS_MAX + 1], out_beat[JOIN_BEATS_MAX + 1];
    int beats;
    int bars;
    /* blend and swap: the bass changes hands within [switch_from, switch_to) of the transition */
    int64_t switch_from, switch_to;
    double tempo_change_pct; /* from a's to b's; 0 where neither is stretched */
};

/* a plays alone from source sample a_pos on. */
void join_choose(struct join *join, const struct track *a, int64_t a_pos, const struct track *b,
                 double max_tempo_change_pct);

#endif
