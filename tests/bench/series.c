/* What statistics over time cost the store: bench-series [RELAYS [MINUTES]], 10000 and 12 when nothing is
 * said.
 *
 * Writes a batch for every 10 s as air sends it (messages of 512 relays, one transaction), sums up in between
 * as the store does, and prints how long the store is busy at a time, and how many bytes a relay takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/library/series.h"
#include "tests/draw.h"

#define SLICE 512
#define START (1795000000LL / 3600 * 3600)

static uint64_t seed = 1;

static uint64_t draw(uint64_t below)
{
    return draw_bits(&seed) % below;
}

static struct sample busy(void)
{
    struct sample s = {.n = 1,
                       .counters = {[SAMPLE_BYTES_IN] = 230000 + draw(20000),
                                    [SAMPLE_BYTES_OUT] = 100000000 + draw(400000000),
                                    [SAMPLE_ACCEPTED] = draw(60),
                                    [SAMPLE_CLOSED] = draw(60),
                                    [SAMPLE_REDIRECTS] = draw(60)}};
    sample_measure(&s, SAMPLE_LISTENERS, (int64_t)(1000 + draw(1000)));
    sample_measure(&s, SAMPLE_LAG, (int64_t)draw(4000) - 2000);
    sample_measure(&s, SAMPLE_CPU, (int64_t)(50 + draw(100)));
    sample_measure(&s, SAMPLE_RSS, (int64_t)(20000 + draw(100)));
    return s;
}

static double now_ms(void)
{
    return (double)clock_boot_ns() * 1e-6;
}

static double size_of(const char *dir)
{
    static const char *const names[] = {"stats.db", "stats.db-wal"};
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        struct stat st;
        if (!stat(path, &st)) sum += (double)st.st_size;
        free(path);
    }
    return sum;
}

static void sweep(const char *dir)
{
    static const char *const names[] = {"stats.db", "stats.db-wal", "stats.db-shm"};
    for (int i = 0; i < 3; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        unlink(path);
        free(path);
    }
}

static struct series *open_in(const char *dir)
{
    struct series *s;
    char *cause = NULL;
    if (!series_open(&s, dir, &cause)) return s;
    fprintf(stderr, "%s\n", cause);
    exit(1);
}

static void put(struct series *s, int64_t t, int relay, const struct sample *sample, int64_t day)
{
    struct sample_node node = {
        .has_sample = 1, .sample = *sample, .day_count = 1, .days = {{day, (uint64_t)t}}};
    snprintf(node.name, sizeof node.name, "relay-%05d", relay);
    if (series_put(s, t, &node)) exit(1);
}

/* Bytes of a row when a table holds but such: the file's growth by so many rows of a level, as one relay
 * among many leaves them. */
static double row_bytes(const char *dir, int stretches)
{
    enum { RELAYS = 500, TIMES = 60 };
    struct series *s = open_in(dir);
    double before = 0;
    for (int k = 0; k <= TIMES; k++) {
        if (series_begin(s)) exit(1);
        for (int i = 0; i < RELAYS; i++) {
            struct sample sum = {0};
            for (int n = 0; n < stretches; n++) {
                struct sample one = busy();
                sample_add(&sum, &one);
            }
            put(s, START + k * 10, i, &sum, 20000);
        }
        if (series_commit(s)) exit(1);
        if (k == 0) {
            series_close(s);
            before = size_of(dir);
            s = open_in(dir);
        }
    }
    series_close(s);
    double after = size_of(dir);
    sweep(dir);
    return (after - before) / (RELAYS * TIMES);
}

int main(int argc, char **argv)
{
    int relays = argc > 1 ? atoi(argv[1]) : 10000, minutes = argc > 2 ? atoi(argv[2]) : 12;
    char name[] = "/tmp/forever-bench-series-XXXXXX", *dir = mkdtemp(name);
    if (!dir || relays < 1 || minutes < 1) return 1;
    struct series *s = open_in(dir);
    double message_most = 0, commit_most = 0, slice_most = 0, writing = 0, summing = 0;
    int batches = minutes * 6, slices = 0;
    for (int k = 0; k < batches; k++) {
        int64_t t = START + k * SAMPLE_STEP_S;
        for (int i = 0; i < relays;) {
            double begin = now_ms();
            if (!i && series_begin(s)) return 1;
            for (int end = i + SLICE; i < relays && i < end; i++) {
                struct sample one = busy();
                put(s, t, i, &one, t / 86400);
            }
            double took = now_ms() - begin;
            if (k && took > message_most) message_most = took; /* the first one makes the names */
            writing += took;
        }
        double begin = now_ms();
        if (series_commit(s)) return 1;
        double took = now_ms() - begin;
        if (took > commit_most) commit_most = took;
        writing += took;
        for (int more = 1; more > 0;) {
            begin = now_ms();
            more = series_work(s, t + SAMPLE_STEP_S);
            took = now_ms() - begin;
            if (more < 0) return 1;
            if (took > slice_most) slice_most = took;
            summing += took;
            slices++;
        }
    }
    series_close(s);
    printf("%d relays, %d batches: a batch %.1f ms (a message of %d at most %.1f ms, the commit at most %.1f "
           "ms)\n",
           relays, batches, writing / batches, SLICE, message_most, commit_most);
    printf("summed up: %.1f ms for each batch, a slice at most %.1f ms (%d slices)\n", summing / batches,
           slice_most, slices);
    printf("busy: %.2f %% of a core\n", (writing + summing) / batches / (SAMPLE_STEP_S * 1000) * 100);
    sweep(dir);
    double ten = row_bytes(dir, 1), five = row_bytes(dir, 30), hour = row_bytes(dir, 360);
    printf("a row of 10 s %.1f bytes, of 5 min %.1f, of an hour %.1f\n", ten, five, hour);
    printf("a relay: a day of 10 s %.0f kB, three months of 5 min %.2f MB, each year of hours %.2f MB\n",
           ten * 8640 / 1e3, five * 92 * 288 / 1e6, hour * 24 * 365.25 / 1e6);
    rmdir(dir);
    return 0;
}
