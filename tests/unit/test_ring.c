/* The ring: what is kept, what is refused, what survives a restart, damage and kill -9. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/ring.h"
#include "common/ring_file.h"
#include "tests/unit/frames.h"

#define KBPS 64

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    snprintf(dir, sizeof dir, "/tmp/test_ring.XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/ring", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"ring",           "ring.marks", "ring.old",
                                        "ring.old.marks", "ring.new",   "ring.marks.new"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static struct ring *open_ring(const char *where, double past_s, double lead_s)
{
    struct ring_conf conf = {.path = where, .kbps = KBPS, .past_s = past_s, .lead_s = lead_s};
    struct ring *ring = NULL;
    char *cause = NULL;
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    return ring;
}

static int append(struct ring *ring, unsigned count, uint64_t seed)
{
    size_t len;
    uint64_t head = ring_head(ring);
    uint8_t *bytes = frames_make(KBPS, head, count, seed, &len);
    char *cause = NULL;
    int rc = ring_append(ring, ring_branch(ring), head, count, bytes, len, &cause);
    assert_int_equal(rc, cause ? -1 : 0);
    free(cause);
    free(bytes);
    return rc;
}

/* Appends and lets the air follow, as a station does. */
static void play(struct ring *ring, unsigned frames, uint64_t seed)
{
    while (frames) {
        unsigned n = frames < 40 ? frames : 40;
        assert_int_equal(append(ring, n, seed), 0);
        ring_set_floor(ring, ring_head(ring));
        frames -= n;
    }
}

static int frame_is(const struct ring *ring, uint64_t frame, uint64_t seed)
{
    uint8_t want[MP3_FRAME_MAX_BYTES];
    size_t len = frames_one(want, KBPS, frame, seed);
    const uint8_t *got = ring_bytes(ring, mp3_frame_offset(KBPS, frame), mp3_frame_offset(KBPS, frame + 1));
    return got && memcmp(got, want, len) == 0;
}

static void assert_frames(const struct ring *ring, uint64_t from, uint64_t to, uint64_t seed)
{
    for (uint64_t i = from; i < to; i++) {
        if (!frame_is(ring, i, seed)) fail_msg("frame %" PRIu64 " differs", i);
    }
}

static int mark(struct ring *ring, uint64_t position, const char *kind, int n)
{
    json_t *body = json_pack("{s:i}", "n", n);
    char *cause = NULL;
    int rc = ring_mark_add(ring, ring_branch(ring), position, kind, body, &cause);
    assert_int_equal(rc, cause ? -1 : 0);
    free(cause);
    json_decref(body);
    return rc;
}

static int number_of(const struct ring_mark *m)
{
    return m ? (int)json_integer_value(json_object_get(m->body, "n")) : -1;
}

/* --- frames --- */

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

/* --- branches --- */

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

/* --- marks --- */

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

/* --- files --- */

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

/* --- kill -9 --- */

#define JOURNAL_FRAMES 65536
#define JOURNAL_MARKS  4096

/* What the killed process meant to do, in memory that outlives it. */
struct journal {
    volatile uint64_t operations;
    uint64_t head_before, head_after;
    uint32_t branch_before, branch_after;
    uint64_t serial; /* greatest one seen */
    uint32_t marks_done, marks_begun;
    uint64_t mark_position[JOURNAL_MARKS];
    uint8_t mark_dead[JOURNAL_MARKS]; /* 1: dying, 2: dead */
    uint32_t seed[JOURNAL_FRAMES];    /* branch in which a frame was written */
};

#define ORDER __atomic_thread_fence(__ATOMIC_SEQ_CST)

static void work_mark(struct ring *ring, struct journal *j, uint64_t random)
{
    const struct ring_mark *last = ring_mark_at(ring, "title", UINT64_MAX);
    uint64_t at = ring_head(ring) + random % 50;
    if (j->marks_begun >= JOURNAL_MARKS || (last && last->position > at)) return;
    j->mark_position[j->marks_begun] = at;
    ORDER;
    j->marks_begun++;
    ORDER;
    if (mark(ring, at, "title", (int)j->marks_begun - 1)) _exit(3);
    ORDER;
    j->marks_done = j->marks_begun;
    j->serial = ring_mark_at(ring, "title", UINT64_MAX)->serial;
}

static void work_retract(struct ring *ring, struct journal *j, uint64_t random)
{
    uint64_t floor = ring_floor(ring), at = floor + random % (ring_head(ring) - floor + 1);
    j->head_after = at;
    j->branch_after = j->branch_before + 1;
    for (uint32_t i = 0; i < j->marks_done; i++) {
        if (j->mark_position[i] >= at && !j->mark_dead[i]) j->mark_dead[i] = 1;
    }
    ORDER;
    if (ring_retract(ring, j->branch_after, at, NULL)) _exit(4);
    ORDER;
    for (uint32_t i = 0; i < j->marks_done; i++) {
        if (j->mark_dead[i] == 1) j->mark_dead[i] = 2;
    }
}

