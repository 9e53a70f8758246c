/* draw: panels below each other over one axis of time, then four bars from near by, then the keys.
 *
 * Everything drawn is what the library keeps of a track (features and waveform), but for the novelty, which
 * is computed from the bars again, without the timbre that the analysis had as well. Rows of bars are drawn
 * as one path for each of a few shades, so that a track of some hundred bars stays below 150 KB. */
#include "root/work/draw.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/bars.h"
#include "root/analysis/barrows.h"
#include "root/analysis/structure.h"
#include "root/analysis/wave.h"
#include "root/work/svg.h"

#define PAGE_WIDTH  1200.0
#define HEIGHT      1045.0 /* of a page, and without what is told by bars */
#define HEIGHT_BARE 480.0
#define LEFT        92.0
#define RIGHT       1180.0
#define COLUMNS     1088 /* of a waveform, one a pixel */
#define CLOSE_BARS  4    /* of the second waveform */
#define SHADES      8
#define LEAST_PX    4.0  /* between two beats that are drawn */
#define ROOM_PX     30.0 /* and of those that are drawn through the waveform */
#define NUMBER_PX   26.0 /* between two numbers of bars */
#define FLOOR_LU    (-40.0)
#define TITLE       "font-size='20' font-weight='bold' fill='#1a202c'"
#define NAME        "font-size='12' font-weight='bold' fill='#2d3748'"
#define SMALL       "font-size='10' fill='#718096'"
#define FRAME       "fill='#f7fafc' stroke='#cbd5e0' stroke-width='.5'"

static const char *const notes[12] = {"C", "C\xe2\x99\xaf", "D", "E\xe2\x99\xad", "E", "F", "F\xe2\x99\xaf",
                                      "G", "A\xe2\x99\xad", "A", "B\xe2\x99\xad", "B"};
static const char *const band_style[WAVE_BANDS] = {"fill='#2b6cb0'", "fill='#ed8936'", "fill='#fefcbf'"};

struct page {
    FILE *out;
    const struct features *f;
    const struct examine_pictures *pictures;
    double from_s, to_s; /* what the panels span */
};

static double at(const struct page *p, double t)
{
    return LEFT + (RIGHT - LEFT) * (t - p->from_s) / (p->to_s - p->from_s);
}

static struct svg_box panel(const struct page *p, double y, double height, const char *name)
{
    struct svg_box box = {LEFT, y, RIGHT - LEFT, height};
    svg_rect(p->out, box, FRAME);
    svg_text(p->out, LEFT - 8, y + height / 2 + 4, NAME, "end", name);
    return box;
}

/* --- waveform ----------------------------------------------------------------------------------------------
 */

