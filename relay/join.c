#include "relay/join.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/enrol.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/admission.h"
#include "relay/drain.h"
#include "relay/report.h"

#define INTERVAL_S     2.0
#define INTERVAL_MIN_S 0.5
#define INTERVAL_MAX_S 60.0
#define ANSWER_MS      4000
#define CONNECT_MS     3000
#define ANSWER_MAX     8192
#define RETRY_MS       1000
#define RETRY_CAP_MS   4000 /* a root that is back knows within seconds who listens */
#define REFUSED_MS     10000
#define REFUSED_CAP_MS 30000
#define DRAIN_S        60
#define MOVE_S         30
#define NEXT_MS        20

struct join {
    struct join_conf conf;
    struct event *next;
    struct fetch *fetch;
    struct report *report;
    int parent; /* the one that gets the reports: its id */
    char *url;  /* its address, for the log */
    int failures;
    char *trouble;     /* told; NULL when all is well */
    char *unreachable; /* why listeners do not reach us, in the root's words; NULL when they do */
    int taken_once, hurry;
    struct join_counts counts;
};

static void after_ms(struct join *j, int ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(j->next, &t);
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
        log_info("join", "reports to %s as %s", j->url, j->conf.name);
    free(j->trouble);
    j->trouble = text;
}

/* From whom the root would have us pull: absent: as before; null: from those we were told of. */
static void read_parent(struct join *j, const json_t *parent)
{
    const char *url = json_str_or(parent, "url", NULL, NULL), *pin = json_str_or(parent, "pin", NULL, NULL),
               *grant = json_str_or(parent, "grant", NULL, NULL);
    if (json_is_null(parent)) parents_propose(j->conf.parents, NULL, NULL, NULL);
    if (!url || !pin || !grant || !enrol_link_url_is_sound(url) || !enrol_pin_is_sound(pin) ||
        strlen(grant) >= LINK_GRANT_TEXT)
        return;
    if (parents_propose(j->conf.parents, url, pin, grant))
        log_info("join", "the root proposes to pull from %s", url);
}

/* By which we know whom to feed. */
static void read_link_key(struct join *j, const json_t *link_key)
{
    unsigned char key[LINK_GRANT_KEY_BYTES];
    const char *text = json_str_or(link_key, "key", "", NULL);
    int64_t now_s = json_int_or(link_key, "now", -1, 0, INT64_MAX, NULL);
    if (j->conf.feed && now_s >= 0 && !enrol_unhex(text, key, sizeof key)) {
        feed_set_key(j->conf.feed, key, now_s);
        feed_cut(j->conf.feed, json_object_get(link_key, "cut"));
    }
}

static void read_credential(struct join *j, const char *credential)
{
    const struct parent *parent = parents_find(j->conf.parents, j->parent);
    if (credential && j->conf.credential && parent && parent->pin && enrol_secret_is_sound(credential))
        j->conf.credential(j->conf.context, credential);
}

/* The root calls our public address, and says what it found. */
static void read_unreachable(struct join *j, const char *words)
{
    if (words && (!j->unreachable || strcmp(words, j->unreachable) != 0))
        log_warn("join", "the root does not reach this relay at %s, so it sends no listeners: %.800s",
                 j->conf.public_url, words);
    if (!words && j->unreachable) log_info("join", "the root reaches this relay at %s", j->conf.public_url);
    free(j->unreachable);
    j->unreachable = words ? xstrdup(words) : NULL;
}

static double read_answer(struct join *j, const void *body, size_t len)
{
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    double interval_s = json_real_or(answer, "interval_s", INTERVAL_S, NULL);
    struct mount_spec list[MOUNTS_MAX];
    int count = mount_specs_read(json_object_get(answer, "mounts"), list, NULL);
    if (j->conf.elsewhere)
        elsewhere_read(j->conf.elsewhere, json_object_get(answer, "elsewhere"),
                       json_object_get(answer, "elsewhere_room"));
    read_parent(j, json_object_get(answer, "parent"));
    read_link_key(j, json_object_get(answer, "link_key"));
    if (j->conf.admission)
        admission_answered(j->conf.admission, json_object_get(answer, "ticket"), clock_boot_ns());
    const json_t *drain = json_object_get(answer, "drain");
    double drain_s = json_is_object(drain) ? json_real_or(drain, "deadline_s", DRAIN_S, NULL) : -1;
    const json_t *move = json_object_get(answer, "move");
    unsigned too_many = (unsigned)json_int_or(move, "listeners", 0, 0, DRAIN_MOVE_MAX, NULL);
    double move_s = json_real_or(move, "deadline_s", MOVE_S, NULL);
    if (j->conf.ledger) ledger_told(j->conf.ledger, json_object_get(answer, "ledger"));
    read_credential(j, json_str_or(answer, "credential", NULL, NULL));
    read_unreachable(j, json_str_or(answer, "unreachable", NULL, NULL));
    json_t *told = json_incref(json_object_get(answer, "mounts"));
    json_decref(answer);
    if (j->conf.drain) j->conf.drain(j->conf.context, drain_s);
    if (j->conf.move) j->conf.move(j->conf.context, too_many, move_s);
    if (count > 0) j->conf.mounts(j->conf.context, list, (size_t)count);
    const struct parent *by = parents_find(j->conf.parents, j->parent);
    if (count > 0 && by && j->conf.told) j->conf.told(j->conf.context, told, by);
    json_decref(told);
    if (!(interval_s >= INTERVAL_MIN_S)) return INTERVAL_MIN_S;
    return interval_s > INTERVAL_MAX_S ? INTERVAL_MAX_S : interval_s;
}

