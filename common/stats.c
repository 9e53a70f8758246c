#include "common/stats.h"

#include <dirent.h>
#include <event2/buffer.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

void stats_init(struct stats *stats, const struct stats_row *rows, size_t count)
{
    *stats = (struct stats){.rows = rows, .count = count, .values = xcalloc(count, sizeof(double))};
}

void stats_free(struct stats *stats)
{
    free(stats->values);
    stats->values = NULL;
}

static void write_value(struct evbuffer *out, double value)
{
    if (isnan(value))
        evbuffer_add_printf(out, "NaN\n");
    else if (isinf(value))
        evbuffer_add_printf(out, value > 0 ? "+Inf\n" : "-Inf\n");
    else if (value == floor(value) && fabs(value) < 9007199254740992.0) /* 2^53: exact as a whole number */
        evbuffer_add_printf(out, "%.0f\n", value);
    else
        evbuffer_add_printf(out, "%.17g\n", value);
}

/* HELP text: backslash and line feed are escaped. */
static void write_help(struct evbuffer *out, const char *help)
{
    for (const char *c = help; *c; c++) {
        if (*c == '\\')
            evbuffer_add(out, "\\\\", 2);
        else if (*c == '\n')
            evbuffer_add(out, "\\n", 2);
        else
            evbuffer_add(out, c, 1);
    }
}

void stats_write_head(struct evbuffer *out, const char *name, enum stats_kind kind, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"}; /* by enum stats_kind */
    evbuffer_add_printf(out, "# HELP %s ", name);
    write_help(out, help);
    evbuffer_add_printf(out, "\n# TYPE %s %s\n", name, types[kind]);
}

void stats_write_sample(struct evbuffer *out, const char *name, const char *labels, double value)
{
    if (labels && *labels)
        evbuffer_add_printf(out, "%s{%s} ", name, labels);
    else
        evbuffer_add_printf(out, "%s ", name);
    write_value(out, value);
}

void stats_write(const struct stats *stats, struct evbuffer *out)
{
    for (size_t i = 0; i < stats->count; i++) {
        const struct stats_row *row = &stats->rows[i];
        stats_write_head(out, row->name, row->kind, row->help);
        stats_write_sample(out, row->name, NULL, stats->values[i]);
    }
}

void stats_label(char *out, size_t size, const char *key, const char *value)
{
    size_t start = strlen(out), n = start;
    int wrote = snprintf(out + n, size - n, "%s%s=\"", n ? "," : "", key);
    if (wrote < 0 || n + (size_t)wrote + 2 > size) {
        out[start] = '\0'; /* a label that does not fit is left out whole */
        return;
    }
    n += (size_t)wrote;
    for (; *value && n + 4 <= size; value++) {
        char escaped = *value == '\\' || *value == '"' ? *value : *value == '\n' ? 'n' : '\0';
        if (escaped) out[n++] = '\\';
        out[n++] = escaped ? escaped : *value;
    }
    /* a value cut short must not end in the middle of a UTF-8 sequence */
    if (*value && ((unsigned char)*value & 0xc0) == 0x80) {
        while (((unsigned char)out[n - 1] & 0xc0) == 0x80)
            n--;
        if ((unsigned char)out[n - 1] >= 0xc0) n--;
    }
    out[n++] = '"';
    out[n] = '\0';
}

static void read_memory(struct stats_process *out)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char name[64];
        unsigned long long kb;
        if (sscanf(line, "%63[^:]: %llu kB", name, &kb) != 2) continue;
        uint64_t bytes = (uint64_t)kb << 10;
        if (!strcmp(name, "Rss")) out->rss_bytes = bytes;
        if (!strcmp(name, "Pss")) out->pss_bytes = bytes;
        if (!strcmp(name, "Private_Clean") || !strcmp(name, "Private_Dirty")) out->private_bytes += bytes;
    }
    fclose(file);
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return 0;
    unsigned n = 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

void stats_process_read(struct stats_process *out)
{
    *out = (struct stats_process){0};
    struct timespec cpu;
    if (!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu))
        out->cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        unsigned long long pages;
        if (fscanf(file, "%*u %llu", &pages) == 1) out->rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
        fclose(file);
    }
    read_memory(out);
    out->fds = count_fds();
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) out->fd_limit = (unsigned)limit.rlim_cur;
}

void stats_write_process(struct evbuffer *out, const char *role, int64_t start_wall_ns)
{
    struct stats_process p;
    stats_process_read(&p);
    const struct {
        struct stats_row row;
        double value;
    } rows[] = {
        {{"process_start_time_seconds", STATS_GAUGE, "Start of the process since 1970."},
         (double)start_wall_ns * 1e-9},
        {{"process_cpu_seconds_total", STATS_COUNTER, "Processor time used."}, p.cpu_s},
        {{"process_resident_memory_bytes", STATS_GAUGE, "Resident memory."}, (double)p.rss_bytes},
        {{"forever_process_pss_bytes", STATS_GAUGE, "Resident memory, shared pages split among their users."},
         (double)p.pss_bytes},
        {{"forever_process_private_bytes", STATS_GAUGE, "Resident memory nobody else maps."},
         (double)p.private_bytes},
        {{"process_open_fds", STATS_GAUGE, "Open descriptors."}, p.fds},
        {{"process_max_fds", STATS_GAUGE, "Most descriptors that may be open."}, p.fd_limit},
    };
    char labels[128] = "";
    stats_label(labels, sizeof labels, "role", role);
    stats_label(labels, sizeof labels, "version", FOREVER_VERSION);
    stats_write_head(out, "forever_build_info", STATS_GAUGE, "Always 1; the labels tell what runs.");
    stats_write_sample(out, "forever_build_info", labels, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        stats_write_head(out, rows[i].row.name, rows[i].row.kind, rows[i].row.help);
        stats_write_sample(out, rows[i].row.name, NULL, rows[i].value);
    }
}
