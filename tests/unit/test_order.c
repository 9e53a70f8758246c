/* order: the nearest track that keeps the spacing, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "root/order/distance.h"
#include "root/order/pick.h"

static uint64_t state_of_random = 12345;

static double random_real(void)
{
    state_of_random = state_of_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(state_of_random >> 11) * 0x1p-53;
}

static struct track make(int64_t id, double tempo, int key, double energy, const char *artist)
{
    struct track t;
    track_init(&t);
    t.id = id;
    t.features.tempo_bpm = tempo;
    t.features.tempo_confidence = isnan(tempo) ? NAN : 1;
    t.features.key = key;
    t.features.key_confidence = key < 0 ? NAN : 1;
    t.features.energy = energy;
    t.tags.artist = artist ? xstrdup(artist) : NULL;
    return t;
}

static void put(struct pool *pool, int64_t id, double tempo, int key, double energy, const char *artist)
{
    struct track t = make(id, tempo, key, energy, artist);
    pool_put(pool, &t);
    track_free(&t);
}

static struct pool *random_pool(int count, int artists)
{
    struct pool *pool = pool_new();
    for (int i = 1; i <= count; i++) {
        char artist[32];
        snprintf(artist, sizeof artist, "Artist %d", (int)(random_real() * artists));
        put(pool, i, 80 + 100 * random_real(), (int)(24 * random_real()), random_real(), artist);
    }
    return pool;
}

static int64_t pick(const struct pool *pool, int64_t after, const int64_t *recent, size_t count,
                    uint64_t seed)
{
    json_t *why;
    int64_t id = order_pick(pool, after, recent, count, NULL, 0, seed, &why);
    assert_true((id != 0) == (why != NULL));
    json_decref(why);
    return id;
}

static void terms(void **state)
{
    (void)state;
    assert_true(order_tempo_term(120, 120) == 0);
    assert_true(order_tempo_term(120, 126) > 0.2 && order_tempo_term(120, 126) < 0.5);
    assert_true(order_tempo_term(120, 145) == 1);
    assert_true(order_tempo_term(70, 140) > 0 && order_tempo_term(70, 140) < order_tempo_term(120, 126));
    assert_true(isnan(order_tempo_term(NAN, 120)));
    assert_true(order_key_term(0, 0) == 0);
    double fifth = order_key_term(0, 7), relative = order_key_term(0, 21), semitone = order_key_term(0, 1);
    assert_true(fifth == relative && fifth < order_key_term(0, 2) && semitone == 1);
    assert_true(order_key_term(5, 6) == order_key_term(6, 5));
    assert_true(isnan(order_key_term(-1, 5)));
}

static void unknown_is_no_match(void **state)
{
    (void)state;
    struct pool *pool = pool_new();
    put(pool, 1, 120, 0, 0.5, "a");
    put(pool, 2, 121, 0, 0.55, "b");
    put(pool, 3, NAN, -1, NAN, "c"); /* nothing known */
    put(pool, 4, NAN, -1, 0.5, "d"); /* equal in all that is known */
    for (uint64_t seed = 0; seed < 20; seed++)
        assert_int_equal(pick(pool, 1, NULL, 0, seed), 2);
    pool_remove(pool, 2);
    /* nor is it worse than what is surely far */
    put(pool, 5, 150, 6, 1, "e");
    for (uint64_t seed = 0; seed < 20; seed++)
        assert_int_equal(pick(pool, 1, NULL, 0, seed), 4);
    json_t *why;
    int64_t avoid[] = {4, 5};
    assert_int_equal(order_pick(pool, 1, NULL, 0, avoid, 2, 0, &why), 3);
    assert_int_equal(json_object_size(json_object_get(why, "terms")), 0);
    json_decref(why);
    /* a tempo nobody believes counts little */
    struct track t = make(6, 120, -1, NAN, "f");
    t.features.tempo_confidence = 0.05;
    pool_put(pool, &t);
    track_free(&t);
    for (uint64_t seed = 0; seed < 20; seed++)
        assert_int_equal(pick(pool, 1, NULL, 0, seed), 4);
    pool_free(pool);
}

/* Plays on and on: what was played when. */
static void play(const struct pool *pool, uint64_t seed, int64_t *played, size_t plays)
{
    int64_t last = 0;
    for (size_t i = 0; i < plays; i++) {
        played[i] = last = pick(pool, last, played, i, seed);
        assert_true(last > 0);
    }
}

static void spacing(void **state)
{
    (void)state;
    enum { TRACKS = 50, PLAYS = 600 };
    struct pool *pool = random_pool(TRACKS, 20);
    int64_t played[PLAYS], again[PLAYS];
    size_t last[TRACKS + 1] = {0}, nearest = PLAYS;
    play(pool, 7, played, PLAYS);
    for (size_t i = 0; i < PLAYS; i++) {
        size_t before = last[played[i]];
        if (before && i + 1 - before < nearest) nearest = i + 1 - before;
        last[played[i]] = i + 1;
    }
    assert_true(nearest > TRACKS * 8 / 10); /* so many others in between */
    for (int id = 1; id <= TRACKS; id++) {
        /* nobody is forgotten */
        if (!last[id]) fail_msg("track %d was never played", id);
    }
    play(pool, 7, again, PLAYS);
    assert_memory_equal(played, again, sizeof played);
    play(pool, 8, again, PLAYS);
    assert_memory_not_equal(played, again, sizeof played);
    pool_free(pool);
}

