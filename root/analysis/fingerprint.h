/* fingerprint: chromaprint of the first two minutes, for finding the same recording in two files. */
#ifndef FOREVER_ROOT_ANALYSIS_FINGERPRINT_H
#define FOREVER_ROOT_ANALYSIS_FINGERPRINT_H
#include <stddef.h>

struct fingerprint;
struct fingerprint *fingerprint_new(void);
void fingerprint_free(struct fingerprint *fingerprint);
void fingerprint_feed(struct fingerprint *fingerprint, const float *pcm, size_t samples);
/* Compressed text the caller frees; NULL when there was too little. */
char *fingerprint_finish(struct fingerprint *fingerprint);

#endif
