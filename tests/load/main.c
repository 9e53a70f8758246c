/* forever-load: listeners by the thousand, for one's own station on one's own machines (docs/LOAD.md). */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "tests/load/crowd.h"
#include "tests/load/net.h"

static const char usage[] =
    "usage: forever-load [OPTION...] URL\n"
    "\n"
    "Plays a crowd of listeners to a station: each asks for URL, follows redirects, reads, checks every "
    "byte\n"
    "and comes back when its connection breaks. Prints one JSON object. Exit status 0 when all heard, "
    "nothing\n"
    "was missing or wrong and nobody sat in silence for more than 2 s; 1 when not.\n"
    "SIGTERM and SIGINT end it early, with the report.\n"
    "Only loopback addresses are asked, unless --allow names more: load your own machines only.\n"
    "\n"
    "  --listeners N      1 to 20000 (100)\n"
    "  --ramp SECONDS     they begin spread over this time, 0 to 600 (1)\n"
    "  --seconds SECONDS  they stay this long after the last has heard something, 1 to 3600 (10)\n"
    "  --patience SECONDS how long after the ramp the last may take, 1 to 600 (60); then with those who "
    "hear\n"
    "  --listen           ask /api/listen first, and resume with Range where a connection broke\n"
    "  --again            as --listen, and ask it anew whenever a connection broke: the place in the stream "
    "stays,\n"
    "                     the node is whichever has room\n"
    "  --stalled N        beside them, listeners that read nothing after the header\n"
    "  --trickle N        beside them, listeners that read one byte a second\n"
    "  --jitter SECONDS   first pause before coming back, at most; doubles with each failure (1)\n"
    "  --pause SECONDS    any pause before coming back, at most, 0.01 to 300 (30)\n"
    "  --timeout SECONDS  a connection without a word for this long is broken (20)\n"
    "  --once             do not come back\n"
    "  --icy              ask for metadata\n"
    "  --http10           ask in HTTP/1.0\n"
    "  --no-verify        throw away what comes unseen: costs less on this side\n"
    "  --sources N        come from N addresses, 127.1.0.1 and following, 1 to 65000\n"
    "  --allow ADDRESS    also ask this address, or with /BITS this network; may be repeated\n"
    "  --seed N           of the pauses (the clock's)\n"
    "  --announce         print \"ready\" then\n"
    "  --progress         a line a second on stderr\n"
    "  --help, --version\n";

enum {
    LISTEN = 256,
    AGAIN,
    PAUSE,
    PATIENCE,
    STALLED,
    TRICKLE,
    JITTER,
    TIMEOUT,
    ONCE,
    ICY,
    HTTP10,
    NO_VERIFY,
    SOURCES,
    ALLOW,
    SEED,
    ANNOUNCE,
    PROGRESS,
    HELP,
    VERSION
};

static const struct option longs[] = {{"listeners", 1, NULL, 'n'},
                                      {"ramp", 1, NULL, 'r'},
                                      {"seconds", 1, NULL, 's'},
                                      {"patience", 1, NULL, PATIENCE},
                                      {"listen", 0, NULL, LISTEN},
                                      {"stalled", 1, NULL, STALLED},
                                      {"trickle", 1, NULL, TRICKLE},
                                      {"jitter", 1, NULL, JITTER},
                                      {"timeout", 1, NULL, TIMEOUT},
                                      {"once", 0, NULL, ONCE},
                                      {"icy", 0, NULL, ICY},
                                      {"http10", 0, NULL, HTTP10},
                                      {"no-verify", 0, NULL, NO_VERIFY},
                                      {"sources", 1, NULL, SOURCES},
                                      {"allow", 1, NULL, ALLOW},
                                      {"again", 0, NULL, AGAIN},
                                      {"pause", 1, NULL, PAUSE},
                                      {"seed", 1, NULL, SEED},
                                      {"announce", 0, NULL, ANNOUNCE},
                                      {"progress", 0, NULL, PROGRESS},
                                      {"help", 0, NULL, HELP},
                                      {"version", 0, NULL, VERSION},
                                      {NULL, 0, NULL, 0}};

static double number(int index, const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || !(value >= min && value <= max)) {
        fprintf(stderr, "forever-load: --%s %s: must be %g to %g\n", longs[index].name, text, min, max);
        exit(EX_USAGE);
    }
    return value;
}

static int count(int index, const char *text, int min, int max)
{
    double value = number(index, text, min, max);
    if (value != floor(value)) {
        fprintf(stderr, "forever-load: --%s %s: must be a whole number\n", longs[index].name, text);
        exit(EX_USAGE);
    }
    return (int)value;
}

