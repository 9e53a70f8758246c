/* join: how two tracks are joined, chosen from their features; pure.
 *
 * blend  4, 8, 16 or 32 bars, every beat of one on a beat of the other (half and double tempo folded),
 *        downbeat on downbeat where known. The length of beat k glides from a's to b's, so that both tracks
 *        share the change, the first and the last beat are at a's and b's own speed and join what plays alone
 *        before and after, and outside the blend nothing is stretched. The bass changes hands in the half
 *        beat before the switch: the middle of the blend, or its end, and there both begin a phrase of eight
 *        bars.
 * swap   tempi known but too far apart: b enters at its own speed with its one on a's, a falls away in a bar.
 * cut    a ends on its one, b begins on its own.
 * echo   a ends on its one and its last beat echoes away under b's beginning: when only a's beats are known.
 * fade   all else: equal power, ten seconds or less, where a and b are loud enough to carry it.
 *
 * Ways of joining are pairs of bars, lengths and techniques. Each has a cost in seconds of music one would
 * give to avoid it (join_cost.h). The next best one is for when the best does not sound as it should. */
#ifndef FOREVER_ROOT_MIX_JOIN_H
#define FOREVER_ROOT_MIX_JOIN_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

#define JOIN_BEATS_MAX  512
#define JOIN_S_MAX      44  /* no transition is longer: 32 bars at 175 BPM */
#define JOIN_CHANGE_MAX 8.0 /* per cent of tempo change that no configuration exceeds */
#define JOIN_TRIES      4   /* ways that are tried; then the safe fade */

enum join_technique { JOIN_FADE, JOIN_ECHO, JOIN_CUT, JOIN_SWAP, JOIN_BLEND };

struct join {
    enum join_technique technique;
    int64_t a_from, a_to; /* source samples of a in the transition */
    int64_t b_from, b_to; /* and of b, which plays on alone from b_to */
    int64_t b_at;         /* where b begins in the transition */
    int64_t length;       /* of the transition, output samples */
    /* blend: position of beat k in a, in b and in the transition; first beat 0, count beats + 1 */
    int64_t a_beat[JOIN_BEATS_MAX + 1], b_beat[JOIN_BEATS_MAX + 1], out_beat[JOIN_BEATS_MAX + 1];
    int beats;
    int bars, metre;
    /* blend and swap: the bass changes hands within [switch_from, switch_to) of the transition */
    int64_t switch_from, switch_to;
    int64_t echo_delay;      /* echo */
    double tempo_change_pct; /* from a's to b's; 0 where neither is stretched */
    int on_phrase;           /* both switch where a phrase begins */
    /* What is known of it beforehand; NAN and 0 where nothing is. */
    double cost;
    double consonance; /* of the overlapped bars' chroma, weighted by how much both are heard: -1..1 */
    double consonance_mean, consonance_sigma; /* over b transposed by every interval: chance */
    int vocal_overlap_beats;
};

struct join_conf {
    double max_change_pct;
    double min_play_pct; /* 0: as side.h says */
    double a_gain_db, b_gain_db;
    double a_played_s; /* of a, before a_pos */
};

/* a plays alone from source sample a_pos on. rank 0 is the best way, 1 the next one that differs from it and
 * so on; past the last one, and from JOIN_TRIES on, the safe fade: *rank_out (may be NULL) is JOIN_TRIES
 * then. */
void join_choose(struct join *join, const struct track *a, int64_t a_pos, const struct track *b,
                 const struct join_conf *conf, int rank, int *rank_out);

#endif
