/* store: the role in a process of its own, spoken to as air does. */
#include "tests/unit/worker_end.h"

static char top[64], library[80];
static struct worker_end store;
static int64_t generation;

static void start(void)
{
    end_start(&store, ROLE_STORE, work_store, end_config(top, library));
    end_expect(&store, WIRE_READY);
}

static int enter(void **state)
{
    (void)state;
    strcpy(top, "/tmp/forever-store-XXXXXX");
    if (!mkdtemp(top)) return -1;
    snprintf(library, sizeof library, "%s/music", top);
    if (mkdir(library, 0700)) return -1;
    start();
    return 0;
}

static int leave(void **state)
{
    (void)state;
    assert_int_equal(end_quit(&store), 0);
    remove_tree(top);
    return 0;
}

/* One walk that finds these files (of the library), as scan tells it. */
static void scan(const char *const *names, int count)
{
    json_t *files = json_array();
    for (int i = 0; i < count; i++) {
        struct stat st;
        char *path = xasprintf("%s/%s", library, names[i]);
        assert_int_equal(stat(path, &st), 0);
        json_array_append_new(
            files, json_pack("{s:s,s:I,s:I}", "path", path, "size", (json_int_t)st.st_size, "mtime_ns",
                             (json_int_t)(st.st_mtim.tv_sec * CLOCK_NS_PER_S + st.st_mtim.tv_nsec)));
        free(path);
    }
    generation++;
    end_tell(
        &store, WIRE_FOUND,
        json_pack("{s:s,s:I,s:o}", "root", library, "generation", (json_int_t)generation, "files", files));
    end_tell(
        &store, WIRE_SCANNED,
        json_pack("{s:s,s:I,s:i}", "root", library, "generation", (json_int_t)generation, "files", count));
}

/* The next job's track, its descriptor's content compared; 0: none. */
static int64_t job(const char *content)
{
    end_ask(&store, WIRE_JOB, json_object(), WIRE_JOB_IS);
    if (json_is_true(json_object_get(store.body, "none"))) return 0;
    assert_true(store.message.fd >= 0);
    char text[32] = "";
    assert_true(read(store.message.fd, text, sizeof text - 1) >= 0);
    if (content) assert_string_equal(text, content);
    assert_int_equal(write(store.message.fd, "x", 1), -1); /* read only */
    close(store.message.fd);
    assert_true(json_number_value(json_object_get(store.body, "deadline_s")) >= 60);
    return end_int(&store, "track");
}

static void send_features(int64_t track, const char *hash, double tempo)
{
    end_tell(&store, WIRE_FEATURES,
             json_pack("{s:I,s:s,s:{s:s},s:{s:i,s:f,s:[f,f]}}", "track", (json_int_t)track, "hash", hash,
                       "tags", "title", "A title", "features", "version", ANALYSIS_VERSION, "tempo_bpm",
                       tempo, "beats_s", 0.5, 1.0));
}

static int pool_size(void)
{
    end_ask(&store, WIRE_POOL, json_pack("{s:i}", "after", 0), WIRE_POOL_IS);
    assert_true(json_is_true(json_object_get(store.body, "last")));
    return (int)json_array_size(json_object_get(store.body, "tracks"));
}

static void ask_track(int64_t track, enum wire_type answer)
{
    end_ask(&store, WIRE_TRACK, json_pack("{s:I}", "track", (json_int_t)track), answer);
}

static void from_file_to_track(void **state)
{
    (void)state;
    end_put_file(library, "one.mp3", "content one");
    const char *names[] = {"one.mp3"};
    assert_int_equal(job(NULL), 0);
    scan(names, 1);
    int64_t id = job("content one");
    assert_true(id > 0);
    assert_int_equal(job(NULL), 0); /* it is under way */
    ask_track(id, WIRE_ERROR);
    send_features(id, "aa", 120.5);
    end_expect(&store, WIRE_TRACK_READY);
    assert_int_equal(end_int(&store, "track"), id);
    assert_null(json_object_get(json_object_get(store.body, "features"), "beats_s"));
    assert_int_equal(pool_size(), 1);
    ask_track(id, WIRE_TRACK_IS);
    assert_int_equal(json_array_size(json_object_get(json_object_get(store.body, "features"), "beats_s")), 2);
    char text[32] = "";
    assert_int_equal(read(store.message.fd, text, 31), 11);
    close(store.message.fd);
    assert_string_equal(text, "content one");

    /* kept by the next store */
    assert_int_equal(end_quit(&store), 0);
    start();
    end_expect(&store, WIRE_REPOOL);
    assert_int_equal(pool_size(), 1);

    /* another file under the same name is not handed out with the old one's features */
    end_put_file(library, "one.mp3", "other");
    ask_track(id, WIRE_ERROR);
    assert_int_equal(pool_size(), 0);
    assert_int_equal(job("other"), id);
    send_features(id, "bb", 99);
    end_expect(&store, WIRE_TRACK_READY);

    /* gone, found by the walk; back */
    scan(names, 0);
    end_expect(&store, WIRE_TRACK_GONE);
    assert_int_equal(end_int(&store, "track"), id);
    scan(names, 1);
    end_expect(&store, WIRE_TRACK_READY);
    assert_int_equal(end_int(&store, "track"), id);

    /* gone, found when it is needed */
    char *path = xasprintf("%s/one.mp3", library);
    unlink(path);
    free(path);
    ask_track(id, WIRE_ERROR);
    assert_int_equal(pool_size(), 0);
}

