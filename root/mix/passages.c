#include "root/mix/passages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define KEPT  2
#define LEVEL 16384.0f

struct kept {
    int64_t track, from, to, samples;
    struct stretch_point *map;
    size_t points;
    int16_t *pcm; /* NULL: none */
};

struct passages {
    struct kept kept[KEPT];
    int next;
};

struct passages *passages_new(void)
{
    return xcalloc(1, sizeof(struct passages));
}

static void drop(struct kept *kept)
{
    free(kept->map);
    free(kept->pcm);
    *kept = (struct kept){0};
}

void passages_free(struct passages *passages)
{
    for (int i = 0; passages && i < KEPT; i++)
        drop(&passages->kept[i]);
    free(passages);
}

static int same_map(const struct kept *kept, const struct voice *voice)
{
    return kept->points == voice->points && kept->samples == voice->samples &&
           kept->to - kept->from == voice->to - voice->from &&
           (kept->points == 0 || !memcmp(kept->map, voice->map, kept->points * sizeof *kept->map));
}

float *passages_find(const struct passages *passages, const struct voice *voice)
{
    for (int i = 0; i < KEPT; i++) {
        const struct kept *kept = &passages->kept[i];
        int64_t move = voice->from - kept->from;
        if (!kept->pcm || kept->track != voice->track || llabs(move) > PASSAGES_MOVE_MAX ||
            !same_map(kept, voice))
            continue;
        float *pcm = xcalloc((size_t)voice->samples * PCM_CHANNELS + 1, sizeof *pcm);
        for (int64_t k = 0; k < voice->samples; k++) {
            int64_t at = k + move;
            for (int c = 0; c < PCM_CHANNELS && at >= 0 && at < kept->samples; c++)
                pcm[k * PCM_CHANNELS + c] = (float)kept->pcm[at * PCM_CHANNELS + c] / LEVEL;
        }
        return pcm;
    }
    return NULL;
}

void passages_keep(struct passages *passages, const struct voice *voice, const float *pcm)
{
    struct kept *kept = &passages->kept[passages->next++ % KEPT];
    drop(kept);
    *kept = (struct kept){.track = voice->track,
                          .from = voice->from,
                          .to = voice->to,
                          .samples = voice->samples,
                          .points = voice->points};
    if (voice->points) {
        kept->map = xmalloc(voice->points * sizeof *kept->map);
        memcpy(kept->map, voice->map, voice->points * sizeof *kept->map);
    }
    size_t count = (size_t)voice->samples * PCM_CHANNELS;
    kept->pcm = xmalloc((count + 1) * sizeof *kept->pcm);
    for (size_t i = 0; i < count; i++)
        kept->pcm[i] = (int16_t)fmaxf(-32768, fminf(32767, rintf(pcm[i] * LEVEL)));
}