static void allow(const char *text)
{
    char *cause = NULL;
    if (!load_allow(text, &cause)) return;
    fprintf(stderr, "forever-load: %s\n", cause);
    exit(EX_USAGE);
}

static _Noreturn void say_and_end(FILE *where, const char *text, int code)
{
    fputs(text, where);
    exit(code);
}

/* Who comes, when, and for how long: 1 when `c` was one of these. */
static int take_crowd(int c, int i, struct load_options *o)
{
    switch (c) {
    case 'n':
        o->listeners = count(i, optarg, 1, LOAD_LISTENERS_MAX);
        return 1;
    case 'r':
        o->ramp_s = number(i, optarg, 0, LOAD_RAMP_MAX);
        return 1;
    case 's':
        o->seconds = number(i, optarg, 1, LOAD_SECONDS_MAX);
        return 1;
    case PATIENCE:
        o->patience_s = number(i, optarg, 1, 600);
        return 1;
    case STALLED:
        o->stalled = count(i, optarg, 0, LOAD_LISTENERS_MAX);
        return 1;
    case TRICKLE:
        o->trickle = count(i, optarg, 0, LOAD_LISTENERS_MAX);
        return 1;
    case SOURCES:
        o->sources = (unsigned)count(i, optarg, 1, 65000);
        return 1;
    case ALLOW:
        allow(optarg);
        return 1;
    default:
        return 0;
    }
}

/* How each asks, listens, and comes back. */
static int take_behaviour(int c, int i, struct load_options *o)
{
    switch (c) {
    case LISTEN:
        o->listen_api = 1;
        return 1;
    case AGAIN:
        o->listen_api = o->again = 1;
        return 1;
    case PAUSE:
        o->pause_s = number(i, optarg, 0.01, 300);
        return 1;
    case JITTER:
        o->jitter_s = number(i, optarg, 0.01, 60);
        return 1;
    case TIMEOUT:
        o->timeout_s = number(i, optarg, 1, 600);
        return 1;
    case ONCE:
        o->reconnect = 0;
        return 1;
    case ICY:
        o->icy = 1;
        return 1;
    case HTTP10:
        o->http10 = 1;
        return 1;
    case NO_VERIFY:
        o->verify = 0;
        return 1;
    default:
        return 0;
    }
}

/* What is said of the run. */
static int take_run(int c, int i, struct load_options *o)
{
    switch (c) {
    case SEED:
        o->seed = (unsigned)count(i, optarg, 0, 2147483647);
        return 1;
    case ANNOUNCE:
        o->announce = 1;
        return 1;
    case PROGRESS:
        o->progress = 1;
        return 1;
    case HELP:
        say_and_end(stdout, usage, 0);
    case VERSION:
        say_and_end(stdout, "forever-load " FOREVER_VERSION "\n", 0);
    default:
        return 0;
    }
}

static void read_options(int argc, char **argv, struct load_options *o)
{
    for (int c, i = 0; (c = getopt_long(argc, argv, "", longs, &i)) != -1;) {
        if (!take_crowd(c, i, o) && !take_behaviour(c, i, o) && !take_run(c, i, o))
            say_and_end(stderr, usage, EX_USAGE);
    }
    if (optind != argc - 1) say_and_end(stderr, usage, EX_USAGE);
    o->url = argv[optind];
    if (o->listeners + o->stalled + o->trickle > LOAD_LISTENERS_MAX) {
        fprintf(stderr, "forever-load: more than %d listeners in all\n", LOAD_LISTENERS_MAX);
        exit(EX_USAGE);
    }
}

static volatile sig_atomic_t over;

static void end_it(int number)
{
    over = number;
}

int main(int argc, char **argv)
{
    struct load_options o = {.listeners = 100,
                             .ramp_s = 1,
                             .seconds = 10,
                             .jitter_s = 1,
                             .pause_s = 30,
                             .patience_s = 60,
                             .timeout_s = 20,
                             .verify = 1,
                             .reconnect = 1,
                             .seed = (unsigned)time(NULL),
                             .over = &over};
    struct sigaction act = {.sa_handler = end_it,
                            .sa_flags = SA_RESETHAND}; /* a second one ends it at once */
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    read_options(argc, argv, &o);
    char *cause = NULL;
    int well;
    json_t *report = load_run(&o, &well, &cause);
    if (!report) {
        fprintf(stderr, "forever-load: %s\n", cause);
        free(cause);
        return EX_UNAVAILABLE;
    }
    json_object_set_new(report, "seed", json_integer((json_int_t)o.seed));
    json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(report);
    return well ? 0 : 1;
}