static void failures(void **state)
{
    (void)state;
    end_put_file(library, "a.mp3", "a");
    end_put_file(library, "b.mp3", "b");
    const char *names[] = {"a.mp3", "b.mp3"};
    scan(names, 2);
    int64_t a = job(NULL);
    if (strstr(json_string_value(json_object_get(store.body, "path")), "b.mp3")) { /* drawn at random */
        names[0] = "b.mp3";
        names[1] = "a.mp3";
    }
    end_tell(&store, WIRE_FAILED, json_pack("{s:I,s:s}", "track", (json_int_t)a, "reason", "no sound"));
    int64_t b = job(NULL);
    assert_int_not_equal(a, b);
    /* lost with its worker: once more, then no more */
    end_tell(&store, WIRE_JOB_LOST, json_pack("{s:I,s:s}", "track", (json_int_t)b, "reason", "it hung"));
    assert_int_equal(job(NULL), b);
    end_tell(&store, WIRE_JOB_LOST, json_pack("{s:I,s:s}", "track", (json_int_t)b, "reason", "it hung"));
    assert_int_equal(job(NULL), 0);
    scan(names, 2); /* unchanged: not tried again */
    assert_int_equal(job(NULL), 0);
    end_put_file(library, names[1], "b2");
    scan(names, 2);
    assert_int_equal(job("b2"), b);
    /* nonsense fails the track, not the store */
    end_tell(&store, WIRE_FEATURES,
             json_pack("{s:I,s:{s:s}}", "track", (json_int_t)b, "features", "tempo_bpm", "x"));
    assert_int_equal(job(NULL), 0);
    /* features nobody asked for are not believed */
    send_features(a, "aa", 120);
    assert_int_equal(pool_size(), 0);
    do {
        end_expect(&store, WIRE_PROGRESS);
    } while (end_int(&store, "failed") != 2);
    /* an unreadable library says nothing about its tracks */
    end_tell(&store, WIRE_SCANNED,
             json_pack("{s:s,s:I,s:i,s:s}", "root", library, "generation", (json_int_t)++generation, "files",
                       0, "error", "no such folder"));
    end_put_file(library, names[0], "a2");
    scan(names, 2);
    assert_int_equal(job("a2"), a);
    send_features(a, "aa", 120);
    assert_int_equal(pool_size(), 1);
    /* a file that is away is no bad file */
    scan(names + 1, 1);
    end_expect(&store, WIRE_TRACK_GONE);
    end_tell(&store, WIRE_UNPLAYABLE, json_pack("{s:I,s:s}", "track", (json_int_t)a, "reason", "gone"));
    scan(names, 2);
    end_expect(&store, WIRE_TRACK_READY);
    assert_int_equal(pool_size(), 1);
    end_tell(&store, WIRE_UNPLAYABLE, json_pack("{s:I,s:s}", "track", (json_int_t)a, "reason", "broken"));
    end_expect(&store, WIRE_TRACK_GONE);
    assert_int_equal(pool_size(), 0);
}

static void equal_contents(void **state)
{
    (void)state;
    end_put_file(library, "a.mp3", "a");
    end_put_file(library, "b.mp3", "a");
    const char *names[] = {"a.mp3", "b.mp3"};
    scan(names, 2);
    int64_t first = job(NULL), second = job(NULL), a = first < second ? first : second;
    send_features(a == first ? second : first, "same", 120);
    end_expect(&store, WIRE_TRACK_READY);
    send_features(a, "same", 120); /* steps before the other */
    end_expect(&store, WIRE_TRACK_READY);
    assert_int_equal(end_int(&store, "track"), a);
    end_expect(&store, WIRE_TRACK_GONE);
    assert_int_equal(pool_size(), 1);
    scan(names + 1, 1); /* goes: the other takes its place */
    end_expect(&store, WIRE_TRACK_GONE);
    assert_int_equal(end_int(&store, "track"), a);
    end_expect(&store, WIRE_TRACK_READY);
    assert_int_equal(end_int(&store, "track"), a == first ? second : first);
}

