#include "root/air/series_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/sampler.h"
#include "root/sample.h"

#define WAITING_MAX 32
#define NAMES_MAX   50
#define POINTS_MAX  2000 /* of one node */
#define POINTS_AUTO 400
#define SPAN_S      3600 /* when nothing is said */
#define QUERY_MAX   4096

struct series_ask {
    struct air *air;
    uint64_t *refused;
    unsigned waiting;
};

/* The question */

static int read_time(const char *text, const char *what, int64_t now_s, int64_t *out, char **cause)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || (text[0] != '-' && (text[0] < '0' || text[0] > '9')))
        return cause_set(cause, "%s must be seconds since 1970, or negative: seconds before now", what);
    int64_t s = value < 0 ? now_s + value : value;
    if (s < 0 || s > INT64_C(100000000000)) return cause_set(cause, "%s lies outside of 1970 to 5138", what);
    *out = s;
    return 0;
}

/* The shortest handy step that gives few enough points, of stretches still kept for that time. */
static int64_t handy_step(int64_t from_s, int64_t to_s, int64_t now_s)
{
    static const int64_t steps[] = {10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400};
    size_t i = 0, last = sizeof steps / sizeof *steps - 1;
    for (; i < last; i++) {
        int64_t keep_s = sample_levels[sample_level_of(steps[i])].keep_s;
        if ((to_s - from_s) / steps[i] <= POINTS_AUTO && (!keep_s || from_s >= now_s - keep_s))
            return steps[i];
    }
    return steps[last];
}

int series_question_read(struct series_question *out, const char *from, const char *to, const char *step,
                         unsigned names, int64_t now_s, char **cause)
{
    int64_t from_s, to_s = now_s, step_s = 0;
    if (to && read_time(to, "to", now_s, &to_s, cause)) return -1;
    from_s = to_s > SPAN_S ? to_s - SPAN_S : 0;
    if (from && read_time(from, "from", now_s, &from_s, cause)) return -1;
    if (from_s >= to_s) return cause_set(cause, "from must lie before to");
    if (step) {
        char *end;
        step_s = strtoll(step, &end, 10);
        if (end == step || *end || step_s < SAMPLE_STEP_S || step_s > 366 * 86400 || step_s % SAMPLE_STEP_S)
            return cause_set(cause, "step must be a multiple of %d, at most a year of seconds",
                             SAMPLE_STEP_S);
    } else {
        step_s = handy_step(from_s, to_s, now_s);
    }
    from_s -= from_s % step_s;
    to_s += (step_s - to_s % step_s) % step_s;
    int64_t points = (to_s - from_s) / step_s,
            rows = (to_s - from_s) / sample_levels[sample_level_of(step_s)].step_s;
    if (points > POINTS_MAX)
        return cause_set(cause,
                         "that makes %lld points, and %d are the most: a longer step, or a shorter time",
                         (long long)points, POINTS_MAX);
    if (rows * names > SAMPLE_ROWS_MAX)
        return cause_set(cause,
                         "%lld stored stretches for each of %u nodes, and %d are the most in all: a step "
                         "that is a multiple "
                         "of 300 or 3600, a shorter time or fewer nodes",
                         (long long)rows, names, SAMPLE_ROWS_MAX);
    *out = (struct series_question){from_s, to_s, step_s};
    return 0;
}

/* Names, separated by commas, as the store knows them: cluster and root are none of relays. NULL with *cause.
 */
static json_t *read_names(const char *text, char **cause)
{
    json_t *names = json_array();
    while (*text) {
        size_t n = strcspn(text, ",");
        char *name = xstrndup(text, n);
        const char *stored = !strcmp(name, "cluster") ? SAMPLER_CLUSTER
                             : !strcmp(name, "root")  ? SAMPLER_ROOT
                                                      : name;
        if (!n || n > SAMPLE_NAME_MAX || json_array_size(names) == NAMES_MAX) {
            free(name);
            json_decref(names);
            cause_set(cause, "relay must be one to %d names, separated by commas, or cluster or root",
                      NAMES_MAX);
            return NULL;
        }
        json_array_append_new(names, json_text_lossy(stored));
        free(name);
        text += n + (text[n] == ',');
    }
    return names;
}

