/* fanout_stage: a ring of made-up frames, a clock that stands where the test puts it, and a fan-out. */
#ifndef FOREVER_TESTS_UNIT_FANOUT_STAGE_H
#define FOREVER_TESTS_UNIT_FANOUT_STAGE_H
#include "common/fanout.h"
#include "common/mp3.h"
#include "tests/unit/frames.h"
#include "tests/unit/loop.h"

#define KBPS 192
#define SEED 7

static struct ring *ring;
static struct fanout *fanout;
static uint64_t air, until_asked;
static unsigned ended[FANOUT_END_COUNT], in_add;
static uint64_t ended_bytes, ended_client;
static void *ended_tag;

static inline uint64_t get_air(void *context)
{
    (void)context;
    return air;
}

/* Time is what the test says, so the wheel looks often. */
static inline int64_t get_until(void *context, uint64_t frame)
{
    (void)context;
    until_asked = frame;
    return frame <= air ? 0 : 1000000;
}

static inline void on_ended(void *context, const struct fanout_ended *e)
{
    (void)context;
    assert_false(in_add);
    assert_true(e->seconds >= 0);
    ended[e->why]++;
    ended_bytes += e->bytes;
    ended_client = e->client;
    ended_tag = e->tag;
}

/* Frames up to `head` lie in the ring; `now` is on air. */
static inline void fill(uint64_t head)
{
    while (ring_head(ring) < head) {
        uint64_t at = ring_head(ring);
        unsigned count = head - at < 490 ? (unsigned)(head - at) : 490;
        size_t len;
        char *cause = NULL;
        uint8_t *bytes = frames_make(KBPS, at, count, SEED, &len);
        if (ring_append(ring, ring_branch(ring), at, count, bytes, len, &cause)) fail_msg("%s", cause);
        free(bytes);
    }
}

static inline void start(double burst_s, double lag_limit_s, uint64_t now, uint64_t head)
{
    struct ring_conf rc = {.kbps = KBPS, .past_s = 60, .lead_s = 60};
    char *cause = NULL;
    if (ring_open(&ring, &rc, &cause)) fail_msg("%s", cause);
    air = now;
    fill(head);
    struct fanout_conf fc = {
        .burst_s = burst_s, .lag_limit_s = lag_limit_s, .air = get_air, .until = get_until};
    fanout = fanout_new(base, ring, &fc);
    fanout_on_ended(fanout, on_ended, NULL);
    memset(ended, 0, sizeof ended);
    ended_bytes = 0;
}

static inline void check_counts(void)
{
    const struct fanout_counts *c = fanout_counts(fanout);
    uint64_t all = 0, agents = 0;
    for (int i = 0; i < FANOUT_END_COUNT; i++) {
        all += c->ended[i];
        assert_int_equal(c->ended[i], ended[i]);
    }
    for (int i = 0; i < AGENT_COUNT; i++)
        agents += c->agents[i];
    assert_int_equal(c->closed, all);
    assert_int_equal(c->opened - c->closed, c->listening);
    assert_int_equal(agents, c->listening);
}

static inline void stop(int reset)
{
    check_counts();
    fanout_free(fanout, reset);
    ring_close(ring);
}

static inline int add(const struct fanout_listener_conf *conf, int rcvbuf)
{
    int fds[2];
    assert_int_equal(net_pair(fds, rcvbuf), 0);
    in_add = 1;
    assert_int_equal(fanout_add(fanout, fds[0], conf), 0);
    in_add = 0;
    return fds[1];
}

static inline uint64_t offset(uint64_t frame)
{
    return mp3_frame_offset(KBPS, frame);
}

static inline void assert_frames(const char *data, uint64_t from, uint64_t to)
{
    size_t len;
    uint8_t *want = frames_make(KBPS, from, (unsigned)(to - from), SEED, &len);
    assert_memory_equal(data, want, len);
    free(want);
}

#endif
