/* A studio while a live source sends. */
#include "tests/unit/studio_end.h"

/* A tone into the pipe, by a process that ends when all of it is taken. */
static pid_t put_tone(int fd, double seconds)
{
    pid_t pid = fork();
    float pcm[PCM_RATE / 10 * PCM_CHANNELS];
    for (int tenth = 0; !pid && tenth < (int)(seconds * 10); tenth++) {
        for (int i = 0; i < PCM_RATE / 10; i++)
            pcm[i * 2] = pcm[i * 2 + 1] = 0.5f * sinf(0.05f * (float)i);
        if (write(fd, pcm, sizeof pcm) != sizeof pcm) _exit(1);
    }
    if (!pid) _exit(0);
    return pid;
}

static void await_child(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static size_t marks_of(const struct studio_end *s, const char *technique)
{
    size_t count = 0, i;
    json_t *mark;
    json_array_foreach(s->marks, i, mark)
    {
        count += !strcmp(json_str_or(json_object_get(mark, "body"), "technique", "", NULL), technique);
    }
    return count;
}

static void test_a_live_source_comes_and_goes(void **state)
{
    (void)state;
    struct studio_end s = {0};
    int fds[2];
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 300), 1);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    json_t *body = json_pack("{s:i,s:s}", "session", 1, "title", "Someone - A Show");
    assert_int_equal(wire_send(s.end.channel, WIRE_LIVE_PCM, 0, body, fds[0]), 0);
    close(fds[0]);
    await_child(put_tone(fds[1], 2.5));
    assert_int_equal(studio_serve(&s, 310), 1);
    assert_false(s.ready); /* too little yet */
    await_child(put_tone(fds[1], 4.5));
    end_expect(&s.end, WIRE_LIVE_READY);
    s.branch++;
    s.next = 200;
    drop_marks(&s, 200);
    end_tell(&s.end, WIRE_RETRACT,
             json_pack("{s:I,s:I,s:b,s:i}", "branch", (json_int_t)s.branch, "position", (json_int_t)200,
                       "skip", 1, "live", 1));
    /* 7 s are held, two of which stay to be faded out: 191 frames, and nothing of the mix beyond */
    assert_int_equal(studio_serve(&s, 380), 1);
    assert_int_equal(s.next, 380);
    assert_null(s.over);
    close(fds[1]);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_in_range(s.fork, 385, 395);
    assert_int_equal(s.next, s.fork);
    retract(&s, s.fork);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_string_equal(s.over, "closed");
    assert_int_equal(marks_of(&s, "live"), 2); /* the fade into it, and it alone */
    assert_no_silence(&s, 5, 700);
    const json_t *first = NULL;
    for (size_t i = 0; !first; i++) {
        const json_t *mark = mark_at(&s, "segment", i);
        if (!strcmp(json_str_or(json_object_get(mark, "body"), "technique", "", NULL), "live")) first = mark;
    }
    const json_t *entry = json_array_get(json_object_get(json_object_get(first, "body"), "tracks"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "title")), "A Show");
    assert_string_equal(json_string_value(json_object_get(entry, "artist")), "Someone");
    /* a studio that begins within it has nothing of it: another track begins at once */
    studio_kill(&s);
    json_t *start = start_at(270, json_pack("[O]", json_object_get(first, "body")));
    json_object_set_new(start, "branch", json_integer(s.branch));
    studio_start(&s, start);
    assert_int_equal(studio_serve(&s, 500), 1);
    assert_no_silence(&s, 270, 500);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_live_source_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
