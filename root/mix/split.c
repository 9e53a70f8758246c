#include "root/mix/split.h"

#include <math.h>

/* Coefficients after the bilinear transform with the corner pre-warped (RBJ's cookbook, Q = 1/sqrt 2). */
struct biquad {
    double b0, b1, b2, a1, a2;
    double z1, z2; /* transposed direct form II */
};

static struct biquad lowpass(double corner_hz, double rate)
{
    double w = 2 * M_PI * corner_hz / rate, alpha = sin(w) * M_SQRT1_2, a0 = 1 + alpha;
    double b = (1 - cos(w)) / a0;
    return (struct biquad){.b0 = b / 2, .b1 = b, .b2 = b / 2, .a1 = -2 * cos(w) / a0, .a2 = (1 - alpha) / a0};
}

static double step(struct biquad *f, double x)
{
    double y = f->b0 * x + f->z1;
    f->z1 = f->b1 * x - f->a1 * y + f->z2;
    f->z2 = f->b2 * x - f->a2 * y;
    return y;
}

void split_low(const float *in, size_t stride, size_t samples, double corner_hz, double rate, float *out)
{
    struct biquad forward = lowpass(corner_hz, rate), backward = forward;
    for (size_t i = 0; i < samples; i++)
        out[i] = (float)step(&forward, in[i * stride]);
    for (size_t i = samples; i-- > 0;)
        out[i] = (float)step(&backward, out[i]);
}
