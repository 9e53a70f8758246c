/* Samples and their series: against sums over what was put in, with gaps, restarts and clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/series.h"
#include "tests/draw.h"

#define START 1795000000LL / 86400 * 86400

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    return draw_bits(&seed) % below;
}

static struct sample some(void)
{
    struct sample s = {.n = 1};
    for (int i = 0; i < SAMPLE_COUNTERS; i++)
        s.counters[i] = draw(4) ? draw(UINT64_C(1) << (1 + draw(40))) : 0;
    sample_measure(&s, SAMPLE_LISTENERS, (int64_t)draw(5000));
    if (draw(2)) sample_measure(&s, SAMPLE_LAG, (int64_t)draw(2000000) - 1000000);
    sample_measure(&s, SAMPLE_CPU, (int64_t)draw(1000));
    return s;
}

static void assert_same(const struct sample *a, const struct sample *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->counters, b->counters, sizeof a->counters);
    for (int i = 0; i < SAMPLE_GAUGES; i++) {
        assert_int_equal(a->gauges[i].n, b->gauges[i].n);
        if (!a->gauges[i].n) continue;
        assert_int_equal(a->gauges[i].min, b->gauges[i].min);
        assert_int_equal(a->gauges[i].max, b->gauges[i].max);
        assert_int_equal(a->gauges[i].sum, b->gauges[i].sum);
    }
}

static void samples_come_back_as_they_were(void **state)
{
    (void)state;
    size_t most = 0;
    for (int round = 0; round < 3000; round++) {
        struct sample s = {0}, back;
        uint8_t bytes[SAMPLE_BYTES_MAX];
        for (uint64_t i = draw(40); i-- > 0;) {
            struct sample one = some();
            sample_add(&s, &one);
        }
        if (draw(10) == 0) {
            for (int i = 0; i < SAMPLE_COUNTERS; i++)
                s.counters[i] = UINT64_MAX - draw(3);
            s.gauges[0] =
                (struct sample_range){UINT32_MAX, INT64_MIN / 4, INT64_MAX / 4, (int64_t)draw(1000)};
        }
        size_t len = sample_put(&s, bytes);
        if (len > most) most = len;
        assert_true(len <= SAMPLE_BYTES_MAX);
        assert_int_equal(sample_get(&back, bytes, len), len);
        assert_same(&s, &back);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(sample_get(&back, bytes, cut), 0);
    }
    for (int round = 0; round < 20000; round++) { /* anything may come: it ends, and says what it took */
        uint8_t bytes[64];
        struct sample back;
        size_t len = draw(sizeof bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = i ? (uint8_t)draw(256) : 1;
        assert_true(sample_get(&back, bytes, len) <= len);
    }
    struct sample idle = {.n = 1}, busy = {.n = 1};
    uint8_t bytes[SAMPLE_BYTES_MAX];
    for (int i = 0; i < SAMPLE_GAUGES; i++)
        sample_measure(&idle, (enum sample_gauge)i, i == SAMPLE_RSS ? 9000 : 0);
    sample_measure(&busy, SAMPLE_LISTENERS, 2000);
    sample_measure(&busy, SAMPLE_LAG, -300);
    sample_measure(&busy, SAMPLE_CPU, 90);
    sample_measure(&busy, SAMPLE_RSS, 40000);
    busy.counters[SAMPLE_BYTES_IN] = 240000;
    busy.counters[SAMPLE_BYTES_OUT] = 480000000;
    busy.counters[SAMPLE_ACCEPTED] = busy.counters[SAMPLE_CLOSED] = busy.counters[SAMPLE_REDIRECTS] = 40;
    print_message("a sample: idle %zu bytes, busy %zu, at most %zu here\n", sample_put(&idle, bytes),
                  sample_put(&busy, bytes), most);
}

