#include "relay/pull.h"

#include <event2/event.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/filler.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/uplink.h"

#define TICK_MS         200
#define TICK_SHORT_MS   50 /* when the link ends with the last listener: the next tick sees that */
#define RETRY_MS        500
#define RETRY_CAP_MS    10000
#define RETRY_HURRY_MS  1000
#define TRIES_IN_LEAD   5
#define NEXT_MS         20 /* before another parent is asked */
#define SILENT_S        6  /* without anything new, while there are other parents */
#define RENEW_AGAIN_S   30
#define RENEW_S         600 /* of the 900 that a grant lives */
#define SCARCE_SILENT_S 3
#define SCARCE_S        4  /* held ahead of the air: there is no time to lose */
#define AGAIN_S         1  /* before a parent is tried again for no fault of its own */
#define CATCH_UP_S      15 /* of a gap that is filled; less than makes a listener a laggard */
#define BACK_SLACK_S    3  /* the air goes on while the link comes up */
#define BACK_MAX_S      30
#define REFUSED_MS      10000
#define REFUSED_CAP_MS  30000
#define PACE_MS         2000
#define PACE_FILL       2

enum state { IDLE, CONNECTING, FOLLOWING, WAITING };

struct pull {
    struct pull_conf conf;
    enum state state;
    struct event *tick;
    struct uplink *link;  /* CONNECTING, FOLLOWING */
    struct uplink *trial; /* FOLLOWING: another parent, which has not answered yet */
    struct fetch *pace;   /* the parent is being told */
    int silent;           /* the link brings nothing new */
    int slowed; /* 1: the parent sends no faster than what airs, or is being told so; -1: nobody knows */
    json_t *lineage;
    int failures, refused;
    int64_t begun_ns;                      /* the link's HELLO */
    int64_t retry_ns, trial_ns, wanted_ns; /* boot time: next attempt, next trial; somebody last listened */
    char *trouble;
    struct pull_counts counts;
};

static void connect_link(struct pull *p);

static int64_t stay_ns(const struct pull *p)
{
    return (int64_t)(link_pace_stay(p->conf.linger_s) * (double)CLOCK_NS_PER_S);
}

/* On time for the end of the linger. */
static void arm(struct pull *p)
{
    if (evtimer_pending(p->tick, NULL)) return;
    int64_t left_ms = (p->wanted_ns + stay_ns(p) - clock_boot_ns()) / 1000000;
    int64_t ms = left_ms <= 0 ? TICK_SHORT_MS : left_ms < TICK_MS ? left_ms : TICK_MS;
    struct timeval after = {0, (ms < 10 ? 10 : ms) * 1000};
    evtimer_add(p->tick, &after);
}

/* Takes over text; NULL: all is well. */
static void set_trouble(struct pull *p, char *text, int refused)
{
    int same = text && p->trouble && !strcmp(text, p->trouble);
    if (text && !same) {
        if (refused)
            log_error("link", "%s", text);
        else
            log_warn("link", "%s", text);
    }
    if (!text && p->trouble) log_info("link", "up again");
    free(p->trouble);
    p->trouble = text;
    p->refused = refused;
}

static void forget_pace(struct pull *p)
{
    fetch_cancel(p->pace);
    p->pace = NULL;
    p->slowed = 0;
}

static void drop_link(struct pull *p)
{
    forget_pace(p);
    uplink_free(p->trial);
    uplink_free(p->link);
    p->link = p->trial = NULL;
    json_decref(p->lineage);
    p->lineage = NULL;
    node_set_linked(p->conf.node, 0);
}

static void go_idle(struct pull *p)
{
    if (p->state == FOLLOWING) log_info("link", "nobody listens any more: closed");
    drop_link(p);
    free(p->trouble); /* told; the next listener finds out anew */
    p->trouble = NULL;
    p->refused = p->failures = 0;
    p->state = IDLE;
    evtimer_del(p->tick);
}

