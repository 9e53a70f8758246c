/* The render tool on a small crate of synthesised files: the same bytes each time, analyses kept, broken
 * files left out, wrong options refused. */
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
#include <sysexits.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/work/crate.h"
#include "root/work/work.h"
#include "tests/unit/remove_tree.h"
#include "tests/unit/wav.h"

#define RATE    44100
#define SECONDS 9

static char dir[64];
static int stderr_kept;

static char *in_dir(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

/* A beep each half second over a tone: quick to make, and different for each note. */
static void write_wav(const char *name, double note)
{
    size_t samples = SECONDS * RATE;
    int16_t *pcm = xmalloc(samples * sizeof *pcm);
    for (size_t n = 0; n < samples; n++) {
        double t = (double)n / RATE, beat = fmod(t, 0.5);
        double x = 0.2 * sin(2 * M_PI * note * t) + 0.5 * exp(-beat * 30) * sin(2 * M_PI * 70 * beat);
        pcm[n] = (int16_t)lrint(x * 30000);
    }
    char *path = in_dir(name);
    wav_file(path, pcm, samples, 1, RATE);
    free(path);
    free(pcm);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/forever-render-XXXXXX");
    assert_non_null(mkdtemp(dir));
    char *music = in_dir("music"), *broken = in_dir("music/broken.mp3");
    assert_int_equal(mkdir(music, 0700), 0);
    write_wav("music/a.wav", 220);
    write_wav("music/b.wav", 330);
    write_wav("music/copy of a.wav", 220);
    write_wav("music/d.wav", 440);
    assert_int_equal(proc_write_file(broken, "no music at all", 15, 0644, NULL), 0);
    free(music);
    free(broken);
    /* what the tool says on the way is not ours to show */
    stderr_kept = dup(STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    close(null);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dup2(stderr_kept, STDERR_FILENO);
    close(stderr_kept);
    return remove_tree(dir);
}

/* Runs the tool with the music folder; further options end with NULL. */
static int render(const char *out, const char *minutes, ...)
{
    char *music = in_dir("music"), *file = in_dir(out), *state = in_dir("state");
    char *argv[24] = {"render",    "--library",     music,   "--state", state,
                      "--minutes", (char *)minutes, "--out", file};
    int argc = 9;
    va_list list;
    va_start(list, minutes);
    for (char *arg; (arg = va_arg(list, char *));)
        argv[argc++] = arg;
    va_end(list);
    int code = tool_render(argc, argv);
    free(music);
    free(file);
    free(state);
    return code;
}

static char *read_file(const char *name, size_t *len)
{
    char *path = in_dir(name), *cause = NULL, *bytes = proc_read_file(path, 64 << 20, len, &cause);
    if (!bytes) fail_msg("%s", cause);
    free(path);
    return bytes;
}

static void check_same(const char *a, const char *b, int same)
{
    size_t a_len, b_len;
    char *x = read_file(a, &a_len), *y = read_file(b, &b_len);
    assert_int_equal(a_len == b_len && !memcmp(x, y, a_len), same);
    free(x);
    free(y);
}

static void test_crate(void **state)
{
    (void)state;
    char *roots[] = {in_dir("music"), in_dir("music")}, *kept = in_dir("kept"), *cause = NULL;
    for (int turn = 0; turn < 2; turn++) {
        struct crate *crate;
        struct crate_report report;
        if (crate_open(&crate, roots, 2, kept, &report, &cause) < 0) fail_msg("%s", cause);
        assert_int_equal(report.files, 5);
        assert_int_equal(report.analysed, turn ? 0 : 4);
        assert_int_equal(report.failed, turn ? 0 : 1);
        assert_int_equal(report.same, 1);
        assert_int_equal(crate_count(crate), 3);
        assert_non_null(strstr(crate_track(crate, 1)->path, "/a.wav"));
        assert_non_null(strstr(crate_track(crate, 3)->path, "/d.wav"));
        assert_true(fabs(crate_track(crate, 1)->features.duration_s - SECONDS) < 1e-6);
        assert_null(crate_track(crate, 0));
        assert_null(crate_track(crate, 4));
        crate_free(crate);
    }
    free(roots[0]);
    free(roots[1]);
    free(kept);
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    char *line = in_dir("line.json");
    assert_int_equal(render("one.wav", "0.5", "--seed", "7", "--timeline", line, NULL), EX_OK);
    assert_int_equal(render("two.wav", "0.5", "--seed", "7", NULL), EX_OK);
    check_same("one.wav", "two.wav", 1);
    assert_int_equal(render("one.mp3", "0.5", "--seed", "7", NULL), EX_OK);
    assert_int_equal(render("two.mp3", "0.5", "--seed=7", NULL), EX_OK);
    check_same("one.mp3", "two.mp3", 1);
    size_t len;
    char *bytes = read_file("one.wav", &len);
    assert_int_equal(len, 44 + 4 * 1152 * llround(30.0 * RATE / 1152));
    free(bytes);
    bytes = read_file("one.mp3", &len);
    assert_true((uint8_t)bytes[0] == 0xff && ((uint8_t)bytes[1] & 0xe0) == 0xe0);
    free(bytes);
    free(line);
}

static void test_timeline(void **state)
{
    (void)state;
    char *cause = NULL;
    size_t len, i;
    char *text = read_file("line.json", &len);
    json_t *line = json_parse(text, len, 1 << 20, &cause), *item;
    assert_non_null(line);
    double at = 0;
    json_array_foreach(json_object_get(line, "segments"), i, item)
    {
        assert_true(fabs(json_real_value(json_object_get(item, "start_s")) - at) < 1e-9);
        at = json_real_value(json_object_get(item, "end_s"));
        assert_null(json_object_get(item, "plan"));
    }
    assert_true(fabs(at - json_real_value(json_object_get(line, "duration_s"))) < 1e-9);
    assert_int_equal(json_integer_value(json_object_get(line, "seed")), 7);
    json_t *transitions = json_object_get(line, "transitions");
    assert_true(json_array_size(transitions) >= 2);
    json_array_foreach(transitions, i, item)
    {
        assert_true(json_is_string(json_object_get(item, "technique")));
        assert_true(json_is_real(json_object_get(item, "tempo_change_pct")));
        assert_true(json_is_string(json_object_get(item, "from")) &&
                    json_is_string(json_object_get(item, "to")));
        double start = json_real_value(json_object_get(item, "start_s"));
        assert_true(start >= 0 && json_real_value(json_object_get(item, "end_s")) > start);
    }
    json_decref(line);
    free(text);
}

/* Whether the timeline names a track. */
static int plays(const char *line, const char *name)
{
    size_t len;
    char *text = read_file(line, &len);
    int found = strstr(text, name) != NULL;
    free(text);
    return found;
}

/* A file that is not what was analysed any more, though it looks like it: found while it is planned with, it
 * is left out, and the rest is what it is without it. */
static void test_a_file_that_fails_on_the_way(void **state)
{
    (void)state;
    char *path = in_dir("music/d.wav"), *line = in_dir("broken.json"),
         bytes[44 + 2 * SECONDS * RATE] = "RIFF";
    struct stat st;
    assert_true(plays("line.json", "/d.wav"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, sizeof bytes);
    assert_int_equal(proc_write_file(path, bytes, sizeof bytes, 0644, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
    assert_int_equal(render("broken.wav", "0.5", "--seed", "7", "--timeline", line, NULL), EX_OK);
    assert_false(plays("broken.json", "/d.wav"));
    assert_true(plays("broken.json", "/a.wav") && plays("broken.json", "/b.wav"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(render("without.wav", "0.5", "--seed", "7", NULL), EX_OK);
    check_same("broken.wav", "without.wav", 1);
    free(path);
    free(line);
}

static void test_wrong_use(void **state)
{
    (void)state;
    assert_int_equal(render("x.ogg", "1", NULL), EX_USAGE);
    assert_int_equal(render("x.wav", "0", NULL), EX_USAGE);
    assert_int_equal(render("x.wav", "500", NULL), EX_USAGE);
    assert_int_equal(render("x.wav", "1", "--sede", "1", NULL), EX_USAGE);
    assert_int_equal(render("x.mp3", "1", "--bitrate", "193", NULL), EX_USAGE);
    assert_int_equal(render("nowhere/x.wav", "0.1", NULL), EX_CANTCREAT);
    char *none[] = {"render", "--library", "/nonexistent", "--out", "/tmp/x.wav"};
    assert_int_equal(tool_render(5, none), EX_NOINPUT);
    char *bare[] = {"render", "--out", "/tmp/x.wav"};
    assert_int_equal(tool_render(3, bare), EX_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crate),
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_timeline),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_a_file_that_fails_on_the_way),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
