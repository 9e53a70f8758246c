/* ring_stage: a ring in a folder of its own, filled and read back. */
#ifndef FOREVER_TESTS_UNIT_RING_STAGE_H
#define FOREVER_TESTS_UNIT_RING_STAGE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/ring.h"
#include "tests/unit/frames.h"

#define KBPS 64

static char dir[64], path[96];

static inline int setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    snprintf(dir, sizeof dir, "/tmp/test_ring.XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/ring", dir);
    return 0;
}

static inline int teardown(void **state)
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

static inline struct ring *open_ring(const char *where, double past_s, double lead_s)
{
    struct ring_conf conf = {.path = where, .kbps = KBPS, .past_s = past_s, .lead_s = lead_s};
    struct ring *ring = NULL;
    char *cause = NULL;
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    return ring;
}

static inline int append(struct ring *ring, unsigned count, uint64_t seed)
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
static inline void play(struct ring *ring, unsigned frames, uint64_t seed)
{
    while (frames) {
        unsigned n = frames < 40 ? frames : 40;
        assert_int_equal(append(ring, n, seed), 0);
        ring_set_floor(ring, ring_head(ring));
        frames -= n;
    }
}

static inline int frame_is(const struct ring *ring, uint64_t frame, uint64_t seed)
{
    uint8_t want[MP3_FRAME_MAX_BYTES];
    size_t len = frames_one(want, KBPS, frame, seed);
    const uint8_t *got = ring_bytes(ring, mp3_frame_offset(KBPS, frame), mp3_frame_offset(KBPS, frame + 1));
    return got && memcmp(got, want, len) == 0;
}

static inline void assert_frames(const struct ring *ring, uint64_t from, uint64_t to, uint64_t seed)
{
    for (uint64_t i = from; i < to; i++) {
        if (!frame_is(ring, i, seed)) fail_msg("frame %" PRIu64 " differs", i);
    }
}

static inline int mark(struct ring *ring, uint64_t position, const char *kind, int n)
{
    json_t *body = json_pack("{s:i}", "n", n);
    char *cause = NULL;
    int rc = ring_mark_add(ring, ring_branch(ring), position, kind, body, &cause);
    assert_int_equal(rc, cause ? -1 : 0);
    free(cause);
    json_decref(body);
    return rc;
}

static inline int number_of(const struct ring_mark *m)
{
    return m ? (int)json_integer_value(json_object_get(m->body, "n")) : -1;
}

#endif
