/* stats: counters and gauges by number, written as Prometheus text (format 0.0.4).
 *
 * A table of rows and an array of values, both indexed by one enum, so that counting is one addition. Values
 * that only exist elsewhere are filled in just before writing; labelled series are written beside the table
 * with stats_write_head and stats_write_sample. */
#ifndef FOREVER_COMMON_STATS_H
#define FOREVER_COMMON_STATS_H
#include <stddef.h>
#include <stdint.h>

struct evbuffer;

enum stats_kind { STATS_COUNTER, STATS_GAUGE, STATS_HISTOGRAM };

struct stats_row {
    const char *name; /* forever_..., base units, counters end in _total */
    enum stats_kind kind;
    const char *help;
};

struct stats {
    const struct stats_row *rows;
    size_t count;
    double *values; /* count of them */
};

void stats_init(struct stats *stats, const struct stats_row *rows, size_t count);
void stats_free(struct stats *stats);
void stats_write(const struct stats *stats, struct evbuffer *out);
/* One HELP/TYPE head, then any number of samples; labels is `key="value",...` made by stats_label. */
void stats_write_head(struct evbuffer *out, const char *name, enum stats_kind kind, const char *help);
void stats_write_sample(struct evbuffer *out, const char *name, const char *labels, double value);
/* Appends key="value" with the value escaped as the format demands; a comma first when out is not empty. */
void stats_label(char *out, size_t size, const char *key, const char *value);
/* forever_build_info, start time, process_* (cpu seconds, resident and private bytes, open descriptors). */
void stats_write_process(struct evbuffer *out, const char *role, int64_t start_wall_ns);

struct stats_process {
    double cpu_s;
    uint64_t rss_bytes, pss_bytes, private_bytes; /* pss and private from smaps_rollup, 0 when unreadable */
    unsigned fds, fd_limit;
};
void stats_process_read(struct stats_process *out);

#endif