static void hostile_names(void **state)
{
    (void)state;
    /* outside of the library, or no file at all */
    json_t *files = json_pack("[{s:s,s:i,s:i},{s:s,s:i,s:i}]", "path", "/etc/passwd", "size", 1, "mtime_ns",
                              1, "path", "/tmp/../etc/passwd", "size", 1, "mtime_ns", 1);
    char *inside = xasprintf("%s/../../../etc/passwd", library),
         *pipe_path = xasprintf("%s/pipe.mp3", library);
    json_array_append_new(files, json_pack("{s:s,s:i,s:i}", "path", inside, "size", 1, "mtime_ns", 1));
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    json_array_append_new(files, json_pack("{s:s,s:i,s:i}", "path", pipe_path, "size", 1, "mtime_ns", 1));
    end_tell(&store, WIRE_FOUND,
             json_pack("{s:s,s:i,s:o}", "root", library, "generation", 1, "files", files));
    assert_int_equal(job(NULL), 0);
    free(inside);
    free(pipe_path);
}

static void plays_and_pictures(void **state)
{
    (void)state;
    end_put_file(library, "a.mp3", "a");
    const char *names[] = {"a.mp3"};
    scan(names, 1);
    int64_t a = job("a");
    uint8_t art[64] = {(uint8_t)a};
    memcpy(art + 8, "image/png\0PIXELS", 16);
    assert_int_equal(msg_send(store.channel, WIRE_ART, 0, art, 24, -1), 0);
    send_features(a, "aa", 120);
    end_ask(&store, WIRE_ART_GET, json_pack("{s:I}", "track", (json_int_t)a), WIRE_ART_IS);
    assert_int_equal(store.message.len, 16);
    assert_memory_equal(store.message.body, "image/png\0PIXELS", 16);
    end_ask(&store, WIRE_ART_GET, json_pack("{s:i}", "track", 77777), WIRE_ERROR);

    /* of a job under way only, and nothing that is no waveform */
    uint8_t wave[27] = {(uint8_t)a};
    memcpy(wave + 8, "wave", 4);
    assert_int_equal(msg_send(store.channel, WIRE_WAVE, 0, wave, sizeof wave, -1), 0);
    end_ask(&store, WIRE_WAVE_GET, json_pack("{s:I}", "track", (json_int_t)a), WIRE_WAVE_IS);
    assert_int_equal(store.message.len, sizeof wave - 8);
    assert_memory_equal(store.message.body, wave + 8, sizeof wave - 8);
    wave[8] = 'x';
    wave[9] = 'x';
    assert_int_equal(msg_send(store.channel, WIRE_WAVE, 0, wave, sizeof wave, -1), 0);
    end_ask(&store, WIRE_WAVE_GET, json_pack("{s:I}", "track", (json_int_t)a), WIRE_WAVE_IS);
    assert_memory_equal(store.message.body, "wave", 4);
    memset(wave, 0x55, 8);
    assert_int_equal(msg_send(store.channel, WIRE_WAVE, 0, wave, sizeof wave, -1), 0);
    end_ask(&store, WIRE_WAVE_GET, json_pack("{s:i}", "track", 77777), WIRE_ERROR);

    for (int i = 0; i < 3; i++) {
        end_tell(&store, WIRE_AIRED,
                 json_pack("{s:i,s:i,s:s,s:f,s:{s:[{s:i}]}}", "branch", 0, "position", i * 100, "kind",
                           "segment", "wall_s", 1700000000.0 + i, "body", "tracks", "track", i + 1));
    }
    end_tell(&store, WIRE_AIRED, json_pack("{s:s}", "position", "nonsense"));
    end_ask(&store, WIRE_HISTORY, json_pack("{s:i}", "limit", 2), WIRE_HISTORY_IS);
    const json_t *plays = json_object_get(store.body, "plays");
    assert_int_equal(json_array_size(plays), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(plays, 0), "track")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_file_to_track, enter, leave),
        cmocka_unit_test_setup_teardown(failures, enter, leave),
        cmocka_unit_test_setup_teardown(equal_contents, enter, leave),
        cmocka_unit_test_setup_teardown(hostile_names, enter, leave),
        cmocka_unit_test_setup_teardown(plays_and_pictures, enter, leave),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
