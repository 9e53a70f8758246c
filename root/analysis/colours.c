/* Groups of pixels in Oklab (B. Ottosson, "A perceptual color space for image processing", 2020), where
 * distances are about what the eye sees: the group with the largest spread is cut in two until there are
 * enough, then every pixel goes to the nearest mean (k-means: S. P. Lloyd, "Least squares quantization in
 * PCM", 1982). What looks alike is joined. A group counts by its share of the pixels, a strong colour up to
 * twice as much as a grey of the same size. */
#include "root/analysis/colours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define GROUPS     10
#define ROUNDS     8
#define ALIKE      0.08 /* distance in Oklab below which two groups are one */
#define SHARE_MIN  0.02
#define CHROMA_MAX 0.3 /* about the strongest of sRGB */

struct lab {
    double v[3];
};

struct group {
    struct lab mean;
    double weight, spread[3];
};

static double linear(uint8_t byte)
{
    double c = byte / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static uint8_t companded(double c)
{
    c = fmin(1, fmax(0, c));
    return (uint8_t)lround(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * pow(c, 1 / 2.4) - 0.055));
}

static struct lab to_lab(const uint8_t rgb[3], const double table[256])
{
    double r = table[rgb[0]], g = table[rgb[1]], b = table[rgb[2]];
    double l = cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    double m = cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    double s = cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return (struct lab){{0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
                         1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
                         0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s}};
}

static uint32_t to_rgb(const struct lab *lab)
{
    double l = pow(lab->v[0] + 0.3963377774 * lab->v[1] + 0.2158037573 * lab->v[2], 3);
    double m = pow(lab->v[0] - 0.1055613458 * lab->v[1] - 0.0638541728 * lab->v[2], 3);
    double s = pow(lab->v[0] - 0.0894841775 * lab->v[1] - 1.2914855480 * lab->v[2], 3);
    return (uint32_t)companded(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s) << 16 |
           (uint32_t)companded(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s) << 8 |
           companded(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

static double distance(const struct lab *a, const struct lab *b)
{
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum += (a->v[i] - b->v[i]) * (a->v[i] - b->v[i]);
    return sqrt(sum);
}

/* Means, weights and spreads (sums of squares) from who belongs where. */
static void measure(const struct lab *pixels, const uint8_t *member, size_t count, struct group *groups,
                    int n)
{
    memset(groups, 0, (size_t)n * sizeof *groups);
    for (size_t i = 0; i < count; i++) {
        struct group *g = &groups[member[i]];
        g->weight++;
        for (int k = 0; k < 3; k++) {
            double step = pixels[i].v[k] - g->mean.v[k];
            g->mean.v[k] += step / g->weight;
            g->spread[k] += step * (pixels[i].v[k] - g->mean.v[k]);
        }
    }
}

/* Cuts the group that spreads most, at its mean across its longest side; 0 when nothing spreads any more. */
static int cut(const struct lab *pixels, uint8_t *member, size_t count, struct group *groups, int n)
{
    int from = 0, side = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) {
            if (groups[i].spread[k] > groups[from].spread[side]) {
                from = i;
                side = k;
            }
        }
    }
    if (groups[from].spread[side] < 1e-6) return 0;
    for (size_t i = 0; i < count; i++) {
        if (member[i] == from && pixels[i].v[side] > groups[from].mean.v[side]) member[i] = (uint8_t)n;
    }
    measure(pixels, member, count, groups, n + 1);
    return 1;
}

static void settle(const struct lab *pixels, uint8_t *member, size_t count, struct group *groups, int n)
{
    for (int round = 0; round < ROUNDS; round++) {
        size_t moved = 0;
        for (size_t i = 0; i < count; i++) {
            int nearest = member[i];
            for (int g = 0; g < n; g++) {
                if (groups[g].weight > 0 &&
                    distance(&pixels[i], &groups[g].mean) < distance(&pixels[i], &groups[nearest].mean))
                    nearest = g;
            }
            moved += nearest != member[i];
            member[i] = (uint8_t)nearest;
        }
        if (!moved) return;
        measure(pixels, member, count, groups, n);
    }
}

/* Joins the nearest pair while it looks alike; how many are left. */
static int join(struct group *groups, int n)
{
    for (;;) {
        int a = -1, b = -1;
        double least = ALIKE;
        for (int i = 0; i < n; i++) {
            for (int k = i + 1; k < n; k++) {
                double d = distance(&groups[i].mean, &groups[k].mean);
                if (d >= least) continue;
                least = d;
                a = i;
                b = k;
            }
        }
        if (a < 0) return n;
        double weight = groups[a].weight + groups[b].weight;
        for (int k = 0; weight > 0 && k < 3; k++)
            groups[a].mean.v[k] += (groups[b].mean.v[k] - groups[a].mean.v[k]) * groups[b].weight / weight;
        groups[a].weight = weight;
        groups[b] = groups[--n];
    }
}

static double prominence(const struct group *g)
{
    return g->weight * (1 + fmin(1, hypot(g->mean.v[1], g->mean.v[2]) / CHROMA_MAX));
}

static int compare(const void *a, const void *b)
{
    double x = prominence(a), y = prominence(b);
    return (y > x) - (y < x);
}

size_t colours_find(const uint8_t (*rgb)[3], size_t count, uint32_t out[COLOURS_MAX])
{
    if (!count) return 0;
    struct group groups[GROUPS];
    double table[256];
    struct lab *pixels = xmalloc(count * sizeof *pixels);
    uint8_t *member = xcalloc(count, 1);
    int n = 1;
    for (int i = 0; i < 256; i++)
        table[i] = linear((uint8_t)i);
    for (size_t i = 0; i < count; i++)
        pixels[i] = to_lab(rgb[i], table);
    measure(pixels, member, count, groups, n);
    while (n < GROUPS && cut(pixels, member, count, groups, n))
        n++;
    settle(pixels, member, count, groups, n);
    n = join(groups, n);
    qsort(groups, (size_t)n, sizeof *groups, compare);
    size_t found = 0;
    for (int i = 0; i < n && found < COLOURS_MAX; i++) {
        if (groups[i].weight >= SHARE_MIN * (double)count) out[found++] = to_rgb(&groups[i].mean);
    }
    free(pixels);
    free(member);
    return found;
}
