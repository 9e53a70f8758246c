/* library: files and their fate, features, art and history in the database; a damaged file is set aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/art.h"
#include "root/library/features.h"
#include "root/library/history.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "tests/unit/remove_tree.h"

static struct library *open_at(const char *dir)
{
    struct library *l = NULL;
    char *cause = NULL;
    if (library_open(&l, dir, &cause)) fail_msg("library_open: %s", cause);
    return l;
}

static int64_t found(struct library *l, const char *path, int64_t size, int64_t mtime,
                     enum tracks_change expected)
{
    int64_t id = 0;
    enum tracks_change change;
    assert_int_equal(tracks_found(l, "/m", path, size, mtime, &id, &change), 0);
    assert_int_equal(change, expected);
    assert_true(id > 0);
    return id;
}

/* The first track of the pool above `after`; 0: none. */
static int64_t next_playable(struct library *l, int64_t after)
{
    json_t *pool = json_array();
    assert_true(features_pool(l, after, 1, pool) >= 0);
    int64_t id = json_integer_value(json_object_get(json_array_get(pool, 0), "track"));
    json_decref(pool);
    return id;
}

static void analysed(struct library *l, int64_t id, const char *hash, int version)
{
    struct track t;
    track_init(&t);
    t.id = id;
    t.hash = xstrdup(hash);
    t.tags.title = xasprintf("Title %lld", (long long)id);
    t.features.version = version;
    t.features.tempo_bpm = 120.25;
    t.features.beat_count = 2;
    t.features.beats_s = xcalloc(2, sizeof(double));
    t.features.beats_s[1] = 0.1;
    assert_int_equal(features_store(l, &t), 0);
    track_free(&t);
}

static struct track_file get(struct library *l, int64_t id)
{
    struct track_file f;
    assert_int_equal(tracks_get(l, id, &f), 1);
    return f;
}

static void files(void **state)
{
    (void)state;
    struct library *l = open_at(NULL);
    int64_t a = found(l, "/m/a\xff.mp3", 10, 1, TRACKS_ADDED);
    int64_t b = found(l, "/m/b.mp3", 20, 1, TRACKS_ADDED);
    assert_int_equal(found(l, "/m/a\xff.mp3", 10, 1, TRACKS_SAME), a);
    assert_int_equal(tracks_id(l, "/m/a\xff.mp3"), a);
    assert_int_equal(tracks_next_pending(l, 0), a);
    assert_int_equal(tracks_next_pending(l, a), b);
    assert_int_equal(tracks_pending_at(l, 1), b);
    assert_int_equal(tracks_pending_at(l, 2), 0);

    /* a reason stays until the file changes */
    assert_int_equal(tracks_set_failed(l, b, "no sound"), 0);
    assert_int_equal(found(l, "/m/b.mp3", 20, 1, TRACKS_SAME), b);
    struct track_file f = get(l, b);
    assert_int_equal(f.state, TRACK_FAILED);
    assert_string_equal(f.reason, "no sound");
    track_file_free(&f);
    assert_int_equal(found(l, "/m/b.mp3", 21, 1, TRACKS_CHANGED), b);
    f = get(l, b);
    assert_int_equal(f.state, TRACK_NEW);
    assert_null(f.reason);
    track_file_free(&f);

    /* gone and back, with what is known of it */
    analysed(l, a, "aa", ANALYSIS_VERSION);
    assert_int_equal(tracks_set_gone(l, a), 0);
    assert_int_equal(next_playable(l, 0), 0);
    assert_int_equal(found(l, "/m/a\xff.mp3", 10, 1, TRACKS_BACK), a);
    assert_int_equal(next_playable(l, 0), a);
    assert_int_equal(found(l, "/m/a\xff.mp3", 10, 2, TRACKS_CHANGED), a);
    assert_int_equal(next_playable(l, 0), 0);

    /* lost with its worker: once more, then never */
    assert_int_equal(tracks_set_lost(l, b, "crashed", 2), TRACK_NEW);
    assert_int_equal(tracks_set_lost(l, b, "crashed", 2), TRACK_FAILED);
    struct tracks_count n;
    assert_int_equal(tracks_count(l, &n), 0);
    assert_int_equal(n.total, 2);
    assert_int_equal(n.pending, 1);
    assert_int_equal(n.failed, 1);
    assert_int_equal(n.analysed, 0);

    /* a library that is no longer configured */
    char *roots[] = {"/other"};
    int64_t ids[4];
    assert_int_equal(tracks_of_root(l, "/m", 0, ids, 4), 2);
    assert_int_equal(ids[0], a);
    assert_int_equal(tracks_of_root(l, "/m", a, ids, 1), 1);
    assert_int_equal(ids[0], b);
    assert_int_equal(tracks_keep_roots(l, roots, 1), 2);
    assert_int_equal(tracks_of_root(l, "/m", 0, ids, 4), 0);
    library_close(l);
}

