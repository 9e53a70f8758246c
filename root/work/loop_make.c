#include "root/work/loop_make.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/proc.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "root/audio/wrap.h"
#include "root/mix/grid.h"
#include "root/mix/plan.h"
#include "root/work/press.h"

#define PERIOD       ((double)MP3_PERIOD_FRAMES * MP3_FRAME_SAMPLES)
#define LEAST_S      24.0
#define MOST_S       48.0
#define SHORT_S      8.0   /* of a track that has no more */
#define STRETCH_MOST 0.015 /* nobody hears the loop beside its track */
#define NEAR_S       0.02  /* of the beat that bounds where the grid holds */
#define UNEVEN_MOST  0.02  /* of a bar, that one may be longer than the others */
#define FADE_BARS    ((size_t)(0.02 * PCM_RATE))
#define FADE_FREE    ((size_t)(1.0 * PCM_RATE))
#define FADE_FILE    ((size_t)(0.1 * PCM_RATE)) /* at least */
#define FILE_MIN_S   2.0
#define PEAK         0.84 /* -1.5 dB */
#define OLD_S        (7 * 86400)
#define PIECE        1024
#define PIECES       43 /* a second at a time */
#define SOURCE_BYTES 4352

enum stage { READ, WRAP, PRESS };

struct loop_make {
    struct work *work;
    enum stage stage;
    struct decoder *decoder;
    char *source; /* as it is kept beside the loops */
    int whole;    /* the operator's file: all of it */
    struct loop_cut cut;
    double gain;
    int16_t *pcm; /* pcm_short, from `lead` on as read; then going round */
    size_t lead, have, want;
    float level;     /* of pcm, where it goes round */
    uint64_t frames; /* of the loop */
    /* the mount under way */
    size_t mount;
    struct press *press;
    uint8_t *bytes;
    size_t len;
};

/* What a loop is made of */

static char *source_path(const struct work *work)
{
    return xasprintf("%s/loop.source", work->state);
}

/* The operator's file as it is now; NULL with *cause when it is not there. */
static char *file_source(const struct work *work, char **cause)
{
    struct stat st;
    if (stat(work->fallback, &st)) {
        cause_set(cause, "%s: %s", work->fallback, strerror(errno));
        return NULL;
    }
    return xasprintf("file %s %lld %lld\n", work->fallback, (long long)st.st_size,
                     (long long)st.st_mtim.tv_sec);
}

int loop_make_due(const struct work *work)
{
    char *path = source_path(work), *source = proc_read_file(path, SOURCE_BYTES, NULL, NULL);
    struct stat st;
    int due = !source;
    if (source && work->fallback) {
        char *now = file_source(work, NULL);
        due = now && strcmp(now, source);
        free(now);
    } else if (source) {
        due = strncmp(source, "track ", 6) || stat(path, &st) || time(NULL) - st.st_mtim.tv_sec > OLD_S;
    }
    for (size_t i = 0; i < work->mount_count && !due; i++) {
        struct loop *loop = loop_load(work->state, work->mounts[i].name, work->mounts[i].kbps, NULL);
        due = !loop;
        loop_free(loop);
    }
    free(source);
    free(path);
    return due;
}

/* Choosing */

static double median_bar(const struct grid *grid, size_t from, size_t to)
{
    return (double)(grid->beat[grid->bar[to]] - grid->beat[grid->bar[from]]) / (double)(to - from);
}

static int is_even(const struct grid *grid, size_t from, size_t to)
{
    double bar = median_bar(grid, from, to);
    for (size_t i = from; i < to; i++) {
        double off =
            (double)(grid->beat[grid->bar[i]] - grid->beat[grid->bar[from]]) - bar * (double)(i - from);
        if (fabs(off) > UNEVEN_MOST * bar) return 0;
    }
    return 1;
}

/* Bars from the track's middle on, in pairs: the number that needs the least stretching. */
static int choose_bars(const struct grid *grid, const struct features *f, struct loop_cut *out)
{
    double best = STRETCH_MOST;
    size_t first = grid->bar_count / 4;
    for (size_t from = first; from < grid->bar_count; from++) {
        int phrase = (int)(from % GRID_PHRASE_BARS) == grid->phrase;
        if (!phrase || (double)grid->beat[grid->bar[from]] < (f->steady_from_s - NEAR_S) * PCM_RATE) continue;
        for (size_t to = from + 2; to < grid->bar_count; to += 2) {
            double body = (double)(grid->beat[grid->bar[to]] - grid->beat[grid->bar[from]]);
            if (body > MOST_S * PCM_RATE ||
                (double)grid->beat[grid->bar[to]] > (f->steady_to_s + NEAR_S) * PCM_RATE)
                break;
            if (body < LEAST_S * PCM_RATE) continue;
            double periods = rint(body / PERIOD), off = fabs(body / (periods * PERIOD) - 1);
            if (off >= best || !is_even(grid, from, to)) continue;
            best = off;
            *out = (struct loop_cut){.start = grid->beat[grid->bar[from]],
                                     .body = body,
                                     .periods = (unsigned)periods,
                                     .on_bars = 1};
        }
    }
    return best < STRETCH_MOST ? 0 : -1;
}