int pull_retry_cap_ms(double behind_s)
{
    if (behind_s > FILLER_PATIENCE_S) return RETRY_CAP_MS;
    return (int)fmax(RETRY_HURRY_MS, fmin(RETRY_CAP_MS, -behind_s * 1000 / TRIES_IN_LEAD));
}

static int retry_cap_ms(const struct pull *p)
{
    return pull_retry_cap_ms(node_followed(p->conf.node) ? node_behind_s(p->conf.node) : INFINITY);
}

/* After a failure of that parent, in the words of the log. */
static void wait_for_retry(struct pull *p, int parent, char *text, int refused)
{
    int64_t now = clock_boot_ns();
    drop_link(p);
    p->counts.failures++;
    parents_failed(p->conf.parents, parent, now);
    int other = parents_other(p->conf.parents, parent, now) != NULL, ms;
    set_trouble(p, text, refused && !other);
    if (other)
        ms = NEXT_MS;
    else
        ms = refused ? proc_jitter_ms(REFUSED_MS, REFUSED_CAP_MS, p->failures)
                     : proc_jitter_ms(RETRY_MS, retry_cap_ms(p), p->failures);
    p->failures++;
    p->retry_ns = now + ms * INT64_C(1000000);
    p->state = WAITING;
    if (node_loop(p->conf.node)) station_wake(node_station(p->conf.node)); /* who waits hears that */
    if (!other) return;
    struct timeval soon = {0, NEXT_MS * 1000};
    evtimer_add(p->tick, &soon);
}

/* Records */

static int learn_lineage(struct pull *p, const json_t *path, char **broken)
{
    if (lineage_check(path, p->conf.id, broken)) return -1;
    json_t *own = lineage_extend(path, p->conf.id);
    int news = !p->lineage || !json_equal(own, p->lineage);
    json_decref(p->lineage);
    p->lineage = own;
    if (news && p->conf.lineage) p->conf.lineage(p->conf.context, own);
    return 0;
}

/* The better parent has answered: it takes over, if what is held is still what it was asked about. */
static int promote(struct pull *p, struct uplink *trial, char **broken)
{
    if (!uplink_still_fits(trial, node_ring(p->conf.node)))
        return cause_set(broken, "the programme forked meanwhile");
    if (p->silent && uplink_head(trial) <= ring_head(node_ring(p->conf.node)))
        return cause_set(broken, "it has nothing newer either");
    int renewed = uplink_parent(p->link) == uplink_parent(trial);
    if (!renewed)
        log_info("link", "goes over from %s%s to %s", uplink_url(p->link),
                 p->silent ? ", which brings nothing new," : "", uplink_url(trial));
    if (p->silent) parents_failed(p->conf.parents, uplink_parent(p->link), clock_boot_ns());
    forget_pace(p);
    uplink_free(p->link);
    p->link = trial;
    p->trial = NULL;
    p->counts.switches += !renewed;
    return 0;
}

static void greeted(struct pull *p, const struct follow *f)
{
    p->begun_ns = clock_boot_ns();
    node_set_identity(p->conf.node, &f->identity);
    p->counts.links++;
    p->counts.resets += (uint64_t)f->begun_anew;
    log_info("link", "%s frame %" PRIu64 " of branch %" PRIu32 ", %u kbit/s",
             f->begun_anew ? "starts at" : "goes on at", ring_head(f->ring), ring_branch(f->ring), f->kbps);
}

static int on_command(struct pull *p, const struct link_record *record, char **broken)
{
    if (strcmp(json_str_or(record->body, "command", "", NULL), "path") != 0) return 0;
    return learn_lineage(p, json_object_get(record->body, "path"), broken);
}