static void features(void **state)
{
    (void)state;
    struct library *l = open_at(NULL);
    int64_t ids[4];
    for (int i = 0; i < 4; i++) {
        char path[32];
        snprintf(path, sizeof path, "/m/%d", i);
        ids[i] = found(l, path, 1, 1, TRACKS_ADDED);
    }
    analysed(l, ids[0], "same", ANALYSIS_VERSION);
    analysed(l, ids[1], "other", ANALYSIS_VERSION - 1);
    analysed(l, ids[2], "same", ANALYSIS_VERSION);
    struct track t;
    assert_int_equal(features_load(l, ids[0], &t), 1);
    assert_string_equal(t.path, "/m/0");
    assert_string_equal(t.hash, "same");
    assert_int_equal(t.features.beat_count, 2);
    assert_true(t.features.beats_s[1] == 0.1);
    assert_true(isnan(t.features.energy));
    track_free(&t);
    assert_int_equal(features_load(l, ids[3], &t), 0);
    assert_int_equal(features_load(l, 999, &t), 0);

    /* one of each content; the older analysis serves meanwhile */
    json_t *pool = json_array();
    assert_int_equal(features_pool(l, 0, 10, pool), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(pool, 1), "track")), ids[1]);
    json_t *f = json_object_get(json_array_get(pool, 0), "features");
    assert_null(json_object_get(f, "beats_s"));
    assert_non_null(json_object_get(f, "tempo_bpm"));
    json_decref(pool);
    assert_int_equal(tracks_played_of(l, "same"), ids[0]);
    assert_int_equal(tracks_next_of(l, "same", ids[0]), ids[2]);
    assert_int_equal(tracks_set_gone(l, ids[0]), 0);
    assert_int_equal(next_playable(l, 0), ids[1]);
    assert_int_equal(next_playable(l, ids[1]), ids[2]);
    struct tracks_outdated after = {0};
    assert_int_equal(tracks_next_outdated(l, &after), ids[1]);
    assert_int_equal(tracks_next_outdated(l, &after), 0);
    /* an older analysis that can't be renewed goes on serving, and is not tried for ever */
    assert_int_equal(tracks_set_lost(l, ids[1], "hung", 2), TRACK_ANALYSED);
    assert_int_equal(tracks_set_lost(l, ids[1], "hung", 2), TRACK_ANALYSED);
    after = (struct tracks_outdated){0};
    assert_int_equal(tracks_next_outdated(l, &after), 0);

    uint8_t *bytes;
    char *mime;
    size_t len;
    assert_int_equal(art_load(l, ids[0], &mime, &bytes, &len), 0);
    assert_int_equal(art_store(l, ids[0], "image/svg+xml", "<svg>", 5), -1);
    assert_int_equal(art_store(l, ids[0], "image/png", "old", 3), 0);
    assert_int_equal(art_store(l, ids[0], "image/png", "a\0b", 3), 0);
    assert_int_equal(art_load(l, ids[0], &mime, &bytes, &len), 1);
    assert_string_equal(mime, "image/png");
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "a\0b", 3);
    free(bytes);
    free(mime);
    library_close(l);
}

static void add_play(struct library *l, int position, int64_t wall_ns, int out, int in)
{
    json_t *body = out ? json_pack("{s:[{s:i},{s:i}]}", "tracks", "track", out, "track", in)
                       : json_pack("{s:[{s:i}]}", "tracks", "track", in);
    assert_int_equal(history_add(l, (uint64_t)position, 0, wall_ns, body, NULL), 0);
    json_decref(body);
}

