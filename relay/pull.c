#include "relay/pull.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mount.h"
#include "common/proc.h"
#include "relay/follow.h"
#include "relay/icecast.h"

#define TICK_MS        200
#define CONNECT_MS     3000
#define STALL_MS       5000 /* the root's clock comes every second */
#define RETRY_MS       500
#define RETRY_CAP_MS   10000
#define CATCH_UP_S     15 /* of a gap that is filled; less than makes a listener a laggard */
#define BACK_SLACK_S   3  /* the air goes on while the link comes up */
#define BACK_MAX_S     30
#define REFUSED_MS     10000
#define REFUSED_CAP_MS 30000

enum state { IDLE, CONNECTING, FOLLOWING, WAITING };

struct pull {
    struct pull_conf conf;
    enum state state;
    struct event *tick;
    struct fetch *fetch;
    struct link_decoder *decoder;
    struct icecast *icecast; /* makes records of what comes; NULL: records come */
    struct evbuffer *records;
    struct follow follow;
    int failures, refused;
    int64_t retry_ns, wanted_ns; /* boot time: next attempt; somebody last listened */
    char *trouble;
    char *broken; /* why we end the link ourselves */
    struct pull_counts counts;
};

static void connect_link(struct pull *p);

static void arm(struct pull *p)
{
    struct timeval after = {0, TICK_MS * 1000};
    if (!evtimer_pending(p->tick, NULL)) evtimer_add(p->tick, &after);
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

static void drop_link(struct pull *p)
{
    fetch_cancel(p->fetch);
    p->fetch = NULL;
    link_decoder_free(p->decoder);
    p->decoder = NULL;
    icecast_free(p->icecast);
    p->icecast = NULL;
    if (p->records) evbuffer_free(p->records);
    p->records = NULL;
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

/* After a failure, in the words of the log. */
static void wait_for_retry(struct pull *p, char *text, int refused)
{
    p->counts.failures++;
    set_trouble(p, text, refused);
    int ms = refused ? proc_jitter_ms(REFUSED_MS, REFUSED_CAP_MS, p->failures)
                     : proc_jitter_ms(RETRY_MS, RETRY_CAP_MS, p->failures);
    p->failures++;
    p->retry_ns = clock_boot_ns() + ms * INT64_C(1000000);
    p->state = WAITING;
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct pull *p = context;
    (void)fd, (void)what;
    int64_t now = clock_boot_ns();
    if (node_wanted_by(p->conf.node)) {
        p->wanted_ns = now;
    } else if (now - p->wanted_ns >= (int64_t)(p->conf.linger_s * (double)CLOCK_NS_PER_S)) {
        go_idle(p);
        return;
    }
    if (p->state == WAITING && now >= p->retry_ns) connect_link(p);
    arm(p);
}

/* What a text answer says: {"error": text}, or its first line. Fresh memory, never NULL. */
static char *answer_text(const void *body, size_t len)
{
    json_t *object = json_parse(body, len, 4096, NULL);
    const char *error = json_str_or(object, "error", NULL, NULL);
    char *text = error ? xstrndup(error, 200) : xstrndup(body, len < 200 ? len : 200);
    if (!error) text[strcspn(text, "\r\n")] = '\0';
    json_decref(object);
    return text;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct pull *p = context;
    p->fetch = NULL;
    drop_link(p);
    char *text, *answer = answer_text(body, len);
    int refused = status >= 400 && status < 500;
    if (p->broken)
        text =
            xasprintf(p->conf.icecast ? "%s can't be carried on: %s" : "%s broke the rules of the link: %s",
                      p->conf.root, p->broken);
    else if (status == 0)
        text = xasprintf("%s can't be reached: %s", p->conf.root, error ? error : "no answer");
    else if (status == 200)
        text = xasprintf("the link to %s was cut: %s", p->conf.root, error ? error : "closed");
    else
        text = xasprintf("%s %s: %d%s%s", p->conf.root,
                         !refused          ? "has no link for us now"
                         : p->conf.icecast ? "does not give its stream"
                                           : "refuses this relay (see --token-file)",
                         status, *answer ? " " : "", answer);
    free(answer);
    free(p->broken);
    p->broken = NULL;
    wait_for_retry(p, text, refused);
    if (refused) station_wake(node_station(p->conf.node)); /* those who wait need not wait longer */
}

static int on_status(void *context, int status)
{
    struct pull *p = context;
    if (status == 200) p->state = FOLLOWING;
    return 0;
}

/* 0, or -1 when the link must end. */
static int take(struct pull *p, const struct link_record *record)
{
    struct node *node = p->conf.node;
    struct follow *f = &p->follow;
    int greeted = f->greeted;
    f->ring = node_ring(node);
    f->pacer = node_pacer(node);
    enum follow_result result = follow_record(f, record, &p->broken);
    if (result == FOLLOW_RATE) {
        char *why = NULL;
        if (node_set_kbps(node, f->kbps, &why)) {
            p->conf.failed(p->conf.context, why);
            free(why);
            return -1;
        }
        f->ring = node_ring(node);
        f->pacer = node_pacer(node);
        result = follow_record(f, record, &p->broken);
    }
    if (result != FOLLOW_ON) return -1;
    if (f->greeted && !greeted) {
        node_set_identity(node, &f->identity);
        p->counts.links++;
        p->counts.resets += (uint64_t)f->begun_anew;
        log_info("link", "%s frame %" PRIu64 " of branch %" PRIu32 ", %u kbit/s",
                 f->begun_anew ? "starts at" : "goes on at", ring_head(f->ring), ring_branch(f->ring),
                 f->kbps);
    }
    if (f->greeted && ring_head(f->ring) > f->root_air) node_set_linked(node, 1);
    if (*f->command && p->conf.command)
        p->conf.command(p->conf.context, f->command, f->command_s, f->command_listeners);
    *f->command = '\0';
    if (f->frames && p->failures + !!p->trouble) { /* it works */
        set_trouble(p, NULL, 0);
        p->failures = 0;
    }
    return 0;
}

static void on_field(void *context, const char *name, const char *value)
{
    struct pull *p = context;
    icecast_field(p->icecast, name, value);
}

static int take_records(struct pull *p, const void *bytes, size_t len)
{
    struct link_record record;
    link_decoder_feed(p->decoder, bytes, len);
    int more;
    while ((more = link_decoder_next(p->decoder, &record, &p->broken)) > 0) {
        if (take(p, &record)) return -1;
    }
    if (more < 0) return -1;
    node_music(p->conf.node);
    return 0;
}

static int on_bytes(void *context, const void *bytes, size_t len)
{
    struct pull *p = context;
    p->counts.bytes += len;
    if (!p->icecast) return take_records(p, bytes, len);
    if (icecast_feed(p->icecast, bytes, len, p->records, &p->broken)) return -1;
    size_t made = evbuffer_get_length(p->records);
    if (!made) return 0;
    int result = take_records(p, evbuffer_pullup(p->records, -1), made);
    evbuffer_drain(p->records, made);
    return result;
}

/* 0, or -1 with *cause. */
static int start_fetch(struct pull *p, struct fetch_conf *conf, char **cause)
{
    conf->connect_ms = CONNECT_MS;
    conf->stall_ms = STALL_MS;
    conf->on_status = on_status;
    conf->on_bytes = on_bytes;
    conf->on_end = on_end;
    conf->context = p;
    p->counts.attempts++;
    p->state = CONNECTING;
    p->decoder = link_decoder_new();
    p->fetch = fetch_start(p->conf.client, conf, cause);
    return p->fetch ? 0 : -1;
}

static int connect_icecast(struct pull *p, char **cause)
{
    p->icecast = icecast_new(p->conf.root, node_ring(p->conf.node));
    p->records = evbuffer_new();
    p->follow = (struct follow){.asked_from = 1}; /* it knows what is held */
    struct fetch_conf conf = {
        .url = p->conf.root, .header = "Icy-MetaData: 1", .redirects = 3, .on_field = on_field};
    return start_fetch(p, &conf, cause);
}

static int connect_root(struct pull *p, char **cause)
{
    struct ring *ring = node_ring(p->conf.node);
    char from[96] = "";
    p->follow = (struct follow){0};
    /* Those who listen get what they missed; for those who come only now the present is enough, with as much
     * before it as they ask for: one who resumes has heard it, or has it to hear. */
    double behind_s = node_behind_s(p->conf.node), back_s = node_waiting_burst_s(p->conf.node);
    if (back_s > 0) back_s = fmin(ceil(back_s) + BACK_SLACK_S, BACK_MAX_S);
    if (behind_s < (node_listening(p->conf.node) ? CATCH_UP_S : back_s)) {
        p->follow.asked_from = 1;
        snprintf(from, sizeof from, "&from=%" PRIu32 ",%" PRIu64 "&station=%s", ring_branch(ring),
                 ring_head(ring), ring_station(ring));
    }
    char *url = xasprintf("%s/link?version=1&mount=%s&lead=%.0f&back=%.0f%s", p->conf.root,
                          p->conf.mount ? p->conf.mount : MOUNT_MAIN, p->conf.lead_s, back_s, from);
    struct fetch_conf conf = {.url = url, .bearer = p->conf.token};
    int result = start_fetch(p, &conf, cause);
    free(url);
    return result;
}

static void connect_link(struct pull *p)
{
    char *cause = NULL;
    if (p->conf.icecast ? connect_icecast(p, &cause) : connect_root(p, &cause)) {
        drop_link(p);
        wait_for_retry(p, cause, 1);
    }
    arm(p);
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
    free(p->broken);
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
