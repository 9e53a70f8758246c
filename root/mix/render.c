#include "root/mix/render.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/decks.h"
#include "root/mix/recipe.h"
#include "root/mix/voice.h"

#define DEPTH_MAX 8 /* skips of skips; the planner makes fewer */
#define GAINS     256
#define TRIM      ((int64_t)4 * PCM_RATE) /* read of a whole, before it is given up */

struct item {
    uint64_t start, end; /* as far as it is played */
    uint64_t whole_end;  /* of the segment itself, which may have been cut short */
    json_t *segment;
    struct recipe recipe;
    struct programme *under; /* what a skip fades out; NULL */
};

struct programme {
    struct item *items; /* contiguous: items[i].end == items[i + 1].start */
    size_t count, room;
    struct decks *decks;
    int decks_owned;
    int depth;
    /* the segment that is held as a whole: its start tells it from all others */
    struct voice_mix whole; /* from sample `whole_from` of the segment on */
    uint64_t whole_start;
    int64_t whole_from;
    struct passages *passages; /* of a rehearsal; NULL */
};

static struct programme *programme_make(struct decks *decks, int owned, int depth)
{
    struct programme *p = xcalloc(1, sizeof *p);
    p->decks = decks;
    p->decks_owned = owned;
    p->depth = depth;
    return p;
}

struct programme *programme_new(programme_open_track open, void *context)
{
    return programme_make(decks_new(open, context), 1, 0);
}

struct programme *programme_new_rehearsal(programme_open_track open, void *context)
{
    struct programme *p = programme_new(open, context);
    p->passages = passages_new();
    return p;
}

static void drop_whole(struct programme *p)
{
    free(p->whole.pcm);
    free(p->whole.rough);
    p->whole = (struct voice_mix){0};
    p->whole_from = 0;
}

static int is_held(const struct programme *p, const struct item *item)
{
    return (p->whole.pcm || p->whole.rough) && p->whole_start == item->start;
}

static void item_free(struct programme *p, struct item *item)
{
    if (is_held(p, item)) drop_whole(p);
    programme_free(item->under);
    recipe_free(&item->recipe);
    json_decref(item->segment);
}

void programme_free(struct programme *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++)
        item_free(p, &p->items[i]);
    drop_whole(p);
    if (p->decks_owned) decks_free(p->decks);
    passages_free(p->passages);
    free(p->items);
    free(p);
}

void programme_set_live(struct programme *p, programme_live live, void *context)
{
    decks_set_live(p->decks, live, context);
}

static int add_under(struct programme *p, struct item *item, char **cause)
{
    if (!item->recipe.under) return 0;
    if (p->depth + 1 >= DEPTH_MAX) return cause_set(cause, "skips are nested too deep");
    item->under = programme_make(p->decks, 0, p->depth + 1);
    size_t i;
    json_t *segment;
    json_array_foreach(item->recipe.under, i, segment)
    {
        if (programme_add(item->under, segment, cause) < 0) return -1;
    }
    return 0;
}

int programme_add(struct programme *p, json_t *segment, char **cause)
{
    int bad = 0;
    int64_t start = json_int_or(segment, "start_sample", -1, 0, INT64_MAX, &bad);
    int64_t end = json_int_or(segment, "end_sample", -1, 0, INT64_MAX, &bad);
    if (bad || start < 0 || end <= start) return cause_set(cause, "a segment has no extent");
    if (p->count && (uint64_t)start > programme_end(p)) {
        return cause_set(cause, "a segment starts at %lld, after the programme's end (%llu)",
                         (long long)start, (unsigned long long)programme_end(p));
    }
    struct item item = {
        .start = (uint64_t)start, .end = (uint64_t)end, .whole_end = (uint64_t)end, .segment = segment};
    /* the recipe borrows from the segment, which is held until the item goes */
    if (recipe_parse(&item.recipe, json_object_get(segment, "plan"), end - start, cause) < 0) return -1;
    json_incref(segment);
    if (add_under(p, &item, cause) < 0) {
        item_free(p, &item);
        return -1;
    }
    programme_truncate(p, item.start);
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 8;
        p->items = xrealloc(p->items, p->room * sizeof *p->items);
    }
    p->items[p->count++] = item;
    return 0;
}

void programme_truncate(struct programme *p, uint64_t sample)
{
    while (p->count && p->items[p->count - 1].start >= sample)
        item_free(p, &p->items[--p->count]);
    if (p->count && p->items[p->count - 1].end > sample) p->items[p->count - 1].end = sample;
}

static int recipe_wants(const struct recipe *recipe, int64_t track)
{
    for (size_t i = 0; i < recipe->voice_count; i++) {
        if (recipe->voices[i].track == track) return 1;
    }
    return 0;
}

