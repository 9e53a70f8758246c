/* studio: a station begins, goes on after a kill, skips, and survives a file that fails. */
#include "tests/unit/studio_end.h"

/* How many segments were announced there that came of a skip. */
static int skips_at(const struct studio_end *s, uint64_t position)
{
    int count = 0;
    json_t *mark;
    size_t i;
    json_array_foreach(s->marks, i, mark)
    {
        if (json_is_true(json_object_get(json_object_get(mark, "body"), "skip")) &&
            json_integer_value(json_object_get(mark, "position")) == (json_int_t)position)
            count++;
    }
    return count;
}

static void test_a_station_begins(void **state)
{
    (void)state;
    struct studio_end s = {.none = 2};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_int_equal(s.next, 600);
    assert_true(s.nexts >= 4);
    assert_no_silence(&s, 5, 600);
    const json_t *first = mark_at(&s, "segment", 0), *title = mark_at(&s, "title", 0),
                 *turn = mark_at(&s, "title", 1);
    assert_int_equal(json_integer_value(json_object_get(first, "position")), 0);
    assert_int_equal(json_integer_value(json_object_get(title, "position")), 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(title, "body"), "text")),
                        "Artist - Title 1");
    /* the title turns in the middle of the first transition */
    int index = 1;
    const json_t *second = json_object_get(mark_at(&s, "segment", index), "body");
    while (json_array_size(json_object_get(second, "tracks")) < 2)
        second = json_object_get(mark_at(&s, "segment", ++index), "body");
    int64_t middle = (json_integer_value(json_object_get(second, "start_sample")) +
                      json_integer_value(json_object_get(second, "end_sample"))) /
                     2;
    assert_int_equal(json_integer_value(json_object_get(turn, "position")), middle / MP3_FRAME_SAMPLES);
    assert_string_equal(json_string_value(json_object_get(json_object_get(turn, "body"), "title")),
                        "Title 2");
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
}

static void test_a_killed_studio_goes_on_with_the_same_bytes(void **state)
{
    (void)state;
    struct studio_end whole = {0}, other = {0};
    studio_start(&whole, start_at(0, json_array()));
    assert_int_equal(studio_serve(&whole, 850), 1);
    assert_int_equal(end_quit(&whole.end), 0);
    studio_start(&other, start_at(0, json_array()));
    const uint64_t kills[] = {7, 330, 603};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(studio_serve(&other, kills[i]), 1);
        studio_kill(&other);
        json_t *segments = segments_of(&other, other.next);
        /* the brain's choices follow the plan, as they would after a restart */
        other.order = (int)json_integer_value(json_object_get(
            json_array_get(json_object_get(json_array_get(segments, json_array_size(segments) - 1), "tracks"),
                           1),
            "track"));
        studio_start(&other, start_at(other.next, segments));
    }
    assert_int_equal(studio_serve(&other, 850), 1);
    assert_same(&whole, &other, 0, 850);
    assert_int_equal(end_quit(&other.end), 0);
    studio_free(&whole);
    studio_free(&other);
}

static void test_skip(void **state)
{
    (void)state;
    struct studio_end s = {0}, twin = {0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 700), 1);
    uint8_t *before = xmalloc(mp3_frame_offset(KBPS, 300));
    memcpy(before, s.tape, mp3_frame_offset(KBPS, 300));
    retract(&s, 300);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_memory_equal(before, s.tape, mp3_frame_offset(KBPS, 300));
    assert_no_silence(&s, 200, 700);
    assert_int_equal(skips_at(&s, 301), 1);
    size_t count = json_array_size(s.marks);
    for (size_t i = 1; i < count; i++) {
        /* one after the other, also over the fork */
        const json_t *mark = json_array_get(s.marks, i), *former = json_array_get(s.marks, i - 1);
        assert_true(json_integer_value(json_object_get(mark, "position")) >=
                    json_integer_value(json_object_get(former, "position")));
    }
    /* a skip of the skip, within it, and at once another */
    retract(&s, 320);
    retract(&s, 310);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_no_silence(&s, 200, 850);
    assert_int_equal(skips_at(&s, 301), 1);
    assert_int_equal(skips_at(&s, 311), 1);
    /* a successor, told of the segments with the cut ones whole, makes the same frames */
    studio_start(&twin, json_pack("{s:I,s:i,s:o}", "branch", (json_int_t)s.branch, "next", 340, "segments",
                                  segments_of(&s, 340)));
    assert_int_equal(studio_serve(&twin, 700), 1);
    assert_same(&s, &twin, 340, 700);
    assert_int_equal(end_quit(&twin.end), 0);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&twin);
    studio_free(&s);
    free(before);
}

/* A file that has become shorter since its transition was rehearsed: the studio asks for a fork before the
 * place. */
static void test_a_file_that_fails(void **state)
{
    (void)state;
    int kept = wav_new(1, TRACK_S);
    struct studio_end s = {0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 49), 1);
    assert_int_equal(s.fork, 0);
    assert_int_equal(ftruncate(files[1], 4 * MP3_RATE * 4), 0);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_true(s.fork > 0 && s.fork <= s.next);
    assert_int_equal(s.unplayable, 2);
    retract(&s, s.fork);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_int_equal(s.next, 850);
    assert_int_equal(s.avoided, 2);
    assert_no_silence(&s, 5, 850);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);

    /* one that is too short before that is found out by the rehearsal */
    s = (struct studio_end){0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_int_equal(s.fork, 0);
    assert_int_equal(s.unplayable, 2);
    assert_no_silence(&s, 5, 850);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);

    /* one that is no music at all is not even announced */
    close(files[1]);
    files[1] = memfd_create("text", MFD_CLOEXEC);
    assert_int_equal(write(files[1], "no music", 8), 8);
    s = (struct studio_end){0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 400), 1);
    assert_int_equal(s.next, 400);
    assert_int_equal(s.unplayable, 2);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
    close(files[1]);
    files[1] = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_station_begins),
        cmocka_unit_test(test_a_killed_studio_goes_on_with_the_same_bytes),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_a_file_that_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
