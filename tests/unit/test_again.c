/* What aired, rendered again: what is refused, and why. That the bytes are the same
 * tests/system/test_audition.py shows on a real station. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/library/history.h"
#include "root/library/library.h"
#include "root/work/again.h"
#include "root/work/output.h"

#define FRAME 1152

static char dir[64];
static char *cause;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/forever-again-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    free(cause);
    cause = NULL;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
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
    assert_int_equal(history_add(l, (uint64_t)(start / FRAME), 0, clock_wall_ns(), body), 0);
    library_close(l);
    json_decref(body);
}

static enum again_result again(uint64_t first, uint64_t frames)
{
    char *out = xasprintf("%s/out.mp3", dir);
    struct again a = {.state = dir, .file = {.path = out, .first = first, .frames = frames, .kbps = 192}};
    free(cause);
    cause = NULL;
    enum again_result result = again_render(&a, &cause);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_database, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_history_lacks, setup, teardown),
        cmocka_unit_test_setup_teardown(live_input, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_beginning, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
