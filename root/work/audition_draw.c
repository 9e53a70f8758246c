#include "root/work/audition_draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/mix/recipe.h"

#define WIDTH     1200
#define LEFT      54
#define PLOT      (WIDTH - LEFT - 16)
#define TOP       112
#define PANEL     150
#define GAP       10
#define AXIS      34
#define CLOSE     150  /* height of the close view's panels, both */
#define CLOSE_S   1.25 /* on each side of the switch */
#define FADE_STEP 6    /* pixels */
#define BEATS_MAX 400  /* drawn of each track: what a minute and a half has */
#define TEXT_MAX  70   /* characters of a title */

static const char *const colours[AUDITION_TRACKS] = {"#1f5fbf", "#c2500a"};
static const char *const darker[AUDITION_TRACKS] = {"#0c2f66", "#6b2a02"}; /* for lines over it */
static const char *const names[AUDITION_TRACKS] = {"A", "B"};

struct view {
    const struct audition *audition;
    double from, to; /* samples of the programme */
};

static double x_of(const struct view *view, double sample)
{
    return LEFT + PLOT * (sample - view->from) / (view->to - view->from);
}

/* Text of XML from any bytes, cut to TEXT_MAX characters. */
static void put_text(FILE *out, const char *text)
{
    json_t *clean = json_text_lossy(text);
    const unsigned char *c = (const unsigned char *)json_string_value(clean);
    for (int count = 0; *c && count < TEXT_MAX; count++) {
        size_t n = utf8_len(c);
        if (*c == '&' || *c == '<' || *c == '>')
            fprintf(out, "&#%d;", *c);
        else if (*c >= ' ')
            fwrite(c, 1, n, out);
        c += n ? n : 1;
    }
    if (*c) fputs("…", out);
    json_decref(clean);
}

/* Peaks of a stem, mirrored about the panel's middle. pcm begins at sample `origin` of the programme. */
static void draw_wave(FILE *out, const struct view *view, const float *pcm, double origin, size_t samples,
                      const char *colour, double middle, double height, int step)
{
    int columns = PLOT / step;
    double *peak = xcalloc((size_t)columns, sizeof *peak), per = (view->to - view->from) / columns;
    for (int c = 0; c < columns; c++) {
        double begin = view->from - origin + c * per;
        for (double at = fmax(0, begin); at < begin + per && at < (double)samples; at++) {
            const float *both = pcm + (size_t)at * PCM_CHANNELS;
            peak[c] = fmax(peak[c], fmax(fabs((double)both[0]), fabs((double)both[1])));
        }
    }
    fprintf(out, "<path fill=\"%s\" fill-opacity=\".75\" d=\"M%d %.1f", colour, LEFT, middle);
    for (int c = 0; c < columns; c++)
        fprintf(out, "L%d %.1f", LEFT + c * step, middle - fmin(1, peak[c]) * height / 2);
    for (int c = columns; c-- > 0;)
        fprintf(out, "L%d %.1f", LEFT + c * step, middle + fmin(1, peak[c]) * height / 2);
    fputs("z\"/>\n", out);
    free(peak);
}

static int is_downbeat(const struct features *f, double at_s)
{
    for (size_t i = 0; i < f->downbeat_count; i++) {
        if (fabs(f->downbeats_s[i] - at_s) < 1e-4) return 1;
    }
    return 0;
}

/* Lines at the beats, from y to y + height; downbeats longer and darker. */
static void draw_beats(FILE *out, const struct view *view, int which, double y, double height)
{
    const struct features *f = &view->audition->tracks[which]->features;
    int drawn = 0;
    for (int down = 0; down < 2; down++) {
        fprintf(out, "<path stroke=\"%s\" stroke-opacity=\"%s\" stroke-width=\"%s\" d=\"", darker[which],
                down ? ".9" : ".5", down ? "1.2" : ".7");
        for (size_t i = 0; i < f->beat_count && drawn < BEATS_MAX; i++) {
            double at;
            if (is_downbeat(f, f->beats_s[i]) != down) continue;
            if (!audition_place(view->audition, which, f->beats_s[i], &at)) continue;
            if (at < view->from || at >= view->to) continue;
            fprintf(out, "M%.1f %.0fv%.0f", x_of(view, at), down ? y : y + height / 4,
                    down ? height : height / 2);
            drawn++;
        }
        fputs("\"/>\n", out);
    }
}

