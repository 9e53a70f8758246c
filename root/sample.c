#include "root/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define VERSION 1
#define DAY_S   INT64_C(86400)

const struct sample_level sample_levels[SAMPLE_LEVELS] = {
    {SAMPLE_STEP_S, DAY_S}, {300, 92 * DAY_S}, {3600, 0}};

int sample_level_of(int64_t step_s)
{
    int level = SAMPLE_LEVELS - 1;
    while (level && step_s % sample_levels[level].step_s)
        level--;
    return level;
}

/* Numbers: 7 bits a byte, the least significant first, the top bit says that more follow. Signed ones
 * alternate: 0, -1, 1, -2, ... */

static size_t put_number(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static size_t put_signed(uint8_t *out, int64_t value)
{
    return put_number(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

struct input {
    const uint8_t *at;
    size_t left;
    int bad;
};

static uint64_t get_number(struct input *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->left; shift += 7) {
        uint8_t byte = *in->at++;
        in->left--;
        if (shift == 63 && byte > 1) break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    in->bad = 1;
    return 0;
}

static int64_t get_signed(struct input *in)
{
    uint64_t value = get_number(in);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* One sample */

void sample_measure(struct sample *s, enum sample_gauge gauge, int64_t value)
{
    struct sample_range *g = &s->gauges[gauge];
    if (!g->n || value < g->min) g->min = value;
    if (!g->n || value > g->max) g->max = value;
    g->sum = g->n ? g->sum + value : value;
    g->n++;
}

void sample_count(struct sample *s, const uint64_t now[SAMPLE_COUNTERS], uint64_t seen[SAMPLE_COUNTERS])
{
    for (int i = 0; i < SAMPLE_COUNTERS; i++) {
        s->counters[i] = now[i] > seen[i] ? now[i] - seen[i] : 0;
        seen[i] = now[i];
    }
}

void sample_cpu(struct sample *s, double cpu_s, double *seen_s, double elapsed_s)
{
    if (cpu_s >= *seen_s && elapsed_s > 0)
        sample_measure(s, SAMPLE_CPU, (int64_t)((cpu_s - *seen_s) / elapsed_s * 1000 + 0.5));
    *seen_s = cpu_s;
}

void sample_add(struct sample *into, const struct sample *more)
{
    into->n += more->n;
    for (int i = 0; i < SAMPLE_COUNTERS; i++)
        into->counters[i] += more->counters[i];
    for (int i = 0; i < SAMPLE_GAUGES; i++) {
        struct sample_range *to = &into->gauges[i];
        const struct sample_range *from = &more->gauges[i];
        if (!from->n) continue;
        if (!to->n) {
            *to = *from;
            continue;
        }
        if (from->min < to->min) to->min = from->min;
        if (from->max > to->max) to->max = from->max;
        to->sum += from->sum;
        to->n += from->n;
    }
}

/* version, n, how many counters and gauges; a gauge is its n, and with one: min, and with more than one
 * distinct: max - min, sum - n * min */
size_t sample_put(const struct sample *s, uint8_t out[SAMPLE_BYTES_MAX])
{
    uint8_t *at = out;
    *at++ = VERSION;
    at += put_number(at, s->n);
    *at++ = SAMPLE_COUNTERS;
    for (int i = 0; i < SAMPLE_COUNTERS; i++)
        at += put_number(at, s->counters[i]);
    *at++ = SAMPLE_GAUGES;
    for (int i = 0; i < SAMPLE_GAUGES; i++) {
        const struct sample_range *g = &s->gauges[i];
        at += put_number(at, g->n);
        if (!g->n) continue;
        at += put_signed(at, g->min);
        if (g->n == 1) continue;
        uint64_t spread = (uint64_t)g->max - (uint64_t)g->min;
        at += put_number(at, spread);
        if (spread) at += put_number(at, (uint64_t)g->sum - (uint64_t)g->min * g->n);
    }
    return (size_t)(at - out);
}

static void get_range(struct input *in, struct sample_range *g)
{
    uint64_t n = get_number(in);
    if (n > UINT32_MAX) in->bad = 1;
    if (!n || in->bad) return;
    g->n = (uint32_t)n;
    g->min = get_signed(in);
    uint64_t spread = n > 1 ? get_number(in) : 0;
    g->max = (int64_t)((uint64_t)g->min + spread);
    g->sum = (int64_t)((uint64_t)g->min * n + (spread ? get_number(in) : 0));
}

size_t sample_get(struct sample *out, const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len, 0};
    memset(out, 0, sizeof *out);
    if (get_number(&in) != VERSION) return 0;
    uint64_t n = get_number(&in), counters = get_number(&in);
    if (n > UINT32_MAX || counters > 255) return 0;
    out->n = (uint32_t)n;
    for (uint64_t i = 0; i < counters && !in.bad; i++) {
        uint64_t value = get_number(&in);
        if (i < SAMPLE_COUNTERS) out->counters[i] = value;
    }
    uint64_t gauges = get_number(&in);
    if (gauges > 255) return 0;
    for (uint64_t i = 0; i < gauges && !in.bad; i++) {
        struct sample_range range = {0};
        get_range(&in, &range);
        if (i < SAMPLE_GAUGES) out->gauges[i] = range;
    }
    return in.bad ? 0 : len - in.left;
}

/* For people */

static const char *const counter_names[SAMPLE_COUNTERS] = {"bytes_in", "bytes_out", "accepted", "closed",
                                                           "redirects"};
static const struct {
    const char *name;
    double unit;
} gauge_names[SAMPLE_GAUGES] = {
    {"listeners", 1}, {"lag_s", 1e-6}, {"cpu", 1e-3}, {"rss_bytes", 1024}, {"relays", 1}};

json_t *sample_columns(void)
{
    json_t *o = json_pack("{s:[],s:[]}", "t", "covered_s");
    for (int i = 0; i < SAMPLE_GAUGES; i++)
        json_object_set_new(o, gauge_names[i].name, json_pack("{s:[],s:[],s:[]}", "min", "avg", "max"));
    for (int i = 0; i < SAMPLE_COUNTERS; i++)
        json_object_set_new(o, counter_names[i], json_array());
    return o;
}

static void append(json_t *object, const char *key, json_t *value)
{
    json_array_append_new(json_object_get(object, key), value);
}

/* Whole numbers as such. */
static json_t *in_unit(double value, double unit)
{
    double v = value * unit;
    return unit >= 1 && v == (double)(int64_t)v ? json_integer((json_int_t)v) : json_real(v);
}

void sample_append(json_t *columns, const struct sample *s)
{
    append(columns, "covered_s", json_integer((json_int_t)s->n * SAMPLE_STEP_S));
    for (int i = 0; i < SAMPLE_GAUGES; i++) {
        const struct sample_range *g = &s->gauges[i];
        json_t *column = json_object_get(columns, gauge_names[i].name);
        double unit = gauge_names[i].unit;
        append(column, "min", g->n ? in_unit((double)g->min, unit) : json_null());
        append(column, "avg", g->n ? in_unit((double)g->sum / g->n, unit) : json_null());
        append(column, "max", g->n ? in_unit((double)g->max, unit) : json_null());
    }
    for (int i = 0; i < SAMPLE_COUNTERS; i++)
        append(columns, counter_names[i], json_integer((json_int_t)s->counters[i]));
}

/* Batches */

#define HEAD     9
#define NODE_MAX (2 + SAMPLE_NAME_MAX + SAMPLE_BYTES_MAX + 1 + SAMPLE_DAYS_MAX * 20)

void sample_batch_begin(struct sample_batch *b, int64_t t)
{
    *b = (struct sample_batch){.bytes = xmalloc(4096), .len = HEAD, .room = 4096};
    for (int i = 0; i < 8; i++)
        b->bytes[i] = (uint8_t)((uint64_t)t >> (8 * i));
    b->bytes[8] = 0;
}

void sample_batch_node(struct sample_batch *b, const char *name, const struct sample *sample,
                       const struct sample_day *days, size_t day_count)
{
    size_t len = strlen(name);
    if (len > SAMPLE_NAME_MAX || day_count > SAMPLE_DAYS_MAX) return;
    while (b->room - b->len < NODE_MAX) {
        b->room *= 2;
        b->bytes = xrealloc(b->bytes, b->room);
    }
    uint8_t *at = b->bytes + b->len;
    *at++ = (uint8_t)len;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length stands before it */
    memcpy(at, name, len);
    at += len;
    *at++ = sample != NULL;
    if (sample) at += sample_put(sample, at);
    *at++ = (uint8_t)day_count;
    for (size_t i = 0; i < day_count; i++) {
        at += put_signed(at, days[i].day);
        at += put_number(at, days[i].bytes);
    }
    b->len = (size_t)(at - b->bytes);
}

void sample_batch_end(struct sample_batch *b, int last)
{
    b->bytes[8] = last != 0;
}

void sample_batch_free(struct sample_batch *b)
{
    free(b->bytes);
    b->bytes = NULL;
}

int sample_reader_begin(struct sample_reader *r, const uint8_t *bytes, size_t len)
{
    if (len < HEAD || bytes[8] > 1) return -1;
    uint64_t t = 0;
    for (int i = 0; i < 8; i++)
        t |= (uint64_t)bytes[i] << (8 * i);
    *r = (struct sample_reader){.at = bytes + HEAD, .left = len - HEAD, .t = (int64_t)t, .last = bytes[8]};
    return 0;
}

int sample_reader_next(struct sample_reader *r, struct sample_node *out)
{
    if (!r->left) return 0;
    size_t len = *r->at;
    if (!len || len > SAMPLE_NAME_MAX || r->left < len + 3) return -1;
    snprintf(out->name, sizeof out->name, "%.*s", (int)len, (const char *)r->at + 1);
    if (strlen(out->name) != len) return -1;
    struct input in = {r->at + len + 1, r->left - len - 1, 0};
    uint64_t has = get_number(&in);
    if (has > 1) return -1;
    out->has_sample = (int)has;
    if (has) {
        size_t took = sample_get(&out->sample, in.at, in.left);
        if (!took) return -1;
        in.at += took;
        in.left -= took;
    }
    uint64_t days = get_number(&in);
    if (days > SAMPLE_DAYS_MAX) return -1;
    out->day_count = (size_t)days;
    for (size_t i = 0; i < out->day_count; i++) {
        out->days[i].day = get_signed(&in);
        out->days[i].bytes = get_number(&in);
    }
    if (in.bad) return -1;
    r->at = in.at;
    r->left = in.left;
    return 1;
}