static void batches_come_back_as_they_were(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct sample_batch batch;
        struct sample_reader reader;
        struct sample samples[100];
        struct sample_day days[100][3];
        size_t count = draw(100);
        sample_batch_begin(&batch, START + 10 * round);
        for (size_t i = 0; i < count; i++) {
            char name[32];
            snprintf(name, sizeof name, "relay-%zu", i);
            samples[i] = some();
            for (int k = 0; k < 3; k++)
                days[i][k] = (struct sample_day){20000 + k, draw(UINT64_MAX)};
            sample_batch_node(&batch, name, i % 3 ? &samples[i] : NULL, days[i], i % 4);
        }
        sample_batch_end(&batch, round % 2);
        assert_int_equal(sample_reader_begin(&reader, batch.bytes, batch.len), 0);
        assert_int_equal(reader.t, START + 10 * round);
        assert_int_equal(reader.last, round % 2);
        struct sample_node node;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(sample_reader_next(&reader, &node), 1);
            assert_int_equal(node.has_sample, i % 3 != 0);
            if (node.has_sample) assert_same(&node.sample, &samples[i]);
            assert_int_equal(node.day_count, i % 4);
            assert_memory_equal(node.days, days[i], (i % 4) * sizeof days[0][0]);
        }
        assert_int_equal(sample_reader_next(&reader, &node), 0);
        /* cut anywhere, it is malformed or ends early, and no more */
        for (size_t cut = 0; cut < batch.len; cut += 1 + draw(20)) {
            if (sample_reader_begin(&reader, batch.bytes, cut)) continue;
            while (sample_reader_next(&reader, &node) > 0)
                ;
        }
        sample_batch_free(&batch);
    }
}

/* Series */

#define NODES   7
#define STRETCH 2000 /* of 10 s: five and a half hours */

static char *dir;
static struct series *series;
static struct sample truth[NODES][STRETCH]; /* n 0: nobody measured */

static int begin(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    /* each commit waits for the disk, which is not what is tested */
    char name[40];
    snprintf(name, sizeof name, "%s/forever-series-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    dir = xstrdup(mkdtemp(name));
    memset(truth, 0, sizeof truth);
    return series_open(&series, dir, NULL);
}

static int end(void **state)
{
    (void)state;
    static const char *const names[] = {"stats.db", "stats.db-wal", "stats.db-shm"};
    series_close(series);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(dir);
    free(dir);
    return 0;
}

static void again(void)
{
    series_close(series);
    assert_int_equal(series_open(&series, dir, NULL), 0);
}

static void put(int64_t t, const char *name, const struct sample *sample, int64_t day, uint64_t bytes)
{
    struct sample_node node = {.has_sample = sample != NULL, .day_count = bytes > 0};
    snprintf(node.name, sizeof node.name, "%s", name);
    if (sample) node.sample = *sample;
    node.days[0] = (struct sample_day){day, bytes};
    assert_int_equal(series_put(series, t, &node), 0);
}

static int64_t sum(const json_t *list)
{
    int64_t s = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        s += json_integer_value(json_array_get(list, i));
    return s;
}

/* What the series tells of a node is what its 10 s add up to. */
static void check(int node, int64_t step)
{
    char name[32];
    snprintf(name, sizeof name, "node-%d", node);
    json_t *c = sample_columns();
    assert_int_equal(series_read(series, name, START, START + STRETCH * 10, step, c), 0);
    const json_t *t = json_object_get(c, "t"), *max = json_object_get(json_object_get(c, "listeners"), "max");
    const json_t *avg = json_object_get(json_object_get(c, "listeners"), "avg");
    size_t i = 0;
    for (int64_t at = 0; at < STRETCH * 10; at += step) {
        struct sample want = {0};
        for (int64_t k = at / 10; k < (at + step) / 10 && k < STRETCH; k++)
            sample_add(&want, &truth[node][k]);
        if (!want.n) continue; /* missing, not zero */
        assert_int_equal(json_integer_value(json_array_get(t, i)), START + at);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(c, "covered_s"), i)), want.n * 10);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(c, "bytes_out"), i)),
                         want.counters[SAMPLE_BYTES_OUT]);
        assert_int_equal(json_integer_value(json_array_get(max, i)), want.gauges[SAMPLE_LISTENERS].max);
        double mean = (double)want.gauges[SAMPLE_LISTENERS].sum / want.gauges[SAMPLE_LISTENERS].n;
        assert_true(json_number_value(json_array_get(avg, i)) == mean);
        i++;
    }
    assert_int_equal(json_array_size(t), i);
    json_decref(c);
}

