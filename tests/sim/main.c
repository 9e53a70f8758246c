#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/sim/sim.h"

int main(int argc, char **argv)
{
    struct sim_conf conf = {.seed = 1, .relays = 10000, .listeners = 1000000};
    const char *what = argc > 1 ? argv[1] : "";
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--relays")) conf.relays = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--listeners")) conf.listeners = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--seed")) conf.seed = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--interval")) conf.interval_s = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--stay")) conf.stay_s = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--restart")) conf.restart_h = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--forget")) conf.forget = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--one-large")) conf.one_large = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--root-places")) conf.root_places = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--no-reserve")) conf.no_reserve = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--dump")) conf.dump = argv[i + 1];
    }
    log_set_level(LOG_LEVEL_WARN);
    if (conf.seed && conf.relays && !strcmp(what, "crowd")) return sim_crowd(&conf);
    if (conf.seed && conf.relays && !strcmp(what, "months")) return sim_months(&conf);
    if (conf.seed && conf.relays && !strcmp(what, "tree")) return sim_tree(&conf);
    fprintf(
        stderr,
        "forever-sim crowd|months|tree [--relays N] [--listeners N] [--seed N] [--interval S] [--stay S] "
        "[--restart HOURS [--forget 1]] [--one-large 1] [--root-places N] [--no-reserve 1] [--dump FILE]\n");
    return 64;
}
