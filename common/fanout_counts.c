#include <string.h>

#include "common/clock.h"
#include "common/fanout_internal.h"

int fanout_length(double seconds)
{
    int i = 0;
    for (double most_s = 1; i < FANOUT_LENGTHS - 1 && seconds > most_s; most_s *= 2)
        i++;
    return i;
}

void fanout_counts_cut(const struct fanout *f, struct fanout_counts *out)
{
    int64_t now_ns = clock_boot_ns();
    *out = f->counts;
    for (uint32_t i = 0; i < f->chunk_count * FANOUT_CHUNK_SLOTS; i++) {
        const struct listener *l = fanout_slot(f, i);
        if (l->fd < 0 || l->uncounted) continue;
        double seconds = (double)(now_ns - l->opened_ns) / CLOCK_NS_PER_S;
        out->lengths[fanout_length(seconds)]++;
        out->seconds += seconds;
    }
    out->closed += out->listening;
    out->ended[FANOUT_SHUTDOWN] += out->listening;
    out->listening = 0;
    memset(out->agents, 0, sizeof out->agents);
}

void fanout_counts_add(struct fanout_counts *sum, const struct fanout_counts *more)
{
    sum->opened += more->opened;
    sum->closed += more->closed;
    for (int i = 0; i < FANOUT_END_COUNT; i++)
        sum->ended[i] += more->ended[i];
    for (int i = 0; i < FANOUT_LENGTHS; i++)
        sum->lengths[i] += more->lengths[i];
    for (int i = 0; i < AGENT_COUNT; i++)
        sum->agents[i] += more->agents[i];
    sum->bytes += more->bytes;
    sum->writes += more->writes;
    sum->short_writes += more->short_writes;
    sum->skips += more->skips;
    sum->turns += more->turns;
    sum->listening += more->listening;
    sum->carriers += more->carriers;
    sum->carrier_bytes += more->carrier_bytes;
    sum->seconds += more->seconds;
}
