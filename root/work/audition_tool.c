/* audition tool: `forever-root audition A B`: the transition the station would make from one file to another,
 * to listen to, with its certificate, its stems and a picture of both. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/proc.h"
#include "root/audio/pcm.h"
#include "root/library/features.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "root/work/audition.h"
#include "root/work/audition_draw.h"
#include "root/work/examine.h"
#include "root/work/mix_options.h"
#include "root/work/render_file.h"
#include "root/work/work.h"

#define FILE_MODE 0644

struct options {
    char *out, *stems, *draw, *state;
    double around, from;
    long bitrate;
    struct plan_conf mix;
};

struct tool {
    struct options options;
    char *paths[AUDITION_TRACKS];
    struct track tracks[AUDITION_TRACKS];
    struct audition audition;
    int code; /* of the exit, when something fails */
};

#define AT(member) offsetof(struct options, member)

static const struct conf_option option_rows[] = {
    {"out", CONF_STRING, AT(out), NULL, 0, 0, NULL, "FILE", "the transition, by its name .wav or .mp3", NULL},
    {"stems", CONF_STRING, AT(stems), NULL, 0, 0, NULL, "DIR",
     "folder for A.wav and B.wav, what each track gives to the mix, and mix.wav, their sum before the "
     "limiter "
     "(32-bit floats)",
     NULL},
    {"draw", CONF_STRING, AT(draw), NULL, 0, 0, NULL, "FILE.svg",
     "picture of both stems with beats, downbeats, fades and the switch", NULL},
    {"around", CONF_REAL, AT(around), "10", 0, 60, NULL, "SECONDS",
     "how much is played before and after the transition", NULL},
    {"from", CONF_REAL, AT(from), "0", 0, 86400, NULL, "SECONDS",
     "where the first track was entered: the transition comes later", NULL},
    {"state", CONF_STRING, AT(state), NULL, 0, 0, NULL, "DIR",
     "state folder of a station, whose analyses are used where it knows the files", NULL},
    {"bitrate", CONF_INT, AT(bitrate), "192", 64, 320, NULL, "KBITS", "of an .mp3, in kbit/s", NULL},
    MIX_OPTIONS(struct options, mix),
};

static const struct conf_table table = {
    .program = "forever-root audition",
    .section = "audition",
    .prefix = "FOREVER_AUDITION",
    .summary = "makes the transition from one file to another and tells its certificate",
    .synopsis = "forever-root audition A B --out FILE.{wav,mp3} [--stems DIR] [--draw FILE.svg]\n"
                "Prints a JSON object with the certificate; a summary of it goes to standard error.\n"
                "Exit status: 0; 64 wrong usage; 65 a file can't be decoded; 66 a file can't be opened;\n"
                "73 the result can't be written.",
    .options = option_rows,
    .count = sizeof option_rows / sizeof *option_rows,
};

static int fail(int code, const char *what, char *cause)
{
    fprintf(stderr, "forever-root audition: %s%s\n", what, cause ? cause : "");
    free(cause);
    return code;
}

/* The command line */

static int takes_value(const char *arg)
{
    if (strchr(arg, '=')) return 0;
    if (!strcmp(arg, "--config")) return 1;
    for (size_t i = 0; i < table.count; i++) {
        if (!strcmp(arg + 2, option_rows[i].name)) return 1;
    }
    return 0;
}

/* Takes the two files out of the arguments, wherever they stand; what is left are options. How many files
 * there are. */
static int take_files(struct tool *t, int *argc, char **argv)
{
    int kept = 1, files = 0, only_files = 0;
    for (int i = 1; i < *argc; i++) {
        if (!only_files && !strcmp(argv[i], "--")) {
            only_files = 1;
        } else if (only_files || strncmp(argv[i], "--", 2)) {
            if (files < AUDITION_TRACKS) t->paths[files] = argv[i];
            files++;
        } else {
            argv[kept++] = argv[i];
            if (takes_value(argv[i]) && i + 1 < *argc) argv[kept++] = argv[++i];
        }
    }
    *argc = kept;
    return files;
}

/* The tracks */

static int open_path(const char *path, char **cause)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return cause_set(cause, "%s can't be opened: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return cause_set(cause, "%s is no regular file", path);
    }
    return fd;
}

static int open_file(void *context, int64_t number, const char *hash, char **cause)
{
    const struct tool *t = context;
    (void)hash;
    return open_path(t->paths[number - 1], cause);
}

