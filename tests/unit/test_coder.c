/* coder: a worker in a child process, with this test as air and as the studio that fills the spool. */
#include "tests/unit/worker_end.h"

#include <math.h>

#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/work/press.h"
#include "root/work/spool.h"

#define LEAD_S 10.0
#define BLOCKS 360
#define MOUNTS 5

static const unsigned rates[MOUNTS] = {192, 64, 128, 192, 320};
static char folder[] = "/tmp/test_coder.XXXXXX";
static struct spool *spool;
static struct worker_end end;

/* Block `block` of a programme; another one of another seed. */
static void pcm_make(float *pcm, uint64_t block, uint32_t seed)
{
    for (size_t i = 0; i < PRESS_BLOCK; i++) {
        double t = (double)(block * PRESS_BLOCK + i) / PCM_RATE;
        uint32_t noise = (uint32_t)((block * PRESS_BLOCK + i) * 2654435761u + seed) * 2246822519u;
        double hit = exp(-6 * fmod(t * 2, 1)),
               x = 0.3 * sin(t * (800 + 50 * seed)) + 0.3 * hit * ((noise >> 8) / 16777216.0 - 0.5);
        pcm[i * 2] = (float)x;
        pcm[i * 2 + 1] = (float)(0.8 * x);
    }
}

static void spool_fill(uint64_t from, uint64_t to, uint32_t seed)
{
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    char *cause = NULL;
    for (uint64_t block = from; block < to; block++) {
        pcm_make(pcm, block, seed);
        if (spool_put(spool, block, pcm, &cause)) fail_msg("%s", cause);
    }
}

/* Frames [0, BLOCKS - 1) of an encoder that never stopped; the programme turns into that of `seed` at block
 * `turn`. */
static uint8_t *reference(unsigned kbps, uint64_t turn, uint32_t seed)
{
    uint8_t *tape = xmalloc(mp3_frame_offset(kbps, BLOCKS));
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    char *cause = NULL;
    struct press *press = press_new(kbps, 0, &cause);
    for (uint64_t block = 0; block < BLOCKS; block++) {
        size_t len;
        pcm_make(pcm, block, block < turn ? 1 : seed);
        assert_int_equal(press_feed(press, pcm, &cause), 0);
        uint8_t *at = tape + mp3_frame_offset(kbps, press_next(press));
        press_take(press, 2, at, &len);
    }
    press_free(press);
    return tape;
}

static void order(int mount, uint32_t wake, uint32_t branch, uint64_t next, uint64_t until)
{
    end_tell(&end, WIRE_ENCODE,
             json_pack("{s:i,s:I,s:I,s:I,s:I}", "mount", mount, "wake", (json_int_t)wake, "branch",
                       (json_int_t)branch, "next", (json_int_t)next, "until", (json_int_t)until));
}

/* Takes the frames of a mount from `next` to `until` and compares them. */
static void expect_frames(int mount, uint32_t wake, uint32_t branch, uint64_t next, uint64_t until,
                          const uint8_t *tape)
{
    unsigned kbps = rates[mount];
    while (next < until) {
        uint64_t position;
        uint32_t of_branch, count, of_mount, of_wake;
        const uint8_t *bytes;
        size_t len;
        end_expect(&end, WIRE_ENCODED);
        assert_int_equal(wire_encoded_decode(&end.message, &position, &of_branch, &count, &of_mount, &of_wake,
                                             &bytes, &len),
                         0);
        if (of_mount != (uint32_t)mount || of_wake != wake || of_branch != branch) continue;
        assert_int_equal(position, next);
        assert_true(position + count <= until);
        assert_int_equal(len, mp3_frame_offset(kbps, next + count) - mp3_frame_offset(kbps, next));
        if (memcmp(bytes, tape + mp3_frame_offset(kbps, next), len))
            fail_msg("frames of mount %d from %u on differ", mount, (unsigned)next);
        next += count;
    }
}

static int setup(void **state)
{
    (void)state;
    char *cause = NULL;
    if (!mkdtemp(folder) || spool_open(&spool, folder, LEAD_S, 1, &cause)) return -1;
    json_t *config = end_config(folder, "/nonexistent"), *mounts = json_array();
    for (int i = 0; i < MOUNTS; i++) {
        char name[16] = "stream";
        if (i) snprintf(name, sizeof name, "m%d", i);
        json_array_append_new(mounts, json_pack("{s:s,s:i}", "name", name, "kbps", (int)rates[i]));
    }
    json_object_set_new(config, "lead_s", json_real(LEAD_S));
    json_object_set_new(config, "mounts", mounts);
    end_start(&end, ROLE_CODER, work_coder, config);
    end_expect(&end, WIRE_READY);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    int code = end_quit(&end);
    spool_close(spool);
    spool_remove(folder);
    return rmdir(folder) || code;
}

