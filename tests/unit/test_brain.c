/* brain and scan: the roles in processes of their own, spoken to as air does. */
#include "tests/unit/worker_end.h"

static struct worker_end end;
static char top[64];

static json_t *summary(int id, double tempo)
{
    return json_pack("{s:i,s:s,s:{},s:{s:i,s:f,s:f}}", "track", id, "path", "/m/x", "tags", "features",
                     "version", 1, "tempo_bpm", tempo, "tempo_confidence", 1.0);
}

/* Answers HISTORY with these plays (latest first) and POOL with tracks from..to, page by page. */
static void feed(json_t *plays, int from, int to)
{
    for (int left = 2; left;) {
        struct msg m;
        assert_int_equal(msg_wait(end.channel, &m, END_WAIT_MS), 1);
        char *cause = NULL;
        json_t *body = wire_body(&m, &cause);
        if (m.type == WIRE_HISTORY) {
            assert_int_equal(
                wire_send(end.channel, WIRE_HISTORY_IS, m.seq, json_pack("{s:O}", "plays", plays), -1), 0);
            left--;
        } else if (m.type == WIRE_POOL) {
            int after = (int)json_int_or(body, "after", -1, 0, 1000, NULL);
            int next = after < from ? from : after + 1, last = next + 3 > to;
            json_t *tracks = json_array();
            for (int i = next; i <= to && i < next + 3; i++)
                json_array_append_new(tracks, summary(i, 100 + 4 * i));
            assert_int_equal(wire_send(end.channel, WIRE_POOL_IS, m.seq,
                                       json_pack("{s:o,s:b}", "tracks", tracks, "last", last), -1),
                             0);
            left -= last;
        }
        json_decref(body);
    }
    json_decref(plays);
}

static int64_t next(json_t *body)
{
    end_ask(&end, WIRE_NEXT, body, WIRE_NEXT_IS);
    if (json_is_true(json_object_get(end.body, "none"))) return 0;
    assert_true(json_is_object(json_object_get(end.body, "why")));
    return end_int(&end, "track");
}

static void brain(void **state)
{
    (void)state;
    end_start(&end, ROLE_BRAIN, work_brain, end_config("/nowhere", "/m"));
    feed(json_pack("[{s:i},{s:i}]", "track", 3, "track", 1), 1, 7);
    end_expect(&end, WIRE_READY);
    /* goes on from the last one aired, 3: its nearest is 2 or 4 */
    int64_t id = next(json_pack("{s:n,s:[],s:[]}", "after", "planned", "avoid"));
    assert_true(id == 2 || id == 4);
    id = next(json_pack("{s:n,s:[],s:[i,i,i]}", "after", "planned", "avoid", 2, 4, 5));
    assert_int_equal(id, 6);
    /* what is planned was played */
    end_tell(&end, WIRE_PLANNED, json_pack("{s:i}", "track", 2));
    id = next(json_pack("{s:i,s:[i],s:[]}", "after", 4, "planned", 4, "avoid"));
    assert_true(id == 5);
    /* in step with the store */
    end_tell(&end, WIRE_TRACK_GONE, json_pack("{s:i}", "track", 5));
    end_tell(&end, WIRE_TRACK_READY, summary(50, 116.2));
    assert_int_equal(next(json_pack("{s:i,s:[i],s:[]}", "after", 4, "planned", 4, "avoid")), 50);
    end_tell(&end, WIRE_TRACK_READY, json_pack("{s:s}", "track", "nonsense"));
    /* a store that began anew: the old pool serves while the new one comes */
    end_tell(&end, WIRE_REPOOL, json_object());
    assert_int_equal(next(json_pack("{s:i,s:[i],s:[]}", "after", 4, "planned", 4, "avoid")), 50);
    assert_int_equal(end_quit(&end), 0);
}

static void brain_reloads(void **state)
{
    (void)state;
    end_start(&end, ROLE_BRAIN, work_brain, end_config("/nowhere", "/m"));
    feed(json_array(), 1, 4);
    end_expect(&end, WIRE_READY);
    end_tell(&end, WIRE_REPOOL, json_object());
    end_expect(&end, WIRE_POOL);
    assert_int_equal(end_int(&end, "after"), 0);
    json_t *page = json_pack("{s:[o,o],s:b}", "tracks", summary(100, 90), summary(101, 91), "last", 1);
    assert_int_equal(wire_send(end.channel, WIRE_POOL_IS, end.message.seq, page, -1), 0);
    assert_int_equal(next(json_pack("{s:i,s:[]}", "after", 100, "planned")), 101);
    assert_int_equal(next(json_pack("{s:i,s:[]}", "after", 101, "planned")), 100);
    /* nothing to play */
    end_tell(&end, WIRE_TRACK_GONE, json_pack("{s:i}", "track", 100));
    assert_int_equal(next(json_pack("{s:i,s:[]}", "after", 101, "planned")), 0); /* alone, not for long yet */
    end_tell(&end, WIRE_TRACK_GONE, json_pack("{s:i}", "track", 101));
    assert_int_equal(next(json_pack("{s:n}", "after")), 0);
    assert_int_equal(end_quit(&end), 0);
}

