/* fft: a real transform as a complex one of half the size.
 *
 * The complex part is Stockham's self-sorting scheme in radix 4, with one radix-2 pass at the end where the
 * size needs it (Van Loan, Computational Frameworks for the FFT, 1992, 1.7 and 2.4): no bit reversal, and the
 * inner loop runs along memory, so four columns are done at once in the compiler's portable vectors. Twiddles
 * are computed in double precision when the transform is made. */
#include "root/audio/fft.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

typedef float v4 __attribute__((vector_size(16)));

struct fft {
    size_t size, half;
    float *twiddle;       /* per pass with n > 2: n/4 times {w1, w2, w3} as re, im */
    float *split;         /* exp(-2 pi i k / size) for k = 0 .. half/2, re and im in turn */
    float *re[2], *im[2]; /* ping and pong */
};

static v4 load(const float *p)
{
    v4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void store(float *p, v4 v)
{
    memcpy(p, &v, sizeof v);
}

static size_t twiddle_count(size_t half)
{
    size_t count = 0;
    for (size_t n = half; n > 2; n /= 4)
        count += n / 4 * 6;
    return count;
}

struct fft *fft_new(size_t size)
{
    assert(size >= 16 && size <= (size_t)1 << 24 && !(size & (size - 1)));
    struct fft *fft = xcalloc(1, sizeof *fft);
    fft->size = size;
    fft->half = size / 2;
    fft->twiddle = xmalloc(twiddle_count(fft->half) * sizeof(float));
    float *t = fft->twiddle;
    for (size_t n = fft->half; n > 2; n /= 4) {
        for (size_t p = 0; p < n / 4; p++) {
            for (int k = 1; k <= 3; k++) {
                double angle = -2 * M_PI * (double)p * k / (double)n;
                *t++ = (float)cos(angle);
                *t++ = (float)sin(angle);
            }
        }
    }
    fft->split = xmalloc((fft->half / 2 + 1) * 2 * sizeof(float));
    for (size_t k = 0; k <= fft->half / 2; k++) {
        double angle = -2 * M_PI * (double)k / (double)size;
        fft->split[2 * k] = (float)cos(angle);
        fft->split[2 * k + 1] = (float)sin(angle);
    }
    for (int i = 0; i < 2; i++) {
        fft->re[i] = xmalloc(fft->half * sizeof(float));
        fft->im[i] = xmalloc(fft->half * sizeof(float));
    }
    return fft;
}

void fft_free(struct fft *fft)
{
    if (!fft) return;
    for (int i = 0; i < 2; i++) {
        free(fft->re[i]);
        free(fft->im[i]);
    }
    free(fft->twiddle);
    free(fft->split);
    free(fft);
}

size_t fft_size(const struct fft *fft)
{
    return fft->size;
}

/* One radix-4 butterfly on any arithmetic type; T is float or v4. */
#define BUTTERFLY(T, LOAD, STORE)                                                                            \
    do {                                                                                                     \
        T ar = LOAD(xr + a), ai = LOAD(xi + a), br = LOAD(xr + b), bi = LOAD(xi + b);                        \
        T cr = LOAD(xr + c), ci = LOAD(xi + c), dr = LOAD(xr + d), di = LOAD(xi + d);                        \
        T sr = ar + cr, si = ai + ci, mr = ar - cr, mi = ai - ci;                                            \
        T tr = br + dr, ti = bi + di, nr = br - dr, ni = bi - di;                                            \
        STORE(yr + o, sr + tr);                                                                              \
        STORE(yi + o, si + ti);                                                                              \
        T ur = mr + ni, ui = mi - nr, vr = sr - tr, vi = si - ti, wr = mr - ni, wi = mi + nr;                \
        STORE(yr + o + stride, ur * t[0] - ui * t[1]);                                                       \
        STORE(yi + o + stride, ur * t[1] + ui * t[0]);                                                       \
        STORE(yr + o + 2 * stride, vr * t[2] - vi * t[3]);                                                   \
        STORE(yi + o + 2 * stride, vr * t[3] + vi * t[2]);                                                   \
        STORE(yr + o + 3 * stride, wr * t[4] - wi * t[5]);                                                   \
        STORE(yi + o + 3 * stride, wr * t[5] + wi * t[4]);                                                   \
    } while (0)

static float load_one(const float *p)
{
    return *p;
}

static void store_one(float *p, float v)
{
    *p = v;
}

static void pass4(size_t n, size_t stride, const float *t, const float *xr, const float *xi, float *yr,
                  float *yi)
{
    size_t quarter = n / 4;
    for (size_t p = 0; p < quarter; p++, t += 6) {
        for (size_t q = 0; q < stride;) {
            size_t a = q + stride * p, b = a + stride * quarter, c = b + stride * quarter,
                   d = c + stride * quarter;
            size_t o = q + stride * 4 * p;
            if (stride >= 4) {
                BUTTERFLY(v4, load, store);
                q += 4;
            } else {
                BUTTERFLY(float, load_one, store_one);
                q += 1;
            }
        }
    }
}

/* Transforms re[0], im[0]; the index of the pair that holds the result. */
static int transform(struct fft *fft)
{
    const float *t = fft->twiddle;
    size_t n = fft->half, stride = 1;
    int at = 0;
    for (; n > 2; n /= 4, stride *= 4, at = !at) {
        pass4(n, stride, t, fft->re[at], fft->im[at], fft->re[!at], fft->im[!at]);
        t += n / 4 * 6;
    }
    if (n == 2) {
        const float *xr = fft->re[at], *xi = fft->im[at];
        at = !at;
        for (size_t q = 0; q < stride; q++) {
            fft->re[at][q] = xr[q] + xr[q + stride];
            fft->im[at][q] = xi[q] + xi[q + stride];
            fft->re[at][q + stride] = xr[q] - xr[q + stride];
            fft->im[at][q + stride] = xi[q] - xi[q + stride];
        }
    }
    return at;
}

void fft_forward(struct fft *fft, const float *in, float *re, float *im)
{
    size_t half = fft->half;
    for (size_t n = 0; n < half; n++) {
        fft->re[0][n] = in[2 * n];
        fft->im[0][n] = in[2 * n + 1];
    }
    int at = transform(fft);
    const float *zr = fft->re[at], *zi = fft->im[at];
    re[0] = zr[0] + zi[0];
    im[0] = 0;
    re[half] = zr[0] - zi[0];
    im[half] = 0;
    /* the spectra of the even and the odd samples are the two symmetries of Z */
    for (size_t k = 1; k <= half / 2; k++) {
        float er = (zr[k] + zr[half - k]) / 2, ei = (zi[k] - zi[half - k]) / 2;
        float or = (zi[k] + zi[half - k]) / 2, oi = (zr[half - k] - zr[k]) / 2;
        float wr = fft->split[2 * k], wi = fft->split[2 * k + 1];
        float tr = or *wr - oi * wi, ti = or *wi + oi * wr;
        re[k] = er + tr;
        im[k] = ei + ti;
        re[half - k] = er - tr;
        im[half - k] = ti - ei;
    }
}

void fft_power(struct fft *fft, const float *in, float *power)
{
    size_t half = fft->half;
    for (size_t n = 0; n < half; n++) {
        fft->re[0][n] = in[2 * n];
        fft->im[0][n] = in[2 * n + 1];
    }
    int at = transform(fft);
    const float *zr = fft->re[at], *zi = fft->im[at];
    power[0] = (zr[0] + zi[0]) * (zr[0] + zi[0]);
    power[half] = (zr[0] - zi[0]) * (zr[0] - zi[0]);
    for (size_t k = 1; k <= half / 2; k++) {
        float er = (zr[k] + zr[half - k]) / 2, ei = (zi[k] - zi[half - k]) / 2;
        float or = (zi[k] + zi[half - k]) / 2, oi = (zr[half - k] - zr[k]) / 2;
        float wr = fft->split[2 * k], wi = fft->split[2 * k + 1];
        float tr = or *wr - oi * wi, ti = or *wi + oi * wr;
        power[k] = (er + tr) * (er + tr) + (ei + ti) * (ei + ti);
        power[half - k] = (er - tr) * (er - tr) + (ti - ei) * (ti - ei);
    }
}
