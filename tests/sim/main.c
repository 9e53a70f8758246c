#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/sim/sim.h"

static const char usage[] =
    "forever-sim crowd|months|tree [--relays N] [--listeners N] [--seed N] [--interval S] [--stay S] "
    "[--restart HOURS [--forget 1]] [--one-large 1] [--root-places N] [--no-reserve 1] [--dump FILE]\n";

struct number {
    const char *name;
    unsigned long long least, most, value;
};
enum {
    RELAYS,
    LISTENERS,
    SEED,
    INTERVAL,
    STAY,
    RESTART,
    FORGET,
    ONE_LARGE,
    ROOT_PLACES,
    NO_RESERVE,
    NUMBERS
};

/* 0, or -1 when it was told what is wrong. */
static int read_number(struct number *number, const char *text)
{
    char *end;
    errno = 0;
    number->value = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && number->value >= number->least &&
        number->value <= number->most)
        return 0;
    fprintf(stderr, "%s %s: a number from %llu to %llu\n", number->name, text, number->least, number->most);
    return -1;
}

/* 0, or -1 when it was told what is wrong. */
static int read_options(int argc, char **argv, struct number *numbers, const char **dump)
{
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;
        while (k < NUMBERS && strcmp(argv[i], numbers[k].name) != 0)
            k++;
        int is_dump = !strcmp(argv[i], "--dump");
        if ((k == NUMBERS && !is_dump) || i + 1 == argc) {
            fprintf(stderr, "%s: %s\n%s", argv[i],
                    k == NUMBERS && !is_dump ? "no such option" : "its value is missing", usage);
            return -1;
        }
        if (is_dump)
            *dump = argv[i + 1];
        else if (read_number(&numbers[k], argv[i + 1]))
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct number numbers[NUMBERS] = {[RELAYS] = {"--relays", 1, 16384, 10000},
                                      [LISTENERS] = {"--listeners", 1, 10000000, 1000000},
                                      [SEED] = {"--seed", 1, UINT64_MAX, 1},
                                      [INTERVAL] = {"--interval", 1, 3600, 0},
                                      [STAY] = {"--stay", 60, 604800, 0},
                                      [RESTART] = {"--restart", 1, 1000, 0},
                                      [FORGET] = {"--forget", 0, 1, 0},
                                      [ONE_LARGE] = {"--one-large", 0, 1, 0},
                                      [ROOT_PLACES] = {"--root-places", 0, 1000000, 0},
                                      [NO_RESERVE] = {"--no-reserve", 0, 1, 0}};
    const char *what = argc > 1 ? argv[1] : "", *dump = NULL;
    int (*scenario)(const struct sim_conf *) = !strcmp(what, "crowd")    ? sim_crowd
                                               : !strcmp(what, "months") ? sim_months
                                               : !strcmp(what, "tree")   ? sim_tree
                                                                         : NULL;
    if (!scenario) fprintf(stderr, "%s", usage);
    if (!scenario || read_options(argc, argv, numbers, &dump)) return 64;
    const struct sim_conf conf = {.seed = numbers[SEED].value,
                                  .relays = (unsigned)numbers[RELAYS].value,
                                  .listeners = (unsigned)numbers[LISTENERS].value,
                                  .interval_s = (int)numbers[INTERVAL].value,
                                  .stay_s = (int)numbers[STAY].value,
                                  .restart_h = (unsigned)numbers[RESTART].value,
                                  .forget = (int)numbers[FORGET].value,
                                  .one_large = (int)numbers[ONE_LARGE].value,
                                  .root_places = (unsigned)numbers[ROOT_PLACES].value,
                                  .no_reserve = (int)numbers[NO_RESERVE].value,
                                  .dump = dump};
    log_set_level(LOG_LEVEL_WARN);
    return scenario(&conf);
}