static uint32_t little(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* One band's peaks over the panel, above and below the middle. */
static void draw_band(const struct page *p, struct svg_box box, int band)
{
    const uint8_t *wave = p->pictures->wave;
    double column_s = little(wave + 8) / 44100.0, x[2 * COLUMNS], y[2 * COLUMNS];
    long columns = (long)little(wave + 12), last = -1;
    size_t count = 0;
    for (int i = 0; i < COLUMNS; i++) {
        double t = p->from_s + (p->to_s - p->from_s) * i / COLUMNS;
        double next = p->from_s + (p->to_s - p->from_s) * (i + 1) / COLUMNS;
        long from = (long)(t / column_s), to = (long)ceil(next / column_s), most = 0;
        if (from < 0 || (from == last && to == from + 1)) continue; /* several pixels of one column */
        for (long c = from; c < to && c < columns; c++) {
            long value = wave[WAVE_HEAD + c * WAVE_BANDS + band];
            if (value > most) most = value;
        }
        last = from;
        x[count] = box.x + box.width * i / COLUMNS;
        y[count++] = fmin(1, (double)most * (double)most / (255.0 * 255.0)) * box.height / 2;
    }
    size_t half = count;
    for (size_t i = 0; i < half; i++) {
        x[count] = x[half - 1 - i];
        y[count++] = box.y + box.height / 2 + y[half - 1 - i];
    }
    for (size_t i = 0; i < half; i++)
        y[i] = box.y + box.height / 2 - y[i];
    svg_curve(p->out, x, y, count, NAN, band_style[band]);
}

/* Ticks below the panel, or lines through it where there is room. */
static void draw_beats(const struct page *p, struct svg_box box)
{
    const struct features *f = p->f;
    if (f->beat_count < 2 || isnan(f->tempo_bpm)) return;
    double apart = at(p, p->from_s + 60 / f->tempo_bpm) - LEFT, end = box.y + box.height;
    int through = apart >= ROOM_PX;
    if (apart < LEAST_PX) return;
    fputs("<path d='", p->out);
    for (size_t i = 0; i < f->beat_count; i++) {
        double t = f->beats_s[i];
        if (t < p->from_s || t > p->to_s) continue;
        fprintf(p->out, "M%.1f %.1fV%.1f", at(p, t), through ? box.y : end, end + (through ? 0 : 5));
    }
    fputs(through ? "' stroke='#1a202c' stroke-width='1' stroke-dasharray='3 3'/>\n"
                  : "' stroke='#1a202c'/>\n",
          p->out);
}

static int begins_phrase(const struct features *f, size_t bar)
{
    return f->phrase_bar >= 0 && (long)bar >= f->phrase_bar && (bar - (size_t)f->phrase_bar) % 8 == 0;
}

/* Whether bars that are `bars` apart can be told apart on the page. */
static int room_for(const struct page *p, double bars)
{
    const struct features *f = p->f;
    if (f->downbeat_count < 2) return 0;
    double whole_s = f->downbeats_s[f->downbeat_count - 1] - f->downbeats_s[0];
    double apart_s = whole_s / (double)(f->downbeat_count - 1);
    return bars * apart_s * (RIGHT - LEFT) / (p->to_s - p->from_s) >= LEAST_PX;
}

static void draw_bar_numbers(const struct page *p, struct svg_box box, int all)
{
    const struct features *f = p->f;
    double last = -NUMBER_PX;
    for (size_t i = 0; i < f->downbeat_count; i++) {
        double x = at(p, f->downbeats_s[i]);
        char text[24];
        if (f->downbeats_s[i] < p->from_s || f->downbeats_s[i] > p->to_s - 1e-6) continue;
        if ((!all && !begins_phrase(f, i)) || x - last < NUMBER_PX) continue;
        snprintf(text, sizeof text, "%zu", i + 1);
        svg_text(p->out, x + 2, box.y - 3, "font-size='10' fill='#c53030'", "start", text);
        last = x;
    }
}

/* Lines at the bars, thicker ones where phrases begin; where they would be too close, none. */
static void draw_bar_lines(const struct page *p, struct svg_box box)
{
    const struct features *f = p->f;
    for (int phrase = 0; phrase < 2; phrase++) {
        if (!room_for(p, phrase ? 8 : 1)) continue;
        fputs("<path d='", p->out);
        for (size_t i = 0; i < f->downbeat_count; i++) {
            if (f->downbeats_s[i] < p->from_s || f->downbeats_s[i] > p->to_s - 1e-6) continue;
            if (begins_phrase(f, i) == phrase)
                fprintf(p->out, "M%.1f %.1fv%.1f", at(p, f->downbeats_s[i]), box.y, box.height);
        }
        fputs(phrase ? "' stroke='#c53030' stroke-width='1.6'/>\n"
                     : "' stroke='#1a202c' stroke-width='.6' stroke-opacity='.6'/>\n",
              p->out);
    }
}

static void draw_wave(const struct page *p, struct svg_box box, int all_numbers)
{
    for (int band = 0; band < WAVE_BANDS && p->pictures->wave_len >= WAVE_HEAD; band++)
        draw_band(p, box, band);
    draw_beats(p, box);
    draw_bar_lines(p, box);
    draw_bar_numbers(p, box, all_numbers);
}

static void draw_axis(const struct page *p, double y)
{
    static const double steps[] = {1, 5, 10, 30, 60, 300, 600, 1800};
    double step = steps[0];
    for (size_t i = 0; i < sizeof steps / sizeof *steps && (p->to_s - p->from_s) / step > 14; i++)
        step = steps[i];
    for (double t = ceil(p->from_s / step) * step; t <= p->to_s; t += step) {
        char text[32];
        snprintf(text, sizeof text, "%d:%02d", (int)t / 60, (int)t % 60);
        svg_line(p->out, at(p, t), y, at(p, t), y + 4, "stroke='#718096'");
        svg_text(p->out, at(p, t), y + 14, SMALL, "middle", text);
    }
}

static const char *section_style(const char *label)
{
    static const char *const styles[][2] = {{"intro", "fill='#bee3f8'"},
                                            {"main", "fill='#c6f6d5'"},
                                            {"breakdown", "fill='#e9d8fd'"},
                                            {"drop", "fill='#fed7d7'"}};
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++) {
        if (!strcmp(label, styles[i][0])) return styles[i][1];
    }
    return "fill='#e2e8f0'";
}

