/* phrase: which bars begin phrases of eight and of sixteen. */
#ifndef FOREVER_ROOT_ANALYSIS_PHRASE_H
#define FOREVER_ROOT_ANALYSIS_PHRASE_H
#include "root/analysis/barrows.h"

struct phrases {
    int first8, first16; /* 0..7 and 0..15: phrases begin there and every 8, 16 bars; -1 unknown */
    double confidence;   /* 0..1, that first8 is right */
};
/* Bars in a row; fewer than two phrases tell nothing. */
struct phrases phrases_find(const struct barrows *rows);

#endif
