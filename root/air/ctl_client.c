/* ctl_client: `forever-root ctl VERB`, for people and scripts. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/air/ctl.h"
#include "root/air/options.h"
#include "root/air/relay_ctl.h"
#include "root/wire.h"

#define ANSWER_MAX    (16u << 20) /* ten thousand relays */
#define ANSWER_WAIT_S 5

struct ask {
    char *state;
    int json;
    const char *verb, *role;
    json_t *relay; /* what "relay ..." asks */
};

static const char usage[] = "usage: forever-root ctl [--state DIR] [--json] VERB\n"
                            "  status     what is on air, who listens, how the workers fare\n"
                            "  skip       something else, within ten seconds\n"
                            "  live stop  the mix comes back over the live source\n"
                            "  reload     certificates are read again, the access log is opened again\n"
                            "  swap ROLE  replace a worker (store, scan, analyse, brain, studio) unheard\n"
                            "  relay ...  the station's relays:\n";

static __attribute__((format(printf, 1, 2))) int complain(const char *format, ...)
{
    va_list ap;
    fprintf(stderr, "forever-root ctl: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    return EX_USAGE;
}

/* The words behind "relay" that are not for every verb. */
static int read_relay(struct ask *ask, int argc, char **argv)
{
    char *cause = NULL;
    ask->relay = relay_ctl_parse(argc, argv, &cause);
    int result = ask->relay ? 0 : complain("%s", cause);
    free(cause);
    return result;
}

/* 0, an exit code, or -1: --help was asked for. */
static int read_arguments(int argc, char **argv, struct ask *ask)
{
    int relay = 0; /* words for it, gathered at the beginning of argv */
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "--help")) {
            return -1;
        } else if (!strcmp(a, "--json")) {
            ask->json = 1;
        } else if (!strncmp(a, "--state=", 8)) {
            free(ask->state);
            ask->state = xstrdup(a + 8);
        } else if (!strcmp(a, "--state")) {
            if (++i == argc) return complain("%s needs a folder", a);
            free(ask->state);
            ask->state = xstrdup(argv[i]);
        } else if (ask->verb && !strcmp(ask->verb, "relay")) {
            argv[relay++] = argv[i];
        } else if (a[0] == '-') {
            return complain("%s is no option (--state DIR, --json)", a);
        } else if (!ask->verb) {
            ask->verb = a;
        } else if (!ask->role && (!strcmp(ask->verb, "swap") || !strcmp(ask->verb, "live"))) {
            ask->role = a;
        } else {
            return complain("\"%s\" is too much", a);
        }
    }
    if (!ask->verb) return complain("say what to do: status, skip, live stop, reload, swap ROLE or relay");
    if (!strcmp(ask->verb, "relay")) return read_relay(ask, relay, argv);
    if (strcmp(ask->verb, "status") && strcmp(ask->verb, "skip") && strcmp(ask->verb, "reload") &&
        strcmp(ask->verb, "swap") && strcmp(ask->verb, "live"))
        return complain("\"%s\" is none of status, skip, live, reload, swap, relay", ask->verb);
    if (!strcmp(ask->verb, "live") && (!ask->role || strcmp(ask->role, "stop") != 0))
        return complain("live has one thing to say: live stop");
    if (!strcmp(ask->verb, "swap") && (!ask->role || role_parse(ask->role) <= ROLE_AIR))
        return complain("swap needs a worker: store, scan, analyse, brain or studio, not \"%s\"",
                        ask->role ? ask->role : "");
    return 0;
}

