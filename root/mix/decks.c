#include "root/mix/decks.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"

#define DECKS     4
#define END_SLACK (PCM_RATE / 2)
#define PIECE     1024

struct deck {
    struct decoder *decoder; /* NULL: free */
    int64_t track;
    char *hash;
    uint64_t used; /* age */
};

struct decks {
    programme_open_track open;
    void *context;
    programme_live live;
    void *live_context;
    struct deck deck[DECKS];
    uint64_t uses;
};

struct decks *decks_new(programme_open_track open, void *context)
{
    struct decks *decks = xcalloc(1, sizeof *decks);
    decks->open = open;
    decks->context = context;
    return decks;
}

static void deck_close(struct deck *deck)
{
    if (deck->decoder) decode_close(deck->decoder);
    free(deck->hash);
    *deck = (struct deck){0};
}

void decks_free(struct decks *decks)
{
    if (!decks) return;
    for (int i = 0; i < DECKS; i++)
        deck_close(&decks->deck[i]);
    free(decks);
}

void decks_set_live(struct decks *decks, programme_live live, void *context)
{
    decks->live = live;
    decks->live_context = context;
}

void decks_live(struct decks *decks, int64_t session, uint64_t sample, float *out, size_t samples)
{
    memset(out, 0, samples * PCM_CHANNELS * sizeof *out);
    if (decks->live) decks->live(decks->live_context, session, sample, out, samples);
}

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* The deck with this track nearest before `from`; else one freshly opened. NULL with *cause. */
static struct deck *deck_for(struct decks *decks, int64_t track, const char *hash, int64_t from, char **cause)
{
    struct deck *best = NULL, *oldest = &decks->deck[0];
    for (int i = 0; i < DECKS; i++) {
        struct deck *deck = &decks->deck[i];
        if (deck->used < oldest->used) oldest = deck;
        if (!deck->decoder || deck->track != track || !same_text(deck->hash, hash)) continue;
        uint64_t position = decode_position(deck->decoder);
        if (position > (uint64_t)from) continue;
        if (!best || position > decode_position(best->decoder)) best = deck;
    }
    if (best) return best;
    int fd = decks->open(decks->context, track, hash, cause);
    if (fd < 0) return NULL;
    deck_close(oldest);
    if (decode_open(&oldest->decoder, fd, cause) < 0) {
        oldest->decoder = NULL;
        return NULL;
    }
    oldest->track = track;
    oldest->hash = hash ? xstrdup(hash) : NULL;
    return oldest;
}

/* Takes the next samples of a deck, at most the whole of one piece; out: as they come, or each channel apart.
 * The number; 0 = end; -1. */
static long take(struct deck *deck, float *mixed, float *const apart[PCM_CHANNELS], size_t samples,
                 char **cause)
{
    float piece[PIECE * PCM_CHANNELS];
    if (mixed) return decode_read(deck->decoder, mixed, samples, cause);
    long n = decode_read(deck->decoder, piece, samples < PIECE ? samples : PIECE, cause);
    for (long i = 0; i < n; i++) {
        for (int c = 0; c < PCM_CHANNELS; c++)
            apart[c][i] = piece[i * PCM_CHANNELS + c];
    }
    return n;
}

/* Into mixed, or, where that is NULL, into `apart`. */
static int read_from(struct decks *decks, int64_t track, const char *hash, int64_t from, float *mixed,
                     float *const apart[PCM_CHANNELS], size_t samples, char **cause)
{
    if (samples == 0) return 0;
    struct deck *deck = deck_for(decks, track, hash, from, cause);
    if (!deck) return -1;
    deck->used = ++decks->uses;
    size_t got = 0;
    int sought = 0;
    if (decode_position(deck->decoder) != (uint64_t)from) {
        sought = decode_seek(deck->decoder, (uint64_t)from, cause);
    }
    while (sought == 0 && got < samples) {
        float *const to[] = {mixed ? NULL : apart[0] + got, mixed ? NULL : apart[1] + got};
        long n = take(deck, mixed ? mixed + got * PCM_CHANNELS : NULL, to, samples - got, cause);
        if (n < 0) sought = -1;
        if (n <= 0) break;
        got += (size_t)n;
    }
    if (sought < 0) {
        deck_close(deck);
        return -1;
    }
    if (got == samples) return 0;
    if (mixed) memset(mixed + got * PCM_CHANNELS, 0, (samples - got) * PCM_CHANNELS * sizeof *mixed);
    for (int c = 0; c < PCM_CHANNELS && !mixed; c++)
        memset(apart[c] + got, 0, (samples - got) * sizeof *apart[c]);
    uint64_t end = decode_position(deck->decoder), wanted = (uint64_t)from + samples;
    if (wanted <= end + END_SLACK) return 0;
    deck_close(deck);
    return cause_set(cause, "ends after %.1f s, %.1f s before it should", (double)end / PCM_RATE,
                     (double)(wanted - end) / PCM_RATE);
}

int decks_read(struct decks *decks, int64_t track, const char *hash, int64_t from, float *out, size_t samples,
               char **cause)
{
    return read_from(decks, track, hash, from, out, NULL, samples, cause);
}

int decks_read_apart(struct decks *decks, int64_t track, const char *hash, int64_t from,
                     float *const channels[2], size_t samples, char **cause)
{
    return read_from(decks, track, hash, from, NULL, channels, samples, cause);
}

void decks_keep(struct decks *decks, int (*wanted)(const void *context, int64_t track), const void *context)
{
    for (int i = 0; i < DECKS; i++) {
        if (decks->deck[i].decoder && !wanted(context, decks->deck[i].track)) deck_close(&decks->deck[i]);
    }
}
