/* The marks beside a ring's frames: bounded, whole or not there, and those of the ring that leads. */
#include "tests/unit/ring_stage.h"

#include <fcntl.h>
#include <sys/stat.h>

static void test_marks(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 2, 3);
    append(ring, 100, 1);
    assert_int_equal(mark(ring, 0, "title", 1), 0);
    assert_int_equal(mark(ring, 0, "segment", 2), 0);
    assert_int_equal(mark(ring, 60, "segment", 3), 0);
    assert_int_equal(mark(ring, 40, "title", 4), 0);
    assert_int_equal(mark(ring, 160, "title", 5), 0); /* ahead of the frames */
    assert_int_equal(mark(ring, 159, "title", 6), -1);
    assert_int_equal(mark(ring, 160, "title", 5), 0); /* again: taken, not added */
    assert_int_equal(mark(ring, 200, "No", 7), -1);
    assert_int_equal(mark(ring, 200, "", 7), -1);
    assert_int_equal(mark(ring, 200, "a23456789012345678901234567890123", 7), -1);
    assert_int_equal(ring_mark_add(ring, 0, 200, "title", json_null(), NULL), -1);

    static const int order[] = {1, 2, 4, 3, 5};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(number_of(ring_mark(ring, i)), order[i]);
    assert_null(ring_mark(ring, 5));
    assert_int_equal(number_of(ring_mark_at(ring, "title", 39)), 1);
    assert_int_equal(number_of(ring_mark_at(ring, "title", 40)), 4);
    assert_int_equal(number_of(ring_mark_at(ring, "title", UINT64_MAX)), 5);
    assert_null(ring_mark_at(ring, "none", UINT64_MAX));
    uint64_t serial = 0;
    int seen = 0;
    for (const struct ring_mark *m; (m = ring_mark_since(ring, serial)); serial = m->serial)
        assert_int_equal(number_of(m), ++seen);
    assert_int_equal(seen, 5);

    /* a retraction takes them, and their serials don't come back, not even by a restart */
    assert_int_equal(ring_retract(ring, 1, 60, NULL), 0);
    assert_int_equal(number_of(ring_mark(ring, 2)), 4);
    assert_null(ring_mark(ring, 3));
    ring_close(ring);
    ring = open_ring(path, 2, 3);
    assert_null(ring_mark(ring, 3));
    assert_int_equal(mark(ring, 60, "segment", 8), 0);
    assert_true(ring_mark_since(ring, serial) != NULL);
    assert_int_equal(number_of(ring_mark_since(ring, serial)), 8);
    /* of an older branch: only before the fork */
    json_t *body = json_pack("{s:i}", "n", 9);
    assert_int_equal(ring_mark_add(ring, 0, 60, "title", body, NULL), -1);
    assert_int_equal(ring_mark_add(ring, 2, 61, "title", body, NULL), -1);
    assert_int_equal(ring_mark_add(ring, 0, 59, "title", body, NULL), 0);
    json_decref(body);

    /* with the tail gone by, the last of each kind stays: it still holds there */
    append(ring, 100, 1);
    ring_set_floor(ring, 160);
    play(ring, 1000, 1);
    assert_true(ring_tail(ring) > 200);
    assert_int_equal(number_of(ring_mark(ring, 0)), 9);
    assert_int_equal(number_of(ring_mark(ring, 1)), 8);
    assert_null(ring_mark(ring, 2));
    assert_int_equal(mark(ring, ring_floor(ring) - 1, "title", 10), -1); /* aired */
    ring_reset(ring, "s", 7, 100);
    assert_null(ring_mark(ring, 0));
    assert_int_equal(mark(ring, 90, "title", 11), 0); /* what holds where a relay joins */
    ring_close(ring);
    ring = open_ring(path, 2, 3);
    assert_int_equal(number_of(ring_mark(ring, 0)), 11);
    assert_null(ring_mark(ring, 1));
    ring_close(ring);
}

