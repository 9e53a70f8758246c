#include "root/mix/passages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define KEPT 2

struct passage {
    int64_t track, from, to, samples;
    struct stretch_point *map;
    size_t points;
    int16_t *pcm[PCM_CHANNELS]; /* NULL: none */
};

struct passages {
    struct passage kept[KEPT];
    int next;
};

struct passages *passages_new(void)
{
    return xcalloc(1, sizeof(struct passages));
}

static void drop(struct passage *kept)
{
    free(kept->map);
    for (int c = 0; c < PCM_CHANNELS; c++)
        free(kept->pcm[c]);
    *kept = (struct passage){0};
}

void passages_free(struct passages *passages)
{
    for (int i = 0; passages && i < KEPT; i++)
        drop(&passages->kept[i]);
    free(passages);
}

static int same_map(const struct passage *kept, const struct voice *voice)
{
    return kept->points == voice->points && kept->samples == voice->samples &&
           kept->to - kept->from == voice->to - voice->from &&
           (kept->points == 0 || !memcmp(kept->map, voice->map, kept->points * sizeof *kept->map));
}

const struct passage *passages_find(const struct passages *passages, const struct voice *voice)
{
    for (int i = 0; i < KEPT; i++) {
        const struct passage *kept = &passages->kept[i];
        if (kept->pcm[0] && kept->track == voice->track &&
            llabs(voice->from - kept->from) <= PASSAGES_MOVE_MAX && same_map(kept, voice))
            return kept;
    }
    return NULL;
}

const struct passage *passages_keep(struct passages *passages, const struct voice *voice,
                                    float *const channels[PCM_CHANNELS])
{
    struct passage *kept = &passages->kept[passages->next++ % KEPT];
    drop(kept);
    *kept = (struct passage){.track = voice->track,
                             .from = voice->from,
                             .to = voice->to,
                             .samples = voice->samples,
                             .points = voice->points};
    if (voice->points) {
        kept->map = xmalloc(voice->points * sizeof *kept->map);
        memcpy(kept->map, voice->map, voice->points * sizeof *kept->map);
    }
    for (int c = 0; c < PCM_CHANNELS; c++) {
        int16_t *pcm = kept->pcm[c] = xmalloc(((size_t)voice->samples + 1) * sizeof *pcm);
        for (size_t i = 0; i < (size_t)voice->samples; i++)
            pcm[i] = pcm_short(channels[c][i]);
        free(channels[c]);
    }
    return kept;
}

void passage_channel(const struct passage *kept, const struct voice *voice, int c, float *out)
{
    int64_t move = voice->from - kept->from;
    for (int64_t i = 0; i < voice->samples; i++) {
        int64_t at = i + move;
        out[i] = at >= 0 && at < kept->samples ? (float)kept->pcm[c][at] / PCM_SHORT : 0;
    }
}

void passage_mono(const struct passage *kept, const struct voice *voice, float *out)
{
    int64_t move = voice->from - kept->from;
    for (int64_t i = 0; i < voice->samples; i++) {
        int64_t at = i + move;
        out[i] = at >= 0 && at < kept->samples
                     ? (float)(kept->pcm[0][at] + kept->pcm[1][at]) / (2 * PCM_SHORT)
                     : 0;
    }
}
