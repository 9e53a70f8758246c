/* course: ITU-R BS.1770-4's weighting (a shelf for the head, then a high pass) on both channels.
 *
 * The standard states the filters at 48 kHz only; here they are made from their analogue shapes for our rate
 * (the parameters as found by De Man, Evaluation of implementations of the EBU R128 loudness measurement,
 * 2014). Both channels run side by side in double precision: the high pass at 38 Hz needs it. */
#include "root/analysis/course.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/track.h"

#define OFFSET_LU (-0.691) /* of the standard: a 1 kHz sine at full scale in one channel is -3.01 LUFS */
#define STAGES    2
#define LOUDEST   1e3f /* above, a sample is none */

struct biquad {
    double b0, b1, b2, a1, a2;
};

struct course {
    struct biquad stage[STAGES];
    double z[STAGES][PCM_CHANNELS][2]; /* transposed direct form II */
    double sum;
    size_t held;
    struct bytes loudness;
};

uint8_t course_byte(double mean_square)
{
    double steps = -10 * log10(mean_square + 1e-30) / BAR_LU;
    return (uint8_t)(steps > COURSE_SILENT ? COURSE_SILENT : steps < 0 ? 0 : lround(steps));
}

double course_mean_square(uint8_t byte)
{
    static double table[256];
    if (table[0] == 0) {
        for (int i = 0; i < 256; i++)
            table[i] = i == COURSE_SILENT ? 0 : pow(10, -i * BAR_LU / 10);
    }
    return table[byte];
}

static void make_shelf(struct biquad *f)
{
    double k = tan(M_PI * 1681.974450955533 / PCM_RATE), q = 0.7071752369554196;
    double high = pow(10, 3.999843853973347 / 20), band = pow(high, 0.4996667741545416);
    double a0 = 1 + k / q + k * k;
    *f = (struct biquad){
        .b0 = (high + band * k / q + k * k) / a0,
        .b1 = 2 * (k * k - high) / a0,
        .b2 = (high - band * k / q + k * k) / a0,
        .a1 = 2 * (k * k - 1) / a0,
        .a2 = (1 - k / q + k * k) / a0,
    };
}

static void make_high_pass(struct biquad *f)
{
    double k = tan(M_PI * 38.13547087602444 / PCM_RATE), q = 0.5003270373238773;
    double a0 = 1 + k / q + k * k;
    *f = (struct biquad){
        .b0 = 1, .b1 = -2, .b2 = 1, .a1 = 2 * (k * k - 1) / a0, .a2 = (1 - k / q + k * k) / a0};
}

struct course *course_new(void)
{
    struct course *course = xcalloc(1, sizeof *course);
    make_shelf(&course->stage[0]);
    make_high_pass(&course->stage[1]);
    return course;
}

void course_free(struct course *course)
{
    if (!course) return;
    bytes_free(&course->loudness);
    free(course);
}

static void push(struct course *course)
{
    bytes_push(&course->loudness, course_byte(course->sum / (double)course->held * pow(10, OFFSET_LU / 10)));
    course->sum = 0;
    course->held = 0;
}

void course_feed(struct course *course, const float *pcm, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        for (int c = 0; c < PCM_CHANNELS; c++) {
            float in = pcm[2 * i + (size_t)c];
            double x = fabsf(in) < LOUDEST ? (double)in + 1e-20 : 0; /* no denormals in silence */
            for (int s = 0; s < STAGES; s++) {
                const struct biquad *f = &course->stage[s];
                double *z = course->z[s][c], y = f->b0 * x + z[0];
                z[0] = f->b1 * x - f->a1 * y + z[1];
                z[1] = f->b2 * x - f->a2 * y;
                x = y;
            }
            course->sum += x * x;
        }
        if (++course->held == COURSE_HOP) push(course);
    }
}

void course_finish(struct course *course)
{
    if (course->held) push(course);
}

const struct bytes *course_loudness(const struct course *course)
{
    return &course->loudness;
}
