/* stem: what is kept of one voice of a transition for measuring it: little, since a studio has little memory.
 */
#ifndef FOREVER_ROOT_MIX_STEM_H
#define FOREVER_ROOT_MIX_STEM_H
#include <stddef.h>
#include <stdint.h>

#define STEM_LOW_HZ 150.0 /* corner of the low band, zero phase */
#define STEM_LOW_BY 16    /* samples for one of the low band */
#define STEM_THIN   8     /* samples for one of the thinned copy */

struct stem {
    int64_t samples;          /* of the transition */
    float *dry_low, *wet_low; /* mono, of the whole transition: lows values each */
    size_t lows;
    float *thin; /* dry, every STEM_THIN-th sample, stereo: thins of them */
    size_t thins;
};

void stem_init(struct stem *stem, int64_t samples); /* silence */
void stem_free(struct stem *stem);                  /* the members */
/* Add a passage that begins at sample `at` of the transition, `samples` long, gain being a factor for it: the
 * mean of its channels; each channel, c from 0 on; and each channel as it is mixed. */
void stem_add_mono(struct stem *stem, int64_t at, const float *mono, float gain, size_t samples);
void stem_add_dry(struct stem *stem, int64_t at, int c, const float *channel, float gain, size_t samples);
void stem_add_wet(struct stem *stem, int64_t at, const float *channel, size_t samples);

#endif
