/* candidates TRUTH-DIR FILE...: what the program's decisions on level and bar see of pieces with known beats.
 *
 * Lines "level NAME first_s period_s end_s features..." (root/analysis/level.h), one for each level the beat
 * could be, and "bar NAME metre marks..." (root/analysis/downbeat.h), the profile from a true downbeat on,
 * for regress.py. FILE may be anything the program decodes; its truth is TRUTH-DIR/NAME.beats. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/beatgrid.h"
#include "root/analysis/downbeat.h"
#include "root/analysis/key.h"
#include "root/analysis/novelty.h"
#include "root/analysis/tempo.h"
#include "root/analysis/timbre.h"
#include "root/audio/decode.h"

#define CHUNK 8192
#define MOST  16384

static void print_levels(const char *name, const struct clues *clues)
{
    struct level levels[BEATGRID_LEVELS];
    double period = tempo_period(&clues->correlation), features[LEVEL_FEATURES];
    size_t count = period > 0 ? beatgrid_levels(clues, period, levels) : 0;
    for (size_t i = 0; i < count; i++) {
        if (level_features(clues, &levels[i], levels[i].period_s == levels[0].period_s, features)) continue;
        printf("level %s %.6f %.8f %.3f", name, levels[i].first_s, levels[i].period_s, clues->end_s);
        for (int f = 0; f < LEVEL_FEATURES; f++)
            printf(" %.4f", features[f]);
        printf("\n");
    }
}

static void print_bar(const char *name, const struct clues *clues, const char *truth)
{
    static double time_s[MOST];
    double place[DOWNBEAT_MARKS][DOWNBEAT_PLACES], t;
    struct beats beats = {.time_s = time_s};
    int metre = 0, number;
    char line[256];
    FILE *file = fopen(truth, "r");
    while (file && fgets(line, sizeof line, file) && beats.count < MOST) {
        int words = sscanf(line, "%lf %d", &t, &number);
        if (words == 2 && number > metre) metre = number;
        if (words == 2 && (beats.count || number == 1)) time_s[beats.count++] = t;
    }
    if (file) fclose(file);
    if (metre < 3 || metre > DOWNBEAT_PLACES || beats.count < 16) return;
    downbeats_profile(&beats, clues, metre, place);
    printf("bar %s %d", name, metre);
    for (int m = 0; m < DOWNBEAT_MARKS; m++) {
        for (int p = 0; p < metre; p++)
            printf(" %.4f", place[m][p]);
    }
    printf("\n");
}

static void hear(struct decoder *decoder, const char *name, const char *truth)
{
    static float pcm[2 * CHUNK], mono[CHUNK];
    struct onset *onset = onset_new();
    struct chroma *chroma = chroma_new();
    struct timbre *timbre = timbre_new();
    struct net *net = net_new();
    struct mel *mel = mel_new(net_feed, net);
    char *cause = NULL;
    for (long n; (n = decode_read(decoder, pcm, CHUNK, &cause)) > 0;) {
        for (long i = 0; i < n; i++)
            mono[i] = 0.5f * (pcm[2 * i] + pcm[2 * i + 1]);
        onset_feed(onset, mono, (size_t)n);
        chroma_feed(chroma, mono, (size_t)n);
        timbre_feed(timbre, mono, (size_t)n);
        mel_feed(mel, mono, (size_t)n);
    }
    onset_finish(onset);
    chroma_finish(chroma);
    timbre_finish(timbre);
    mel_finish(mel);
    net_finish(net);
    struct rows rows = {chroma_rows(chroma), chroma_bass_rows(chroma), timbre_rows(timbre)};
    struct clues clues;
    novelty_normalise(onset_curves(onset));
    clues_init(&clues, onset_curves(onset), &rows, net_odds(net));
    print_levels(name, &clues);
    print_bar(name, &clues, truth);
    clues_free(&clues);
    onset_free(onset);
    chroma_free(chroma);
    timbre_free(timbre);
    mel_free(mel);
    net_free(net);
}

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        struct decoder *decoder;
        char *cause = NULL, truth[4096], *name = basename(argv[i]), *dot = strrchr(name, '.');
        if (decode_open(&decoder, open(argv[i], O_RDONLY), &cause)) {
            fprintf(stderr, "%s: %s\n", argv[i], cause);
            return 1;
        }
        if (dot) *dot = 0;
        snprintf(truth, sizeof truth, "%s/%s.beats", argv[1], name);
        hear(decoder, name, truth);
        decode_close(decoder);
    }
    return 0;
}
