/* key: chroma over time, tuning and key. */
#ifndef FOREVER_ROOT_ANALYSIS_KEY_H
#define FOREVER_ROOT_ANALYSIS_KEY_H
#include "root/analysis/series.h"

#define CHROMA_HOP  4096 /* samples: 93 ms */
#define CHROMA_RATE (44100.0 / CHROMA_HOP)
#define CHROMA_BINS 12

struct chroma;
struct chroma *chroma_new(void);
void chroma_free(struct chroma *chroma);
void chroma_feed(struct chroma *chroma, const float *mono, size_t samples);
void chroma_finish(struct chroma *chroma);
/* Rows of CHROMA_BINS values from C to B, each row of unit length or silent (all 0); row i belongs to the
 * time i / CHROMA_RATE. The first is of the whole range, the second of the bass. Owned by chroma. */
const struct series *chroma_rows(const struct chroma *chroma);
const struct series *chroma_bass_rows(const struct chroma *chroma);

/* How tonal and loud each row's frame was: the length the row had before it became 1. */
const struct series *chroma_tonality(const struct chroma *chroma);

struct key_result {
    int key;             /* as in struct features; -1 when there is no harmony */
    double confidence;   /* 0..1: how far the best stands out from the second best */
    double tuning_cents; /* of A against 440 Hz */
    double score[24];    /* correlation with each key's profile */
};
struct key_result key_find(const struct chroma *chroma);

#endif
