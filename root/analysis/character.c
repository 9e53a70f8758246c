#include "root/analysis/character.h"

#include <math.h>

#include "root/analysis/clues.h"

#define BODY_BANDS 3 /* kick, bass, snare; not the hats, which fall between the beats as a rule */

static double clamp(double x)
{
    return x < 0 || isnan(x) ? 0 : x > 1 ? 1 : x;
}

double character_energy(double loud_part_lufs, double onset_density, double centroid_hz)
{
    return 0.5 * clamp((loud_part_lufs + 30) / 24) + 0.3 * clamp(onset_density / 8) +
           0.2 * clamp((centroid_hz - 500) / 3500);
}

double character_pulse(const struct onset_curves *curves, const struct beats *beats)
{
    double on = 0, off = 0;
    for (size_t k = 0; k + 1 < beats->count; k++) {
        for (int b = 0; b < BODY_BANDS; b++) {
            double t = beats->time_s[k], step = beats->time_s[k + 1] - t;
            on += clues_accent(&curves->flux[b], t);
            off += 0.5 * (clues_accent(&curves->flux[b], t + 0.375 * step) +
                          clues_accent(&curves->flux[b], t + 0.625 * step));
        }
    }
    return on + off > 0 ? clamp(2 * (on / (on + off) - 0.5)) : 0;
}

double character_danceability(double exponent, double pulse, double tempo_bpm, double tempo_confidence)
{
    double beat = clamp(pulse) * clamp(tempo_confidence), octaves = log2(tempo_bpm / 118) / 0.5;
    double dance_tempo = isnan(octaves) ? 0 : exp(-0.5 * octaves * octaves);
    return 0.4 * clamp((1.0 - exponent) / 0.6) + 0.4 * beat + 0.2 * dance_tempo * sqrt(beat);
}
