/* barrows: bars as points whose distances say how different they sound. */
#ifndef FOREVER_ROOT_ANALYSIS_BARROWS_H
#define FOREVER_ROOT_ANALYSIS_BARROWS_H
#include "root/analysis/series.h"
#include "root/track.h"

/* Levels, onsets, chroma, bass chroma, timbre: each dimension, or each chroma as a whole, in units of its
 * deviation over the piece (but of no less than what is heard as a difference). */
#define BARROW_DIMS 42
struct barrows {
    double (*row)[BARROW_DIMS];
    size_t count;
};
/* texture: rows as of timbre.h; start_s: where the bars begin, end_s: where the last one ends. */
struct barrows barrows_make(const struct bar *bars, size_t count, const struct series *texture,
                            const double *start_s, double end_s);
void barrows_free(struct barrows *rows);
/* The sum over the kinds of evidence of the Euclidean distance in each; about 5 between bars picked at
 * random. */
double barrows_distance(const double *a, const double *b);

#endif
