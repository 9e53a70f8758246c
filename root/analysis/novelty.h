/* novelty: onset curves made comparable, between bands and between loud and quiet parts. */
#ifndef FOREVER_ROOT_ANALYSIS_NOVELTY_H
#define FOREVER_ROOT_ANALYSIS_NOVELTY_H
#include "root/analysis/onset.h"

/* Normalises each band of the flux in place: what stands out above the mean of half a second, in units of the
 * band's own strength over ten seconds. */
void novelty_normalise(struct onset_curves *curves);
/* The weighted sum of the normalised bands; the caller frees it. */
struct series novelty_sum(const struct onset_curves *curves);

/* How much the harmony changes at boundary i (between rows i - 1 and i): 1 - cosine of the chroma of a
 * quarter second before and after; i / CHROMA_RATE - half a row is its time. The caller frees it. */
struct series novelty_harmony(const struct series *chroma_rows);

#endif
