/* certificate: what was measured of a transition before it aired, and whether it may air as it is. */
#ifndef FOREVER_ROOT_MIX_CERTIFICATE_H
#define FOREVER_ROOT_MIX_CERTIFICATE_H
#include <jansson.h>

#include "root/mix/listen.h"
#include "root/mix/measure.h"

/* What a transition has to keep. Beats only where they can be measured, voices and harmony where known. */
#define CERTIFICATE_BEAT_P95_MS   12.0
#define CERTIFICATE_BEAT_BARS_MIN 4 /* bars measured, for the beats to count */
#define CERTIFICATE_DRIFT_MS      3.0
#define CERTIFICATE_OFFBEAT       0.5
#define CERTIFICATE_APART_BEATS   1
#define CERTIFICATE_STEP_LU       2.0
#define CERTIFICATE_HOLE_LU       2.0
#define CERTIFICATE_BUMP_LU       1.0
#define CERTIFICATE_BASS_BEATS    1
#define CERTIFICATE_VOCAL_BEATS   8
#define CERTIFICATE_SIGMAS        -1.0 /* consonance against chance */

struct certificate {
    struct measure_beats beats;
    double offbeat;  /* of measure_offbeat; NAN unknown */
    int apart_beats; /* of measure_apart; -1 unknown */
    struct listen_loudness loudness;
    double low_band_correlation, correlation; /* NAN unknown */
    double consonance, consonance_sigmas;     /* NAN unknown */
    int bass_overlap_beats, vocal_overlap_beats, dropouts;
    int tries;           /* ways that were rendered before this one */
    unsigned violations; /* of the limits, as bits in the order of certificate_rules */
};

#define CERTIFICATE_RULES 11
extern const char *const certificate_rules[CERTIFICATE_RULES];

/* Sets the violations; how many there are. */
int certificate_judge(struct certificate *certificate);
/* How badly the limits are broken, to choose among what breaks some: 0 when none is. Beats that miss each
 * other weigh most: a wrong beatmatch is worse than none. */
double certificate_severity(const struct certificate *certificate);
/* {"passed","failed":[names],"tries","beat_error_ms":{...},...}; technique, bars and tempo_change_pct are
 * taken from the transition's body. */
json_t *certificate_to_json(const struct certificate *certificate, const json_t *transition);

#endif