/* Asking */

struct asked {
    struct series_ask *ask;
    struct http_request *request;
    uint32_t handle;
};

static void asked_free(struct asked *a)
{
    a->ask->waiting--;
    free(a);
}

static void cancelled(void *context)
{
    struct asked *a = context;
    switchboard_cancel(workers_switchboard(a->ask->air->workers), a->handle);
    asked_free(a);
}

static void refuse(struct series_ask *ask, struct http_request *request, const char *why)
{
    ++*ask->refused;
    http_add_header(request, "Retry-After", "2");
    http_reply_error(request, 503, "%s", why);
}

/* The store's names are given back as they were asked for. */
static void rename_nodes(json_t *series)
{
    static const char *const names[][2] = {{SAMPLER_CLUSTER, "cluster"}, {SAMPLER_ROOT, "root"}};
    for (size_t i = 0; i < 2; i++) {
        json_t *columns = json_object_get(series, names[i][0]);
        if (!columns) continue;
        json_object_set(series, names[i][1], columns);
        json_object_del(series, names[i][0]);
    }
}

static void replied(void *context, const struct msg *message, const char *error)
{
    struct asked *a = context;
    struct series_ask *ask = a->ask;
    struct http_request *request = a->request;
    asked_free(a);
    json_t *body = message ? wire_body(message, NULL) : NULL;
    if (!body) {
        refuse(ask, request, error ? error : "the store's answer can't be read");
        return;
    }
    rename_nodes(json_object_get(body, "series"));
    api_reply(request, body);
}

static void on_series(void *context, struct http_request *request)
{
    struct series_ask *ask = context;
    struct series_question q = {0};
    char names_text[QUERY_MAX], from[32], to[32], step[32], *cause = NULL;
    const char *text = http_query_get(request, "relay", names_text, sizeof names_text);
    if (!text && strstr(http_query(request), "relay=")) {
        http_reply_error(request, 400, "relay must be at most %d bytes", QUERY_MAX - 1);
        return;
    }
    json_t *names = read_names(text ? text : "cluster", &cause);
    if (names && !json_array_size(names)) {
        json_array_append_new(names, json_string(SAMPLER_CLUSTER));
    }
    if (!names ||
        series_question_read(&q, http_query_get(request, "from", from, sizeof from),
                             http_query_get(request, "to", to, sizeof to),
                             http_query_get(request, "step", step, sizeof step),
                             (unsigned)json_array_size(names), clock_wall_ns() / CLOCK_NS_PER_S, &cause)) {
        http_reply_error(request, 400, "%s", cause);
        free(cause);
        json_decref(names);
        return;
    }
    if (ask->waiting >= WAITING_MAX || ask->air->stopping ||
        !switchboard_serving(workers_switchboard(ask->air->workers), ROLE_STORE)) {
        json_decref(names);
        refuse(ask, request,
               ask->waiting >= WAITING_MAX ? "too many ask for statistics" : "the store is away");
        return;
    }
    struct asked *a = xcalloc(1, sizeof *a);
    *a = (struct asked){ask, request, 0};
    ask->waiting++;
    http_defer(request, cancelled, a);
    a->handle =
        switchboard_request(workers_switchboard(ask->air->workers), WIRE_SERIES_GET,
                            json_pack("{s:o,s:I,s:I,s:I}", "names", names, "from", (json_int_t)q.from_s, "to",
                                      (json_int_t)q.to_s, "step", (json_int_t)q.step_s),
                            replied, a);
}

struct series_ask *series_ask_new(struct air *air, uint64_t *refused)
{
    struct series_ask *ask = xcalloc(1, sizeof *ask);
    ask->air = air;
    ask->refused = refused;
    return ask;
}

void series_ask_free(struct series_ask *ask)
{
    free(ask);
}

void series_ask_routes(struct series_ask *ask)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/api/series", on_series, 1, "relays, root and cluster over time"},
    };
    http_server_routes(ask->air->http, routes, sizeof routes / sizeof *routes, ask);
}