/* What the station knows of this very file: 1; 0 when it knows nothing, or of another version. */
static int look_up(struct library *library, const char *path, const struct stat *st, struct track *out)
{
    struct track_file file;
    char *real = realpath(path, NULL);
    int64_t id = real ? tracks_id(library, real) : 0, mtime_ns;
    int known = 0;
    free(real);
    if (id <= 0 || tracks_get(library, id, &file) <= 0) return 0;
    mtime_ns = (int64_t)st->st_mtim.tv_sec * CLOCK_NS_PER_S + st->st_mtim.tv_nsec;
    if (file.state == TRACK_ANALYSED && file.size == st->st_size && file.mtime_ns == mtime_ns)
        known = features_load(library, id, out) > 0;
    track_file_free(&file);
    if (known && out->features.version < ANALYSIS_VERSION) {
        track_free(out);
        track_init(out);
        known = 0;
    }
    return known;
}

/* 0, or -1 with *cause and the exit code. */
static int hear(struct tool *t, int which, struct library *library, char **cause)
{
    const char *path = t->paths[which];
    struct track *track = &t->tracks[which];
    struct stat st;
    char *why = NULL;
    int fd = open_path(path, cause), tty = isatty(STDERR_FILENO);
    t->code = EX_NOINPUT;
    if (fd < 0) return -1;
    if (library && !fstat(fd, &st) && look_up(library, path, &st, track)) {
        close(fd);
    } else {
        t->code = EX_DATAERR;
        if (tty) fprintf(stderr, "listening to %s\n", path);
        if (examine_file(fd, path, track, NULL, &why) || examine_judge(track, &why)) {
            cause_set(cause, "%s: %s", path, why);
            free(why);
            return -1;
        }
    }
    track->id = which + 1;
    return 0;
}

static int hear_both(struct tool *t, char **cause)
{
    struct library *library = NULL;
    t->code = EX_NOINPUT;
    if (t->options.state) {
        if (access(t->options.state, X_OK))
            return cause_set(cause, "--state: %s: %s", t->options.state, strerror(errno));
        if (library_open(&library, t->options.state, cause)) return -1;
    }
    int result = 0;
    for (int i = 0; i < AUDITION_TRACKS && result == 0; i++)
        result = hear(t, i, library, cause);
    library_close(library);
    return result;
}

/* The results */

static int write_mix(struct tool *t, char **cause)
{
    struct programme *programme = audition_programme(&t->audition, AUDITION_TRACKS, open_file, t, cause);
    struct render_file file = {.path = t->options.out,
                               .first = t->audition.first,
                               .frames = t->audition.count,
                               .kbps = (unsigned)t->options.bitrate,
                               .seed = 1};
    int64_t bad;
    int result = programme ? render_file_write(&file, programme, &bad, cause) : -1;
    programme_free(programme);
    return result;
}

static int write_stem(const struct tool *t, const char *name, const float *pcm, size_t samples, char **cause)
{
    char *path = xasprintf("%s/%s.wav", t->options.stems, name);
    int result = render_file_floats(path, pcm, samples, cause);
    free(path);
    return result;
}

static int write_picture(const struct tool *t, float *const stems[AUDITION_TRACKS], size_t samples,
                         char **cause)
{
    char *text = audition_draw(&t->audition, (const float *const *)stems, samples);
    int result = proc_write_file(t->options.draw, text, strlen(text), FILE_MODE, cause);
    free(text);
    return result;
}

static int write_stems(struct tool *t, char **cause)
{
    static const char *const names[] = {"A", "B", "mix"};
    float *pcm[AUDITION_TRACKS + 1] = {NULL};
    size_t samples = 0;
    int64_t bad;
    int result = 0, count = t->options.stems ? AUDITION_TRACKS + 1 : t->options.draw ? AUDITION_TRACKS : 0;
    if (t->options.stems) result = proc_make_dir(t->options.stems, cause);
    for (int i = 0; i < count && result == 0; i++) {
        struct programme *programme = audition_programme(&t->audition, i, open_file, t, cause);
        if (programme) pcm[i] = audition_read(&t->audition, programme, &samples, &bad, cause);
        programme_free(programme);
        if (!pcm[i]) result = -1;
        if (result == 0 && t->options.stems) result = write_stem(t, names[i], pcm[i], samples, cause);
    }
    if (result == 0 && t->options.draw) result = write_picture(t, pcm, samples, cause);
    for (int i = 0; i <= AUDITION_TRACKS; i++)
        free(pcm[i]);
    return result;
}

static json_t *side_json(const struct tool *t, int which)
{
    json_t *side =
        json_copy(json_array_get(json_object_get(t->audition.transition, "tracks"), (size_t)which));
    if (!side) side = json_object();
    json_object_del(side, "track");
    json_object_set_new(side, "path", json_text_lossy(t->paths[which]));
    return side;
}

static double seconds_in_file(const struct tool *t, uint64_t sample)
{
    return ((double)sample - (double)(t->audition.first * MP3_FRAME_SAMPLES)) / PCM_RATE;
}