int loop_make_choose(const struct track *track, struct loop_cut *out)
{
    struct grid grid;
    struct span span = span_of(track);
    grid_make(&grid, track);
    int rc =
        track->features.tempo_confidence >= TEMPO_TRUSTED ? choose_bars(&grid, &track->features, out) : -1;
    grid_free(&grid);
    if (rc == 0) return 0;
    double room = (double)(span.to - span.from) - (double)FADE_FREE - 2 * WRAP_TAPS;
    double periods = floor(fmin(room * 0.7, MOST_S * PCM_RATE) / PERIOD);
    if (periods * PERIOD < SHORT_S * PCM_RATE) return -1;
    *out = (struct loop_cut){.start = span.from + (int64_t)((room - periods * PERIOD) / 2),
                             .body = periods * PERIOD,
                             .periods = (unsigned)periods};
    return 0;
}

/* Beginning */

static int begin_track(struct loop_make *m, struct shelf *shelf, int64_t id, char **cause)
{
    struct track track;
    const struct plan_conf conf = {.target_lufs = m->work->target_lufs};
    track_init(&track);
    int rc = shelf_track(shelf, id, &track, cause) == SHELF_FINE ? 0 : -1;
    if (rc == 0 && loop_make_choose(&track, &m->cut))
        rc = cause_set(cause, "track %" PRId64 " is too short", id);
    if (rc == 0) {
        m->gain = pow(10, plan_gain_db(&track, &conf) / 20);
        m->source = xasprintf("track %" PRId64 "\n", id);
        size_t samples = (size_t)(m->cut.periods * PERIOD);
        m->want = wrap_needs(m->cut.body, samples, m->cut.on_bars ? FADE_BARS : FADE_FREE);
        m->lead = wrap_lead(m->cut.body, samples);
        int fd = shelf_open(shelf, id, track.hash, cause);
        rc = fd < 0 ? -1 : decode_open(&m->decoder, fd, cause);
    }
    if (rc == 0 && decode_seek(m->decoder, (uint64_t)m->cut.start, cause)) rc = -1;
    track_free(&track);
    return rc;
}

static int begin_file(struct loop_make *m, char **cause)
{
    m->whole = 1;
    m->gain = 1;
    m->want = (size_t)LOOP_SECONDS_MAX * PCM_RATE;
    m->lead = wrap_lead(0, 0); /* it will be as long as it is */
    m->source = file_source(m->work, cause);
    int fd = m->source ? open(m->work->fallback, O_RDONLY | O_CLOEXEC) : -1;
    if (m->source && fd < 0) cause_set(cause, "%s: %s", m->work->fallback, strerror(errno));
    return fd < 0 ? -1 : decode_open(&m->decoder, fd, cause);
}

struct loop_make *loop_make_new(struct work *work, struct shelf *shelf, int64_t track)
{
    struct loop_make *m = xcalloc(1, sizeof *m);
    char *cause = NULL;
    m->work = work;
    if (work->fallback ? begin_file(m, &cause) : begin_track(m, shelf, track, &cause)) {
        log_warn("studio", "no fallback loop: %s", cause ? cause : "nothing to make it of");
        free(cause);
        loop_make_free(m);
        return NULL;
    }
    m->pcm = xmalloc((m->lead + m->want) * PCM_CHANNELS * sizeof *m->pcm);
    return m;
}

void loop_make_free(struct loop_make *m)
{
    if (!m) return;
    if (m->decoder) decode_close(m->decoder);
    press_free(m->press);
    free(m->source);
    free(m->pcm);
    free(m->bytes);
    free(m);
}

/* Steps: 1 more of the same, 0 done, -1 with *cause */

