/* clues: all that is known of a piece when its beats are looked for. */
#ifndef FOREVER_ROOT_ANALYSIS_CLUES_H
#define FOREVER_ROOT_ANALYSIS_CLUES_H
#include "root/analysis/net.h"
#include "root/analysis/onset.h"

/* Rows of harmony and sound, as of key.h and timbre.h. */
struct rows {
    const struct series *chroma, *bass, *texture;
};

struct clues {
    struct rows rows;
    const struct onset_curves *curves; /* normalised (novelty_normalise) */
    struct series novelty;             /* the sum of their bands */
    struct series harmony;             /* novelty_harmony of the chroma */
    struct series correlation;         /* of the novelty with itself (tempo_correlation) */
    const struct net_odds *odds;       /* of beats and downbeats, as the network hears them */
    double harmony_mean;
    double end_s;
};

/* Curves, rows and odds stay the caller's and must outlive the clues. */
void clues_init(struct clues *clues, const struct onset_curves *curves, const struct rows *rows,
                const struct net_odds *odds);
void clues_free(struct clues *clues);

/* Largest value of a flux curve within 12 ms of a time. */
double clues_accent(const struct series *flux, double time_s);
/* Mean of rows over [from_s, to_s), at least one of them. */
void rows_mean(const struct series *rows, int dims, double rate, double from_s, double to_s, double *out);
/* Largest of the odds (logarithms) within 30 ms of a time. */
double clues_odds(const struct clues *clues, enum net_output which, double time_s);
/* The change of harmony at a time. */
double clues_change(const struct series *change, double time_s);

#endif
