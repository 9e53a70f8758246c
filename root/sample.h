/* sample: what a node was like over a stretch of time: a value that adds up. The smallest stretch is
 * SAMPLE_STEP_S; longer ones are sums of it (store, root/library/series.h).
 *
 * Counters hold what came to pass in the stretch; gauges the least, the sum and the most of what was
 * measured, each with the number of measurements, since one may be unknown at a time (the lag of a relay that
 * pulls nothing). `n` is how many smallest stretches are covered: a stretch nobody measured is not there at
 * all, so means and rates go by n and stay right over gaps.
 *
 * Bytes: an idle relay takes 20, a busy one 30 to 40; all numbers are variable-length. */
#ifndef FOREVER_ROOT_SAMPLE_H
#define FOREVER_ROOT_SAMPLE_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define SAMPLE_STEP_S    10
#define SAMPLE_BYTES_MAX 256 /* encoded */

/* The stretches that are stored: how long they are, and for how long they are kept. */
#define SAMPLE_LEVELS   3
#define SAMPLE_ROWS_MAX 20000 /* of them that one question may look at, all its nodes together */
struct sample_level {
    int64_t step_s, keep_s; /* keep 0: for ever */
};
extern const struct sample_level sample_levels[SAMPLE_LEVELS];
/* The one whose stretches make up steps of that length: the longest that divides it. */
int sample_level_of(int64_t step_s);

enum sample_counter {
    SAMPLE_BYTES_IN,
    SAMPLE_BYTES_OUT,
    SAMPLE_ACCEPTED,
    SAMPLE_CLOSED,
    SAMPLE_REDIRECTS, /* of listeners, to this node; of the root and the cluster: to relays */
    SAMPLE_COUNTERS
};

enum sample_gauge {
    SAMPLE_LISTENERS,
    SAMPLE_LAG,    /* us */
    SAMPLE_CPU,    /* thousandths of a core */
    SAMPLE_RSS,    /* KiB */
    SAMPLE_RELAYS, /* of the cluster: healthy ones */
    SAMPLE_GAUGES
};

struct sample_range {
    uint32_t n; /* measurements; 0: min, max and sum mean nothing */
    int64_t min, max, sum;
};

struct sample {
    uint32_t n;
    uint64_t counters[SAMPLE_COUNTERS];
    struct sample_range gauges[SAMPLE_GAUGES];
};

void sample_measure(struct sample *sample, enum sample_gauge gauge, int64_t value);
/* Counters: what each has grown by since it was seen; 0 when it has shrunk, which is a new beginning. */
void sample_count(struct sample *sample, const uint64_t now[SAMPLE_COUNTERS], uint64_t seen[SAMPLE_COUNTERS]);
/* The load, from processor time and what it was elapsed_s ago; nothing when elapsed_s is 0 or it has shrunk.
 */
void sample_cpu(struct sample *sample, double cpu_s, double *seen_s, double elapsed_s);
void sample_add(struct sample *into, const struct sample *more);
/* How many bytes; at most SAMPLE_BYTES_MAX. */
size_t sample_put(const struct sample *sample, uint8_t out[SAMPLE_BYTES_MAX]);
/* How many bytes it took of len; 0 when they are no sample. What a newer program added is left out. */
size_t sample_get(struct sample *out, const uint8_t *bytes, size_t len);

/* Names and units for people: columns "listeners": {"min","avg","max"}, "bytes_out" and so on. Appends one
 * value to each array of an object made by sample_columns. */
json_t *sample_columns(void);
void sample_append(json_t *columns, const struct sample *sample);

/* A batch, as it goes from air to the store (WIRE_SERIES): the samples of one moment, and the ledger's news.
 *   i64 t (little endian), u8 last
 *   then for each node: u8 length of its name, name, u8 has a sample, sample,
 *                       u8 days, each a number of a day and the bytes of that day */
struct sample_batch {
    uint8_t *bytes; /* owned */
    size_t len, room;
};
struct sample_day {
    int64_t day; /* since 1970 */
    uint64_t bytes;
};
#define SAMPLE_DAYS_MAX 64
#define SAMPLE_NAME_MAX 64

void sample_batch_begin(struct sample_batch *batch, int64_t t);
/* sample may be NULL, and days 0. */
void sample_batch_node(struct sample_batch *batch, const char *name, const struct sample *sample,
                       const struct sample_day *days, size_t day_count);
void sample_batch_end(struct sample_batch *batch, int last); /* may be sent now */
void sample_batch_free(struct sample_batch *batch);

struct sample_reader {
    const uint8_t *at;
    size_t left;
    int64_t t;
    int last;
};
struct sample_node {
    char name[SAMPLE_NAME_MAX + 1];
    int has_sample;
    struct sample sample;
    size_t day_count;
    struct sample_day days[SAMPLE_DAYS_MAX];
};
/* 0, or -1 when it is no batch. */
int sample_reader_begin(struct sample_reader *reader, const uint8_t *bytes, size_t len);
/* 1: the next node; 0: no more; -1: it is malformed. */
int sample_reader_next(struct sample_reader *reader, struct sample_node *out);

#endif
