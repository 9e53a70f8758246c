/* timbre: the colour of the sound, and its course. */
#ifndef FOREVER_ROOT_ANALYSIS_TIMBRE_H
#define FOREVER_ROOT_ANALYSIS_TIMBRE_H
#include "root/analysis/series.h"
#include "root/track.h"

#define TEXTURE_HOP   4096 /* samples: 93 ms */
#define TEXTURE_RATE  (44100.0 / TEXTURE_HOP)
#define TEXTURE_MFCC  13
#define TEXTURE_BASS  TEXTURE_MFCC       /* mean square below 160 Hz */
#define TEXTURE_ALL   (TEXTURE_MFCC + 1) /* mean square of all */
#define TEXTURE_DIMS  (TEXTURE_MFCC + 2)
#define LEVEL_BANDS   3 /* below LEVEL_LOW_HZ, to LEVEL_HIGH_HZ, above */
#define LEVEL_LOW_HZ  200.0
#define LEVEL_HIGH_HZ 2500.0

struct timbre;
struct timbre *timbre_new(void);
void timbre_free(struct timbre *timbre);
/* Every frame's power spectrum goes to `heard` as well: 1025 values whose sum is the mean square; frame i
 * belongs to the time i / COURSE_RATE. */
void timbre_listen(struct timbre *timbre, void (*heard)(void *context, const float *power), void *context);
void timbre_feed(struct timbre *timbre, const float *mono, size_t samples);
void timbre_finish(struct timbre *timbre);
/* Rows of TEXTURE_DIMS: 13 MFCCs, then the energies. Owned by timbre. */
const struct series *timbre_rows(const struct timbre *timbre);
/* Rows of LEVEL_BANDS bytes as of course.h, of the mix's mean square in each band; row i belongs to the time
 * i / COURSE_RATE. Owned by timbre. */
const struct bytes *timbre_levels(const struct timbre *timbre);
/* Mean and standard deviation of each MFCC over all that is not silent; out[0] NAN when all is. */
void timbre_summary(const struct timbre *timbre, float out[TIMBRE_DIMS]);
/* Mean of the spectrum's centre of gravity, Hz; NAN when all is silent. */
double timbre_centroid_hz(const struct timbre *timbre);

#endif
