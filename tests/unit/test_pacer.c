/* The pacer: exact to the frame over a day, across restarts, standstills and towards another clock. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/pacer.h"
#include "common/ring_file.h"
#include "tests/unit/frames.h"

#define KBPS    64
#define S       CLOCK_NS_PER_S
#define BATCH   49
#define LAST_NS 26122448

static int64_t boot_ns, wall_ns;
static char dir[64], path[96];
static uint8_t *batch; /* 49 frames from a block's start: their padding repeats */
static size_t batch_len;

static int setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    boot_ns = 1000 * S + 12345;
    wall_ns = INT64_C(1700000000) * S;
    clock_fake(&boot_ns, &wall_ns);
    batch = frames_make(KBPS, 0, BATCH, 1, &batch_len);
    snprintf(dir, sizeof dir, "/tmp/test_pacer.XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/ring", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char marks[128];
    clock_fake(NULL, NULL);
    free(batch);
    snprintf(marks, sizeof marks, "%s.marks", path);
    unlink(marks);
    unlink(path);
    return rmdir(dir);
}

static void wait_ns(int64_t ns)
{
    boot_ns += ns;
    wall_ns += ns;
}

static struct ring *open_ring(const char *where, double past_s, double lead_s)
{
    struct ring_conf conf = {.path = where, .kbps = KBPS, .past_s = past_s, .lead_s = lead_s};
    struct ring *ring = NULL;
    assert_int_equal(ring_open(&ring, &conf, NULL), 0);
    return ring;
}

static struct pacer *new_pacer(struct ring *ring, double start_lead_s)
{
    return pacer_new(ring, &(struct pacer_conf){start_lead_s});
}

/* Appends batches until `lead` frames lie ahead of the floor (head must be at a block's start). */
static void fill(struct ring *ring, uint64_t lead)
{
    while (ring_head(ring) - ring_floor(ring) < lead)
        assert_int_equal(ring_append(ring, ring_branch(ring), ring_head(ring), BATCH, batch, batch_len, NULL),
                         0);
}

/* Frames begun after ns of music, by the definition. */
static uint64_t frames_in(int64_t ns)
{
    return (uint64_t)((__int128)ns * MP3_RATE / ((__int128)MP3_FRAME_SAMPLES * S)) + 1;
}

static void test_a_day(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 2, 20);
    struct pacer *pacer = new_pacer(ring, 1);
    fill(ring, 500);
    uint64_t seed = 7;
    int64_t start = boot_ns, end = start + 86400 * S;
    assert_int_equal(pacer_air(pacer, NULL), 1);
    uint64_t air = 1;
    while (boot_ns < end) {
        seed = frames_hash(seed);
        wait_ns((int64_t)(seed % (uint64_t)(4 * S))); /* up to 4 s at once, to the nanosecond */
        uint32_t ns;
        air = pacer_air(pacer, &ns);
        int64_t want = (int64_t)frames_in(boot_ns - start);
        if (llabs((int64_t)air - want) > 0) {
            /* the two ways to round may differ within the nanosecond at a frame's start */
            assert_true(llabs((int64_t)air - want) == 1 && (ns < 2 || ns > LAST_NS - 2));
        }
        assert_in_range(ns, 0, LAST_NS);
        assert_int_equal(ring_floor(ring), air);
        fill(ring, 300);
    }
    assert_true(air > 3307000);
    assert_int_equal(pacer_starvations(pacer), 0);
    assert_int_equal(pacer_starved(pacer), 0);
    pacer_free(pacer);
    ring_close(ring);
}