/* 0, or -1 when the link must end. */
static int on_record(void *context, struct uplink *u, const struct link_record *record, char **broken)
{
    struct pull *p = context;
    struct node *node = p->conf.node;
    struct follow *f = uplink_follow(u);
    if (record->type == LINK_HELLO) {
        const json_t *path = json_object_get(record->body, "path");
        if (lineage_check(path, p->conf.id, broken) || (u == p->trial && promote(p, u, broken)) ||
            learn_lineage(p, path, broken))
            return -1;
    }
    int was_greeted = f->greeted;
    f->ring = node_ring(node);
    f->pacer = node_pacer(node);
    enum follow_result result = follow_record(f, record, broken);
    if (result == FOLLOW_RATE) {
        char *why = NULL;
        if (node_set_kbps(node, f->kbps, &why)) {
            p->conf.failed(p->conf.context, why);
            free(why);
            return -1;
        }
        f->ring = node_ring(node);
        f->pacer = node_pacer(node);
        result = follow_record(f, record, broken);
    }
    if (result != FOLLOW_ON) return -1;
    if (f->greeted && !was_greeted) greeted(p, f);
    if (f->greeted && ring_head(f->ring) > f->root_air) node_set_linked(node, 1);
    if (record->type == LINK_COMMAND && on_command(p, record, broken)) return -1;
    if (record->type == LINK_FRAMES && f->frames) { /* it works */
        parents_worked(p->conf.parents, uplink_parent(u), clock_boot_ns());
        if (p->trouble) set_trouble(p, NULL, 0);
        p->failures = 0;
    }
    return 0;
}

static void on_taken(void *context, struct uplink *u, size_t bytes)
{
    struct pull *p = context;
    p->counts.bytes += bytes;
    if (u == p->link && uplink_accepted(u)) p->state = FOLLOWING;
    node_music(p->conf.node);
}

static void on_ended(void *context, struct uplink *u, char *why, int refused)
{
    struct pull *p = context;
    int parent = uplink_parent(u);
    if (u == p->trial) {
        int64_t now = clock_boot_ns();
        int renewal = parent == uplink_parent(p->link); /* it may be refused: the link itself is well */
        p->trial = NULL;
        p->trial_ns = now + (renewal ? RENEW_AGAIN_S : AGAIN_S) * CLOCK_NS_PER_S;
        if (!renewal && uplink_still_fits(u, node_ring(p->conf.node)))
            parents_failed(p->conf.parents, parent, now);
        log_info("link", "stays with %s: %s", uplink_url(p->link), why);
        uplink_free(u);
        free(why);
        return;
    }
    wait_for_retry(p, parent, why, refused);
    if (refused && p->refused) station_wake(node_station(p->conf.node)); /* who waits need not wait longer */
}

/* Connecting */

static struct uplink *start_uplink(struct pull *p, const struct parent *parent, char **cause)
{
    /* Those who listen get what they missed; for those who come only now the present is enough, with as much
     * before it as they ask for: one who resumes has heard it, or has it to hear. */
    double behind_s = node_behind_s(p->conf.node), back_s = node_waiting_burst_s(p->conf.node);
    if (back_s > 0) back_s = fmin(ceil(back_s) + BACK_SLACK_S, BACK_MAX_S);
    const struct uplink_conf conf = {.client = p->conf.client,
                                     .parent = parent,
                                     .icecast = p->conf.icecast,
                                     .mount = p->conf.mount,
                                     .node = p->conf.id,
                                     .ring = node_ring(p->conf.node),
                                     .has_from =
                                         behind_s < (node_followed(p->conf.node) ? CATCH_UP_S : back_s),
                                     .lead_s = p->conf.lead_s,
                                     .back_s = back_s,
                                     .less_s = link_pace_less(p->conf.linger_s),
                                     .record = on_record,
                                     .taken = on_taken,
                                     .ended = on_ended,
                                     .context = p};
    p->counts.attempts++;
    return uplink_start(&conf, cause);
}

static void connect_link(struct pull *p)
{
    char *cause = NULL;
    const struct parent *parent = parents_choose(p->conf.parents, clock_boot_ns());
    int id = parent ? parent->id : 0;
    p->state = CONNECTING;
    if (!parent)
        cause_set(&cause, "there is no parent to pull from");
    else
        p->link = start_uplink(p, parent, &cause);
    if (!p->link) wait_for_retry(p, id, cause, 1);
    arm(p);
}

static const struct parent *proposed(const struct pull *p, int id)
{
    const struct parent *parent = parents_find(p->conf.parents, id);
    return parent && parent->proposed ? parent : NULL;
}