/* One artist holds `of_one` tracks of ten: how often the artist came twice in a row. */
static int repeats(int of_one)
{
    enum { PLAYS = 200 };
    struct pool *pool = pool_new();
    for (int i = 1; i <= 10; i++)
        put(pool, i, 120, 3, 0.5, i <= of_one ? "One" : i % 2 ? "two " : "Two");
    int64_t played[PLAYS];
    play(pool, 3, played, PLAYS);
    int count = 0;
    for (int i = 1; i < PLAYS; i++)
        count += (played[i] <= of_one) == (played[i - 1] <= of_one);
    pool_free(pool);
    return count;
}

/* Where one artist made 19 of 23 tracks, the other four do not come again before most have been played. */
static void prevailing_artist(void **state)
{
    (void)state;
    enum { PLAYS = 100, POOL = 23 };
    struct pool *pool = pool_new();
    for (int i = 1; i <= POOL; i++)
        put(pool, i, 120, 3, 0.5, i <= 19 ? "One" : "Two");
    int64_t played[PLAYS];
    play(pool, 3, played, PLAYS);
    for (int i = 0; i < PLAYS; i++) {
        for (int k = i + 1; k < PLAYS && k <= i + 16; k++)
            assert_int_not_equal(played[i], played[k]);
    }
    pool_free(pool);
}

/* Nor do they come before they go well with anything, only because they are another artist's. */
static void prevailing_artist_is_not_parted(void **state)
{
    (void)state;
    enum { PLAYS = 15, POOL = 23 };
    struct pool *pool = pool_new();
    for (int i = 1; i <= POOL; i++)
        put(pool, i, 120, i <= 19 ? 3 : 9, 0.5, i <= 19 ? "One" : "Two");
    int64_t last = 1, played[PLAYS];
    for (int i = 0; i < PLAYS; i++) {
        played[i] = last = pick(pool, last, played, (size_t)i, 5);
        assert_in_range(last, 1, 19);
    }
    pool_free(pool);
}

static void artists(void **state)
{
    (void)state;
    assert_int_equal(repeats(5), 0);
    assert_int_equal(repeats(6), 0);
    assert_true(repeats(9) > 0); /* the library does not allow it: the other's only track would wear out */
    json_t *why;
    struct pool *pool = pool_new();
    put(pool, 1, 120, 3, 0.5, "One");
    put(pool, 2, 120, 3, 0.5, "one");
    assert_int_equal(order_pick(pool, 1, NULL, 0, NULL, 0, 1, &why), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(why, "relaxed"), 0)), "artist");
    json_decref(why);
    pool_free(pool);
}

static void small_pools(void **state)
{
    (void)state;
    struct pool *pool = pool_new();
    assert_int_equal(pick(pool, 0, NULL, 0, 1), 0);
    put(pool, 5, NAN, -1, NAN, NULL);
    int64_t recent[] = {5, 5, 5};
    assert_int_equal(pick(pool, 5, recent, 3, 1), 5); /* one track repeats */
    put(pool, 9, NAN, -1, NAN, NULL);
    assert_int_equal(pick(pool, 5, recent, 3, 1), 9);
    assert_int_equal(pick(pool, 9, recent, 3, 1), 5);
    json_t *why;
    int64_t avoid[] = {5, 9, 77};
    assert_int_equal(order_pick(pool, 5, recent, 3, avoid, 1, 1, &why), 9);
    json_decref(why);
    assert_int_equal(order_pick(pool, 5, recent, 3, avoid, 3, 1, &why), 0);
    assert_null(why);
    assert_int_equal(pick(pool, 12345, recent, 3, 1), 9); /* the last one left the pool */
    pool_remove(pool, 12345);
    pool_remove(pool, 9);
    assert_int_equal(pool_count(pool), 1);
    assert_int_equal(pick(pool, 9, recent, 3, 1), 5);
    pool_free(pool);
}

static void large_pool(void **state)
{
    (void)state;
    enum { TRACKS = 100000, RECENT = 50000 };
    struct pool *pool = random_pool(TRACKS, 5000);
    int64_t *recent = xcalloc(RECENT, sizeof *recent);
    for (int i = 0; i < RECENT; i++)
        recent[i] = 1 + (int64_t)(random_real() * TRACKS);
    clock_t start = clock(); /* of this process: what else the machine does is of no account */
    for (int i = 0; i < 5; i++)
        assert_true(pick(pool, recent[i], recent, RECENT, 1) > 0);
    double each_ms = (double)(clock() - start) * 1000 / CLOCKS_PER_SEC / 5;
    print_message("%d tracks: %.1f ms a choice\n", TRACKS, each_ms);
    assert_true(each_ms < 400); /* sanity, also with sanitizers */
    free(recent);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms),
        cmocka_unit_test(unknown_is_no_match),
        cmocka_unit_test(spacing),
        cmocka_unit_test(artists),
        cmocka_unit_test(prevailing_artist),
        cmocka_unit_test(prevailing_artist_is_not_parted),
        cmocka_unit_test(small_pools),
        cmocka_unit_test(large_pool),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
