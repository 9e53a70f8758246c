/* render tool: `forever-root render`: the station's mix as a file, as fast as the machine can.
 *
 * The programme is planned by a process of its own and meanwhile read from front to back through the same
 * limiter and encoder as on air. A file that fails on the way, in either, is left out and all begins anew
 * without it, so that the result depends on the library alone: same folders, same seed, same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/audio/pcm.h"
#include "root/mix/plan.h"
#include "root/mix/rehearse.h"
#include "root/mix/render.h"
#include "root/order/pick.h"
#include "root/work/again.h"
#include "root/work/ahead.h"
#include "root/work/crate.h"
#include "root/work/mix_options.h"
#include "root/work/output.h"
#include "root/work/render_file.h"
#include "root/work/work.h"

#define FRAME         1152
#define RETRIES_MAX   100
#define TIMELINE_MODE 0644

struct options {
    struct conf_list library;
    char *state, *out, *timeline, *from_history;
    double minutes;
    struct plan_conf mix;
    long seed, bitrate;
};

struct render {
    struct options options;
    struct crate *crate;
    struct pool *pool;
    uint64_t frames, samples; /* of the result */
    int64_t *avoid;           /* failed files */
    size_t avoid_count;
    int64_t *planned;
    size_t planned_count, planned_room;
    json_t *segments;
    uint64_t first_sample; /* of the programme, that the result begins with */
};

#define POSITION_DIGITS 15 /* frames of seven hundred thousand years */

static int check_position(const char *text, char **cause)
{
    size_t n = strspn(text, "0123456789");
    if (n && !text[n] && n <= POSITION_DIGITS) return 0;
    return cause_set(cause, "must be a frame's number, as /api/now and /api/segments give it");
}

#define AT(member) offsetof(struct options, member)

static const struct conf_option option_rows[] = {
    {"library", CONF_LIST, AT(library), NULL, 0, 0, NULL, "DIR", "folder with music", NULL},
    {"state", CONF_STRING, AT(state), NULL, 0, 0, NULL, "DIR",
     "folder whose analyses are used again, and where new ones are kept", NULL},
    {"minutes", CONF_REAL, AT(minutes), "10", 0.05, 1440, NULL, "MINUTES", "length of the result", NULL},
    {"seed", CONF_INT, AT(seed), "1", 0, 4294967295.0, NULL, "N", "choice of the order", NULL},
    {"out", CONF_STRING, AT(out), NULL, 0, 0, NULL, "FILE", "result, by its name .wav or .mp3", NULL},
    {"timeline", CONF_STRING, AT(timeline), NULL, 0, 0, NULL, "FILE",
     "what plays when in the result, as JSON", NULL},
    {"from-history", CONF_STRING, AT(from_history), NULL, 0, 0, NULL, "POSITION",
     "renders again what the station of --state aired from this frame on, to the byte where the bit rate is "
     "the "
     "station's",
     check_position},
    {"bitrate", CONF_INT, AT(bitrate), "192", 64, 320, NULL, "KBITS", "of an .mp3, in kbit/s", NULL},
    MIX_OPTIONS(struct options, mix),
};

static const struct conf_table table = {
    .program = "forever-root render",
    .section = "render",
    .prefix = "FOREVER_RENDER",
    .summary = "renders the station's mix of a library to a file",
    .synopsis =
        "forever-root render --library DIR [--state DIR] --minutes N --seed S --out FILE.{wav,mp3} "
        "[--timeline FILE.json]\n"
        "forever-root render --from-history POSITION [--minutes N] --state DIR [--library DIR] "
        "--out FILE.{wav,mp3} [--timeline FILE.json]\n"
        "Exit status: 0; 64 wrong usage; 65 a file that aired is missing or has changed; 66 no music, or\n"
        "not in the history; 69 live input aired, which is not kept; 73 the result can't be written.",
    .options = option_rows,
    .count = sizeof option_rows / sizeof *option_rows,
};

/* Planning */

static void note_planned(struct render *r, int64_t track)
{
    if (r->planned_count == r->planned_room) {
        r->planned_room = r->planned_room ? 2 * r->planned_room : 64;
        r->planned = xrealloc(r->planned, r->planned_room * sizeof *r->planned);
    }
    r->planned[r->planned_count++] = track;
}

/* The next track after the last planned one; NULL when there is none. */
static const struct track *pick(struct render *r, json_t **why)
{
    int64_t after = r->planned_count ? r->planned[r->planned_count - 1] : 0;
    int64_t number = order_pick(r->pool, after, r->planned, r->planned_count, r->avoid, r->avoid_count,
                                (uint64_t)r->options.seed, why);
    const struct track *track = crate_track(r->crate, number);
    if (track) note_planned(r, number);
    return track;
}

