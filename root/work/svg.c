#include "root/work/svg.h"

#include <math.h>

#include "common/json.h"

static const char head[] =
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %g %g' width='%g' height='%g' "
    "font-family='DejaVu Sans,Verdana,Helvetica,Arial,sans-serif' font-size='12' fill='#4a5568'>\n"
    "<rect width='100%%' height='100%%' fill='#ffffff'/>\n";

void svg_begin(FILE *out, double width, double height)
{
    fprintf(out, head, width, height, width, height);
}

void svg_end(FILE *out)
{
    fputs("</svg>\n", out);
}

void svg_rect(FILE *out, struct svg_box box, const char *style)
{
    fprintf(out, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' %s/>\n", box.x, box.y, box.width,
            box.height, style);
}

void svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *style)
{
    fprintf(out, "<path d='M%.1f %.1fL%.1f %.1f' %s/>\n", x1, y1, x2, y2, style);
}

void svg_text(FILE *out, double x, double y, const char *style, const char *anchor, const char *text)
{
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>", x, y, anchor, style);
    json_t *clean = json_text_lossy(text);
    for (const char *p = json_string_value(clean); *p; p++) {
        if (*p == '<' || *p == '>' || *p == '&') {
            fprintf(out, "&#%d;", *p);
        } else {
            /* XML 1.0 knows no other control characters */
            fputc((unsigned char)*p < ' ' ? ' ' : *p, out);
        }
    }
    json_decref(clean);
    fputs("</text>\n", out);
}

void svg_curve(FILE *out, const double *x, const double *y, size_t count, double base, const char *style)
{
    fputs("<path d='", out);
    for (size_t i = 0; i < count;) {
        size_t from = i;
        /* relative to the point before, in tenths: half the bytes */
        long at_x = 0, at_y = 0;
        for (; i < count && isfinite(y[i]); i++) {
            long to_x = lround(10 * x[i]), to_y = lround(10 * y[i]);
            if (i == from) {
                fprintf(out, "M%.1f %.1fl", (double)to_x / 10, (double)to_y / 10);
            } else {
                fprintf(out, " %g %g", (double)(to_x - at_x) / 10, (double)(to_y - at_y) / 10);
            }
            at_x = to_x;
            at_y = to_y;
        }
        if (i > from && i - from < 2) fputs(" 0 0", out);
        if (i > from && isfinite(base)) fprintf(out, "V%.1fH%.1fZ", base, x[from]);
        while (i < count && !isfinite(y[i]))
            i++;
    }
    fprintf(out, "' %s/>\n", style);
}
