/* vocal: how likely somebody sings or speaks. */
#ifndef FOREVER_ROOT_ANALYSIS_VOCAL_H
#define FOREVER_ROOT_ANALYSIS_VOCAL_H
#include "root/analysis/series.h"

#define VOCAL_FRAMES 16 /* frames of timbre.h a row: 0.37 s */
#define VOCAL_RATE   (44100.0 / (1024 * VOCAL_FRAMES))
#define VOCAL_CUES   8

struct vocal;
struct vocal *vocal_new(void);
void vocal_free(struct vocal *vocal);
/* The next frame's spectrum, as timbre_listen gives it. */
void vocal_spectrum(void *vocal, const float *power);
void vocal_finish(struct vocal *vocal);
/* Row i: likelihood, 255 certain, around the time (i + 0.5) / VOCAL_RATE. Owned by vocal. */
const struct bytes *vocal_rows(const struct vocal *vocal);
/* Share of the time between two times in which a voice is more likely than not. */
double vocal_share(const struct vocal *vocal, double from_s, double to_s);
/* What the likelihood of the row added last was made of; for fitting the weights. */
const double *vocal_cues(const struct vocal *vocal);

#endif