/* Whoever sleeps until a position's time finds it on air, and not a nanosecond earlier. */
static void test_until(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 2, 20);
    struct pacer *pacer = new_pacer(ring, 1);
    assert_true(pacer_until(pacer, 5) == INT64_MAX); /* stands */
    fill(ring, 500);
    uint64_t air = pacer_air(pacer, NULL), seed = 3;
    assert_true(pacer_until(pacer, air) <= 0);
    for (int i = 0; i < 1000; i++) {
        seed = frames_hash(seed);
        uint64_t to = air + 1 + seed % 200;
        int64_t left = pacer_until(pacer, to);
        assert_true(left > 0);
        wait_ns(left - 1);
        assert_int_equal(pacer_air(pacer, NULL), to - 1);
        assert_int_equal(pacer_until(pacer, to), 1);
        wait_ns(1);
        air = pacer_air(pacer, NULL);
        assert_int_equal(air, to);
        fill(ring, 300);
    }
    /* on its way to another clock the guess may be late by a part of the slew, and comes true at the end */
    for (int behind = 0; behind < 2; behind++) {
        air = pacer_air(pacer, NULL);
        pacer_follow(pacer, behind ? air - 20 : air + 20, 0);
        for (int i = 0; i < 40; i++) {
            uint64_t to = air + 32;
            int64_t left, asked = 0;
            while ((left = pacer_until(pacer, to)) > 0) {
                wait_ns(left + 1000);
                pacer_air(pacer, NULL);
                asked++;
            }
            assert_in_range(asked, 1, 3);
            air = pacer_air(pacer, NULL);
            assert_in_range(air, to, to + 1);
            fill(ring, 300);
        }
    }
    pacer_free(pacer);
    ring_close(ring);
}

static void test_start_and_standstill(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 5, 10);
    struct pacer *pacer = new_pacer(ring, 2); /* 77 frames */
    uint32_t ns;
    assert_int_equal(pacer_air(pacer, NULL), 0);
    assert_int_equal(pacer_starved(pacer), 1);
    assert_true(pacer_on_air(pacer, &ns) == UINT64_MAX);
    fill(ring, 49);
    wait_ns(S);
    assert_int_equal(pacer_air(pacer, NULL), 0);
    fill(ring, 98);
    wait_ns(S);
    assert_int_equal(pacer_air(pacer, &ns), 1);
    assert_int_equal(ns, 0);
    assert_int_equal(pacer_starved(pacer), 0);
    wait_ns(26122448); /* the frame lasts 0.98 ns more */
    assert_int_equal(pacer_air(pacer, &ns), 2);
    assert_int_equal(ns, 0); /* starts are given in whole nanoseconds, rounded down */
    wait_ns(1000);
    assert_int_equal(pacer_on_air(pacer, &ns), 1);
    assert_int_equal(ns, 1000);
    assert_true(fabs(pacer_lead_s(pacer) - 96.0 * MP3_FRAME_SAMPLES / MP3_RATE) < 1e-9);

    /* dry */
    wait_ns(10 * S);
    assert_int_equal(pacer_air(pacer, NULL), 98);
    assert_int_equal(pacer_starved(pacer), 1);
    assert_int_equal(pacer_starvations(pacer), 1);
    assert_true(pacer_on_air(pacer, &ns) == UINT64_MAX);
    wait_ns(10 * S);
    fill(ring, 49);
    assert_int_equal(pacer_air(pacer, NULL), 98); /* not enough to go on with */
    assert_int_equal(pacer_starvations(pacer), 1);
    fill(ring, 98);
    wait_ns(S);
    assert_int_equal(pacer_air(pacer, NULL), 99);
    wait_ns(S);
    assert_int_equal(pacer_air(pacer, NULL), 98 + frames_in(S));
    assert_int_equal(pacer_starvations(pacer), 1);
    pacer_free(pacer);
    ring_close(ring);
}

static void test_restart_same_boot(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 5, 30);
    struct pacer *pacer = new_pacer(ring, 1);
    fill(ring, 1000);
    int64_t start = boot_ns;
    pacer_air(pacer, NULL);
    wait_ns(7 * S + 3);
    uint64_t before = pacer_air(pacer, NULL);
    for (int killed = 0; killed < 2; killed++) {
        if (!killed) pacer_free(pacer);
        ring_close(ring);
        if (killed) free(pacer); /* a killed process says nothing */
        wait_ns(5 * S);
        ring = open_ring(path, 5, 30);
        pacer = new_pacer(ring, 1);
        uint64_t air = pacer_air(pacer, NULL);
        assert_int_equal(air, frames_in(boot_ns - start));
        assert_true(air > before);
        assert_int_equal(pacer_starved(pacer), 0);
        before = air;
    }
    /* longer than the lead: stands at the end, then goes on with the first unsent frame */
    pacer_free(pacer);
    ring_close(ring);
    wait_ns(3600 * S);
    ring = open_ring(path, 5, 30);
    pacer = new_pacer(ring, 1);
    uint64_t head = ring_head(ring);
    assert_int_equal(pacer_air(pacer, NULL), head);
    assert_int_equal(pacer_starved(pacer), 1);
    fill(ring, 98);
    assert_int_equal(pacer_air(pacer, NULL), head + 1);
    pacer_free(pacer);
    ring_close(ring);
}

