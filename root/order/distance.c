#include "root/order/distance.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tempo and key: whether two tracks can be beatmatched, and whether one wants to hear both at once. */
static const double weights[ORDER_TERMS] = {
    [ORDER_TEMPO] = 0.35,    [ORDER_KEY] = 0.50,    [ORDER_ENERGY] = 0.10,
    [ORDER_LOUDNESS] = 0.03, [ORDER_TIMBRE] = 0.02,
};

#define TEMPO_FAR_OCTAVES   0.20 /* 15 % faster or slower: out of any beatmatch's reach */
#define TEMPO_FOLD_PENALTY  0.15 /* half or double time: it can be matched, it is felt */
#define ENERGY_FAR          0.5
#define LOUDNESS_FAR_LU     12.0
#define TIMBRE_FAR_SPREADS  2.5
#define CONFIDENCE_UNSTATED 0.5
#define KEY_LEAST           0.5 /* of its weight a key keeps that is hardly believed: a wrong one is mostly near */

const char *order_term_name(enum order_term term)
{
    static const char *const names[ORDER_TERMS] = {"tempo", "key", "energy", "loudness", "timbre"};
    return names[term];
}

static uint64_t name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    while (*name == ' ')
        name++;
    size_t len = strlen(name);
    while (len && name[len - 1] == ' ')
        len--;
    if (!len) return 0;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)tolower((unsigned char)name[i])) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

void order_item_from(struct order_item *out, const struct track *track)
{
    const struct features *f = &track->features;
    *out = (struct order_item){
        .id = track->id,
        .artist = track->tags.artist ? name_hash(track->tags.artist) : 0,
        .tempo_bpm = (float)f->tempo_bpm,
        .tempo_confidence = (float)f->tempo_confidence,
        .key = f->key,
        .duration_s = (float)f->duration_s,
        .key_confidence = (float)f->key_confidence,
        .energy = (float)f->energy,
        .loudness_lufs = (float)f->loudness_lufs,
    };
    memcpy(out->timbre, f->timbre, sizeof out->timbre);
}

static double capped(double value)
{
    return value < 1 ? value : 1;
}

double order_tempo_term(double a, double b)
{
    if (!(a > 0) || !(b > 0)) return NAN;
    double octaves = fabs(log2(a / b)), fold = round(octaves);
    return capped(fabs(octaves - fold) / TEMPO_FAR_OCTAVES + fold * TEMPO_FOLD_PENALTY);
}

double order_key_term(int a, int b)
{
    /* steps on the wheel: a fifth up or down, or major to relative minor, is one; two are a clash */
    static const double far[] = {0, 0.02, 0.9, 0.95, 1};
    int steps = key_steps(a, b);
    return steps < 0 ? NAN : far[steps < 4 ? steps : 4];
}

static double timbre_term(const struct order_item *a, const struct order_item *b, const double *scale)
{
    if (isnan(a->timbre[0]) || isnan(b->timbre[0])) return NAN;
    double sum = 0;
    int used = 0;
    for (int i = 0; i < TIMBRE_DIMS; i++) {
        if (!(scale[i] > 0)) continue;
        double d = ((double)a->timbre[i] - (double)b->timbre[i]) / scale[i];
        sum += d * d;
        used++;
    }
    return used ? capped(sqrt(sum / used) / TIMBRE_FAR_SPREADS) : NAN;
}

/* Both sides' belief: the lesser of the two. */
static double belief(float a, float b)
{
    double x = isnan(a) ? CONFIDENCE_UNSTATED : (double)a, y = isnan(b) ? CONFIDENCE_UNSTATED : (double)b;
    return x < y ? x : y;
}

void order_distance(const struct order_item *a, const struct order_item *b,
                    const double timbre_scale[TIMBRE_DIMS], struct order_distance *out)
{
    double *terms = out->terms, sum = 0, known = 0;
    terms[ORDER_TEMPO] = order_tempo_term((double)a->tempo_bpm, (double)b->tempo_bpm);
    terms[ORDER_KEY] = order_key_term(a->key, b->key);
    terms[ORDER_ENERGY] = capped(fabs((double)a->energy - (double)b->energy) / ENERGY_FAR);
    if (isnan(a->energy) || isnan(b->energy)) terms[ORDER_ENERGY] = NAN;
    terms[ORDER_LOUDNESS] =
        capped(fabs((double)a->loudness_lufs - (double)b->loudness_lufs) / LOUDNESS_FAR_LU);
    if (isnan(a->loudness_lufs) || isnan(b->loudness_lufs)) terms[ORDER_LOUDNESS] = NAN;
    terms[ORDER_TIMBRE] = timbre_term(a, b, timbre_scale);
    for (int i = 0; i < ORDER_TERMS; i++) {
        if (isnan(terms[i])) continue;
        double weight = weights[i];
        if (i == ORDER_TEMPO) weight *= belief(a->tempo_confidence, b->tempo_confidence);
        if (i == ORDER_KEY)
            weight *= KEY_LEAST + (1 - KEY_LEAST) * belief(a->key_confidence, b->key_confidence);
        sum += weight * terms[i];
        known += weight;
    }
    /* all weights add up to 1: what is missing stands in the middle */
    out->total = sum + (1 - known) * 0.5;
}
