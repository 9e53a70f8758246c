/* overview_metrics: relays and the cluster for Prometheus. A series for each of the first RELAYS_MAX relays
 * by name, so that the number of series is bounded whatever reports; sums are over all of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/stats.h"
#include "root/air/air.h"
#include "root/air/sampler.h"
#include "root/air/overview.h"

#define RELAYS_MAX 1000

static double up(const struct overview *o)
{
    return o->view.healthy;
}
static double listeners(const struct overview *o)
{
    return (double)o->view.listeners;
}
static double accepted(const struct overview *o)
{
    return (double)o->view.accepted;
}
static double closed(const struct overview *o)
{
    return (double)o->view.closed;
}
static double lag(const struct overview *o)
{
    return o->view.lag_s;
}
static double bytes_out(const struct overview *o)
{
    return (double)o->view.bytes_out;
}
static double bytes_in(const struct overview *o)
{
    return (double)o->view.bytes_in;
}
static double redirects(const struct overview *o)
{
    return (double)o->view.redirects;
}
static double month_bytes(const struct overview *o)
{
    return (double)o->month.sent_bytes;
}
static double allotment(const struct overview *o)
{
    return o->view.terms->allotment_bytes ? (double)o->view.terms->allotment_bytes : NAN;
}

static const struct {
    const char *name;
    enum stats_kind kind;
    const char *help;
    double (*value)(const struct overview *o); /* NAN: not known */
} columns[] = {
    {"forever_relay_up", STATS_GAUGE, "1 when the relay's last report is fresh.", up},
    {"forever_relay_listeners", STATS_GAUGE, "Listeners of the relay as it reports.", listeners},
    {"forever_relay_accepted_total", STATS_COUNTER, "Listeners the relay took.", accepted},
    {"forever_relay_closed_total", STATS_COUNTER, "Of these, the ones that have gone.", closed},
    {"forever_relay_lag_seconds", STATS_GAUGE, "The root's clock minus the relay's.", lag},
    {"forever_relay_egress_bytes_total", STATS_COUNTER, "Bytes the relay sent to listeners.", bytes_out},
    {"forever_relay_ingress_bytes_total", STATS_COUNTER, "Bytes the relay pulled.", bytes_in},
    {"forever_relay_redirects_total", STATS_COUNTER, "Listeners sent to the relay.", redirects},
    {"forever_relay_month_bytes", STATS_GAUGE, "Sent in the billing month, as billed.", month_bytes},
    {"forever_relay_allotment_bytes", STATS_GAUGE, "May be sent in a billing month.", allotment},
};
#define COLUMNS (sizeof columns / sizeof *columns)

struct label {
    char name[TERMS_NAME_MAX + 1];
    size_t index;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static void write_one(struct evbuffer *out, const char *name, enum stats_kind kind, const char *help,
                      double value)
{
    stats_write_head(out, name, kind, help);
    stats_write_sample(out, name, "", value);
}

static void write_cluster(const struct air *air, struct evbuffer *out, int64_t now_ns, size_t left_out)
{
    struct fanout_counts here;
    struct registry_totals relays;
    mounts_counts(air->mounts, &here);
    registry_totals(air->registry, now_ns, &relays);
    write_one(out, "forever_cluster_listeners", STATS_GAUGE, "Listeners here and at relays.",
              (double)(here.listening + relays.listeners));
    write_one(out, "forever_cluster_accepted_total", STATS_COUNTER, "Listeners taken here and at relays.",
              (double)(here.opened + relays.accepted));
    write_one(out, "forever_cluster_closed_total", STATS_COUNTER, "Of these, the ones that have gone.",
              (double)(here.closed + relays.closed));
    write_one(out, "forever_cluster_egress_bytes_total", STATS_COUNTER,
              "Bytes sent to listeners here and at relays.", (double)(here.bytes + relays.bytes_out));
    write_one(out, "forever_relays_without_series", STATS_GAUGE,
              "Relays beyond those that have series of their own.", (double)left_out);
}

/* Stays of listeners at relays, as a histogram; without the sum of all stays, which relays do not tell. */
static void write_stays(struct air *air, struct evbuffer *out)
{
    static const char name[] = "forever_relays_stay_seconds";
    uint64_t sums[FANOUT_LENGTHS] = {0};
    struct books *books = sampler_books(air->sampler);
    for (size_t i = 0; i < books_count(books); i++)
        detail_lengths(&books_at(books, i)->detail, sums);
    stats_write_head(out, name, STATS_HISTOGRAM,
                     "Listeners of relays that have gone, by how long they stayed at most.");
    for (int i = 0; i < FANOUT_LENGTHS; i++) {
        char label[48] = "", most[24];
        if (i < FANOUT_LENGTHS - 1)
            snprintf(most, sizeof most, "%llu", 1ULL << i);
        else
            snprintf(most, sizeof most, "+Inf");
        stats_label(label, sizeof label, "le", most);
        stats_write_sample(out, "forever_relays_stay_seconds_bucket", label, (double)sums[i]);
    }
    stats_write_sample(out, "forever_relays_stay_seconds_count", "", (double)sums[FANOUT_LENGTHS - 1]);
}

/* What does not change by the minute. */
static void write_info(struct air *air, const struct label *labels, size_t shown, struct evbuffer *out,
                       int64_t now_ns)
{
    struct registry_view v;
    stats_write_head(out, "forever_relay_info", STATS_GAUGE,
                     "Always 1; the labels tell where the relay is and what runs.");
    for (size_t k = 0; k < shown; k++) {
        char label[1400] = "";
        if (registry_view(air->registry, labels[k].index, now_ns, &v)) break;
        stats_label(label, sizeof label, "relay", labels[k].name);
        stats_label(label, sizeof label, "url", v.url ? v.url : "");
        stats_label(label, sizeof label, "version", v.version ? v.version : "");
        stats_write_sample(out, "forever_relay_info", label, 1);
    }
}

void overview_metrics(struct air *air, struct evbuffer *out)
{
    struct overview o;
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    size_t count = 0, room = 64;
    struct registry_view view;
    struct label *labels = xcalloc(room, sizeof *labels);
    for (; !registry_view(air->registry, count, now_ns, &view); count++) {
        if (count == room) labels = xrealloc(labels, (room *= 2) * sizeof *labels);
        labels[count].index = count;
        snprintf(labels[count].name, sizeof labels[count].name, "%s", view.name);
    }
    qsort(labels, count, sizeof *labels, by_name);
    size_t shown = count < RELAYS_MAX ? count : RELAYS_MAX;
    write_cluster(air, out, now_ns, count - shown);
    if (shown) write_stays(air, out);
    if (shown) write_info(air, labels, shown, out, now_ns);
    double *values = xcalloc(shown * COLUMNS + 1, sizeof *values);
    for (size_t k = 0; k < shown; k++) {
        if (overview_of(air, labels[k].index, now_ns, now_s, &o)) break;
        for (size_t i = 0; i < COLUMNS; i++)
            values[k * COLUMNS + i] = columns[i].value(&o);
    }
    for (size_t i = 0; i < COLUMNS && shown; i++) {
        stats_write_head(out, columns[i].name, columns[i].kind, columns[i].help);
        for (size_t k = 0; k < shown; k++) {
            char label[160] = "";
            stats_label(label, sizeof label, "relay", labels[k].name);
            if (!isnan(values[k * COLUMNS + i]))
                stats_write_sample(out, columns[i].name, label, values[k * COLUMNS + i]);
        }
    }
    free(values);
    free(labels);
}