/* As if the machine had been started anew in between. */
static void reboot(void)
{
    struct ring_file file;
    assert_int_equal(ring_file_open(&file, path, KBPS, NULL), 0);
    snprintf(file.state.anchor_boot, sizeof file.state.anchor_boot, "another");
    ring_file_commit(&file);
    ring_file_close(&file);
    boot_ns = 55 * S;
}

static void test_restart_other_boot(void **state)
{
    (void)state;
    static const struct {
        int64_t away_ns;
        uint64_t want; /* frames on from the last; 0: the end */
    } rows[] = {{0, 0 + 1}, {6 * S, 230}, {-3600 * S, 1}, {3600 * S, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ring *ring = open_ring(path, 5, 30);
        ring_reset(ring, "s", 1, 4900);
        struct pacer *pacer = new_pacer(ring, 1);
        fill(ring, 1000);
        pacer_air(pacer, NULL);
        wait_ns(7 * S);
        uint64_t before = pacer_air(pacer, NULL);
        pacer_free(pacer);
        ring_close(ring);
        wall_ns += rows[i].away_ns;
        reboot();
        ring = open_ring(path, 5, 30);
        pacer = new_pacer(ring, 1);
        uint64_t air = pacer_air(pacer, NULL);
        if (rows[i].want)
            assert_in_range(air, before, before + rows[i].want);
        else
            assert_int_equal(air, ring_head(ring));
        if (rows[i].want > 1) assert_true(air >= before + rows[i].want - 1);
        assert_int_equal(pacer_starved(pacer), rows[i].want == 0);
        if (rows[i].want) {
            int64_t rest = S;
            wait_ns(rest);
            assert_in_range(pacer_air(pacer, NULL), air + frames_in(rest) - 2, air + frames_in(rest));
        }
        pacer_free(pacer);
        ring_close(ring);
    }
}

static void test_reset(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 5, 30);
    struct pacer *pacer = new_pacer(ring, 1);
    fill(ring, 500);
    pacer_air(pacer, NULL);
    wait_ns(S);
    assert_true(pacer_air(pacer, NULL) > 1);
    static const uint64_t positions[] = {490, 0, 1000 * 49};
    for (size_t i = 0; i < 3; i++) {
        ring_reset(ring, "s", 1, positions[i]);
        assert_int_equal(pacer_air(pacer, NULL), positions[i]);
        assert_int_equal(pacer_starved(pacer), 1);
        fill(ring, 500);
        assert_int_equal(pacer_air(pacer, NULL), positions[i] + 1);
        assert_int_equal(pacer_starvations(pacer), 0);
    }
    pacer_free(pacer);
    ring_close(ring);
}

/* The root's clock: frame 0 began at root_ns. */
static void follow(struct pacer *pacer, int64_t root_ns)
{
    int64_t since = boot_ns - root_ns;
    uint64_t frames = mp3_ns_to_frame(since);
    pacer_follow(pacer, frames, (uint32_t)(since - mp3_frame_to_ns(frames)));
}

static void test_slew(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct ring *ring = open_ring(NULL, 5, 60);
        struct pacer *pacer = new_pacer(ring, 1);
        fill(ring, 500);
        int64_t start = boot_ns, root = start + (ahead ? 1 : -1) * (S + 234567891);
        pacer_air(pacer, NULL);
        wait_ns(2 * S);
        uint64_t last = pacer_air(pacer, NULL);
        follow(pacer, root);
        assert_true(fabs(pacer_offset_s(pacer) - (ahead ? 1.234567891 : -1.234567891)) < 1e-6);
        int64_t t0 = boot_ns;
        double first = (double)last;
        for (int second = 1; second <= 130; second++) {
            for (int k = 0; k < 10; k++) { /* never faster or slower than 1 % */
                wait_ns(S / 10);
                uint64_t air = pacer_air(pacer, NULL);
                double want = (double)(boot_ns - t0) / 1e9 * MP3_RATE / MP3_FRAME_SAMPLES,
                       got = (double)air - first;
                assert_true(got <= 1.01 * want + 1.01 && got >= 0.99 * want - 1.01);
                assert_true(air >= last);
                last = air;
            }
            fill(ring, 500);
            if (second % 10 == 0) follow(pacer, root);
        }
        assert_true(fabs(pacer_offset_s(pacer)) < 1e-6);
        wait_ns(S);
        uint64_t air = pacer_air(pacer, NULL);
        assert_in_range(air, frames_in(boot_ns - root) - 1, frames_in(boot_ns - root) + 1);
        assert_int_equal(pacer_starvations(pacer), 0);
        pacer_free(pacer);
        ring_close(ring);
    }
}