static int open_file(void *context, int64_t number, const char *hash, char **cause)
{
    const struct render *r = context;
    const struct track *track = crate_track(r->crate, number);
    (void)hash;
    int fd = track ? open(track->path, O_RDONLY | O_CLOEXEC) : -1;
    return fd >= 0 ? fd : cause_set(cause, "it can't be opened: %s", strerror(errno));
}

/* Tells the segments from sample 0 to beyond the result, in the planner. */
static int plan_all(void *context, struct ahead_teller *teller, int64_t *bad_track, char **cause)
{
    struct render *r = context;
    json_t *why = NULL;
    const struct track *last = pick(r, &why);
    if (!last) return cause_set(cause, "no music that can be played");
    struct plan_cursor cursor = plan_open(last, 0);
    while (cursor.sample <= r->samples + OUTPUT_PAST) {
        json_decref(why);
        why = NULL;
        const struct track *next = pick(r, &why);
        if (!next) return cause_set(cause, "no music that can be played");
        json_t *pair[2];
        uint64_t before = cursor.sample;
        if (rehearse_transition(last, next, &r->options.mix, open_file, r, &cursor, why, pair, NULL,
                                bad_track, cause)) {
            json_decref(why);
            return -1;
        }
        int told = 0;
        for (int i = 0; i < 2; i++) {
            if (pair[i] && told == 0) told = ahead_tell(teller, pair[i], cause);
            json_decref(pair[i]);
        }
        if (told) return -1;
        /* a library of nothing but a few samples would never fill the time */
        if (cursor.sample - before < FRAME) return cause_set(cause, "no music that can be played");
        last = next;
    }
    json_decref(why);
    return 0;
}

/* Rendering */

struct progress {
    int64_t next_ns, began_ns;
    uint64_t total;
};

struct attempt {
    struct render *render;
    struct programme *programme;
    struct ahead *ahead;
    int planned; /* all of it */
    struct progress progress;
};

static void show_progress(void *context, uint64_t done)
{
    struct progress *p = context;
    int64_t now = clock_boot_ns();
    if (!isatty(STDERR_FILENO) || (now < p->next_ns && done < p->total)) return;
    p->next_ns = now + CLOCK_NS_PER_S / 5;
    double seconds = (double)done * FRAME / PCM_RATE, took = (double)(now - p->began_ns) / CLOCK_NS_PER_S;
    fprintf(stderr, "\rrendered %.0f of %.0f s, %.0f times as fast as it plays%s", seconds,
            (double)p->total * FRAME / PCM_RATE, took > 0 ? seconds / took : 0, done == p->total ? "\n" : "");
}

static void on_progress(void *context, uint64_t done)
{
    struct attempt *a = context;
    show_progress(&a->progress, done);
}

/* Takes what is planned until the programme reaches beyond a sample; for the result's end, all of it: a track
 * that is not heard any more may fail, too. */
static int reach(void *context, uint64_t sample, int64_t *bad_track, char **cause)
{
    struct attempt *a = context;
    *bad_track = 0;
    while (!a->planned && (programme_end(a->programme) <= sample || sample > a->render->samples)) {
        json_t *segment;
        int got = ahead_next(a->ahead, &segment, bad_track, cause);
        if (got < 0) return -1;
        a->planned = got == 0;
        if (a->planned) break;
        json_array_append_new(a->render->segments, segment);
        if (programme_add(a->programme, segment, cause) < 0) return -1;
    }
    return 0;
}

/* 0; 1 with *bad_track: try again without it; -1 with *cause. */
static int render_once(struct render *r, const char *path, int64_t *bad_track, char **cause)
{
    struct attempt a = {.render = r, .progress = {.began_ns = clock_boot_ns(), .total = r->frames}};
    struct render_file file = {.path = path,
                               .frames = r->frames,
                               .kbps = (unsigned)r->options.bitrate,
                               .seed = (uint64_t)r->options.seed,
                               .progress = on_progress,
                               .reach = reach,
                               .context = &a};
    *bad_track = 0;
    json_decref(r->segments);
    r->segments = json_array();
    a.ahead = ahead_begin(plan_all, r, cause);
    if (!a.ahead) return -1;
    a.programme = programme_new(open_file, r);
    int result = render_file_write(&file, a.programme, bad_track, cause);
    programme_free(a.programme);
    ahead_end(a.ahead);
    return result < 0 && *bad_track ? 1 : result;
}

