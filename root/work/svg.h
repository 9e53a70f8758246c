/* svg: the few shapes the pictures of an analysis are made of. Coordinates are pixels, y downwards. */
#ifndef FOREVER_ROOT_WORK_SVG_H
#define FOREVER_ROOT_WORK_SVG_H
#include <stddef.h>
#include <stdio.h>

struct svg_box {
    double x, y, width, height;
};

void svg_begin(FILE *out, double width, double height);
void svg_end(FILE *out);
void svg_rect(FILE *out, struct svg_box box, const char *style);
void svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *style);
/* text need not be UTF-8; anchor: start, middle, end. */
void svg_text(FILE *out, double x, double y, const char *style, const char *anchor, const char *text);
/* A line through points at rising x; NAN leaves a gap. `base`: filled down to that y, NAN: not filled. */
void svg_curve(FILE *out, const double *x, const double *y, size_t count, double base, const char *style);

#endif