/* Tries a better parent beside the link, or another one when this brings nothing new. */
static void look_around(struct pull *p, int64_t now)
{
    int id = uplink_parent(p->link);
    int scarce = node_behind_s(p->conf.node) > -SCARCE_S;
    p->silent = now - uplink_fresh_ns(p->link) > (scarce ? SCARCE_SILENT_S : SILENT_S) * CLOCK_NS_PER_S;
    if (p->trial || now < p->trial_ns) return;
    const struct parent *other =
        p->silent ? parents_other(p->conf.parents, id, now) : parents_better(p->conf.parents, id, now);
    /* a grant ends, and there is a fresh one */
    if (!other && now - p->begun_ns > RENEW_S * CLOCK_NS_PER_S) other = proposed(p, id);
    if (!other) return;
    char *cause = NULL;
    int other_id = other->id;
    p->trial = start_uplink(p, other, &cause);
    if (!p->trial) parents_failed(p->conf.parents, other_id, now);
    free(cause);
}

/* Telling the parent how fast */

static void on_paced(void *context, int status, const char *error, const void *body, size_t len)
{
    struct pull *p = context;
    (void)error, (void)body, (void)len;
    p->pace = NULL;
    if (status == 200 || !p->slowed) return;
    /* one that can't be slowed down would bring more than anybody needs */
    if (node_needed_by(p->conf.node))
        p->slowed = -1;
    else
        go_idle(p);
}

static void tell_pace(struct pull *p, int slow)
{
    const struct parent *parent = parents_find(p->conf.parents, uplink_parent(p->link));
    if (p->conf.icecast || p->pace || slow == p->slowed || !parent || !*uplink_link(p->link)) return;
    char *url = xasprintf("%s/link/pace?link=%s&fill=%d&node=%s", parent->url, uplink_link(p->link),
                          slow ? 1 : PACE_FILL, p->conf.id);
    const struct fetch_conf conf = {.url = url,
                                    .bearer = parent->token,
                                    .pin = parent->pin,
                                    .body = "",
                                    .connect_ms = PACE_MS,
                                    .total_ms = PACE_MS,
                                    .max_bytes = 4096,
                                    .on_end = on_paced,
                                    .context = p};
    p->slowed = slow;
    p->pace = fetch_start(p->conf.client, &conf, NULL);
    free(url);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct pull *p = context;
    (void)fd, (void)what;
    int64_t now = clock_boot_ns();
    int wanted = node_needed_by(p->conf.node) > 0;
    if (wanted) {
        p->wanted_ns = now;
    } else if (now - p->wanted_ns >= stay_ns(p)) {
        go_idle(p);
        return;
    }
    if (p->state == WAITING && now >= p->retry_ns) connect_link(p);
    if (p->state == FOLLOWING) tell_pace(p, !wanted);
    if (p->state == FOLLOWING && wanted && !p->conf.icecast) look_around(p, now);
    if (p->state != IDLE) arm(p);
}

struct pull *pull_new(const struct pull_conf *conf)
{
    struct pull *p = xcalloc(1, sizeof *p);
    p->conf = *conf;
    p->tick = evtimer_new(conf->base, on_tick, p);
    return p;
}

void pull_free(struct pull *p)
{
    if (!p) return;
    drop_link(p);
    event_free(p->tick);
    free(p->trouble);
    free(p);
}

void pull_want(struct pull *p)
{
    p->wanted_ns = clock_boot_ns();
    if (p->state == IDLE) connect_link(p);
}

int pull_idle(const struct pull *p)
{
    return p->state == IDLE;
}

int pull_following(const struct pull *p)
{
    return p->state == FOLLOWING;
}

const json_t *pull_lineage(const struct pull *p)
{
    return p->lineage;
}

int pull_refused(const struct pull *p)
{
    return p->refused;
}

const char *pull_trouble(const struct pull *p)
{
    return p->trouble;
}

const struct pull_counts *pull_counts(const struct pull *p)
{
    return &p->counts;
}
