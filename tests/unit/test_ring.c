/* The ring: what is kept, what is refused, and where the future is another one. */
#include "tests/unit/ring_stage.h"

#include "common/crc32c.h"
#include "common/ring_file.h"

static void test_crc32c(void **state)
{
    (void)state;
    /* RFC 3720, B.4 */
    uint8_t zeros[32] = {0}, ones[32], up[32];
    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(crc32c(crc32c(0, up, cut), up + cut, 32 - cut), 0x46dd794e);
}

static void test_append_and_read(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 5, 10);
    assert_true(ring_capacity(ring) >= (15 * MP3_RATE + MP3_FRAME_SAMPLES - 1) / MP3_FRAME_SAMPLES + 64);
    assert_int_equal(strlen(ring_station(ring)), 32);
    assert_null(ring_bytes(ring, 0, 1));
    assert_non_null(ring_bytes(ring, 0, 0));
    assert_int_equal(append(ring, 10, 1), 0);
    assert_int_equal(ring_head(ring), 10);
    assert_int_equal(ring_byte_head(ring), mp3_frame_offset(KBPS, 10));
    assert_frames(ring, 0, 10, 1);

    /* refused without a trace: wrong position, wrong branch, wrong bytes */
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 10, 3, 1, &len);
    char *cause = NULL;
    assert_int_equal(ring_append(ring, 0, 9, 3, bytes, len, &cause), -1);
    free(cause);
    assert_int_equal(ring_append(ring, 1, 10, 3, bytes, len, &cause), -1);
    free(cause);
    assert_int_equal(ring_append(ring, 0, 10, 3, bytes, len - 1, &cause), -1);
    free(cause);
    assert_int_equal(ring_append(ring, 0, 10, 2, bytes, len, &cause), -1);
    free(cause);
    bytes[0] = 0;
    assert_int_equal(ring_append(ring, 0, 10, 3, bytes, len, &cause), -1);
    free(cause);
    free(bytes);
    assert_int_equal(ring_head(ring), 10);
    ring_close(ring);
}

static void test_evict(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 2, 3);
    uint64_t capacity = ring_capacity(ring);
    /* never over the floor, however full: the capacity fits beside a floor that stands */
    ring_reset(ring, "s", 1, 1000);
    while (append(ring, 1, 1) == 0) {
    }
    assert_true(ring_head(ring) - 1000 >= capacity);
    uint64_t full = ring_head(ring);
    assert_int_equal(ring_tail(ring), 1000);
    assert_frames(ring, 1000, full, 1);
    ring_set_floor(ring, 1100);
    assert_int_equal(append(ring, 49, 1), 0);
    assert_true(ring_tail(ring) > 1000 && ring_tail(ring) <= 1100);
    assert_frames(ring, ring_tail(ring), full + 49, 1);
    assert_null(ring_bytes(ring, ring_byte_tail(ring) - 1, ring_byte_head(ring)));
    assert_null(ring_bytes(ring, ring_byte_tail(ring), ring_byte_head(ring) + 1));

    /* several times round, and any stretch is one piece */
    ring_set_floor(ring, ring_head(ring));
    play(ring, 3000, 1);
    assert_true(ring_head(ring) - ring_tail(ring) >= capacity - 49);
    assert_frames(ring, ring_tail(ring), ring_head(ring), 1);
    uint64_t head = ring_head(ring), tail = ring_tail(ring);
    ring_close(ring);
    ring = open_ring(path, 2, 3);
    assert_int_equal(ring_head(ring), head);
    assert_int_equal(ring_tail(ring), tail);
    assert_int_equal(ring_lost(ring), 0);
    assert_frames(ring, tail, head, 1);
    ring_close(ring);
}

