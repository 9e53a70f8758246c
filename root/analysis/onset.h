/* onset: how much begins at each moment, by band.
 *
 * Spectral flux on a logarithmic scale in about 24 bands an octave's twelfth wide (Boeck, Krebs, Schedl,
 * Evaluating the Online Capabilities of Onset Detection Methods, 2012), with the maximum filter across
 * frequency that keeps vibrato out (Boeck, Widmer, SuperFlux, 2013), summed in four regions: the kick, bass
 * and body, the voice and snare, the hats. Beside it a finer curve of how the level rises, from which the
 * moment of an attack can be read to the millisecond. */
#ifndef FOREVER_ROOT_ANALYSIS_ONSET_H
#define FOREVER_ROOT_ANALYSIS_ONSET_H
#include "root/analysis/series.h"

#define ONSET_BANDS 4
#define ONSET_HOP   256 /* samples: 5.8 ms */
#define ONSET_RATE  (44100.0 / ONSET_HOP)
#define ATTACK_HOP  128 /* samples: 2.9 ms */
#define ATTACK_RATE (44100.0 / ATTACK_HOP)
#define RISE_DB     0.25 /* unit of the rise */

struct onset_curves {
    struct series flux[ONSET_BANDS]; /* value i belongs to the time i / ONSET_RATE */
    struct bytes rise; /* of the level from one ATTACK_HOP to the next but one, RISE_DB; value i belongs to
                          the time (i + 0.5) / ATTACK_RATE */
};

struct onset;
struct onset *onset_new(void);
void onset_free(struct onset *onset);
void onset_feed(struct onset *onset, const float *mono, size_t samples);
void onset_finish(struct onset *onset);
/* Owned by onset; complete after onset_finish. */
struct onset_curves *onset_curves(struct onset *onset);

#endif