static void history(void **state)
{
    (void)state;
    struct library *l = open_at(NULL);
    const int64_t now = INT64_C(1700000000) * CLOCK_NS_PER_S;
    add_play(l, 0, now, 0, 1);
    add_play(l, 100, now, 1, 2); /* the transition begins the play of 2 */
    add_play(l, 200, now, 0, 2);
    add_play(l, 100, now + 5, 1, 2); /* told twice */
    add_play(l, 300, now + 7 * CLOCK_NS_PER_S / 2, 2, 3);
    json_t *plays = json_array();
    assert_int_equal(history_latest(l, 10, plays), 3);
    json_t *last = json_array_get(plays, 0);
    assert_int_equal(json_integer_value(json_object_get(last, "track")), 3);
    assert_int_equal(json_integer_value(json_object_get(last, "position")), 300);
    assert_true(fabs(json_real_value(json_object_get(last, "wall_s")) - 1700000003.5) < 1e-3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(plays, 1), "position")), 100);
    json_array_clear(plays);
    assert_int_equal(history_latest(l, 1, plays), 1);
    json_array_clear(plays);
    /* 401 days later only what came since is kept */
    const int64_t later = now + INT64_C(401) * 86400 * CLOCK_NS_PER_S;
    add_play(l, 400, later, 3, 4);
    assert_int_equal(history_prune(l, later, 400), 0);
    assert_int_equal(history_latest(l, 10, plays), 1);
    json_decref(plays);
    library_close(l);
}

static void aired(struct library *l, int64_t wall_ns, uint32_t branch, int64_t from, int64_t to,
                  const char *id)
{
    json_t *body =
        json_pack("{s:s,s:I,s:I,s:{s:[{s:s}]},s:[{s:i}]}", "id", id, "start_sample", (json_int_t)from,
                  "end_sample", (json_int_t)to, "plan", "voices", "hash", "abc", "tracks", "track", 1);
    assert_int_equal(history_add(l, (uint64_t)(from / 1152), branch, wall_ns, body, NULL), 0);
    json_decref(body);
}

/* Segments as ids, in order. */
static void check_aired(struct library *l, uint64_t position, uint64_t from, uint64_t to, const char *ids)
{
    json_t *array = json_array(), *body;
    char said[64] = "";
    size_t i;
    assert_int_equal(history_aired(l, position, from, to, array), strlen(ids));
    json_array_foreach(array, i, body)
    {
        strcat(said, json_string_value(json_object_get(body, "id")));
        assert_non_null(json_object_get(body, "plan"));
    }
    assert_string_equal(said, ids);
    json_decref(array);
}

static void what_aired_comes_back(void **state)
{
    (void)state;
    const int64_t s = 44100, now = INT64_C(1700000000) * CLOCK_NS_PER_S, hour = 3600 * CLOCK_NS_PER_S;
    struct library *l = open_at(NULL);
    aired(l, now, 0, 0, 90 * s, "a");
    aired(l, now + hour, 0, 90 * s, 100 * s, "b");
    aired(l, now + hour, 0, 100 * s, 200 * s, "c");
    aired(l, now + hour, 1, 150 * s, 160 * s, "d"); /* a skip cut c short */
    aired(l, now + hour, 1, 160 * s, 300 * s, "e");
    /* a new ring, a day later */
    aired(l, now + 24 * hour, 0, 0, 50 * s, "f");
    aired(l, now + 24 * hour, 0, 50 * s, 120 * s, "g");
    const uint64_t second = 44100;
    check_aired(l, 140 * second / 1152, 139 * second, 141 * second, "c");
    check_aired(l, 140 * second / 1152, 95 * second, 155 * second, "bcd");
    check_aired(l, 155 * second / 1152, 155 * second, 170 * second, "de");
    check_aired(l, 290 * second / 1152, 280 * second, 400 * second, "e"); /* as far as there is */
    check_aired(l, 60 * second / 1152, 0, 110 * second, "fg");            /* the latest time */
    check_aired(l, 400 * second / 1152, 0, 500 * second, "");
    library_close(l);
}

