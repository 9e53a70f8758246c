/* voice_cues: stereo float samples at 44.1 kHz on standard input; a line of likelihood (0..255) and cues for
 * each row. Built by voices.py. */
#include <stdio.h>

#include "root/analysis/timbre.h"
#include "root/analysis/vocal.h"

int main(void)
{
    static float pcm[2 * 256], mono[256];
    struct timbre *timbre = timbre_new();
    struct vocal *vocal = vocal_new();
    size_t n, seen = 0;
    timbre_listen(timbre, vocal_spectrum, vocal);
    /* fewer samples at a time than a row has, so that each row's cues are seen */
    while ((n = fread(pcm, 2 * sizeof *pcm, 256, stdin)) > 0) {
        for (size_t i = 0; i < n; i++)
            mono[i] = 0.5f * (pcm[2 * i] + pcm[2 * i + 1]);
        timbre_feed(timbre, mono, n);
        while (vocal_rows(vocal)->count > seen) {
            printf("%d", vocal_rows(vocal)->value[seen++]);
            for (int i = 0; i < VOCAL_CUES; i++)
                printf(" %.6f", vocal_cues(vocal)[i]);
            putchar('\n');
        }
    }
    vocal_free(vocal);
    timbre_free(timbre);
    return 0;
}
