/* character: energy and danceability, each from several measurements, 0..1. */
#ifndef FOREVER_ROOT_ANALYSIS_CHARACTER_H
#define FOREVER_ROOT_ANALYSIS_CHARACTER_H
#include "root/analysis/beat.h"
#include "root/analysis/onset.h"

/* Half loudness of the loud part (-30 to -6 LUFS), three tenths onsets (to 8 a second), two tenths brightness
 * (the spectrum's centre of gravity, 500 to 4,000 Hz). What is NAN counts as nothing. */
double character_energy(double loud_part_lufs, double onset_density, double centroid_hz);

/* How clearly the beats stand out: 0 when as much happens between them as on them, or there are none; 1 when
 * three times as much does. curves: normalised. */
double character_pulse(const struct onset_curves *curves, const struct beats *beats);

/* Four tenths regularity (the exponent of dance.h, 1.0 to 0.4), four tenths pulse, its clarity and the
 * confidence in it, two tenths of them again for a tempo people dance to (118 BPM, half an octave). */
double character_danceability(double exponent, double pulse, double tempo_bpm, double tempo_confidence);

#endif
