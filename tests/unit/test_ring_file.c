/* The ring on disk: damage, files of others, another boot, and a ring at rest. */
#include "tests/unit/ring_stage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/ring_file.h"

static void damage(uint64_t byte, off_t at)
{
    struct ring_file file;
    assert_int_equal(ring_file_open(&file, path, KBPS, NULL), 0);
    if (at < 0) at = (off_t)(file.head_bytes + ring_file_at(&file, byte));
    uint8_t b;
    assert_int_equal(pread(file.fd, &b, 1, at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(file.fd, &b, 1, at), 1);
    ring_file_close(&file);
}

static void test_damaged_blocks(void **state)
{
    (void)state;
    /* frames 0..499 (500 = 10 blocks and 10 frames), the air at 250 (in block 5: 245..293) */
    static const struct {
        uint64_t frame, tail, head;
    } rows[] = {
        {0, 49, 500},    /* the past goes up to there */
        {120, 147, 500}, /* with all before it */
        {244, 245, 500}, /* the last whole block behind the air */
        {300, 0, 294},   /* the lead is cut */
        {495, 0, 490},   /* in the block that is not full yet */
        {249, 250, 250}, /* in the air's own block: nothing left, but never back */
        {251, 250, 250},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ring *ring = open_ring(path, 10, 10);
        ring_reset(ring, "s", (uint32_t)i, 0);
        for (int k = 0; k < 10; k++)
            append(ring, 50, 1);
        ring_set_floor(ring, 250);
        ring_close(ring);
        damage(mp3_frame_offset(KBPS, rows[i].frame) + 40, -1);
        for (int again = 0; again < 2; again++) {
            ring = open_ring(path, 10, 10);
            assert_int_equal(ring_tail(ring), rows[i].tail);
            assert_int_equal(ring_head(ring), rows[i].head);
            assert_int_equal(ring_floor(ring), 250);
            assert_int_equal(ring_lost(ring), !again);
            assert_frames(ring, ring_tail(ring), ring_head(ring), 1);
            ring_close(ring);
        }
        ring = open_ring(path, 10, 10);
        append(ring, 100, 1); /* goes on from there, checksums and all */
        ring_close(ring);
        ring = open_ring(path, 10, 10);
        assert_int_equal(ring_lost(ring), 0);
        assert_int_equal(ring_head(ring), rows[i].head + 100);
        ring_close(ring);
    }
}

static void test_other_files(void **state)
{
    (void)state;
    char old[160], station[40];
    snprintf(old, sizeof old, "%s.old", path);
    struct ring *ring = open_ring(path, 5, 5);
    append(ring, 300, 1);
    ring_set_floor(ring, 200);
    mark(ring, 200, "title", 1);
    snprintf(station, sizeof station, "%s", ring_station(ring));
    ring_close(ring);

    /* longer, shorter, shorter than the lead */
    static const double past[] = {20, 3, 0}, lead[] = {30, 3, 0};
    for (size_t i = 0; i < 3; i++) {
        ring = open_ring(path, past[i], lead[i]);
        assert_string_equal(ring_station(ring), station);
        assert_int_equal(ring_floor(ring), 200);
        assert_frames(ring, ring_tail(ring), ring_head(ring), 1);
        assert_int_equal(number_of(ring_mark(ring, 0)), 1);
        if (i < 2) {
            assert_int_equal(ring_head(ring), 300);
            assert_int_equal(ring_lost(ring), 0);
            if (i == 0) assert_int_equal(ring_tail(ring), 0);
        }
        ring_close(ring);
        ring = open_ring(path, past[i], lead[i]);
        assert_frames(ring, ring_tail(ring), ring_head(ring), 1);
        ring_close(ring);
    }

    /* another bit rate: the old one is kept beside */
    struct ring_conf conf = {.path = path, .kbps = 128, .past_s = 5, .lead_s = 5};
    assert_int_equal(ring_open(&ring, &conf, NULL), 0);
    assert_int_equal(ring_head(ring), 0);
    assert_null(ring_mark(ring, 0));
    assert_string_not_equal(ring_station(ring), station);
    ring_close(ring);
    assert_int_equal(rename(old, path), 0);
    ring = open_ring(path, 5, 5);
    assert_string_equal(ring_station(ring), station);
    ring_close(ring);

    /* no ring at all */
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "hello", 5), 5);
    close(fd);
    ring = open_ring(path, 5, 5);
    assert_int_equal(ring_head(ring), 0);
    ring_close(ring);
    conf = (struct ring_conf){.path = "/nonexistent/ring", .kbps = KBPS, .past_s = 5, .lead_s = 5};
    char *cause = NULL;
    assert_int_equal(ring_open(&ring, &conf, &cause), -1);
    assert_non_null(strstr(cause, "/nonexistent/ring"));
    free(cause);
    conf = (struct ring_conf){.kbps = 100, .past_s = 5, .lead_s = 5};
    assert_int_equal(ring_open(&ring, &conf, NULL), -1);
}