/* Whatever the rate and wherever it wakes: the bytes of an encoder that never stopped. */
static void test_every_rate_wakes_with_its_bytes(void **state)
{
    (void)state;
    spool_fill(0, BLOCKS, 1);
    const uint64_t starts[] = {0, 1, 48, 98, 200};
    for (int mount = 1; mount < MOUNTS; mount++) {
        uint8_t *tape = reference(rates[mount], BLOCKS, 1);
        for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
            uint32_t wake = (uint32_t)(mount * 100 + (int)i);
            order(mount, wake, 1, starts[i], starts[i] + 40);
            expect_frames(mount, wake, 1, starts[i], starts[i] + 40, tape);
        }
        order(mount, 9999, 1, 300, 330); /* and it goes on as its credit grows */
        expect_frames(mount, 9999, 1, 300, 330, tape);
        order(mount, 9999, 1, 300, 350);
        expect_frames(mount, 9999, 1, 330, 350, tape);
        order(mount, 10000, 1, 0, 0);
        free(tape);
    }
}

/* A fork: the blocks from there on are other ones, the order names the branch. */
static void test_a_fork(void **state)
{
    (void)state;
    spool_fill(0, BLOCKS, 1);
    uint8_t *before = reference(64, BLOCKS, 1), *after = reference(64, 150, 2);
    order(1, 20000, 1, 100, 250);
    expect_frames(1, 20000, 1, 100, 250, before);
    spool_fill(150, BLOCKS, 2);
    order(1, 20000, 2, 149, 250); /* frame 149 looks ahead into block 150 */
    expect_frames(1, 20000, 2, 149, 250, after);
    order(1, 20001, 2, 0, 0);
    free(before);
    free(after);
}

/* What the spool lacks is waited for, and frames that need it come when it is there. */
static void test_a_block_that_is_missing(void **state)
{
    (void)state;
    char *path = xasprintf("%s/lead.pcm", folder);
    uint8_t *tape = reference(320, BLOCKS, 1), byte;
    spool_fill(0, BLOCKS, 1);
    /* torn: one byte of block 200 is another */
    int fd = open(path, O_RDWR);
    off_t at = (off_t)200 * (16 + PRESS_BLOCK * PCM_CHANNELS * 4) + 1000;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    assert_int_equal(spool_get(spool, 199, pcm), 0);
    assert_int_equal(spool_get(spool, 200, pcm), -1);
    order(4, 30000, 1, 180, 260);
    expect_frames(4, 30000, 1, 180, 199, tape); /* frame 199 needs block 200 */
    end_expect(&end, WIRE_LACKS);
    assert_int_equal(end_int(&end, "mount"), 4);
    assert_int_equal(end_int(&end, "block"), 200);
    assert_false(end_await(&end, WIRE_ENCODED, 250));
    spool_fill(200, 201, 1);
    expect_frames(4, 30000, 1, 199, 260, tape);
    order(4, 30001, 1, 0, 0);
    free(tape);
    free(path);
}

static void test_the_spool_holds_what_it_must(void **state)
{
    (void)state;
    float pcm[PRESS_BLOCK * PCM_CHANNELS], back[PRESS_BLOCK * PCM_CHANNELS];
    struct spool *other = NULL;
    char *cause = NULL;
    uint64_t held = (uint64_t)((LEAD_S + SPOOL_PAST_S) * PCM_RATE / PRESS_BLOCK);
    pcm_make(pcm, 0, 3);
    for (uint64_t block = 5000; block <= 5000 + held; block++)
        assert_int_equal(spool_put(spool, block, pcm, &cause), 0);
    assert_int_equal(spool_get(spool, 5000, back), 0);
    assert_memory_equal(pcm, back, sizeof pcm);
    assert_int_equal(spool_get(spool, 5000 + held, back), 0);
    assert_int_equal(spool_get(spool, 5001 + held, back), -1); /* never written */
    /* another size is another spool: a reader refuses it, the writer makes it anew */
    assert_int_equal(spool_open(&other, folder, LEAD_S + 5, 0, &cause), -1);
    assert_non_null(strstr(cause, "another size"));
    free(cause);
    assert_int_equal(spool_open(&other, "/nonexistent", LEAD_S, 1, &cause), -1);
    free(cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rate_wakes_with_its_bytes),
        cmocka_unit_test(test_a_fork),
        cmocka_unit_test(test_a_block_that_is_missing),
        cmocka_unit_test(test_the_spool_holds_what_it_must),
    };
    return cmocka_run_group_tests_name("coder", tests, setup, teardown);
}