/* Those that the root proposes for pulling take no reports. */
static const struct parent *told_of(const struct join *j, size_t index)
{
    const struct parent *parent = parents_at(j->conf.parents, 0);
    return parents_at(j->conf.parents, index + (parent && parent->proposed));
}

/* The one after the present one gets the next report. 1 when it is worth trying at once: not all were. */
static int next_parent(struct join *j)
{
    size_t i = 0;
    while (told_of(j, i) && told_of(j, i)->id != j->parent)
        i++;
    const struct parent *next = told_of(j, i) ? told_of(j, i + 1) : NULL;
    j->parent = next ? next->id : 0;
    return next != NULL;
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
        double next_s = read_answer(j, body, len);
        after_ms(j, j->hurry ? 0 : (int)(next_s * 1000));
        return;
    }
    int refused = status == 401 || status == 403;
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    const char *why = json_str_or(answer, "error", "", NULL);
    char *text;
    if (refused)
        text = xasprintf("%s refuses this relay's reports: %d %s", j->url, status, why);
    else if (status)
        text = xasprintf("%s does not take the report: %d %s", j->url, status, error ? error : why);
    else
        text = xasprintf("%s can't be reached for reports: %s", j->url, error ? error : "no answer");
    json_decref(answer);
    j->counts.failed++;
    set_trouble(j, text, refused || status == 400);
    if (refused && j->conf.refused) j->conf.refused(j->conf.context);
    if (next_parent(j)) {
        after_ms(j, NEXT_MS);
        return;
    }
    after_ms(j, refused ? proc_jitter_ms(REFUSED_MS, REFUSED_CAP_MS, j->failures)
                        : proc_jitter_ms(RETRY_MS, RETRY_CAP_MS, j->failures));
    j->failures++;
}

static void on_next(evutil_socket_t fd, short what, void *context)
{
    struct join *j = context;
    (void)fd, (void)what;
    const struct parent *parent = j->parent ? parents_find(j->conf.parents, j->parent) : told_of(j, 0);
    if (!parent) return; /* nobody takes reports */
    j->parent = parent->id;
    free(j->url);
    j->url = xstrdup(parent->url);
    json_t *object = report_make(j->report);
    char *body = json_text(object), *url = xasprintf("%s/api/relay/report", parent->url), *cause = NULL;
    json_decref(object);
    const struct fetch_conf conf = {.url = url,
                                    .bearer = parent->token,
                                    .pin = parent->pin,
                                    .body = body,
                                    .body_len = strlen(body),
                                    .body_type = "application/json",
                                    .connect_ms = CONNECT_MS,
                                    .total_ms = ANSWER_MS,
                                    .max_bytes = ANSWER_MAX,
                                    .on_end = on_end,
                                    .context = j};
    j->counts.sent++;
    j->hurry = 0;
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
    j->report = report_new(&(struct report_conf){.client = conf->client,
                                                 .bundle = conf->bundle,
                                                 .uplink_bps = conf->uplink_bps,
                                                 .ledger = conf->ledger,
                                                 .feed = conf->feed,
                                                 .link_url = conf->link_url,
                                                 .link_pin = conf->link_pin,
                                                 .id = conf->id,
                                                 .name = conf->name,
                                                 .public_url = conf->public_url,
                                                 .max_listeners = conf->max_listeners,
                                                 .joins_per_s = conf->joins_per_s,
                                                 .admission = conf->admission,
                                                 .started_ns = conf->started_ns});
    j->next = evtimer_new(conf->base, on_next, j);
    after_ms(j, 0);
    return j;
}

void join_hurry(struct join *j)
{
    if (!j) return;
    j->hurry = 1;
    if (!j->fetch) after_ms(j, 0);
}

void join_free(struct join *j)
{
    if (!j) return;
    fetch_cancel(j->fetch);
    event_free(j->next);
    report_free(j->report);
    free(j->url);
    free(j->trouble);
    free(j->unreachable);
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