static void test_slewed_restart(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 5, 30);
    struct pacer *pacer = new_pacer(ring, 1);
    fill(ring, 1000);
    pacer_air(pacer, NULL);
    wait_ns(S);
    pacer_air(pacer, NULL);
    follow(pacer, boot_ns - 2 * S); /* 1 s behind: faster for 100 s */
    wait_ns(10 * S);
    uint64_t air = pacer_air(pacer, NULL);
    assert_in_range(air, frames_in(11 * S + S / 10) - 1, frames_in(11 * S + S / 10) + 1);
    pacer_free(pacer);
    ring_close(ring);
    ring = open_ring(path, 5, 30);
    pacer = new_pacer(ring, 1);
    assert_int_equal(pacer_air(pacer, NULL), air);
    wait_ns(S);
    assert_in_range(pacer_air(pacer, NULL), air + frames_in(S) - 2, air + frames_in(S));
    pacer_free(pacer);
    ring_close(ring);
}

static void test_jump(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 5, 60);
    struct pacer *pacer = new_pacer(ring, 1);
    uint32_t ns;
    fill(ring, 2000);
    int64_t start = boot_ns;
    pacer_air(pacer, NULL);
    wait_ns(S);
    pacer_air(pacer, NULL);
    follow(pacer, start - 10 * S); /* forward at once */
    assert_int_equal(pacer_air(pacer, NULL), frames_in(11 * S));
    follow(pacer, start - 6 * S); /* back: stands until the root is there */
    assert_int_equal(pacer_air(pacer, NULL), frames_in(11 * S));
    assert_true(pacer_on_air(pacer, &ns) == UINT64_MAX);
    wait_ns(3 * S);
    follow(pacer, start - 6 * S);
    assert_int_equal(pacer_air(pacer, NULL), frames_in(11 * S));
    wait_ns(2 * S);
    assert_int_equal(pacer_air(pacer, NULL), frames_in(12 * S));
    assert_int_equal(pacer_on_air(pacer, &ns), frames_in(12 * S) - 1);
    assert_int_equal(pacer_starvations(pacer), 0);
    /* nonsense from the wire is not followed */
    pacer_follow(pacer, UINT64_MAX, 0);
    pacer_follow(pacer, 1, UINT32_MAX);
    assert_int_equal(pacer_air(pacer, NULL), frames_in(12 * S));
    pacer_free(pacer);
    ring_close(ring);
}

static void test_join(void **state)
{
    (void)state;
    /* a relay that wakes: the root's word, then frames from behind its air up to a little before it */
    struct ring *ring = open_ring(NULL, 20, 60);
    struct pacer *pacer = new_pacer(ring, 0.5);
    uint64_t on_air = 100 * 49;
    ring_reset(ring, "s", 1, on_air - 10 * 49);
    pacer_follow(pacer, on_air, 0);
    fill(ring, 5 * 49);
    wait_ns(S / 10);
    assert_int_equal(pacer_air(pacer, NULL), on_air - 10 * 49); /* the present is still to come */
    fill(ring, 12 * 49);
    assert_int_equal(pacer_air(pacer, NULL), on_air + frames_in(S / 10));
    assert_int_equal(pacer_starved(pacer), 0);
    assert_int_equal(pacer_starvations(pacer), 0);
    pacer_free(pacer);

    /* a link too slow for the present: after a while what is there plays */
    ring_reset(ring, "s", 2, 0);
    pacer = new_pacer(ring, 0.5);
    pacer_follow(pacer, 4900, 0);
    fill(ring, 98);
    assert_int_equal(pacer_air(pacer, NULL), 0);
    wait_ns(3 * S);
    assert_int_equal(pacer_air(pacer, NULL), 1);
    pacer_free(pacer);
    ring_close(ring);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_day),
        CASE(test_until),
        CASE(test_start_and_standstill),
        CASE(test_restart_same_boot),
        CASE(test_restart_other_boot),
        CASE(test_reset),
        CASE(test_slew),
        CASE(test_slewed_restart),
        CASE(test_jump),
        CASE(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