static int programme_wants(const void *context, int64_t track)
{
    const struct programme *p = context;
    for (size_t i = 0; i < p->count; i++) {
        const struct item *item = &p->items[i];
        if (recipe_wants(&item->recipe, track)) return 1;
        if (item->under && programme_wants(item->under, track)) return 1;
    }
    return 0;
}

void programme_release(struct programme *p, uint64_t sample)
{
    size_t gone = 0;
    while (gone < p->count && p->items[gone].end <= sample)
        item_free(p, &p->items[gone++]);
    if (gone == 0) return;
    /* the last track may play on in a segment that is still to come: keep its decoder when all is gone */
    memmove(p->items, p->items + gone, (p->count - gone) * sizeof *p->items);
    p->count -= gone;
    if (p->count) decks_keep(p->decks, programme_wants, p);
}

uint64_t programme_start(const struct programme *p)
{
    return p->count ? p->items[0].start : 0;
}

uint64_t programme_end(const struct programme *p)
{
    return p->count ? p->items[p->count - 1].end : 0;
}

size_t programme_count(const struct programme *p)
{
    return p->count;
}

json_t *programme_segment(const struct programme *p, size_t index)
{
    return index < p->count ? p->items[index].segment : NULL;
}

/* The part of a voice alone that covers [at, at + samples) of its segment. */
static int read_simple(struct programme *p, const struct item *item, int64_t at, float *out, int64_t samples,
                       int64_t *bad_track, char **cause)
{
    const struct voice *voice = &item->recipe.voices[0];
    int64_t from = at > voice->at ? at : voice->at, end = voice->at + voice->samples;
    int64_t to = at + samples < end ? at + samples : end;
    memset(out, 0, (size_t)samples * PCM_CHANNELS * sizeof *out);
    if (from >= to) return 0;
    float *here = out + (from - at) * PCM_CHANNELS;
    if (decks_read(p->decks, voice->track, voice->hash, voice->from + from - voice->at, here,
                   (size_t)(to - from), cause) < 0) {
        *bad_track = voice->track;
        return -1;
    }
    for (int64_t at_once; from < to; from += at_once, here += at_once * PCM_CHANNELS) {
        double level[GAINS], ride[GAINS];
        at_once = to - from < GAINS ? to - from : GAINS;
        fades_fill(&voice->level, from, (size_t)at_once, level);
        ride_fill(&voice->ride, from, (size_t)at_once, ride);
        for (int64_t i = 0; i < at_once; i++) {
            float gain = voice->gain * (float)(level[i] * ride[i]);
            for (int c = 0; c < PCM_CHANNELS; c++)
                here[i * PCM_CHANNELS + c] *= gain;
        }
    }
    return 0;
}

/* Adds what a skip fades out; where the old programme is not known there is nothing to add. */
static int add_old(struct item *item, float *mix, int64_t *bad_track, char **cause)
{
    if (!item->under) return 0;
    uint64_t from = programme_start(item->under), to = programme_end(item->under);
    if (from < item->start) from = item->start;
    if (to > item->whole_end) to = item->whole_end;
    if (from >= to) return 0;
    size_t samples = (size_t)(to - from);
    float *old = xmalloc(samples * PCM_CHANNELS * sizeof *old);
    int result = programme_read(item->under, from, old, samples, bad_track, cause);
    drop_whole(item->under);
    for (size_t i = 0; i < samples && result == 0; i++) {
        size_t at = (size_t)(from - item->start) + i;
        float gain = (float)fades_gain(&item->recipe.under_level, (int64_t)at);
        for (int c = 0; c < PCM_CHANNELS; c++)
            mix[at * PCM_CHANNELS + (size_t)c] += gain * old[i * PCM_CHANNELS + (size_t)c];
    }
    free(old);
    return result;
}

static void add_live(struct programme *p, const struct item *item, float *mix)
{
    size_t samples = (size_t)(item->whole_end - item->start);
    float *live = xmalloc(samples * PCM_CHANNELS * sizeof *live);
    decks_live(p->decks, item->recipe.live, item->start, live, samples);
    for (size_t i = 0; i < samples; i++) {
        float gain = (float)fades_gain(&item->recipe.live_level, (int64_t)i);
        for (size_t c = 0; c < PCM_CHANNELS; c++)
            mix[i * PCM_CHANNELS + c] += gain * live[i * PCM_CHANNELS + c];
    }
    free(live);
}

