/* render_file: a programme written to a .wav or .mp3 file, from its beginning or from any frame on. */
#ifndef FOREVER_ROOT_WORK_RENDER_FILE_H
#define FOREVER_ROOT_WORK_RENDER_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "root/mix/render.h"

struct render_file {
    const char *path;
    uint64_t first;  /* frame of the programme that the file begins with */
    uint64_t frames; /* MP3 frames of 1152 samples, also the unit of a .wav's length */
    unsigned kbps;
    uint64_t seed;                                         /* of a .wav's dither */
    void (*progress)(void *context, uint64_t frames_done); /* NULL: none */
    /* Makes the programme reach beyond `sample`, or to its end; NULL: it does. 0; -1 with *cause, and with
     * *bad_track when a track failed. */
    int (*reach)(void *context, uint64_t sample, int64_t *bad_track, char **cause);
    void *context;
};

/* Whether the name and the length can be had: 0, or -1 with *cause. */
int render_file_check(const char *path, double minutes, unsigned kbps, char **cause);
/* PCM as it is, in a .wav of 32-bit floats: before the limiter it may be louder than full scale. 0, or -1
 * with *cause. */
int render_file_floats(const char *path, const float *pcm, size_t samples, char **cause);
/* Writes beside the name and renames at the end. Releases the programme as it goes. 0; -1 with *cause, and
 * with *bad_track when a track failed. */
int render_file_write(const struct render_file *file, struct programme *programme, int64_t *bad_track,
                      char **cause);

#endif