static int render_all(struct render *r, const char *path, char **cause)
{
    for (int attempt = 0; attempt < RETRIES_MAX; attempt++) {
        int64_t bad = 0;
        char *reason = NULL;
        int result = render_once(r, path, &bad, &reason);
        if (result <= 0) {
            if (result < 0) cause_set(cause, "%s", reason ? reason : "it failed");
            free(reason);
            return result;
        }
        const struct track *track = crate_track(r->crate, bad);
        fprintf(stderr, "left out %s: %s; starting anew\n", track ? track->path : "?", reason ? reason : "?");
        free(reason);
        r->avoid = xrealloc(r->avoid, (r->avoid_count + 1) * sizeof *r->avoid);
        r->avoid[r->avoid_count++] = bad;
    }
    return cause_set(cause, "too many files failed");
}

/* The timeline */

/* Of the result; what aired before it began is negative. */
static double segment_s(const struct render *r, const json_t *segment, const char *key)
{
    return (double)(json_integer_value(json_object_get(segment, key)) - (json_int_t)r->first_sample) /
           PCM_RATE;
}

static json_t *path_json(const struct render *r, const json_t *entry)
{
    if (json_object_get(entry, "path")) return json_incref(json_object_get(entry, "path"));
    const struct track *track = crate_track(r->crate, json_integer_value(json_object_get(entry, "track")));
    return track ? json_text_lossy(track->path) : json_null();
}

static json_t *segment_json(const struct render *r, const json_t *segment, double end_s)
{
    json_t *out = json_copy((json_t *)segment), *tracks = json_array(), *entry;
    size_t i;
    json_object_del(out, "plan");
    json_object_set_new(out, "start_s", json_real(segment_s(r, segment, "start_sample")));
    json_object_set_new(out, "end_s", json_real(fmin(end_s, segment_s(r, segment, "end_sample"))));
    json_array_foreach(json_object_get(segment, "tracks"), i, entry)
    {
        json_t *copy = json_copy(entry);
        json_object_set_new(copy, "path", path_json(r, entry));
        json_array_append_new(tracks, copy);
    }
    json_object_set_new(out, "tracks", tracks);
    return out;
}

static json_t *transition_json(const struct render *r, const json_t *segment)
{
    json_t *tracks = json_object_get(segment, "tracks");
    json_t *from = json_array_get(tracks, 0), *to = json_array_get(tracks, 1);
    json_t *out =
        json_pack("{s:O, s:f, s:f, s:o, s:o, s:O}", "technique", json_object_get(segment, "technique"),
                  "start_s", segment_s(r, segment, "start_sample"), "end_s",
                  segment_s(r, segment, "end_sample"), "from", path_json(r, from), "to", path_json(r, to),
                  "tempo_change_pct", json_object_get(segment, "tempo_change_pct"));
    static const char *const sides[] = {"from_track", "to_track"};
    for (int i = 0; i < 2; i++) {
        json_t *entry = json_array_get(tracks, (size_t)i), *side = json_object();
        static const char *const kept[] = {"from_s",  "to_s",  "tempo_bpm", "camelot",
                                           "gain_db", "title", "artist"};
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
            if (json_object_get(entry, kept[k]))
                json_object_set(side, kept[k], json_object_get(entry, kept[k]));
        }
        json_object_set_new(out, sides[i], side);
    }
    static const char *const more[] = {"bars", "on_phrase", "certificate", "plan"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (json_object_get(segment, more[i]))
            json_object_set(out, more[i], json_object_get(segment, more[i]));
    }
    return out;
}

/* Told before the rendering, not after it. */
static int timeline_check(const char *path, char **cause)
{
    char *copy = xstrdup(path);
    const char *folder = dirname(copy);
    int result = access(folder, W_OK) ? cause_set(cause, "%s: %s", folder, strerror(errno)) : 0;
    free(copy);
    return result;
}

/* Where a segment ends: one that a skip cut short, where the next begins. */
static double heard_until_s(const struct render *r, size_t i)
{
    double end_s = segment_s(r, json_array_get(r->segments, i), "end_sample");
    const json_t *next = json_array_get(r->segments, i + 1);
    return next ? fmin(end_s, segment_s(r, next, "start_sample")) : end_s;
}

/* Transitions are those that the result holds as a whole. */
static int write_timeline(const struct render *r, char **cause)
{
    if (!r->options.timeline) return 0;
    double end_s = (double)r->samples / PCM_RATE;
    json_t *segments = json_array(), *transitions = json_array(), *segment;
    size_t i;
    json_array_foreach(r->segments, i, segment)
    {
        double until_s = heard_until_s(r, i);
        if (segment_s(r, segment, "start_sample") >= end_s) break;
        if (until_s <= 0) continue;
        json_array_append_new(segments, segment_json(r, segment, fmin(end_s, until_s)));
        if (json_array_size(json_object_get(segment, "tracks")) != 2) continue;
        if (segment_s(r, segment, "start_sample") < 0 || until_s > end_s ||
            until_s < segment_s(r, segment, "end_sample"))
            continue;
        json_array_append_new(transitions, transition_json(r, segment));
    }
    json_t *whole =
        json_pack("{s:I, s:f, s:f, s:o, s:o}", "seed", (json_int_t)r->options.seed, "minutes",
                  r->options.minutes, "duration_s", end_s, "segments", segments, "transitions", transitions);
    if (r->options.from_history) {
        json_object_del(whole, "seed");
        json_object_set_new(whole, "position", json_integer((json_int_t)(r->first_sample / FRAME)));
    }
    char *text = json_text(whole);
    int result = proc_write_file(r->options.timeline, text, strlen(text), TIMELINE_MODE, cause);
    free(text);
    json_decref(whole);
    return result;
}