static int step_read(struct loop_make *m, char **cause)
{
    float piece[PIECE * PCM_CHANNELS];
    int16_t *out = m->pcm + m->lead * PCM_CHANNELS;
    long n = 1;
    for (int i = 0; i < PIECES && n > 0 && m->have < m->want; i++) {
        size_t left = m->want - m->have;
        n = decode_read(m->decoder, piece, left < PIECE ? left : PIECE, cause);
        if (n < 0) return -1;
        for (size_t k = 0; k < (size_t)n * PCM_CHANNELS; k++)
            out[m->have * PCM_CHANNELS + k] = pcm_short(piece[k]);
        m->have += (size_t)n;
    }
    if (n > 0 && m->have < m->want) return 1;
    if (m->whole) {
        /* as many periods as fit; what is left over goes into the blend of the end with the beginning */
        if ((double)m->have < FILE_MIN_S * PCM_RATE)
            return cause_set(cause, "%s: shorter than %.0f s", m->work->fallback, FILE_MIN_S);
        size_t usable = m->have - FADE_FILE - WRAP_TAPS - 1;
        m->cut.periods = (unsigned)((double)usable / PERIOD);
        m->cut.body = m->cut.periods * PERIOD;
    } else if (m->have < m->want) {
        return cause_set(cause, "the track ended early");
    }
    return 0;
}

static void step_wrap(struct loop_make *m)
{
    size_t samples = (size_t)(m->cut.periods * PERIOD);
    size_t fade = m->whole ? m->have - samples - WRAP_TAPS - 1 : m->cut.on_bars ? FADE_BARS : FADE_FREE;
    if (fade >= samples) fade = samples - 1;
    wrap_make(m->pcm, m->cut.body, samples, fade, !m->cut.on_bars);
    m->frames = samples / MP3_FRAME_SAMPLES;
    float peak = 0;
    for (size_t i = 0; i < samples * PCM_CHANNELS; i++)
        peak = fmaxf(peak, fabsf((float)m->pcm[i] / PCM_SHORT));
    m->level = (peak * m->gain > PEAK ? (float)(PEAK / peak) : (float)m->gain) / PCM_SHORT;
}

static int mount_done(struct loop_make *m, char **cause)
{
    const struct mount_spec *mount = &m->work->mounts[m->mount];
    struct loop *loop = loop_new(mount->kbps, m->bytes, m->len, cause);
    int rc = loop ? loop_save(loop, m->work->state, mount->name, cause) : -1;
    loop_free(loop);
    press_free(m->press);
    m->press = NULL;
    free(m->bytes);
    m->bytes = NULL;
    if (rc) return -1;
    work_send(m->work, WIRE_LOOP, 0, json_pack("{s:i}", "mount", (int)m->mount), -1);
    return ++m->mount < m->work->mount_count;
}

static int step_press(struct loop_make *m, char **cause)
{
    const struct mount_spec *mount = &m->work->mounts[m->mount];
    uint64_t first = m->frames * ((PRESS_BEHIND + m->frames - 1) / m->frames), end = first + m->frames;
    if (!m->press) {
        m->press = press_new(mount->kbps, first, cause);
        if (!m->press) return -1;
        m->bytes = xmalloc((size_t)mp3_frame_offset(mount->kbps, m->frames));
        m->len = 0;
    }
    for (int i = 0; i < MP3_PERIOD_FRAMES; i++) {
        size_t len;
        while (press_next(m->press) < end && press_take(m->press, 1, m->bytes + m->len, &len))
            m->len += len;
        if (press_next(m->press) == end) return mount_done(m, cause);
        const int16_t *from = m->pcm + press_block(m->press) % m->frames * PRESS_BLOCK * PCM_CHANNELS;
        float block[PRESS_BLOCK * PCM_CHANNELS];
        for (size_t k = 0; k < PRESS_BLOCK * PCM_CHANNELS; k++)
            block[k] = m->level * (float)from[k];
        if (press_feed(m->press, block, cause)) return -1;
    }
    return 1;
}

static void remember(const struct loop_make *m)
{
    char *path = source_path(m->work), *cause = NULL;
    if (proc_write_file(path, m->source, strlen(m->source), 0600, &cause)) log_warn("studio", "%s", cause);
    free(cause);
    free(path);
    log_info("studio", "the fallback loop is made: %.1f s%s of %.*s",
             (double)m->frames * MP3_FRAME_SAMPLES / PCM_RATE, m->cut.on_bars ? " on bars" : "",
             (int)strcspn(m->source, "\n"), m->source);
}

int loop_make_step(struct loop_make *m)
{
    char *cause = NULL;
    int more = 0;
    if (m->stage == READ) {
        more = step_read(m, &cause);
        if (more == 0) m->stage = WRAP;
    } else if (m->stage == WRAP) {
        step_wrap(m);
        m->stage = PRESS;
    } else {
        more = step_press(m, &cause);
        if (more == 0) {
            remember(m);
            return 0;
        }
    }
    if (more >= 0) return 1;
    log_warn("studio", "no fallback loop: %s", cause);
    free(cause);
    return 0;
}
