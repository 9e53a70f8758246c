/* listen: what a transition sounds like, heard once from front to back: its loudness between that of what is
 * around it, its peak, its silences. Little is held of what is heard. PCM is stereo at 44.1 kHz. */
#ifndef FOREVER_ROOT_MIX_LISTEN_H
#define FOREVER_ROOT_MIX_LISTEN_H
#include <stddef.h>
#include <stdint.h>

#include "root/mix/stem.h"

#define LISTEN_AROUND_S 15.0 /* of the programme before and after, that a step is measured on */

/* Loudness by ITU-R BS.1770-4 and EBU Tech 3341. */
struct listen_loudness {
    double before_lufs, after_lufs; /* gated, of what is given around; NAN when silent or nothing */
    double step_lu;                 /* |after - before| */
    double hole_lu, bump_lu; /* how far short-term loudness (3 s, centred) in the transition falls below the
                                quieter of the two, and rises above the louder; >= 0 */
    double true_peak_dbtp;   /* of the transition, before the limiter */
};

/* What comes before a transition; the same for all takes of it. */
struct prelude;
struct prelude *prelude_new(void);
void prelude_feed(struct prelude *prelude, const float *pcm, size_t samples);
void prelude_free(struct prelude *prelude);

/* samples: of the transition, which is fed first; then what follows. prelude: NULL when nothing comes before;
 * it and the stems are borrowed. */
struct listen;
struct listen *listen_new(const struct prelude *prelude, size_t samples, const struct stem *a,
                          const struct stem *b);
void listen_feed(struct listen *listen, const float *pcm, size_t samples);
/* dropouts: stretches of more than 50 ms in which the mix is below -60 dBFS although both tracks sound:
 * pauses of the music itself are none. Frees. */
void listen_finish(struct listen *listen, struct listen_loudness *out, int *dropouts);

#endif
