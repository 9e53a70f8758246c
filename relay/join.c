#include "relay/join.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/stats.h"

#define INTERVAL_S     2.0
#define INTERVAL_MIN_S 0.5
#define INTERVAL_MAX_S 60.0
#define ANSWER_MS      4000
#define CONNECT_MS     3000
#define ANSWER_MAX     8192
#define ELSEWHERE_MAX  4
#define URL_MAX_BYTES  700
#define RETRY_MS       1000
#define RETRY_CAP_MS   10000
#define REFUSED_MS     10000
#define REFUSED_CAP_MS 30000

struct join {
    struct join_conf conf;
    struct event *next;
    struct fetch *fetch;
    char session[17];
    uint64_t seq;
    int failures;
    char *trouble; /* told; NULL when all is well */
    int taken_once;
    char *elsewhere[ELSEWHERE_MAX]; /* streams of other nodes, as the root told last; NULL after the last */
    struct join_counts counts;
};

static void after_ms(struct join *j, int ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(j->next, &t);
}

static json_t *agents(const struct fanout_counts *counts)
{
    json_t *object = json_object();
    for (int i = 0; i < AGENT_COUNT; i++)
        json_object_set_new(object, fanout_agent_names[i], json_integer((json_int_t)counts->agents[i]));
    return object;
}

static void put_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* The programme's place here: unknown while nothing is pulled, since the air then stands for want of frames.
 * All mounts are at the same place: one that is heard tells it. */
static void put_place(const struct join *j, json_t *object)
{
    struct node *node = bundle_heard(j->conf.bundle);
    const struct pull *pull = bundle_following(j->conf.bundle);
    struct pacer *pacer = node ? node_pacer(node) : NULL;
    uint64_t air = node ? pacer_air(pacer, NULL) : 0;
    json_object_set_new(object, "position", air ? json_integer((json_int_t)air) : json_null());
    json_object_set_new(object, "lag_s", pull ? json_real(-bundle_offset_s(j->conf.bundle)) : json_null());
    json_object_set_new(object, "lead_s", json_real(node ? pacer_lead_s(pacer) : 0));
}

static json_t *mounts(const struct join *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bundle_count(j->conf.bundle); i++) {
        const struct bundle_mount *m = bundle_at(j->conf.bundle, i);
        json_array_append_new(list,
                              json_pack("{s:s,s:i,s:b}", "name", m->spec.name, "listeners",
                                        (int)node_listening(m->node), "pulling", pull_following(m->pull)));
    }
    return list;
}

static json_t *report(struct join *j)
{
    struct fanout_counts counts;
    struct stats_process process;
    bundle_tick(j->conf.bundle);
    bundle_counts(j->conf.bundle, &counts);
    stats_process_read(&process);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_text_lossy(j->conf.name));
    json_object_set_new(o, "public_url", json_text_lossy(j->conf.public_url));
    json_object_set_new(o, "version", json_string(FOREVER_VERSION));
    json_object_set_new(o, "session", json_string(j->session));
    put_count(o, "seq", ++j->seq);
    json_object_set_new(o, "uptime_s", json_real((double)(clock_boot_ns() - j->conf.started_ns) * 1e-9));
    put_count(o, "listeners", counts.listening);
    put_count(o, "max_listeners", j->conf.max_listeners);
    put_count(o, "accepted", counts.opened);
    put_count(o, "closed", counts.closed);
    put_count(o, "bytes_in", fetch_bytes_in(j->conf.client));
    put_count(o, "bytes_out", counts.bytes);
    json_object_set_new(o, "agents", agents(&counts));
    put_place(j, o);
    json_object_set_new(o, "mounts", mounts(j));
    json_object_set_new(o, "pulling", json_boolean(bundle_following(j->conf.bundle) != NULL));
    json_object_set_new(o, "draining", json_boolean(node_draining(bundle_at(j->conf.bundle, 0)->node)));
    json_object_set_new(o, "cpu_s", json_real(process.cpu_s));
    put_count(o, "rss_bytes", process.rss_bytes);
    return o;
}

/* Takes over text; NULL: the report was taken. */
static void set_trouble(struct join *j, char *text, int refused)
{
    if (text && (!j->trouble || strcmp(text, j->trouble))) {
        if (refused)
            log_error("join", "%s", text);
        else
            log_warn("join", "%s", text);
    }
    if (!text && (j->trouble || !j->taken_once))
        log_info("join", "reports to %s as %s", j->conf.root, j->conf.name);
    free(j->trouble);
    j->trouble = text;
}

/* It goes into a Location header and into playlists: nothing in it may end either. */
static int url_is_sound(const char *url)
{
    if (strncasecmp(url, "http://", 7) && strncasecmp(url, "https://", 8)) return 0;
    size_t n = 0;
    while (url[n] > ' ' && url[n] <= '~' && !strchr("\"<>\\^`{|}?#", url[n]))
        n++;
    return !url[n] && n <= URL_MAX_BYTES;
}

