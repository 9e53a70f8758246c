/* The ring of a process that is killed at any moment. */
#include "tests/unit/ring_stage.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