static void longer_stretches_are_sums_of_shorter_ones(void **state)
{
    (void)state;
    for (int k = 0; k < STRETCH; k++) {
        int64_t t = START + k * 10;
        int away = k > 300 && k < 430; /* the store was away, over the edges of stretches of both lengths */
        if (!away) {
            assert_int_equal(series_begin(series), 0);
            for (int i = 0; i < NODES; i++) {
                char name[32];
                if (i == 3 && (k < 700 || k > 900)) continue; /* one that comes late and goes early */
                if (draw(20) == 0) continue;                  /* silent for a moment */
                snprintf(name, sizeof name, "node-%d", i);
                truth[i][k] = some();
                put(t, name, &truth[i][k], 0, 0);
            }
            if (k == 1000) { /* a batch that was not whole */
                series_undo(series);
                for (int i = 0; i < NODES; i++)
                    truth[i][k] = (struct sample){0};
            } else {
                assert_int_equal(series_commit(series), 0);
            }
        }
        if (away || draw(3)) continue;
        int more = 1;
        for (uint64_t slices = draw(4); slices-- > 0 && more > 0;) /* the work may lag behind */
            more = series_work(series, t + 12);
        assert_true(more >= 0);
        if (draw(100) == 0) again();
    }
    for (int i = 0; i < NODES; i++) { /* while some of it is summed up, and when all is */
        check(i, 300);
        check(i, 3600);
    }
    while (series_work(series, START + STRETCH * 10 + 40) > 0)
        ;
    static const int64_t steps[] = {10, 30, 300, 900, 3600, 7200};
    for (int i = 0; i < NODES; i++) {
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++)
            check(i, steps[s]);
    }
    json_t *c = sample_columns();
    assert_int_equal(series_read(series, "nobody", START, START + 3600, 10, c), 0);
    assert_int_equal(json_array_size(json_object_get(c, "t")), 0);
    json_decref(c);
}

static void what_is_old_is_forgotten(void **state)
{
    (void)state;
    struct sample one = {.n = 1, .counters = {[SAMPLE_BYTES_OUT] = 5}};
    for (int64_t day = 0; day < 100; day++) {
        assert_int_equal(series_begin(series), 0);
        for (int64_t k = 0; k < 4; k++)
            put(START + day * 86400 + k * 100, "a", &one, START / 86400 + day, 7);
        assert_int_equal(series_commit(series), 0);
        while (series_work(series, START + day * 86400 + 7200) > 0)
            ;
    }
    static const struct {
        int64_t step, rows;
    } want[] = {{10, 4}, {300, 92 * 2}, {3600, 100}};
    for (int i = 0; i < 3; i++) {
        json_t *c = sample_columns();
        assert_int_equal(series_read(series, "a", START, START + 100 * 86400, want[i].step, c), 0);
        assert_int_equal(json_array_size(json_object_get(c, "t")), want[i].rows);
        assert_int_equal(sum(json_object_get(c, "bytes_out")),
                         want[i].step == 10 ? 20 : want[i].rows * (i == 1 ? 10 : 20));
        json_decref(c);
    }
    /* the clock goes far ahead, and back: what comes then is summed up all the same */
    int64_t now = START + 101 * 86400;
    assert_int_equal(series_begin(series), 0);
    put(now + 50 * 86400, "a", &one, 1, 1);
    assert_int_equal(series_commit(series), 0);
    while (series_work(series, now + 50 * 86400 + 7200) > 0)
        ;
    assert_int_equal(series_begin(series), 0);
    put(now, "a", &one, 1, 1);
    assert_int_equal(series_commit(series), 0);
    while (series_work(series, now + 7200) > 0)
        ;
    json_t *c = sample_columns();
    assert_int_equal(series_read(series, "a", now, now + 3600, 3600, c), 0);
    assert_int_equal(sum(json_object_get(c, "bytes_out")), 5);
    json_decref(c);
}

