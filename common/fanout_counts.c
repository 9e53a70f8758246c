#include "common/fanout.h"

void fanout_counts_add(struct fanout_counts *sum, const struct fanout_counts *more)
{
    sum->opened += more->opened;
    sum->closed += more->closed;
    for (int i = 0; i < FANOUT_END_COUNT; i++)
        sum->ended[i] += more->ended[i];
    for (int i = 0; i < AGENT_COUNT; i++)
        sum->agents[i] += more->agents[i];
    sum->bytes += more->bytes;
    sum->writes += more->writes;
    sum->short_writes += more->short_writes;
    sum->skips += more->skips;
    sum->turns += more->turns;
    sum->listening += more->listening;
    sum->seconds += more->seconds;
}
