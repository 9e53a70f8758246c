#include "root/mix/split.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"

/* Coefficients after the bilinear transform with the corner pre-warped (RBJ's cookbook, Q = 1/sqrt 2). */
struct coefficients {
    double b0, b1, b2, a1, a2;
};

struct state { /* transposed direct form II */
    double z1, z2;
};

struct split {
    const float *in;
    size_t samples;
    int count;
    struct coefficients filter[SPLIT_MAX];
    struct state back[SPLIT_MAX];
    struct state (*ahead)[SPLIT_MAX]; /* at the beginning of each block */
};

static struct coefficients lowpass(double corner_hz, double rate)
{
    double w = 2 * M_PI * corner_hz / rate, alpha = sin(w) * M_SQRT1_2, a0 = 1 + alpha;
    double b = (1 - cos(w)) / a0;
    return (struct coefficients){
        .b0 = b / 2, .b1 = b, .b2 = b / 2, .a1 = -2 * cos(w) / a0, .a2 = (1 - alpha) / a0};
}

static inline double step(const struct coefficients *f, struct state *s, double x)
{
    double y = f->b0 * x + s->z1;
    s->z1 = f->b1 * x - f->a1 * y + s->z2;
    s->z2 = f->b2 * x - f->a2 * y;
    return y;
}

static size_t block_samples(const struct split *s, size_t index)
{
    size_t left = s->samples - index * SPLIT_BLOCK;
    return left < SPLIT_BLOCK ? left : SPLIT_BLOCK;
}

/* A filter waits for its own last value: two of them take hardly longer than one. */
static void run_ahead(const struct split *s, const float *x, size_t n, struct state state[SPLIT_MAX],
                      float out[][SPLIT_BLOCK])
{
    struct state a = state[0], b = state[1];
    if (s->count == 1) {
        for (size_t i = 0; i < n; i++)
            out[0][i] = (float)step(&s->filter[0], &a, x[i]);
    } else {
        for (size_t i = 0; i < n; i++) {
            out[0][i] = (float)step(&s->filter[0], &a, x[i]);
            out[1][i] = (float)step(&s->filter[1], &b, x[i]);
        }
    }
    state[0] = a;
    state[1] = b;
}

struct split *split_new(const float *in, size_t samples, const double corners_hz[], int count, double rate)
{
    struct split *s = xcalloc(1, sizeof *s);
    float low[SPLIT_MAX][SPLIT_BLOCK];
    struct state now[SPLIT_MAX] = {{0, 0}};
    s->in = in;
    s->samples = samples;
    s->count = count;
    for (int k = 0; k < count; k++)
        s->filter[k] = lowpass(corners_hz[k], rate);
    s->ahead = xcalloc(split_blocks(s) + 1, sizeof *s->ahead);
    for (size_t block = 0; block < split_blocks(s); block++) {
        for (int k = 0; k < SPLIT_MAX; k++)
            s->ahead[block][k] = now[k];
        run_ahead(s, in + block * SPLIT_BLOCK, block_samples(s, block), now, low);
    }
    return s;
}

void split_free(struct split *split)
{
    if (!split) return;
    free(split->ahead);
    free(split);
}

size_t split_blocks(const struct split *split)
{
    return (split->samples + SPLIT_BLOCK - 1) / SPLIT_BLOCK;
}

size_t split_block(struct split *s, size_t index, float low[][SPLIT_BLOCK])
{
    size_t n = block_samples(s, index);
    run_ahead(s, s->in + index * SPLIT_BLOCK, n, s->ahead[index], low);
    struct state a = s->back[0], b = s->back[1];
    if (s->count == 1) {
        for (size_t i = n; i-- > 0;)
            low[0][i] = (float)step(&s->filter[0], &a, low[0][i]);
    } else {
        for (size_t i = n; i-- > 0;) {
            low[0][i] = (float)step(&s->filter[0], &a, low[0][i]);
            low[1][i] = (float)step(&s->filter[1], &b, low[1][i]);
        }
    }
    s->back[0] = a;
    s->back[1] = b;
    return n;
}