/* In the first minute, rather than the same again, a little patience. */
static void young_pool(void **state)
{
    (void)state;
    end_start(&end, ROLE_BRAIN, work_brain, end_config("/nowhere", "/m"));
    feed(json_array(), 1, 0);
    end_expect(&end, WIRE_READY);
    for (int i = 1; i <= 2; i++) {
        json_t *track = summary(i, 100);
        json_object_set_new(json_object_get(track, "features"), "duration_s",
                            json_real(1.0)); /* waits for 0.3 s */
        end_tell(&end, WIRE_TRACK_READY, track);
    }
    int64_t first = next(json_pack("{s:n}", "after")), second = 3 - first;
    assert_int_equal(next(json_pack("{s:I,s:[I]}", "after", (json_int_t)first, "planned", (json_int_t)first)),
                     second);
    json_t *body = json_pack("{s:I,s:[I,I]}", "after", (json_int_t)second, "planned", (json_int_t)first,
                             (json_int_t)second);
    assert_int_equal(next(json_incref(body)), 0);
    /* a skip does not wait */
    assert_int_equal(next(json_pack("{s:I,s:[I]}", "after", (json_int_t)first, "planned", (json_int_t)first)),
                     second);
    assert_int_equal(next(json_incref(body)), 0);
    /* nor does patience last */
    int64_t id = 0, end_ns = clock_boot_ns() + END_WAIT_MS * INT64_C(1000000);
    while (!id && clock_boot_ns() < end_ns)
        id = next(json_incref(body));
    assert_int_equal(id, first);
    json_decref(body);
    assert_int_equal(end_quit(&end), 0);
}

static void scan_walks_and_watches(void **state)
{
    (void)state;
    strcpy(top, "/tmp/forever-scan-XXXXXX");
    assert_non_null(mkdtemp(top));
    for (int i = 0; i < 450; i++) {
        char name[32];
        snprintf(name, sizeof name, "%03d\xff.mp3", i);
        end_put_file(top, name, "x");
    }
    end_put_file(top, "readme.txt", "x");
    char *nested = xasprintf("%s/", top), *folder = xasprintf("%s/sub", top);
    assert_int_equal(mkdir(folder, 0700), 0);
    json_t *config = end_config(top, nested);
    json_array_append_new(json_object_get(config, "libraries"),
                          json_string(folder)); /* walked with the first */
    json_array_append_new(json_object_get(config, "libraries"), json_string("/nonexistent/library"));
    end_start(&end, ROLE_SCAN, work_scan, config);
    end_expect(&end, WIRE_READY);
    size_t files = 0;
    for (int batch = 0; batch < 3; batch++) {
        end_expect(&end, WIRE_FOUND);
        const json_t *list = json_object_get(end.body, "files");
        assert_true(json_array_size(list) <= 200);
        files += json_array_size(list);
        char *path = path_from_text(json_string_value(json_object_get(json_array_get(list, 0), "path")));
        assert_int_equal(access(path, R_OK), 0);
        free(path);
    }
    assert_int_equal(files, 450);
    end_expect(&end, WIRE_SCANNED);
    assert_int_equal(end_int(&end, "files"), 450);
    assert_string_equal(json_string_value(json_object_get(end.body, "root")), top);
    end_expect(&end, WIRE_SCANNED);
    assert_non_null(json_object_get(end.body, "error"));
    end_put_file(folder, "dropped.mp3", "x");
    end_expect(&end, WIRE_FOUND);
    const json_t *list = json_object_get(end.body, "files");
    assert_int_equal(json_array_size(list), 1);
    assert_non_null(
        strstr(json_string_value(json_object_get(json_array_get(list, 0), "path")), "sub/dropped.mp3"));
    assert_int_equal(end_quit(&end), 0);
    remove_tree(top);
    free(nested);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brain),
        cmocka_unit_test(brain_reloads),
        cmocka_unit_test(young_pool),
        cmocka_unit_test(scan_walks_and_watches),
    };
    return cmocka_run_group_tests_name("brain", tests, NULL, NULL);
}