static int fail(int code, const char *what, char *cause)
{
    fprintf(stderr, "forever-root render: %s%s\n", what, cause ? cause : "");
    free(cause);
    return code;
}

static int gather(struct render *r, char **cause)
{
    struct crate_report report;
    const struct options *o = &r->options;
    if (crate_open(&r->crate, o->library.items, o->library.count, o->state, &report, cause) < 0) return -1;
    if (crate_count(r->crate) == 0) {
        return cause_set(cause, "no music that can be played among %zu files", report.files);
    }
    r->pool = pool_new();
    for (size_t i = 1; i <= crate_count(r->crate); i++)
        pool_put(r->pool, crate_track(r->crate, (int64_t)i));
    return 0;
}

/* What aired, once more. A library is only where files that moved are looked for. */
static int run_again(struct render *r)
{
    static const int codes[] = {[AGAIN_DONE] = EX_OK,
                                [AGAIN_UNKNOWN] = EX_NOINPUT,
                                [AGAIN_REFUSED] = EX_UNAVAILABLE,
                                [AGAIN_FILES] = EX_DATAERR,
                                [AGAIN_FAILED] = EX_CANTCREAT};
    const struct options *o = &r->options;
    struct progress progress = {.began_ns = clock_boot_ns(), .total = r->frames};
    struct again again = {.state = o->state,
                          .libraries = o->library.items,
                          .library_count = o->library.count,
                          .file = {.path = o->out,
                                   .first = strtoull(o->from_history, NULL, 10),
                                   .frames = r->frames,
                                   .kbps = (unsigned)o->bitrate,
                                   .seed = (uint64_t)o->seed,
                                   .progress = show_progress,
                                   .context = &progress}};
    char *cause = NULL;
    if (!o->state) return fail(EX_USAGE, "--state: the station's state folder is needed", NULL);
    struct again_told told = {0};
    enum again_result result = again_render(&again, &told, &cause);
    if (told.maker)
        fprintf(
            stderr,
            "forever-root render: what aired was made by %s; the sound is the same, its bytes need not be\n",
            told.maker);
    free(told.maker);
    r->segments = told.segments;
    r->first_sample = again.file.first * FRAME;
    if (result) return fail(codes[result], "", cause);
    return write_timeline(r, &cause) ? fail(EX_CANTCREAT, "--timeline: ", cause) : EX_OK;
}

static int run(struct render *r)
{
    char *cause = NULL;
    const struct options *o = &r->options;
    if (o->library.count == 0 && !o->from_history)
        return fail(EX_USAGE, "--library: a folder with music is needed", NULL);
    if (!o->out) return fail(EX_USAGE, "--out: a file name is needed, ending in .wav or .mp3", NULL);
    if (render_file_check(o->out, o->minutes, (unsigned)o->bitrate, &cause) < 0) {
        return fail(EX_USAGE, "--out: ", cause);
    }
    if (o->timeline && timeline_check(o->timeline, &cause) < 0) {
        return fail(EX_CANTCREAT, "--timeline: ", cause);
    }
    r->frames = (uint64_t)llround(o->minutes * 60 * PCM_RATE / FRAME);
    r->samples = r->frames * FRAME;
    if (o->from_history) return run_again(r);
    if (gather(r, &cause) < 0) return fail(EX_NOINPUT, "--library: ", cause);
    if (render_all(r, o->out, &cause) < 0) return fail(EX_CANTCREAT, "", cause);
    if (write_timeline(r, &cause) < 0) return fail(EX_CANTCREAT, "--timeline: ", cause);
    return EX_OK;
}

int tool_render(int argc, char **argv)
{
    struct render render = {0};
    char *cause = NULL;
    int code = EX_OK;
    switch (conf_load(&table, &render.options, argc, argv, &code, &cause)) {
    case CONF_RUN:
        code = run(&render);
        break;
    case CONF_DONE:
        break;
    case CONF_FAIL:
        code = fail(code, "", cause);
        break;
    }
    json_decref(render.segments);
    free(render.planned);
    free(render.avoid);
    pool_free(render.pool);
    crate_free(render.crate);
    conf_free(&table, &render.options);
    return code;
}