static void draw_sections(const struct page *p, double y)
{
    svg_text(p->out, LEFT - 8, y + 15, NAME, "end", "sections");
    for (size_t i = 0; i < p->f->section_count; i++) {
        const struct section *s = &p->f->sections[i];
        struct svg_box box = {at(p, s->start_s), y, at(p, s->end_s) - at(p, s->start_s), 22};
        svg_rect(p->out, box, section_style(s->label));
        if (box.width > 6.5 * (double)strlen(s->label))
            svg_text(p->out, box.x + box.width / 2, y + 15, "fill='#2d3748'", "middle", s->label);
    }
}

/* --- by bar ------------------------------------------------------------------------------------------------
 */

static double bar_end_s(const struct features *f, size_t bar)
{
    return bars_end_s(f->downbeats_s, f->downbeat_count, bar, f->music_end_s);
}

/* Of a pitch class in a bar: 0 (nothing) to SHADES - 1; what is weak is drawn weaker. */
static int shade_of(const struct features *f, size_t bar, int c, int bass)
{
    uint8_t value = bass ? f->bars[bar].bass_chroma[c] : f->bars[bar].chroma[c];
    return (int)lround((SHADES - 1) * pow(value / 255.0, 1.4));
}

/* Rows of twelve pitch classes, C at the bottom; shade by shade. */
static void draw_chroma(const struct page *p, struct svg_box box, int bass)
{
    const struct features *f = p->f;
    double row = box.height / 12;
    for (int shade = 1; shade < SHADES; shade++) {
        fputs("<path d='", p->out);
        for (int c = 0; c < 12; c++) {
            for (size_t b = 0; b < f->bar_count; b++) {
                size_t first = b;
                if (shade_of(f, b, c, bass) != shade) continue;
                while (b + 1 < f->bar_count && shade_of(f, b + 1, c, bass) == shade)
                    b++;
                double x = at(p, f->downbeats_s[first]), width = at(p, bar_end_s(f, b)) - x;
                fprintf(p->out, "M%.1f %.1fh%.1fv%.1fh%.1fz", x, box.y + (11 - c) * row, width, row, -width);
            }
        }
        fprintf(p->out, "' fill='%s' fill-opacity='%.2f'/>\n", bass ? "#276749" : "#553c9a",
                (double)shade / (SHADES - 1));
    }
    for (int c = 0; c < 12; c++) {
        if (!bass || c % 2 == 0)
            svg_text(p->out, RIGHT + 3, box.y + (11.5 - c) * row + 3.5, "font-size='9' fill='#718096'",
                     "start", notes[c]);
    }
}

static double loudness_y(struct svg_box box, double lufs)
{
    return box.y + box.height * fmin(1, fmax(0, lufs / FLOOR_LU));
}

/* The short-term loudness, the level of each band by bar, the whole's loudness. */
static void draw_loudness(const struct page *p, struct svg_box box)
{
    static const char *const band[3] = {"fill='none' stroke='#2b6cb0'", "fill='none' stroke='#ed8936'",
                                        "fill='none' stroke='#d69e2e'"};
    const struct features *f = p->f;
    double *x = xcalloc(f->loudness_count + 2 * f->bar_count + 1, sizeof *x),
           *y = xcalloc(f->loudness_count + 2 * f->bar_count + 1, sizeof *y);
    for (size_t i = 0; i < f->loudness_count; i++) {
        x[i] = at(p, fmin((double)i * LOUDNESS_STEP_S, p->to_s));
        y[i] = f->loudness_curve[i] == 255 ? NAN : loudness_y(box, -BAR_LU * f->loudness_curve[i]);
    }
    svg_curve(p->out, x, y, f->loudness_count, box.y + box.height, "fill='#cbd5e0' stroke='#4a5568'");
    for (int i = 0; i < 3; i++) {
        for (size_t b = 0; b < f->bar_count; b++) {
            const uint8_t level[3] = {f->bars[b].low, f->bars[b].mid, f->bars[b].high};
            x[2 * b] = at(p, f->downbeats_s[b]);
            x[2 * b + 1] = at(p, bar_end_s(f, b));
            y[2 * b] = y[2 * b + 1] = loudness_y(box, -BAR_LU * level[i]);
        }
        svg_curve(p->out, x, y, 2 * f->bar_count, NAN, band[i]);
    }
    for (int lufs = -10; lufs > FLOOR_LU; lufs -= 10) {
        char text[16];
        snprintf(text, sizeof text, "%d", lufs);
        svg_text(p->out, RIGHT + 3, loudness_y(box, lufs) + 3, "font-size='9' fill='#718096'", "start", text);
    }
    if (!isnan(f->loudness_lufs)) {
        double line = loudness_y(box, f->loudness_lufs);
        svg_line(p->out, LEFT, line, RIGHT, line, "stroke='#1a202c' stroke-dasharray='5 4'");
    }
    free(x);
    free(y);
}