static void test_floor(void **state)
{
    (void)state;
    struct ring *ring = open_ring(NULL, 5, 5);
    append(ring, 100, 1);
    ring_set_floor(ring, 50);
    ring_set_floor(ring, 20);
    assert_int_equal(ring_floor(ring), 50);
    ring_set_floor(ring, 1000); /* what is not there can't air */
    assert_int_equal(ring_floor(ring), 100);
    ring_close(ring);
}

static void test_retract(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 5, 5);
    append(ring, 200, 1);
    ring_set_floor(ring, 60);
    assert_int_equal(ring_retract(ring, 0, 150, NULL), -1); /* not newer */
    assert_int_equal(ring_retract(ring, 1, 59, NULL), -1);  /* aired */
    assert_int_equal(ring_retract(ring, 1, 201, NULL), -1); /* nothing there */
    assert_int_equal(ring_head(ring), 200);
    assert_int_equal(ring_retract(ring, 3, 150, NULL), 0);
    assert_int_equal(ring_head(ring), 150);
    append(ring, 60, 2);
    assert_int_equal(ring_retract(ring, 4, 100, NULL), 0);
    append(ring, 120, 3);
    assert_int_equal(ring_retract(ring, 9, 170, NULL), 0);
    append(ring, 20, 4);

    for (int again = 0; again < 2; again++) {
        uint64_t fork;
        assert_int_equal(ring_branch(ring), 9);
        assert_int_equal(ring_lost(ring), 0);
        assert_frames(ring, 0, 100, 1);
        assert_frames(ring, 100, 170, 3);
        assert_frames(ring, 170, 190, 4);
        static const struct {
            uint32_t branch;
            uint64_t position, fork;
        } rows[] = {{0, 100, UINT64_MAX}, {0, 101, 100}, {0, 200, 100},        {3, 160, 100},
                    {3, 90, UINT64_MAX},  {4, 171, 170}, {4, 170, UINT64_MAX}, {9, 190, UINT64_MAX}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            assert_int_equal(ring_fork_after(ring, rows[i].branch, rows[i].position, &fork), 0);
            assert_int_equal(fork, rows[i].fork);
        }
        assert_int_equal(ring_fork_after(ring, 10, 100, &fork), -1);
        ring_close(ring);
        ring = open_ring(path, 5, 5);
    }
    ring_reset(ring, "other", 20, 5000);
    uint64_t fork;
    assert_int_equal(ring_fork_after(ring, 9, 10, &fork), -1);
    assert_int_equal(ring_fork_after(ring, 20, 5000, &fork), 0);
    assert_string_equal(ring_station(ring), "other");
    assert_int_equal(ring_floor(ring), 5000);
    ring_close(ring);
}

static void test_forks_are_bounded(void **state)
{
    (void)state;
    struct ring *ring = open_ring(path, 1, 5);
    uint64_t fork;
    append(ring, 50, 1);
    mark(ring, 49, "title", 1);
    mark(ring, 45, "segment", 2);
    for (uint32_t i = 1; i <= RING_FORKS + 10; i++) {
        /* the first ones take the title away, the later ones lie behind it */
        assert_int_equal(ring_retract(ring, i, i <= 5 ? 47 : 50, NULL), 0);
        while (ring_head(ring) < 50)
            append(ring, 1, 1);
        if (i == 5) mark(ring, 48, "title", 3);
    }
    ring_close(ring);
    ring = open_ring(path, 1, 5);
    assert_int_equal(ring_branch(ring), RING_FORKS + 10);
    assert_int_equal(ring_fork_after(ring, 9, 10, &fork), -1);
    assert_int_equal(ring_fork_after(ring, 10, 51, &fork), 0);
    assert_int_equal(fork, 50);
    assert_int_equal(number_of(ring_mark(ring, 0)), 2);
    assert_int_equal(number_of(ring_mark(ring, 1)), 3);
    assert_null(ring_mark(ring, 2));
    ring_close(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crc32c, setup, teardown),
        cmocka_unit_test_setup_teardown(test_append_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_evict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_floor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retract, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forks_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