/* A curve of a voice, 1 at the panel's top, over the transition. */
static void draw_fades(FILE *out, const struct view *view, const struct fades *fades, const char *colour,
                       const char *dashes, double y, double height)
{
    double start = (double)view->audition->start, end = (double)view->audition->end;
    if (fades->count == 0) return;
    fprintf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" stroke-dasharray=\"%s\" d=\"",
            colour, dashes);
    double from = x_of(view, start), to = x_of(view, end);
    for (double x = from; x < to + FADE_STEP; x += FADE_STEP) {
        double share = to > from ? fmin(1, (x - from) / (to - from)) : 1;
        double gain = fades_gain(fades, (int64_t)(share * (end - start)));
        fprintf(out, "%c%.1f %.1f", x == from ? 'M' : 'L', fmin(x, to), y + height * (1 - gain));
    }
    fputs("\"/>\n", out);
}

/* Where the second takes over: the bass' handover; else where the first has gone, a fade's middle. */
static double switch_of(const struct audition *a, const struct recipe *recipe)
{
    double start = (double)a->start, end = (double)a->end;
    const char *technique = json_str_or(a->transition, "technique", "fade", NULL);
    for (size_t i = 0; i < recipe->voice_count; i++) {
        const struct voice *voice = &recipe->voices[i];
        if (voice->bass.count) return start + (double)voice->bass.items[0].to;
    }
    for (size_t i = 0; i < recipe->voice_count && strcmp(technique, "fade"); i++) {
        const struct voice *voice = &recipe->voices[i];
        if (voice->track == AUDITION_A + 1 && voice->level.count)
            return start + (double)voice->level.items[voice->level.count - 1].to;
    }
    return (start + end) / 2;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void put_number(FILE *out, const char *name, double value, const char *unit)
{
    if (isfinite(value)) fprintf(out, " · %s %.1f %s", name, value, unit);
}

static void draw_head(FILE *out, const struct audition *a, int height)
{
    const json_t *t = a->transition, *c = json_object_get(t, "certificate");
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "font-family=\"system-ui,sans-serif\" font-size=\"13\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, height, WIDTH, height);
    for (int i = 0; i < AUDITION_TRACKS; i++) {
        const struct track *track = a->tracks[i];
        fprintf(out, "<text x=\"%d\" y=\"%d\" fill=\"%s\"><tspan font-weight=\"bold\">%s</tspan> ", LEFT,
                24 + 20 * i, colours[i], names[i]);
        if (track->tags.artist) put_text(out, track->tags.artist);
        if (track->tags.artist) fputs(" – ", out);
        put_text(out, track->tags.title ? track->tags.title : "?");
        if (isfinite(track->features.tempo_bpm)) fprintf(out, " · %.2f BPM", track->features.tempo_bpm);
        if (track->features.key >= 0) fprintf(out, " · %s", key_camelot(track->features.key));
        fputs("</text>\n", out);
    }
    fprintf(out, "<text x=\"%d\" y=\"68\" fill=\"#222\"><tspan font-weight=\"bold\">%s</tspan>", LEFT,
            json_str_or(t, "technique", "?", NULL));
    if (json_object_get(t, "bars")) {
        int bars = (int)json_int_or(t, "bars", 0, 0, 1000, NULL);
        fprintf(out, " · %d bar%s", bars, bars == 1 ? "" : "s");
    }
    put_number(out, "tempo", number(t, "tempo_change_pct"), "%");
    const json_t *beats = json_object_get(c, "beat_error_ms");
    put_number(out, "beats", number(beats, "median"), "ms");
    put_number(out, "p95", number(beats, "p95"), "ms");
    put_number(out, "step", number(c, "loudness_step_lu"), "LU");
    put_number(out, "hole", number(c, "hole_lu"), "LU");
    put_number(out, "bump", number(c, "bump_lu"), "LU");
    fprintf(out, " · %s</text>\n",
            json_is_true(json_object_get(c, "passed")) ? "certificate passed" : "certificate failed");
    fprintf(
        out,
        "<text x=\"%d\" y=\"92\" fill=\"#666\" font-size=\"12\">peaks of the stems as they are mixed; long "
        "lines: downbeats; solid curve: level, dashed: bass, dotted: treble; green: the switch</text>\n",
        LEFT);
}

static void draw_axis(FILE *out, const struct view *view, double zero, double y, double step_s)
{
    double first = ceil((view->from - zero) / PCM_RATE / step_s) * step_s;
    fputs("<g fill=\"#555\" font-size=\"12\" text-anchor=\"middle\" stroke=\"none\">\n", out);
    for (double s = first; zero + s * PCM_RATE <= view->to; s += step_s) {
        double x = x_of(view, zero + s * PCM_RATE);
        fprintf(out, "<path stroke=\"#999\" d=\"M%.1f %.0fv5\"/><text x=\"%.1f\" y=\"%.0f\">%.4g s</text>\n",
                x, y, x, y + 19, fabs(s) < 1e-9 ? 0 : s);
    }
    fputs("</g>\n", out);
}

static void draw_mark(FILE *out, const struct view *view, double sample, double y, double height,
                      const char *style)
{
    if (sample < view->from || sample > view->to) return;
    fprintf(out, "<path %s d=\"M%.1f %.0fv%.0f\"/>\n", style, x_of(view, sample), y, height);
}

/* Both panels of a view, one above the other; the whole one has the curves of the fades. */
static void draw_panels(FILE *out, const struct view *view, const float *const stems[AUDITION_TRACKS],
                        size_t samples, const struct recipe *recipe, double y, double height, int whole)
{
    double origin = (double)view->audition->first * MP3_FRAME_SAMPLES;
    double loudest = 0.05;
    for (int i = 0; i < AUDITION_TRACKS; i++) {
        for (size_t k = 0; k < samples * PCM_CHANNELS; k += 16)
            loudest = fmax(loudest, fabs((double)stems[i][k]));
    }
    for (int i = 0; i < AUDITION_TRACKS; i++) {
        double top = y + i * (height + GAP);
        fprintf(out, "<rect x=\"%d\" y=\"%.0f\" width=\"%d\" height=\"%.0f\" fill=\"#f4f5f7\"/>\n", LEFT, top,
                PLOT, height);
        fprintf(out, "<text x=\"%d\" y=\"%.0f\" fill=\"%s\" font-weight=\"bold\">%s</text>\n", LEFT - 24,
                top + height / 2 + 5, colours[i], names[i]);
        draw_wave(out, view, stems[i], origin, samples, colours[i], top + height / 2,
                  height * 0.9 / fmin(1, loudest), whole ? 1 : 2);
        draw_beats(out, view, i, top, height);
        for (size_t v = 0; whole && v < recipe->voice_count; v++) {
            const struct voice *voice = &recipe->voices[v];
            if (voice->track != i + 1) continue;
            draw_fades(out, view, &voice->level, "#222", "none", top, height);
            draw_fades(out, view, &voice->bass, "#222", "7 4", top, height);
            draw_fades(out, view, &voice->treble, "#777", "2 3", top, height);
        }
    }
}

char *audition_draw(const struct audition *a, const float *const stems[AUDITION_TRACKS], size_t samples)
{
    char *text = NULL, *cause = NULL;
    size_t len = 0;
    struct recipe recipe;
    FILE *out = open_memstream(&text, &len);
    if (!out) abort();
    int64_t length = (int64_t)(a->end - a->start);
    if (recipe_parse(&recipe, json_object_get(a->transition, "plan"), length, &cause))
        recipe = (struct recipe){0}; /* can't be: it was rendered */
    free(cause);
    double origin = (double)a->first * MP3_FRAME_SAMPLES, middle = switch_of(a, &recipe);
    struct view whole = {a, origin, origin + (double)samples};
    struct view near = {a, middle - CLOSE_S * PCM_RATE, middle + CLOSE_S * PCM_RATE};
    double both = 2 * PANEL + GAP, close_y = TOP + both + AXIS + 26, close_both = CLOSE + GAP;
    const char *green = "stroke=\"#0a8a3a\" stroke-width=\"2\"",
               *grey = "stroke=\"#888\" stroke-dasharray=\"3 3\"";
    draw_head(out, a, (int)(close_y + close_both + AXIS));
    draw_panels(out, &whole, stems, samples, &recipe, TOP, PANEL, 1);
    draw_mark(out, &whole, (double)a->start, TOP, both, grey);
    draw_mark(out, &whole, (double)a->end, TOP, both, grey);
    draw_mark(out, &whole, middle, TOP, both, green);
    draw_axis(out, &whole, (double)a->start, TOP + both, samples > 40 * (size_t)PCM_RATE ? 5 : 2);
    fprintf(out, "<text x=\"%d\" y=\"%.0f\" fill=\"#666\" font-size=\"12\">around the switch</text>\n", LEFT,
            close_y - 8);
    draw_panels(out, &near, stems, samples, &recipe, close_y, CLOSE / 2.0, 0);
    draw_mark(out, &near, middle, close_y, close_both, green);
    draw_axis(out, &near, middle, close_y + close_both, 0.25);
    fputs("</svg>\n", out);
    fclose(out);
    recipe_free(&recipe);
    return text;
}
