/* plan: from two tracks' features to segments. Pure: no I/O, no clock, no randomness.
 *
 * A transition joins `from` (on air, entered at from_entry_s) to `to`. Its two segments are the rest of
 * `from` alone ("play", up to the transition) and the transition itself, whose end says where `to` goes on.
 */
#ifndef FOREVER_ROOT_MIX_PLAN_H
#define FOREVER_ROOT_MIX_PLAN_H
#include <stdint.h>
#include <jansson.h>

#include "root/track.h"

struct plan_conf {
    double target_lufs;          /* -16 */
    double max_tempo_change_pct; /* 6 */
    double min_play_pct;         /* of a track that plays at least; 0: 60, and a minute of a longer one */
    int (*busy)(void *context);  /* called now and then while it takes long (a rehearsal): 1 when there is no
                                    time  for more; NULL: there is all the time */
    void *context;
};

/* Where the programme stands: `track` alone plays from `track_s` at station sample `sample` on, ride_db
 * louder than its own gain, which goes back to nothing within a minute. */
struct plan_cursor {
    uint64_t sample;
    double track_s;
    double ride_db;
    double played_s; /* of the track, before track_s: half of the transition that brought it in */
};

/* What listening to a transition before it airs may change (rehearse.h). All zero: as first planned. */
struct plan_tuning {
    int rank;           /* the best way to join is 0; the next one, ...; JOIN_TRIES: the safe fade */
    int64_t nudge;      /* samples by which the entering track is moved to meet the other's kicks */
    double correlation; /* of the two, for fades of equal power */
    double ride_db;     /* by which the entering track is louder (or softer) to begin with */
};
#define PLAN_NUDGE_MAX 220 /* 5 ms */
#define PLAN_RIDE_DB   2.0

/* Gain that brings the track to the target, its loud part never more than 4 LU above it; 0 when its loudness
 * is unknown. */
double plan_gain_db(const struct track *track, const struct plan_conf *conf);
/* A station's (or a programme's) beginning: where a track is entered when nothing plays before it; at is the
 * station sample. The first segment fades in over some ms. */
struct plan_cursor plan_open(const struct track *track, uint64_t at);
/* Plans from the cursor to the next track: fills segments[0] (play; NULL when it would be empty) and
 * segments[1] (the transition), both complete segment bodies with owned references, and moves the cursor to
 * where `to` plays alone. `why` goes into the transition (borrowed, may be NULL). Never fails: a safe fade
 * always exists. */
void plan_transition(const struct track *from, const struct track *to, const struct plan_conf *conf,
                     struct plan_cursor *cursor, json_t *why, json_t *segments[2]);
/* The same, as tuned. 1 when it is the safe fade, beyond which there is no other way; else 0. */
int plan_transition_tuned(const struct track *from, const struct track *to, const struct plan_conf *conf,
                          const struct plan_tuning *tuning, struct plan_cursor *cursor, json_t *why,
                          json_t *segments[2]);
/* What follows a transition for that long: `track` alone from the cursor, which stays. New reference; NULL
 * when nothing of it is left. */
json_t *plan_alone(const struct track *track, const struct plan_conf *conf, const struct plan_cursor *cursor,
                   double seconds);
/* A skip at station sample `at`, of a programme whose segments covering [at, at + the fade) are `under` (an
 * array of segment bodies): one segment that fades out what would have played and brings in `to`. Moves the
 * cursor. New reference. */
json_t *plan_skip(json_t *under, uint64_t at, const struct track *to, const struct plan_conf *conf,
                  struct plan_cursor *cursor, json_t *why);
/* What plan_skip needs of the old programme after `at`, in samples. */
uint64_t plan_skip_samples(void);
/* The last track of a programme that ends (offline render): plays to its end. New reference; NULL when
 * nothing of it is left. */
json_t *plan_ending(const struct track *track, const struct plan_conf *conf, struct plan_cursor *cursor);
/* Where the programme's last track plays on alone after this segment, and which one it is: what a studio that
 * starts again plans on from. 0; -1 when the body is no segment. */
int plan_cursor_from(const json_t *segment, struct plan_cursor *out, int64_t *track);

#endif