static void read_elsewhere(struct join *j, const json_t *list)
{
    size_t n = 0;
    for (size_t i = 0; i < ELSEWHERE_MAX; i++) {
        const char *url = json_string_value(json_array_get(list, i));
        free(j->elsewhere[i]);
        j->elsewhere[i] = NULL;
        if (url && url_is_sound(url)) j->elsewhere[n++] = xstrdup(url);
    }
}

int join_elsewhere(const struct join *j, int secure, size_t i, char *location, size_t size)
{
    for (size_t k = 0; k < ELSEWHERE_MAX && j->elsewhere[k]; k++) {
        int is_secure = !strncasecmp(j->elsewhere[k], "https:", 6);
        if (is_secure != !!secure) continue;
        if (i-- == 0) return snprintf(location, size, "%s", j->elsewhere[k]) < (int)size ? 0 : -1;
    }
    return -1;
}

static double read_answer(struct join *j, const void *body, size_t len)
{
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    double interval_s = json_real_or(answer, "interval_s", INTERVAL_S, NULL);
    struct mount_spec list[MOUNTS_MAX];
    int count = mount_specs_read(json_object_get(answer, "mounts"), list, NULL);
    read_elsewhere(j, json_object_get(answer, "elsewhere"));
    json_decref(answer);
    if (count > 0) j->conf.mounts(j->conf.context, list, (size_t)count);
    if (!(interval_s >= INTERVAL_MIN_S)) return INTERVAL_MIN_S;
    return interval_s > INTERVAL_MAX_S ? INTERVAL_MAX_S : interval_s;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct join *j = context;
    j->fetch = NULL;
    if (status == 200 && !error) {
        j->counts.taken++;
        j->failures = 0;
        set_trouble(j, NULL, 0);
        j->taken_once = 1;
        after_ms(j, (int)(read_answer(j, body, len) * 1000));
        return;
    }
    int refused = status == 401 || status == 403;
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    const char *why = json_str_or(answer, "error", "", NULL);
    char *text;
    if (refused)
        text =
            xasprintf("%s refuses this relay's reports (see --token-file): %d %s", j->conf.root, status, why);
    else if (status)
        text = xasprintf("%s does not take the report: %d %s", j->conf.root, status, error ? error : why);
    else
        text = xasprintf("%s can't be reached for reports: %s", j->conf.root, error ? error : "no answer");
    json_decref(answer);
    j->counts.failed++;
    set_trouble(j, text, refused || status == 400);
    after_ms(j, refused ? proc_jitter_ms(REFUSED_MS, REFUSED_CAP_MS, j->failures)
                        : proc_jitter_ms(RETRY_MS, RETRY_CAP_MS, j->failures));
    j->failures++;
}

static void on_next(evutil_socket_t fd, short what, void *context)
{
    struct join *j = context;
    (void)fd, (void)what;
    json_t *object = report(j);
    char *body = json_text(object), *url = xasprintf("%s/api/relay/report", j->conf.root), *cause = NULL;
    json_decref(object);
    const struct fetch_conf conf = {.url = url,
                                    .bearer = j->conf.token,
                                    .body = body,
                                    .body_len = strlen(body),
                                    .body_type = "application/json",
                                    .connect_ms = CONNECT_MS,
                                    .total_ms = ANSWER_MS,
                                    .max_bytes = ANSWER_MAX,
                                    .on_end = on_end,
                                    .context = j};
    j->counts.sent++;
    j->fetch = fetch_start(j->conf.client, &conf, &cause);
    if (!j->fetch) {
        set_trouble(j, cause, 1);
        after_ms(j, REFUSED_CAP_MS);
    }
    free(url);
    free(body);
}

struct join *join_new(const struct join_conf *conf)
{
    struct join *j = xcalloc(1, sizeof *j);
    j->conf = *conf;
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_wall_ns() ^ (uint64_t)getpid();
    snprintf(j->session, sizeof j->session, "%016llx", (unsigned long long)random);
    j->next = evtimer_new(conf->base, on_next, j);
    after_ms(j, 0);
    return j;
}

void join_free(struct join *j)
{
    if (!j) return;
    fetch_cancel(j->fetch);
    event_free(j->next);
    read_elsewhere(j, NULL);
    free(j->trouble);
    free(j);
}

const char *join_trouble(const struct join *j)
{
    if (!j) return NULL;
    if (j->trouble) return j->trouble;
    return j->taken_once ? NULL : "no report has been taken yet";
}

const struct join_counts *join_counts(const struct join *j)
{
    static const struct join_counts none;
    return j ? &j->counts : &none;
}