/* Sends one line and reads one; NULL with *cause. */
static json_t *exchange(int fd, const struct ask *ask, char **cause)
{
    struct timeval limit = {ANSWER_WAIT_S, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    json_t *body =
        ask->relay ? json_incref(ask->relay) : json_pack("{s:s,s:s*}", "verb", ask->verb, "role", ask->role);
    char *text = json_text(body), *line = xasprintf("%s\n", text);
    json_decref(body);
    free(text);
    size_t len = strlen(line);
    ssize_t sent = send(fd, line, len, MSG_NOSIGNAL);
    free(line);
    char *answer = xmalloc(ANSWER_MAX);
    size_t have = 0;
    while (sent == (ssize_t)len && have < ANSWER_MAX && !memchr(answer, '\n', have)) {
        ssize_t n = recv(fd, answer + have, ANSWER_MAX - have, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        have += (size_t)n;
    }
    const char *end = memchr(answer, '\n', have);
    json_t *value = end ? json_parse(answer, (size_t)(end - answer), ANSWER_MAX, cause) : NULL;
    if (!end) cause_set(cause, "the station gave no answer within %d s", ANSWER_WAIT_S);
    free(answer);
    return value;
}

static double real(const json_t *object, const char *key)
{
    return json_real_or(object, key, 0, NULL);
}

static long long whole(const json_t *object, const char *key)
{
    return json_int_or(object, key, 0, INT64_MIN, INT64_MAX, NULL);
}

static void show_time(char *out, size_t size, double s)
{
    long n = (long)s;
    if (n >= 86400)
        snprintf(out, size, "%ld d %ld h", n / 86400, n / 3600 % 24);
    else if (n >= 3600)
        snprintf(out, size, "%ld h %ld min", n / 3600, n / 60 % 60);
    else
        snprintf(out, size, "%ld min %ld s", n / 60, n % 60);
}

static void show_status(const json_t *answer)
{
    const json_t *now = json_object_get(answer, "now"), *stats = json_object_get(answer, "stats");
    const json_t *next = json_object_get(now, "next"), *one;
    char since[48];
    size_t i;
    show_time(since, sizeof since, real(stats, "uptime_s"));
    printf("station    %s, up %s, version %s\n", json_str_or(now, "station", "", NULL), since,
           json_str_or(stats, "version", "", NULL));
    const char *text = json_str_or(now, "text", NULL, NULL);
    printf("on air     %s (frame %lld, branch %lld)\n", text && *text ? text : "nothing yet",
           whole(stats, "position"), whole(stats, "branch"));
    if (json_is_object(next))
        printf("next       %s, in %.0f s\n", json_str_or(next, "text", "", NULL), real(next, "in_s"));
    printf("lead       %.0f of %.0f s\n", real(stats, "lead_s"), real(stats, "lead_target_s"));
    const json_t *live = json_object_get(stats, "live");
    const char *state = json_str_or(live, "state", "off", NULL);
    if (strcmp(state, "off") != 0)
        printf("live       %s%s%s\n", state, json_object_get(live, "session") ? ": " : "",
               json_str_or(live, "name", "", NULL));
    printf("listeners  %lld here (at most %lld, relays from %lld on), %lld in all\n",
           whole(stats, "listeners"), whole(stats, "max_listeners"), whole(stats, "relay_limit"),
           whole(stats, "listeners_total"));
    const json_t *link = json_object_get(answer, "link");
    if (json_is_object(link))
        printf("links      %lld, at port %lld, whose key is %s\n", whole(stats, "links"), whole(link, "port"),
               json_str_or(link, "pin", "", NULL));
    const json_t *analysis = json_object_get(stats, "analysis");
    printf("library    %lld tracks: %lld analysed, %lld failed, %lld to go", whole(analysis, "total"),
           whole(analysis, "analysed"), whole(analysis, "failed"), whole(analysis, "pending"));
    /* by an older version: their old values serve meanwhile */
    if (whole(analysis, "outdated")) printf(", %lld to be heard again", whole(analysis, "outdated"));
    printf("\n");
    json_array_foreach(json_object_get(stats, "relays"), i, one)
    {
        printf("relay      %-12s %s, %lld of %lld listeners, %s\n", json_str_or(one, "name", "", NULL),
               json_is_true(json_object_get(one, "healthy")) ? "healthy" : "silent", whole(one, "listeners"),
               whole(one, "max_listeners"), json_str_or(one, "public_url", "", NULL));
    }
    json_array_foreach(json_object_get(stats, "workers"), i, one)
    {
        printf("worker     %-8s %-9s process %lld, generation %lld, %lld restarts\n",
               json_str_or(one, "role", "", NULL), json_str_or(one, "state", "", NULL), whole(one, "pid"),
               whole(one, "generation"), whole(one, "restarts"));
    }
}

static int show(const struct ask *ask, const json_t *answer)
{
    int ok = json_is_true(json_object_get(answer, "ok"));
    if (ask->json) {
        char *text = json_text(answer);
        printf("%s\n", text);
        free(text);
    } else if (!ok) {
        fprintf(stderr, "forever-root ctl: %s: %s\n", ask->verb,
                json_str_or(answer, "error", "it failed", NULL));
    } else if (ask->relay) {
        relay_ctl_show(ask->relay, answer);
    } else if (!strcmp(ask->verb, "status")) {
        show_status(answer);
    } else if (!strcmp(ask->verb, "skip")) {
        printf("something else in %.1f s\n", real(answer, "in_s"));
    } else if (!strcmp(ask->verb, "reload")) {
        printf("read again\n");
    } else if (!strcmp(ask->verb, "live")) {
        printf("the mix is coming back\n");
    } else {
        printf("a new %s is on its way\n", ask->role);
    }
    return ok ? 0 : EX_TEMPFAIL;
}

int ctl_main(int argc, char **argv)
{
    struct ask ask = {.state = options_default_state()};
    char *cause = NULL;
    json_t *answer = NULL;
    int code = read_arguments(argc, argv, &ask), fd = -1;
    if (code < 0) {
        fputs(usage, stdout);
        fputs(relay_ctl_usage, stdout);
        code = 0;
    } else if (!code && ask.verb) {
        fd = ctl_connect(ask.state, &cause);
        answer = fd < 0 ? NULL : exchange(fd, &ask, &cause);
        if (answer) {
            code = show(&ask, answer);
        } else {
            fprintf(stderr, "forever-root ctl: %s\n", cause);
            code = EX_UNAVAILABLE;
        }
    }
    if (fd >= 0) close(fd);
    json_decref(answer);
    json_decref(ask.relay);
    free(cause);
    free(ask.state);
    return code;
}
