/* What aired, rendered again: what is refused, and why. That the bytes are the same
 * tests/system/test_audition.py shows on a real station. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/proc.h"
#include "root/library/history.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "root/mix/plan.h"
#include "root/work/again.h"
#include "root/work/examine.h"
#include "root/work/maker.h"
#include "root/work/output.h"
#include "tests/unit/remove_tree.h"
#include "tests/unit/wav.h"

#define FRAME 1152

static char dir[64];
static char *cause;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/forever-again-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(cause);
    cause = NULL;
    return remove_tree(dir);
}

/* A segment of a file nobody knows, or of live input. */
static void aired(const char *technique, int64_t start, int64_t end)
{
    struct library *l;
    json_t *body = json_pack("{s:s,s:I,s:I,s:[{s:i}]}", "technique", technique, "start_sample",
                             (json_int_t)start, "end_sample", (json_int_t)end, "tracks", "track", 7);
    if (!strcmp(technique, "live")) {
        json_object_set_new(body, "plan",
                            json_pack("{s:i,s:[],s:{s:i}}", "version", 1, "voices", "live", "session", 3));
    } else {
        json_t *voice =
            json_pack("{s:i,s:s,s:f,s:i,s:I,s:i,s:I}", "track", 7, "hash", "abcdef", "gain_db", 0.0, "from",
                      0, "to", (json_int_t)(end - start), "at", 0, "samples", (json_int_t)(end - start));
        json_object_set_new(body, "plan", json_pack("{s:i,s:[o]}", "version", 1, "voices", voice));
    }
    assert_int_equal(library_open(&l, dir, &cause), 0);
    assert_int_equal(history_add(l, (uint64_t)(start / FRAME), 0, clock_wall_ns(), body, NULL), 0);
    library_close(l);
    json_decref(body);
}

static enum again_result again(uint64_t first, uint64_t frames)
{
    char *out = xasprintf("%s/out.mp3", dir);
    struct again a = {.state = dir, .file = {.path = out, .first = first, .frames = frames, .kbps = 192}};
    free(cause);
    cause = NULL;
    struct again_told told = {0};
    enum again_result result = again_render(&a, &told, &cause);
    assert_true(!told.segments && !told.maker);
    assert_int_equal(access(out, F_OK), -1);
    free(out);
    return result;
}

static void check_says(const char *words)
{
    assert_non_null(cause);
    if (!strstr(cause, words)) fail_msg("\"%s\" is not in \"%s\"", words, cause);
}

static void no_database(void **state)
{
    (void)state;
    assert_int_equal(again(0, 100), AGAIN_UNKNOWN);
    check_says("library.db");
}

static void what_the_history_lacks(void **state)
{
    (void)state;
    aired("play", 1000 * FRAME + OUTPUT_DELAY, 3000 * FRAME);
    aired("play", 3500 * FRAME, 9000 * FRAME);
    assert_int_equal(again(20000, 10), AGAIN_UNKNOWN);
    check_says("20000");
    assert_int_equal(again(500, 10), AGAIN_UNKNOWN);
    assert_int_equal(again(8990, 100), AGAIN_UNKNOWN);
    check_says("reaches to position 9000 only");
    /* across the hole */
    assert_int_equal(again(2900, 1000), AGAIN_UNKNOWN);
    check_says("nothing before position 3501");
    /* what primes the first frames is lost */
    assert_int_equal(again(3510, 10), AGAIN_UNKNOWN);
    /* a station's beginning needs nothing before it: here the file is what is missing */
    assert_int_equal(again(1001, 10), AGAIN_FILES);
    check_says("abcdef");
    assert_int_equal(again(3700, 10), AGAIN_FILES);
}

static void live_input(void **state)
{
    (void)state;
    aired("play", OUTPUT_DELAY, 1000 * FRAME);
    aired("live", 1000 * FRAME, 2000 * FRAME);
    aired("play", 2000 * FRAME, 5000 * FRAME);
    assert_int_equal(again(900, 200), AGAIN_REFUSED);
    check_says("live input was on air at position 1000");
    assert_int_equal(again(2010, 100), AGAIN_REFUSED); /* it primes these */
    assert_int_equal(again(500, 100), AGAIN_FILES);
    assert_int_equal(again(2500, 100), AGAIN_FILES);
}

static void a_new_beginning(void **state)
{
    (void)state;
    aired("play", OUTPUT_DELAY, 3000 * FRAME);
    aired("play", 1000 * FRAME + OUTPUT_DELAY, 4000 * FRAME); /* the studio lost its plan */
    assert_int_equal(again(900, 200), AGAIN_REFUSED);
    check_says("began anew at position 1000");
    assert_int_equal(again(900, 100), AGAIN_FILES); /* up to it, and from it on */
    assert_int_equal(again(1000, 100), AGAIN_FILES);
}

/* Bytes again */

#define RATE    44100
#define SECONDS 40
#define KBPS    192

/* A kick on each beat over a tone. */
static char *write_wav(const char *name, double bpm, double note)
{
    size_t samples = SECONDS * RATE;
    int16_t *pcm = xmalloc(samples * sizeof *pcm);
    char *path = xasprintf("%s/%s", dir, name);
    for (size_t n = 0; n < samples; n++) {
        double t = (double)n / RATE, beat = fmod(t, 60 / bpm);
        double x = 0.2 * sin(2 * M_PI * note * t) + 0.5 * exp(-beat * 30) * sin(2 * M_PI * 70 * beat);
        pcm[n] = (int16_t)lrint(x * 30000);
    }
    wav_file(path, pcm, samples, 1, RATE);
    free(pcm);
    return path;
}

