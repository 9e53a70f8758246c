/* What a studio spools for further mounts. */
#include "tests/unit/studio_end.h"

#include "root/work/press.h"
#include "root/work/spool.h"

/* Frames [from, to) made of the spool are those that were sent. */
static void assert_spooled(const struct studio_end *s, uint64_t from, uint64_t to)
{
    struct spool *spool;
    char *cause = NULL;
    uint8_t bytes[MP3_FRAME_MAX_BYTES];
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    size_t len;
    if (spool_open(&spool, s->state, LEAD_S, 0, &cause)) fail_msg("%s", cause);
    struct press *press = press_new(KBPS, from, &cause);
    while (press_next(press) < to) {
        uint64_t frame = press_next(press);
        if (press_take(press, 1, bytes, &len)) {
            assert_int_equal(len, mp3_frame_bytes(KBPS, frame));
            if (memcmp(bytes, s->tape + mp3_frame_offset(KBPS, frame), len))
                fail_msg("frame %u of the spool differs", (unsigned)frame);
            continue;
        }
        if (spool_get(spool, press_block(press), pcm)) fail_msg("no block %u", (unsigned)press_block(press));
        assert_int_equal(press_feed(press, pcm, &cause), 0);
    }
    press_free(press);
    spool_close(spool);
}

/* What further mounts are encoded from is what the main one was: also over a fork, and after the file was
 * lost. */
static void test_the_spool_has_what_was_sent(void **state)
{
    (void)state;
    char folder[] = "/tmp/forever-spool-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct studio_end s = {.state = folder};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_spooled(&s, 0, 600);
    retract(&s, 300);
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_spooled(&s, 150, 600);
    studio_kill(&s);
    char *path = xasprintf("%s/lead.pcm", folder);
    assert_int_equal(truncate(path, 0), 0);
    json_t *start = start_at(600, segments_of(&s, 600));
    json_object_set_new(start, "branch", json_integer(s.branch));
    json_object_set_new(start, "air", json_integer(550));
    studio_start(&s, start);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_spooled(&s, 420, 700);
    assert_int_equal(end_quit(&s.end), 0);
    /* with one mount there is none */
    studio_free(&s);
    s = (struct studio_end){0};
    json_t *config = end_config(folder, "/nonexistent");
    end_start(&s.end, ROLE_STUDIO, work_studio, config);
    end_expect(&s.end, WIRE_READY);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(end_quit(&s.end), 0);
    free(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_spool_has_what_was_sent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