/* Renders a segment of several voices into p->whole. Whole, because a stretched passage can't be entered. */
static int render_whole(struct programme *p, struct item *item, struct stem *stems, int64_t *bad_track,
                        char **cause)
{
    drop_whole(p);
    size_t values = (size_t)(item->whole_end - item->start) * PCM_CHANNELS;
    struct voice_mix mix = {0};
    int result = 0;
    if (p->passages) {
        mix.rough = xcalloc(values, sizeof *mix.rough);
    } else {
        mix.pcm = xcalloc(values, sizeof *mix.pcm);
        result = add_old(item, mix.pcm, bad_track, cause);
        if (item->recipe.live) add_live(p, item, mix.pcm);
    }
    for (size_t i = 0; i < item->recipe.voice_count && result == 0; i++) {
        const struct voice *voice = &item->recipe.voices[i];
        result = voice_add(voice, &item->recipe, p->decks, p->passages, &mix,
                           stems && i < 2 ? &stems[i] : NULL, cause);
        if (result < 0) *bad_track = voice->track;
    }
    p->whole = mix;
    p->whole_start = item->start;
    if (result < 0) drop_whole(p);
    return result;
}

/* Gives up what was read of the whole: who starts anew there renders it again. */
static void trim_whole(struct programme *p, const struct item *item, int64_t read)
{
    int64_t end = (int64_t)(item->end - item->start), whole = (int64_t)(item->whole_end - item->start);
    int64_t gone = read - p->whole_from;
    if (item->recipe.live) return; /* its sound is there once */
    if (read >= end) {
        drop_whole(p);
    } else if (gone >= TRIM && p->whole.pcm) {
        size_t left = (size_t)(whole - read) * PCM_CHANNELS;
        memmove(p->whole.pcm, p->whole.pcm + gone * PCM_CHANNELS, left * sizeof *p->whole.pcm);
        p->whole.pcm = xrealloc(p->whole.pcm, left * sizeof *p->whole.pcm);
        p->whole_from = read;
    }
}

static int read_whole(struct programme *p, struct item *item, int64_t at, float *out, size_t samples,
                      int64_t *bad_track, char **cause)
{
    if (!is_held(p, item) || at < p->whole_from) {
        if (render_whole(p, item, NULL, bad_track, cause) < 0) return -1;
    }
    size_t from = (size_t)(at - p->whole_from) * PCM_CHANNELS;
    if (p->whole.pcm) {
        memcpy(out, p->whole.pcm + from, samples * PCM_CHANNELS * sizeof *out);
    } else {
        for (size_t i = 0; i < samples * PCM_CHANNELS; i++)
            out[i] = (float)p->whole.rough[from + i] * VOICE_ROUGH;
    }
    trim_whole(p, item, at + (int64_t)samples);
    return 0;
}

static struct item *item_at(struct programme *p, uint64_t sample)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->items[middle].end <= sample) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < p->count && p->items[low].start <= sample ? &p->items[low] : NULL;
}

int programme_read(struct programme *p, uint64_t sample, float *out, size_t samples, int64_t *bad_track,
                   char **cause)
{
    int64_t ignored;
    if (!bad_track) bad_track = &ignored;
    *bad_track = 0;
    while (samples) {
        struct item *item = item_at(p, sample);
        if (!item) return cause_set(cause, "sample %llu is not in the programme", (unsigned long long)sample);
        uint64_t rest = item->end - sample;
        size_t n = samples < rest ? samples : (size_t)rest;
        int64_t at = (int64_t)(sample - item->start);
        if (recipe_is_simple(&item->recipe)) {
            if (read_simple(p, item, at, out, (int64_t)n, bad_track, cause) < 0) return -1;
        } else if (item->recipe.live && !item->recipe.under) {
            decks_live(p->decks, item->recipe.live, sample, out, n);
        } else {
            if (read_whole(p, item, at, out, n, bad_track, cause) < 0) return -1;
        }
        out += n * PCM_CHANNELS;
        sample += n;
        samples -= n;
    }
    return 0;
}

int programme_stems(struct programme *p, uint64_t start, struct stem stems[2], int *voices,
                    int64_t *bad_track, char **cause)
{
    struct item *item = item_at(p, start);
    *bad_track = 0;
    if (!item || item->start != start)
        return cause_set(cause, "no segment starts at sample %llu", (unsigned long long)start);
    int64_t samples = (int64_t)(item->whole_end - item->start);
    for (int i = 0; i < 2; i++)
        stem_init(&stems[i], samples);
    if (render_whole(p, item, stems, bad_track, cause)) {
        for (int i = 0; i < 2; i++)
            stem_free(&stems[i]);
        return -1;
    }
    *voices = (int)item->recipe.voice_count;
    return 0;
}