/* A file the library knows, with beats as they were written. */
static struct track make_track(struct library *l, const char *name, double bpm, double note)
{
    struct track t;
    enum tracks_change change;
    struct stat st;
    track_init(&t);
    t.path = write_wav(name, bpm, note);
    int fd = open(t.path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_non_null(t.hash = examine_hash(fd, &cause));
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    assert_int_equal(tracks_found(l, dir, t.path, st.st_size, 1, &t.id, &change), 0);
    struct features *f = &t.features;
    f->duration_s = f->music_end_s = SECONDS;
    f->music_start_s = 0;
    f->loudness_lufs = f->loud_part_lufs = -18;
    f->tempo_bpm = bpm;
    f->tempo_confidence = 0.9;
    f->metre = 4;
    f->beats_s = xcalloc(SECONDS * 4, sizeof(double));
    f->downbeats_s = xcalloc(SECONDS * 4, sizeof(double));
    for (size_t k = 0; (double)k * 60 / bpm < SECONDS; k++) {
        f->beats_s[f->beat_count++] = (double)k * 60 / bpm;
        if (k % 4 == 0) f->downbeats_s[f->downbeat_count++] = (double)k * 60 / bpm;
    }
    return t;
}

static const struct track *both[2];

static int open_track(void *context, int64_t number, const char *hash, char **reason)
{
    (void)context, (void)hash;
    int fd = open(both[number == both[1]->id]->path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : cause_set(reason, "gone");
}

/* Started amid a stretched blend, from what the database kept: what one that played from the start gave.
 * other: that another program is said to have made some of it. */
static void check_same_bytes(int other)
{
    struct library *l;
    assert_int_equal(library_open(&l, dir, &cause), 0);
    struct track a = make_track(l, "a.wav", 120, 220), b = make_track(l, "b.wav", 124, 277);
    both[0] = &a, both[1] = &b;
    const struct plan_conf conf = {.target_lufs = -16, .max_tempo_change_pct = 6};
    struct plan_cursor cursor = plan_open(&a, OUTPUT_DELAY);
    json_t *segments[3];
    plan_transition(&a, &b, &conf, &cursor, NULL, segments);
    segments[2] = plan_alone(&b, &conf, &cursor, 10);
    assert_string_equal(json_string_value(json_object_get(segments[1], "technique")), "blend");
    struct programme *programme = programme_new(open_track, NULL);
    char *makers[3] = {maker_text(), NULL, other ? "another program" : NULL};
    for (int i = 0; i < 3; i++) {
        uint64_t start = (uint64_t)json_integer_value(json_object_get(segments[i], "start_sample"));
        assert_int_equal(programme_add(programme, segments[i], &cause), 0);
        assert_int_equal(history_add(l, start / FRAME, 0, clock_wall_ns(), segments[i], makers[i]), 0);
    }
    free(makers[0]);
    library_close(l);
    uint64_t start = (uint64_t)json_integer_value(json_object_get(segments[1], "start_sample")) / FRAME;
    uint64_t end = (uint64_t)json_integer_value(json_object_get(segments[1], "end_sample")) / FRAME;
    uint64_t first = (start + end) / 2, count = end - first + 50;
    char *whole = xasprintf("%s/whole.mp3", dir), *part = xasprintf("%s/part.mp3", dir);
    struct render_file file = {.path = whole, .frames = first + count, .kbps = KBPS};
    int64_t bad;
    assert_int_equal(render_file_write(&file, programme, &bad, &cause), 0);
    struct again again = {.state = dir,
                          .file = {.path = part, .first = first, .frames = count, .kbps = KBPS}};
    struct again_told told = {0};
    if (again_render(&again, &told, &cause)) fail_msg("%s", cause);
    if (other) assert_string_equal(told.maker, "another program");
    if (!other) assert_null(told.maker);
    json_t *last = json_array_get(told.segments, json_array_size(told.segments) - 1);
    json_t *entry = json_array_get(json_object_get(last, "tracks"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "path")), b.path);
    json_decref(told.segments);
    free(told.maker);
    size_t x_len, y_len, info = mp3_frame_bytes(KBPS, 0), skipped = mp3_frame_offset(KBPS, first);
    size_t wanted = mp3_frame_offset(KBPS, first + count) - skipped;
    char *x = proc_read_file(whole, 1 << 24, &x_len, &cause),
         *y = proc_read_file(part, 1 << 24, &y_len, &cause);
    assert_int_equal(x_len, info + skipped + wanted);
    assert_int_equal(y_len, info + wanted);
    assert_memory_equal(y + info, x + info + skipped, y_len - info);
    free(x);
    free(y);
    free(whole);
    free(part);
    programme_free(programme);
    for (int i = 0; i < 3; i++)
        json_decref(segments[i]);
    track_free(&a);
    track_free(&b);
}

static void the_same_bytes(void **state)
{
    (void)state;
    check_same_bytes(0);
}

static void another_maker_is_told(void **state)
{
    (void)state;
    check_same_bytes(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(another_maker_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(no_database, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_history_lacks, setup, teardown),
        cmocka_unit_test_setup_teardown(live_input, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_beginning, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