static void draw_novelty(const struct page *p, struct svg_box box)
{
    const struct features *f = p->f;
    struct series none = {0};
    struct barrows rows = barrows_make(f->bars, f->bar_count, &none, f->downbeats_s, f->music_end_s);
    double *novelty = structure_novelty(&rows), most = 1e-9, *x = xcalloc(f->bar_count, sizeof *x);
    for (size_t b = 0; b < f->bar_count; b++)
        most = fmax(most, novelty[b]);
    for (size_t b = 0; b < f->bar_count; b++) {
        x[b] = at(p, f->downbeats_s[b]);
        novelty[b] = box.y + box.height * (1 - 0.92 * novelty[b] / most);
    }
    svg_curve(p->out, x, novelty, f->bar_count, box.y + box.height, "fill='#fbd5c0' stroke='#c05621'");
    for (size_t i = 1; i < f->section_count; i++) {
        double at_x = at(p, f->sections[i].start_s);
        svg_line(p->out, at_x, box.y, at_x, box.y + box.height, "stroke='#1a202c' stroke-dasharray='3 3'");
    }
    free(x);
    free(novelty);
    barrows_free(&rows);
}

static void draw_vocal(const struct page *p, struct svg_box box)
{
    const struct features *f = p->f;
    for (size_t b = 0; b < f->bar_count; b++) {
        double x = at(p, f->downbeats_s[b]), height = box.height * f->bars[b].vocal / 255.0;
        if (height < 0.5) continue;
        svg_rect(p->out, (struct svg_box){x, box.y + box.height - height, at(p, bar_end_s(f, b)) - x, height},
                 f->bars[b].vocal > 127 ? "fill='#b83280'" : "fill='#fbb6ce'");
    }
    svg_line(p->out, LEFT, box.y + box.height / 2, RIGHT, box.y + box.height / 2,
             "stroke='#718096' stroke-dasharray='2 3'");
}

/* --- key ---------------------------------------------------------------------------------------------------
 */

/* Correlations by fifths, major above its relative minor, as on the Camelot wheel. */
static void draw_keys(const struct page *p, double y, double height)
{
    const struct features *f = p->f;
    double width = (RIGHT - LEFT) / 12;
    svg_text(p->out, LEFT - 8, y + height / 2 + 4, NAME, "end", "key");
    for (int place = 0; place < 12; place++) {
        for (int minor = 0; minor < 2; minor++) {
            /* 1B is B major, 1A G sharp minor; a step is a fifth up */
            int key = (11 + 7 * place + (minor ? 9 : 0)) % 12 + 12 * minor;
            double value = fmax(0, (double)f->key_scores[key]), x = LEFT + place * width + minor * width / 2;
            char text[48];
            struct svg_box bar = {x + 4, y + height * (1 - value), width / 2 - 8, height * value};
            svg_rect(p->out, bar,
                     key == f->key ? "fill='#c53030'"
                     : minor       ? "fill='#90cdf4'"
                                   : "fill='#f6ad55'");
            svg_text(p->out, x + width / 4, y + height + 13, SMALL, "middle", key_camelot(key));
            snprintf(text, sizeof text, "%s%s", notes[key % 12], minor ? "m" : "");
            svg_text(p->out, x + width / 4, y + height + 26, "font-size='11'", "middle", text);
        }
    }
    svg_line(p->out, LEFT, y + height, RIGHT, y + height, "stroke='#718096'");
}