static void the_ledger_keeps_the_larger(void **state)
{
    (void)state;
    assert_int_equal(series_begin(series), 0);
    for (int i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "node-%d", i);
        put(START, name, NULL, 100, (uint64_t)(1000 + i));
        put(START, name, NULL, 101, 50);
        put(START, name, NULL, 100, 900); /* a root that had lost its memory */
        put(START, name, NULL, 99, 1);
    }
    assert_int_equal(series_commit(series), 0);
    again();
    int64_t after = 0;
    int pages = 0, looked;
    json_t *all = json_array();
    while ((looked = series_ledger(series, &after, 100, 164, 8, all)) > 0)
        pages++;
    assert_int_equal(looked, 0);
    assert_int_equal(pages, 4);
    assert_int_equal(json_array_size(all), 30);
    const json_t *days = json_object_get(json_array_get(all, 29), "days");
    assert_int_equal(json_array_size(days), 4);
    assert_int_equal(json_integer_value(json_array_get(days, 1)), 1029);
    assert_int_equal(json_integer_value(json_array_get(days, 3)), 50);
    json_decref(all);
    assert_int_equal(series_ledger_drop(series, "node-29", 101 * 86400), 0);
    assert_int_equal(series_ledger_drop(series, "nobody", 101 * 86400), 0);
    after = 28;
    all = json_array();
    assert_int_equal(series_ledger(series, &after, 90, 164, 8, all), 2);
    assert_int_equal(json_array_size(all), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "name")), "node-28");
    json_decref(all);
}

static void what_was_learned_is_kept(void **state)
{
    (void)state;
    json_t *large = json_object();
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        json_object_set_new(large, key, json_real(i));
    }
    assert_int_equal(series_begin(series), 0);
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "knows-%d", i);
        json_t *values = json_pack("{s:i}", "pacing", 7), *later = json_pack("{s:f}", "pacing", i / 8.0);
        assert_int_equal(series_learn(series, name, values), 0);
        assert_int_equal(series_learn(series, name, later), 0);
        assert_int_equal(series_learn(series, name, large), 0); /* not taken */
        json_decref(values);
        json_decref(later);
    }
    assert_int_equal(series_commit(series), 0);
    json_decref(large);
    again();
    int64_t after = 0;
    json_t *all = json_array();
    int sizes[4];
    for (int i = 0; i < 4; i++)
        sizes[i] = series_learned(series, &after, 8, all);
    assert_true(sizes[0] == 8 && sizes[1] == 8 && sizes[2] == 4 && sizes[3] == 0);
    for (int i = 0; i < 20; i++) {
        const json_t *values = json_object_get(json_array_get(all, (size_t)i), "values");
        assert_float_equal(json_real_value(json_object_get(values, "pacing")), i / 8.0, 0);
    }
    json_decref(all);
    all = json_array();
    after = 0;
    assert_int_equal(series_ledger_drop(series, "knows-3", 101 * 86400), 0);
    assert_int_equal(series_learned(series, &after, 100, all), 19);
    json_decref(all);
}

static void a_damaged_file_is_set_aside(void **state)
{
    (void)state;
    series_close(series);
    char *path = xasprintf("%s/stats.db", dir), *wal = xasprintf("%s-wal", path),
         *aside = xasprintf("%s.broken-1", path);
    unlink(wal);
    FILE *file = fopen(path, "we");
    fputs(
        "this is no database, whatever it was before; it is long enough to be looked at as one ............",
        file);
    fclose(file);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(series_open(&series, dir, NULL), 0);
    struct stat st;
    assert_int_equal(stat(aside, &st), 0);
    put(START, "a", NULL, 100, 5);
    unlink(aside);
    free(aside);
    free(wal);
    free(path);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    fprintf(stderr, "seed %llu (%s SEED)\n", (unsigned long long)seed, argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_come_back_as_they_were),
        cmocka_unit_test(batches_come_back_as_they_were),
        cmocka_unit_test_setup_teardown(longer_stretches_are_sums_of_shorter_ones, begin, end),
        cmocka_unit_test_setup_teardown(what_is_old_is_forgotten, begin, end),
        cmocka_unit_test_setup_teardown(the_ledger_keeps_the_larger, begin, end),
        cmocka_unit_test_setup_teardown(what_was_learned_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_set_aside, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