static void print_result(const struct tool *t)
{
    json_t *transition = t->audition.transition;
    json_t *out = json_pack(
        "{s:O,s:f,s:f,s:f,s:o,s:o,s:O}", "technique", json_object_get(transition, "technique"), "start_s",
        seconds_in_file(t, t->audition.start), "end_s", seconds_in_file(t, t->audition.end), "duration_s",
        (double)(t->audition.count * MP3_FRAME_SAMPLES) / PCM_RATE, "from", side_json(t, AUDITION_A), "to",
        side_json(t, AUDITION_B), "certificate", json_object_get(transition, "certificate"));
    static const char *const more[] = {"bars", "tempo_change_pct", "on_phrase"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (json_object_get(transition, more[i]))
            json_object_set(out, more[i], json_object_get(transition, more[i]));
    }
    char *text = json_text(out);
    puts(text);
    free(text);
    json_decref(out);
}

static void say(const char *what, const json_t *object, const char *key, const char *unit)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value)) fprintf(stderr, "  %-22s %.2f %s\n", what, json_number_value(value), unit);
}

static void print_summary(const struct tool *t)
{
    const json_t *transition = t->audition.transition, *c = json_object_get(transition, "certificate"), *rule;
    const json_t *beats = json_object_get(c, "beat_error_ms");
    size_t i;
    fprintf(stderr, "%s: %s", t->options.out, json_str_or(transition, "technique", "?", NULL));
    if (json_object_get(transition, "bars"))
        fprintf(stderr, ", bars %" PRId64, json_int_or(transition, "bars", 0, 0, 1000, NULL));
    fprintf(stderr, ", from %.2f to %.2f s\n", seconds_in_file(t, t->audition.start),
            seconds_in_file(t, t->audition.end));
    say("tempo change", transition, "tempo_change_pct", "%");
    say("beats apart, median", beats, "median", "ms");
    say("beats apart, p95", beats, "p95", "ms");
    say("drift", beats, "drift", "ms");
    say("loudness step", c, "loudness_step_lu", "LU");
    say("hole", c, "hole_lu", "LU");
    say("bump", c, "bump_lu", "LU");
    say("consonance", c, "consonance", "(-1 to 1)");
    say("two basses for", c, "bass_overlap_beats", "beats");
    say("two voices for", c, "vocal_overlap_beats", "beats");
    if (json_is_true(json_object_get(c, "passed"))) {
        fprintf(stderr, "  the certificate passed, %d ways were given up before\n",
                (int)json_int_or(c, "tries", 0, 0, 100, NULL));
        return;
    }
    fprintf(stderr, "  the certificate failed:");
    json_array_foreach(json_object_get(c, "failed"), i, rule)
    {
        fprintf(stderr, " %s", json_string_value(rule));
    }
    fprintf(stderr, "; no other way breaks less\n");
}

static int run(struct tool *t, int files)
{
    char *cause = NULL;
    const struct options *o = &t->options;
    int64_t bad = 0;
    if (files != AUDITION_TRACKS)
        return fail(EX_USAGE, "two files are needed: forever-root audition A B --out FILE", NULL);
    if (!o->out) return fail(EX_USAGE, "--out: a file name is needed, ending in .wav or .mp3", NULL);
    if (render_file_check(o->out, 1, (unsigned)o->bitrate, &cause)) return fail(EX_USAGE, "--out: ", cause);
    if (hear_both(t, &cause)) return fail(t->code, "", cause);
    const struct track *tracks[] = {&t->tracks[AUDITION_A], &t->tracks[AUDITION_B]};
    if (o->from >= tracks[AUDITION_A]->features.duration_s)
        return fail(EX_USAGE, "--from: the first track is shorter than that", NULL);
    if (audition_plan(&t->audition, tracks, &o->mix, o->from, o->around, open_file, t, &bad, &cause))
        return fail(bad ? EX_DATAERR : EX_SOFTWARE, bad ? t->paths[bad - 1] : "", cause);
    if (write_mix(t, &cause) || write_stems(t, &cause)) return fail(EX_CANTCREAT, "", cause);
    print_result(t);
    print_summary(t);
    return fflush(stdout) ? EX_IOERR : EX_OK;
}

int tool_audition(int argc, char **argv)
{
    struct tool tool = {0};
    char *cause = NULL;
    int code = EX_OK, files = take_files(&tool, &argc, argv);
    for (int i = 0; i < AUDITION_TRACKS; i++)
        track_init(&tool.tracks[i]);
    switch (conf_load(&table, &tool.options, argc, argv, &code, &cause)) {
    case CONF_RUN:
        code = run(&tool, files);
        break;
    case CONF_DONE:
        break;
    case CONF_FAIL:
        code = fail(code, "", cause);
        break;
    }
    audition_free(&tool.audition);
    for (int i = 0; i < AUDITION_TRACKS; i++)
        track_free(&tool.tracks[i]);
    conf_free(&table, &tool.options);
    return code;
}