/* --- the page ----------------------------------------------------------------------------------------------
 */

/* " | NAME VALUE UNIT" for what is known. */
static void append(char *text, size_t size, const char *name, double value, int digits, const char *unit)
{
    size_t len = strlen(text);
    if (!isnan(value))
        snprintf(text + len, size - len, "%s%s%.*f%s", len ? " \xc2\xb7 " : "", name, digits, value, unit);
}

static void draw_title(const struct page *p, const char *name, const struct tags *tags)
{
    const struct features *f = p->f;
    char line[400] = "";
    char *title = xasprintf("%s%s%s", tags->artist ? tags->artist : "", tags->artist ? " \xe2\x80\x93 " : "",
                            tags->title ? tags->title : name);
    svg_text(p->out, LEFT, 30, TITLE, "start", title);
    free(title);
    append(line, sizeof line, "", f->tempo_bpm, 2, " BPM");
    append(line, sizeof line, "confidence ", f->tempo_confidence, 2, "");
    append(line, sizeof line, "", f->metre ? f->metre : NAN, 0, " beats to a bar");
    if (f->key >= 0) {
        size_t len = strlen(line);
        snprintf(line + len, sizeof line - len, "%s%s (%s)", len ? " \xc2\xb7 " : "", key_name(f->key),
                 key_camelot(f->key));
    }
    append(line, sizeof line, "", f->loudness_lufs, 1, " LUFS");
    append(line, sizeof line, "", f->true_peak_dbtp, 1, " dBTP");
    append(line, sizeof line, "energy ", f->energy, 2, "");
    append(line, sizeof line, "danceability ", f->danceability, 2, "");
    append(line, sizeof line, "vocal ", f->vocal, 2, "");
    svg_text(p->out, LEFT, 50, "font-size='13'", "start", line);
}

/* Four bars from the first drop on, or from the middle. */
static void draw_close(const struct page *whole, double y, double height)
{
    const struct features *f = whole->f;
    double want = (f->music_start_s + f->music_end_s) / 2;
    size_t bar = 0;
    for (size_t i = f->section_count; i-- > 0;) {
        if (!strcmp(f->sections[i].label, "drop")) want = f->sections[i].start_s - 0.05;
    }
    while (bar + 1 + CLOSE_BARS < f->downbeat_count && f->downbeats_s[bar] < want)
        bar++;
    if (bar + CLOSE_BARS >= f->downbeat_count) return;
    struct page close = *whole;
    close.from_s = f->downbeats_s[bar];
    close.to_s = f->downbeats_s[bar + CLOSE_BARS];
    draw_wave(&close, panel(&close, y, height, "four bars"), 1);
    draw_axis(&close, y + height);
}

static void draw_page(const struct page *p)
{
    const struct features *f = p->f;
    double y = 66;
    draw_sections(p, y);
    draw_wave(p, panel(p, y += 38, 130, "waveform"), 0);
    draw_axis(p, y += 135);
    if (f->bar_count) {
        draw_close(p, y += 38, 130);
        draw_chroma(p, panel(p, y += 162, 144, "chroma"), 0);
        draw_chroma(p, panel(p, y += 152, 84, "bass"), 1);
        draw_novelty(p, panel(p, y += 92, 60, "novelty"));
        y += 68;
    } else {
        y += 30;
    }
    draw_loudness(p, panel(p, y, 96, "loudness"));
    y += 104;
    if (f->bar_count) {
        draw_vocal(p, panel(p, y, 40, "voice"));
        y += 48;
    }
    draw_axis(p, y - 8);
    if (!isnan(f->key_scores[0])) draw_keys(p, y + 24, 80);
}

int draw_track(const char *path, const char *name, const struct track *track,
               const struct examine_pictures *pictures, char **cause)
{
    FILE *out = fopen(path, "we");
    if (!out) return cause_set(cause, "%s can't be written: %s", path, strerror(errno));
    struct page page = {out, &track->features, pictures, 0, fmax(1, track->features.duration_s)};
    svg_begin(out, PAGE_WIDTH, track->features.bar_count ? HEIGHT : HEIGHT_BARE);
    draw_title(&page, name, &track->tags);
    draw_page(&page);
    svg_end(out);
    int bad = ferror(out);
    if (fclose(out) || bad) return cause_set(cause, "%s can't be written: %s", path, strerror(errno));
    return 0;
}