static void test_state_copies(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 5, 5);
    append(ring, 20, 1);
    /* the newest copy torn, whichever of the two it is: the one before it counts (here: not yet closed) */
    for (unsigned seen = 0, i = 0; seen != 3; i++) {
        assert_true(i < 8);
        for (unsigned k = 0; k <= i; k++)
            ring_set_anchor(ring, &(struct ring_anchor){i, 0, 0});
        ring_close(ring);
        struct ring_file file;
        assert_int_equal(ring_file_open(&file, path, KBPS, NULL), 0);
        uint64_t sequence = file.state.sequence;
        ring_file_close(&file);
        seen |= 1u << (sequence & 1);
        damage(0, 512 + (off_t)(sequence & 1) * 512 + 20);
        ring = open_ring(path, 5, 5);
        assert_int_equal(ring_head(ring), 20);
        assert_frames(ring, 0, 20, 1);
        assert_int_equal(ring_lost(ring), 0); /* same boot: nothing can be missing */
    }
    ring_close(ring);
}

static void test_other_boot(void **state)
{
    (void)state;
    static const char *const boot = "00000000-1111-2222-3333-444444444444";
    struct ring_anchor anchor = {77, 1000, 2000}, got;
    for (int clean = 0; clean < 2; clean++) {
        struct ring *ring = open_ring(path, 5, 5);
        if (!clean) assert_int_equal(ring_anchor(ring, &got), -1);
        append(ring, 100, 1);
        ring_set_anchor(ring, &anchor);
        assert_int_equal(ring_anchor(ring, &got), 1);
        assert_memory_equal(&got, &anchor, sizeof got);
        uint64_t serial = 0;
        mark(ring, 200, "title", clean);
        for (const struct ring_mark *m; (m = ring_mark_since(ring, serial));)
            serial = m->serial;
        ring_close(ring);

        struct ring_file file;
        assert_int_equal(ring_file_open(&file, path, KBPS, NULL), 0);
        snprintf(file.state.boot, sizeof file.state.boot, "%s", boot);
        snprintf(file.state.anchor_boot, sizeof file.state.anchor_boot, "%s", boot);
        if (!clean) file.state.flags &= ~(uint32_t)RING_CLEAN;
        ring_file_commit(&file);
        ring_file_close(&file);

        ring = open_ring(path, 5, 5);
        assert_int_equal(ring_lost(ring), !clean); /* the disk may lag behind what was sent */
        assert_int_equal(ring_anchor(ring, &got), 0);
        assert_int_equal(got.position, 77);
        assert_int_equal(got.wall_ns, 2000);
        mark(ring, 300, "other", clean);
        assert_true(ring_mark_since(ring, serial)->serial > serial + (clean ? 0 : 1000));
        ring_close(ring);
    }
}

static uint64_t room_of(const char *where)
{
    struct stat st;
    assert_int_equal(stat(where, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* A ring at rest has no room of its own, remembers that over a restart, and takes frames once it is roused.
 */
static void test_rest(void **state)
{
    (void)state;
    const struct ring_conf conf = {.path = path, .kbps = KBPS, .past_s = 30, .lead_s = 30, .resting = 1};
    struct ring *ring = NULL;
    char *cause = NULL;
    assert_int_equal(ring_open(&ring, &conf, &cause), 0);
    assert_true(ring_resting(ring));
    assert_in_range(room_of(path), 1, 64 << 10);
    assert_int_equal(append(ring, 1, 5), -1);
    assert_int_equal(ring_rouse(ring, &cause), 0);
    ring_reset(ring, ring_station(ring), 3, 98);
    assert_int_equal(append(ring, 60, 5), 0);
    assert_frames(ring, 98, 158, 5);
    assert_in_range(room_of(path), 480 << 10, 2 << 20); /* 60 s of 64 kbit/s */
    ring_close(ring);
    assert_int_equal(ring_open(&ring, &conf, &cause), 0); /* what was awake is not put to rest */
    assert_false(ring_resting(ring));
    assert_frames(ring, 98, 158, 5);
    ring_rest(ring);
    assert_in_range(room_of(path), 1, 64 << 10);
    assert_int_equal(ring_head(ring), 158);
    assert_int_equal(ring_tail(ring), 158);
    assert_null(ring_bytes(ring, mp3_frame_offset(KBPS, 157), mp3_frame_offset(KBPS, 158)));
    ring_close(ring);
    assert_int_equal(ring_open(&ring, &conf, &cause), 0);
    assert_true(ring_resting(ring));
    assert_int_equal(ring_rouse(ring, &cause), 0);
    assert_int_equal(append(ring, 100, 6), 0);
    assert_frames(ring, 158, 258, 6);
    ring_close(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damaged_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