static void test_marks_bounded(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 2, 3);
    char name[160];
    struct stat st;
    snprintf(name, sizeof name, "%s.marks", path);
    append(ring, 10, 1);
    for (unsigned i = 0; i < RING_MARKS_MAX; i++)
        assert_int_equal(mark(ring, 1000 + i, "title", (int)i), 0);
    assert_int_equal(mark(ring, 100000, "title", 1), -1);
    assert_int_equal(ring_retract(ring, 1, 10, NULL), 0);
    assert_null(ring_mark(ring, 0));
    assert_int_equal(stat(name, &st), 0);
    assert_true(st.st_size < 100000); /* what is dead does not stay */
    json_t *body = json_object();
    char *big = malloc(RING_MARK_MAX_BYTES);
    memset(big, 'x', RING_MARK_MAX_BYTES - 1);
    big[RING_MARK_MAX_BYTES - 1] = 0;
    json_object_set_new(body, "text", json_string(big));
    assert_int_equal(ring_mark_add(ring, 1, 20, "title", body, NULL), -1);
    json_decref(body);
    free(big);
    ring_close(ring);
}

static void test_torn_marks(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 2, 3);
    char name[160];
    mark(ring, 5, "title", 1);
    mark(ring, 6, "title", 2);
    ring_close(ring);
    snprintf(name, sizeof name, "%s.marks", path);
    int fd = open(name, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "01234567 {\"serial\":9", 20), 20);
    close(fd);
    ring = open_ring(path, 2, 3);
    assert_int_equal(mark(ring, 7, "title", 3), 0);
    ring_close(ring);
    ring = open_ring(path, 2, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(number_of(ring_mark(ring, i)), i + 1);
    assert_null(ring_mark(ring, 3));
    ring_close(ring);
}

/* A ring at another bit rate has the marks of the one that leads, and its forks. */
static void test_align(void **state)
{
    (void)state;
    struct ring *lead = open_ring(NULL, 30, 30), *ring = NULL;
    const struct ring_conf conf = {.kbps = KBPS, .past_s = 30, .lead_s = 30, .marks_of = lead};
    char *cause = NULL;
    assert_int_equal(ring_open(&ring, &conf, &cause), 0);
    assert_int_equal(ring_align(ring, lead), 1); /* another station */
    assert_string_equal(ring_station(ring), ring_station(lead));
    ring_reset(ring, ring_station(lead), ring_branch(lead), 0);
    assert_int_equal(append(lead, 200, 1), 0);
    assert_int_equal(append(ring, 150, 2), 0);
    assert_int_equal(mark(lead, 120, "title", 7), 0);
    assert_int_equal(number_of(ring_mark_at(ring, "title", 130)), 7);
    assert_int_equal(number_of(ring_mark(ring, 0)), 7);
    assert_int_equal(number_of(ring_mark_since(ring, 0)), 7);
    assert_int_equal(mark(ring, 130, "title", 8), -1);
    ring_set_floor(lead, 60);
    assert_int_equal(ring_align(ring, lead), 0);
    assert_int_equal(ring_floor(ring), 60);
    assert_int_equal(ring_retract(lead, 1, 180, &cause), 0); /* beyond what the other has */
    assert_int_equal(ring_align(ring, lead), 0);
    assert_int_equal(ring_branch(ring), 1);
    assert_int_equal(ring_head(ring), 150);
    uint64_t fork; /* of one that holds more than this ring: where the programme was cut */
    assert_int_equal(ring_fork_after(ring, 0, 190, &fork), 0);
    assert_int_equal(fork, 180);
    assert_int_equal(ring_branch_at(ring, 170), 0);
    assert_int_equal(ring_branch_at(ring, 180), 1);
    assert_int_equal(ring_retract(lead, 2, 100, &cause), 0);
    assert_int_equal(ring_align(ring, lead), 0);
    assert_int_equal(ring_branch(ring), 2);
    assert_int_equal(ring_head(ring), 100);
    assert_null(ring_mark(ring, 0)); /* gone with the old future */
    assert_frames(ring, 0, 100, 2);
    assert_int_equal(append(ring, 20, 3), 0);
    assert_int_equal(append(lead, 40, 3), 0);
    ring_reset(lead, ring_station(lead), 9, 5000);
    assert_int_equal(ring_align(ring, lead), 1); /* an unknown branch */
    assert_int_equal(ring_tail(ring), ring_head(ring));
    assert_int_equal(ring_branch(ring), 9);
    ring_close(ring);
    ring_close(lead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_marks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_marks_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_marks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_align, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
