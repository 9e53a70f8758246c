#include "root/analysis/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/net_weights.h"

#define C NET_CHANNELS
_Static_assert(NET_INPUTS == 2 * MEL_BANDS, "the network was trained on these bands");

/* What a convolution remembers: frame i of its input is at ring[i % span], zeros where there is none yet. A
 * frame's output follows when the frames its taps reach into the future are there. */
struct memory {
    float *ring;
    size_t width, reach, span, count; /* span = 2 reach + 1 frames of width values; count: frames so far */
};

struct net {
    float first[NET_FIRST_TAPS * NET_INPUTS][C];
    float wide[NET_LAYERS][NET_WIDE_TAPS * C][C];
    float mix[NET_LAYERS][C][C];
    struct memory input, layer[NET_LAYERS];
    float before[MEL_BANDS];
    int begun;
    struct net_odds odds;
};

static void unpack(float (*out)[C], const int8_t *in, const float *scale, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < C; o++)
            out[r][o] = (float)in[r * C + o] * scale[o];
    }
}

static void memory_init(struct memory *memory, size_t width, size_t reach)
{
    *memory = (struct memory){.width = width, .reach = reach, .span = 2 * reach + 1};
    memory->ring = xcalloc(memory->span * width, sizeof *memory->ring);
}

struct net *net_new(void)
{
    struct net *net = xcalloc(1, sizeof *net);
    unpack(net->first, net_first, net_first_scale, NET_FIRST_TAPS * NET_INPUTS);
    memory_init(&net->input, NET_INPUTS, NET_FIRST_TAPS / 2);
    for (size_t l = 0; l < NET_LAYERS; l++) {
        unpack(net->wide[l], net_wide[l], net_wide_scale[l], NET_WIDE_TAPS * C);
        unpack(net->mix[l], net_mix[l], net_mix_scale[l], C);
        memory_init(&net->layer[l], C, (size_t)(NET_WIDE_TAPS / 2) << l);
    }
    return net;
}

void net_free(struct net *net)
{
    if (!net) return;
    free(net->input.ring);
    for (size_t l = 0; l < NET_LAYERS; l++)
        free(net->layer[l].ring);
    for (int o = 0; o < NET_OUTPUTS; o++)
        series_free(&net->odds.of[o]);
    free(net);
}

/* out += x times the matrix of `inputs` rows */
static void multiply(float *out, const float *x, const float (*matrix)[C], size_t inputs)
{
    for (size_t i = 0; i < inputs; i++) {
        float value = x[i];
        if (value == 0) continue; /* half of all are, after the rectifier */
        for (size_t o = 0; o < C; o++)
            out[o] += value * matrix[i][o];
    }
}

/* Keeps x. 1 with the convolution (without bias added) about frame count - 1 - reach and *centre, that frame
 * itself; 0 while there is none. */
static int convolve(struct memory *memory, const float *x, const float (*matrix)[C], size_t taps, float *out,
                    const float **centre)
{
    size_t newest = memory->count++, width = memory->width;
    memcpy(memory->ring + newest % memory->span * width, x, width * sizeof *x);
    if (newest < memory->reach) return 0;
    size_t step = 2 * memory->reach / (taps - 1);
    for (size_t k = 0; k < taps; k++) {
        /* the oldest tap is the ring's next place to be written: span frames ago, and 0 before the start */
        const float *row = memory->ring + (newest + 1 + k * step) % memory->span * width;
        multiply(out, row, matrix + k * width, width);
    }
    *centre = memory->ring + (newest + 1 + memory->reach) % memory->span * width;
    return 1;
}

static void rectify(float *x)
{
    for (size_t o = 0; o < C; o++)
        x[o] = x[o] > 0 ? x[o] : 0;
}

static void emit(struct net *net, float *x)
{
    rectify(x);
    for (int o = 0; o < NET_OUTPUTS; o++) {
        float odds = net_last_bias[o];
        for (size_t i = 0; i < C; i++)
            odds += x[i] * net_last[o][i];
        series_push(&net->odds.of[o], odds);
    }
}

/* A frame into layer l and as far on as it leads. */
static void feed_layer(struct net *net, size_t l, const float *x)
{
    float next[C];
    for (; l < NET_LAYERS; l++, x = next) {
        float wide[C], sum[C];
        const float *centre;
        memcpy(wide, net_wide_bias[l], sizeof wide);
        if (!convolve(&net->layer[l], x, net->wide[l], NET_WIDE_TAPS, wide, &centre)) return;
        rectify(wide);
        for (size_t o = 0; o < C; o++)
            sum[o] = centre[o] + net_mix_bias[l][o];
        multiply(sum, wide, net->mix[l], C);
        memcpy(next, sum, sizeof next);
    }
    memcpy(next, x, sizeof next);
    emit(net, next);
}

static void feed_input(struct net *net, const float *inputs)
{
    float x[C];
    const float *centre;
    memcpy(x, net_first_bias, sizeof x);
    if (!convolve(&net->input, inputs, net->first, NET_FIRST_TAPS, x, &centre)) return;
    rectify(x);
    feed_layer(net, 0, x);
}

void net_feed(void *context, const float *bands)
{
    struct net *net = context;
    float inputs[NET_INPUTS];
    for (size_t b = 0; b < MEL_BANDS; b++) {
        float rise = net->begun ? bands[b] - net->before[b] : 0;
        inputs[b] = bands[b];
        inputs[MEL_BANDS + b] = rise > 0 ? rise : 0;
        net->before[b] = bands[b];
    }
    net->begun = 1;
    feed_input(net, inputs);
}

void net_finish(struct net *net)
{
    static const float nothing[NET_INPUTS];
    /* each layer ends in zeros of its own, as it began */
    for (size_t k = 0; k < net->input.reach && net->begun; k++)
        feed_input(net, nothing);
    for (size_t l = 0; l < NET_LAYERS && net->begun; l++) {
        for (size_t k = 0; k < net->layer[l].reach; k++)
            feed_layer(net, l, nothing);
    }
}

const struct net_odds *net_odds(const struct net *net)
{
    return &net->odds;
}
