/* level: which of a piece's regular pulses is the beat. */
#ifndef FOREVER_ROOT_ANALYSIS_LEVEL_H
#define FOREVER_ROOT_ANALYSIS_LEVEL_H
#include "root/analysis/clues.h"

/* A row of beats that could be the piece's. */
struct level {
    double first_s, period_s;
};

enum level_feature {
    LEVEL_HARMONY,  /* change on the best of every four beats: logarithm, to its mean */
    LEVEL_BACKBEAT, /* -1..1: kick and snare take turns */
    LEVEL_ODDS,     /* the network's, of a beat: mean of the logarithms on the beats */
    LEVEL_BAR,      /* and of a downbeat, on the best of every four beats */
    LEVEL_SALIENCE, /* logarithm of tempo_salience */
    LEVEL_FOUND,    /* 1: the period is tempo_period's */
    LEVEL_TEMPO,    /* logarithm of how usual the tempo is */
    LEVEL_BARE,     /* 1: every second beat is bare, at a tempo that could be halved */
    LEVEL_FEATURES
};

/* What speaks for and against a level; finite. found: the period is tempo_period's. 0; -1 for fewer than
 * 8 beats. */
int level_features(const struct clues *clues, const struct level *level, int found,
                   double out[LEVEL_FEATURES]);
/* The logarithm of the odds that this is the beat, but for a constant of the piece. */
double level_score(const double features[LEVEL_FEATURES]);

#endif
