/* distance: how far one track lies from another, for the ear. Pure.
 *
 * Each term is 0 (alike) to 1 (far, or farther). Terms that one side does not know, or hardly believes, are
 * left out and the weights of the rest carry the more; the share that is missing moves the total towards the
 * middle, so that a track of which little is known is neither near nor far. */
#ifndef FOREVER_ROOT_ORDER_DISTANCE_H
#define FOREVER_ROOT_ORDER_DISTANCE_H
#include <stdint.h>

#include "root/track.h"

/* What ordering needs of a track. */
struct order_item {
    int64_t id;
    uint64_t artist; /* hash of the name without case; 0 unknown */
    float tempo_bpm, tempo_confidence, key_confidence, energy, loudness_lufs;
    int key;
    float duration_s;
    float timbre[TIMBRE_DIMS];
};

enum order_term { ORDER_TEMPO, ORDER_KEY, ORDER_ENERGY, ORDER_LOUDNESS, ORDER_TIMBRE, ORDER_TERMS };

struct order_distance {
    double total;              /* 0..1 */
    double terms[ORDER_TERMS]; /* NAN: left out */
};

void order_item_from(struct order_item *out, const struct track *track);
/* timbre_scale: what counts as one unit in each dimension (the spread in the pool); 0: the dimension is not
 * used. */
void order_distance(const struct order_item *a, const struct order_item *b,
                    const double timbre_scale[TIMBRE_DIMS], struct order_distance *out);
const char *order_term_name(enum order_term term);

/* Each: NAN when it can't be told. */
double order_tempo_term(double a_bpm, double b_bpm); /* octaves folded */
double order_key_term(int a, int b);                 /* on the Camelot wheel */

#endif