static void work_append(struct ring *ring, struct journal *j, uint64_t random)
{
    unsigned count = 1 + (unsigned)(random % 64);
    uint64_t head = ring_head(ring);
    if (head + count > JOURNAL_FRAMES) _exit(0);
    uint64_t need = head + count > ring_capacity(ring) ? head + count - ring_capacity(ring) : 0;
    ring_set_floor(ring, need > head - head % 8 ? head : need + random % 40);
    for (unsigned i = 0; i < count; i++)
        j->seed[head + i] = j->branch_before;
    j->head_after = head + count;
    j->branch_after = j->branch_before;
    ORDER;
    if (append(ring, count, j->branch_before)) _exit(5);
}

static void work(struct journal *j, uint64_t seed)
{
    struct ring *ring = open_ring(path, 1, 4);
    for (uint64_t i = 0;; i++) {
        uint64_t random = frames_hash(seed + i);
        /* while "before" is set, "after" still says what is: one of them always does */
        j->head_before = ring_head(ring);
        j->branch_before = ring_branch(ring);
        ORDER;
        switch (random % 8) {
        case 0:
            work_mark(ring, j, random >> 8);
            break;
        case 1:
            if (random >> 8 & 1) work_retract(ring, j, random >> 9);
            break;
        case 2:
            ring_set_anchor(ring, &(struct ring_anchor){i, (int64_t)i, (int64_t)i});
            break;
        default:
            work_append(ring, j, random >> 8);
        }
        ORDER;
        j->operations++;
    }
}

static void check_after_kill(struct journal *j, int round)
{
    struct ring *ring = open_ring(path, 1, 4);
    uint64_t head = ring_head(ring);
    int before = head == j->head_before && ring_branch(ring) == j->branch_before;
    int after = head == j->head_after && ring_branch(ring) == j->branch_after;
    if (!before && !after) fail_msg("round %d: head %" PRIu64 " branch %u", round, head, ring_branch(ring));
    assert_int_equal(ring_lost(ring), 0);
    for (uint64_t i = ring_tail(ring); i < head; i++) {
        if (!frame_is(ring, i, j->seed[i])) fail_msg("round %d: frame %" PRIu64 " differs", round, i);
    }
    uint8_t *present = calloc(1, JOURNAL_MARKS);
    const struct ring_mark *m;
    for (size_t i = 0; (m = ring_mark(ring, i)); i++) {
        int n = number_of(m);
        assert_in_range(n, 0, j->marks_begun - 1);
        assert_int_equal(m->position, j->mark_position[n]);
        assert_int_not_equal(j->mark_dead[n], 2);
        present[n] = 1;
    }
    for (uint32_t n = 0; n < j->marks_done; n++) {
        if (!j->mark_dead[n] && j->mark_position[n] >= ring_tail(ring) && !present[n])
            fail_msg("round %d: mark %u at %" PRIu64 " is gone", round, n, j->mark_position[n]);
    }
    /* what was under way is now known; what is gone stays gone */
    for (uint32_t n = 0; n < j->marks_begun; n++)
        j->mark_dead[n] = present[n] && j->mark_position[n] < head ? 0 : 2;
    j->marks_done = j->marks_begun;
    free(present);
    /* serials go on */
    mark(ring, head + 1000, "probe", round);
    assert_true(ring_mark_at(ring, "probe", UINT64_MAX)->serial > j->serial);
    assert_int_equal(ring_retract(ring, ring_branch(ring) + 1, head, NULL), 0);
    j->head_before = j->head_after = head;
    j->branch_before = j->branch_after = ring_branch(ring);
    ring_close(ring);
}

static void test_kill(void **state)
{
    (void)state;
    const char *given = getenv("RING_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 20240601;
    print_message("RING_SEED=%" PRIu64 "\n", seed);
    struct journal *j = mmap(NULL, sizeof *j, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(j, MAP_FAILED);
    for (int round = 0; round < 150; round++) {
        uint64_t random = frames_hash(seed * 1000 + (uint64_t)round), target = j->operations + random % 60;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            work(j, random);
            _exit(0);
        }
        int status = 0, gone = 0;
        while (j->operations < target && !gone)
            gone = waitpid(pid, &status, WNOHANG) == pid;
        /* then some instructions more, so that it dies in the middle of something */
        for (volatile uint64_t spin = random >> 20 & 0xffff; spin; spin--) {
        }
        if (!gone) {
            kill(pid, SIGKILL);
            assert_int_equal(waitpid(pid, &status, 0), pid);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status))
            fail_msg("round %d: worker gave up with %d", round, WEXITSTATUS(status));
        check_after_kill(j, round);
    }
    print_message("%" PRIu64 " operations\n", j->operations);
    munmap(j, sizeof *j);
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
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_crc32c),      CASE(test_append_and_read),
        CASE(test_evict),       CASE(test_floor),
        CASE(test_retract),     CASE(test_forks_are_bounded),
        CASE(test_marks),       CASE(test_marks_bounded),
        CASE(test_torn_marks),  CASE(test_damaged_blocks),
        CASE(test_other_files), CASE(test_state_copies),
        CASE(test_other_boot),  CASE(test_kill),
        CASE(test_rest),        CASE(test_align),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