static void on_disk(void **state)
{
    (void)state;
    char dir[] = "/tmp/forever-library-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct library *l = open_at(dir);
    assert_int_equal(library_begin(l), 0);
    int64_t old = 0;
    for (int i = 0; i < 300; i++) {
        char path[64];
        snprintf(path, sizeof path, "/m/a rather long name so that some pages fill %d", i);
        old = found(l, path, i, 1, TRACKS_ADDED);
    }
    assert_int_equal(library_commit(l), 0);
    library_close(l);
    l = open_at(dir); /* kept */
    assert_int_equal(tracks_next_pending(l, old - 1), old);
    library_close(l);

    /* torn pages: set aside, begun anew, with ids nobody had before */
    char *path = xasprintf("%s/library.db", dir), *aside = xasprintf("%s.broken-1", path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (int i = 0; i < 40000; i++)
        fputc(i * 7, file);
    fclose(file);
    log_init("test", LOG_LEVEL_ERROR);
    l = open_at(dir);
    assert_int_equal(access(aside, F_OK), 0);
    assert_false(library_broken(l));
    assert_true(found(l, "/m/new", 1, 1, TRACKS_ADDED) > old);
    library_close(l);

    /* a newer program's database is left alone likewise */
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    l = open_at(dir);
    free(aside);
    aside = xasprintf("%s.broken-2", path);
    assert_int_equal(access(aside, F_OK), 0);
    library_close(l);
    free(aside);
    free(path);

    char *cause = NULL;
    assert_int_equal(library_open(&l, "/nonexistent/dir", &cause), -1);
    assert_non_null(cause);
    free(cause);
    remove_tree(dir);
}

/* A library of the first schema, analysed by older versions: it serves at once, and the oldest version's
 * tracks are the first to be analysed again. */
static void older_program(void **state)
{
    (void)state;
    char dir[] = "/tmp/forever-library-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct library *l = open_at(dir);
    int64_t a = found(l, "/m/a", 1, 1, TRACKS_ADDED), b = found(l, "/m/b", 1, 1, TRACKS_ADDED),
            c = found(l, "/m/c", 1, 1, TRACKS_ADDED);
    analysed(l, a, "a", 1);
    analysed(l, b, "b", 0);
    analysed(l, c, "c", 1);
    library_close(l);
    char *path = xasprintf("%s/library.db", dir);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "DROP TABLE waves; ALTER TABLE tracks DROP COLUMN tried;"
                                  "UPDATE tracks SET attempts = 2 WHERE path = '/m/c';" /* of that version */
                                  "PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);

    l = open_at(dir);
    json_t *pool = json_array();
    assert_int_equal(features_pool(l, 0, 10, pool), 3);
    json_decref(pool);
    struct tracks_count n;
    assert_int_equal(tracks_count(l, &n), 0);
    assert_int_equal(n.analysed, 3);
    assert_int_equal(n.outdated, 3);
    struct tracks_outdated after = {0};
    assert_int_equal(tracks_next_outdated(l, &after), b);
    assert_int_equal(tracks_next_outdated(l, &after), a);
    assert_int_equal(tracks_next_outdated(l, &after), c);
    assert_int_equal(tracks_next_outdated(l, &after), 0);
    analysed(l, b, "b", ANALYSIS_VERSION);
    assert_int_equal(tracks_set_lost(l, c, "hung", 2), TRACK_ANALYSED);
    assert_int_equal(tracks_count(l, &n), 0);
    assert_int_equal(n.outdated, 2); /* once is no reason to give up */
    assert_int_equal(tracks_set_lost(l, c, "hung", 2), TRACK_ANALYSED);
    assert_int_equal(tracks_count(l, &n), 0);
    assert_int_equal(n.analysed, 3);
    assert_int_equal(n.outdated, 1);
    library_close(l);
    free(path);
    remove_tree(dir);
}

/* Damage that shows only while working marks the library, and the next opening heals it. */
static void damage_while_open(void **state)
{
    (void)state;
    char dir[] = "/tmp/forever-library-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct library *l = open_at(dir);
    library_close(l);
    char *path = xasprintf("%s/library.db", dir);
    sqlite3 *db;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size"
                                        " WHERE name = 'art'",
                                        -1, &q, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    long at = (sqlite3_column_int(q, 0) - 1L) * sqlite3_column_int(q, 1);
    sqlite3_finalize(q);
    sqlite3_close(db);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    for (int i = 0; i < 100; i++)
        fputc(0xee, file);
    fclose(file);
    l = open_at(dir); /* art is not looked at */
    uint8_t *bytes;
    char *mime;
    size_t len;
    assert_int_equal(art_load(l, 1, &mime, &bytes, &len), -1);
    assert_true(library_broken(l));
    library_close(l);
    l = open_at(dir);
    assert_int_equal(art_load(l, 1, &mime, &bytes, &len), 0);
    library_close(l);
    free(path);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(features),
        cmocka_unit_test(history),
        cmocka_unit_test(what_aired_comes_back),
        cmocka_unit_test(on_disk),
        cmocka_unit_test(older_program),
        cmocka_unit_test(damage_while_open),
    };
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
