#include "tests/load/crowd_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

#define EVENTS      512
#define LOOK_NS     INT64_C(10000000) /* how often the listeners that are due are looked for */
#define SPARE_FILES 32
/* Half of the ports that an address has for one destination; the kernel takes long to find the others. */
#define PORTS_EASILY_FOUND 10000

static int enough_files(int needed, char **cause)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return cause_set(cause, "getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < (rlim_t)needed)
        return cause_set(cause, "%d open files are needed, the limit is %llu (ulimit -Hn)", needed,
                         (unsigned long long)limit.rlim_max);
    return 0;
}

static void make_listeners(struct load_crowd *c, int64_t now)
{
    const struct load_options *o = c->options;
    for (int i = 0; i < c->count; i++) {
        struct load_listener *l = &c->listeners[i];
        l->connection.fd = -1;
        l->kind = i < o->listeners                ? LOAD_NORMAL
                  : i < o->listeners + o->stalled ? LOAD_STALLED
                                                  : LOAD_TRICKLE;
        l->asking = o->listen_api && l->kind == LOAD_NORMAL;
        l->home = xstrdup(o->url);
        l->url = xstrdup(o->url);
        l->first_byte_ms = -1;
        /* the slow ones spread over the same time, not after the others */
        int nth = i < o->listeners ? i : i - o->listeners,
            of = i < o->listeners ? o->listeners : c->count - o->listeners;
        c->due_ns[i] = now + (int64_t)(o->ramp_s * CLOCK_NS_PER_S * nth / of);
    }
}

static void look(struct load_crowd *c, int64_t now)
{
    for (int i = 0; i < c->count; i++) {
        if (c->due_ns[i] <= now) load_listener_due(c, i, now);
    }
}

static int64_t soonest(const struct load_crowd *c, int64_t now)
{
    int64_t first = now + LOOK_NS;
    for (int i = 0; i < c->count && first > now; i++) {
        if (c->due_ns[i] < first) first = c->due_ns[i];
    }
    return first;
}

static void progress(const struct load_crowd *c, double since_s)
{
    const struct load_totals *t = &c->totals;
    fprintf(stderr, "%6.1f s: %d of %d have heard, %llu breaks, %llu reconnects, %llu refused\n", since_s,
            t->hearing, c->options->listeners, (unsigned long long)t->breaks,
            (unsigned long long)t->reconnects, (unsigned long long)t->refused);
}

static void announce(const struct load_options *o)
{
    if (!o->announce) return;
    printf("ready\n");
    fflush(stdout);
}

/* Until `seconds` after all hear, or patience is over. When all heard, from the start; -1. */
static double live(struct load_crowd *c, int64_t start)
{
    const struct load_options *o = c->options;
    int64_t patience = start + (int64_t)((o->ramp_s + o->patience_s) * CLOCK_NS_PER_S);
    int64_t end = INT64_MAX, told = start, now, next = start;
    double ready_s = -1;
    while ((now = clock_boot_ns()) < end && !c->forbidden && !(o->over && *o->over)) {
        if (now >= next) {
            look(c, now);
            next = soonest(c, now);
        }
        struct epoll_event events[EVENTS];
        int64_t wait_ms = (next - now + 999999) / 1000000;
        int n = epoll_wait(c->epoll, events, EVENTS, wait_ms > 0 ? (int)wait_ms : 0);
        for (int i = 0; i < n; i++)
            load_listener_event(c, (int)events[i].data.u32, events[i].events);
        int all = c->totals.hearing == o->listeners;
        if (end == INT64_MAX && (all || now >= patience)) {
            now = clock_boot_ns();
            if (all) ready_s = (double)(now - start) / CLOCK_NS_PER_S;
            end = now + (int64_t)(o->seconds * CLOCK_NS_PER_S);
            announce(o);
        }
        if (o->progress && now - told >= CLOCK_NS_PER_S) {
            progress(c, (double)(now - start) / 1e9);
            told = now;
        }
    }
    return ready_s;
}

json_t *load_run(const struct load_options *o, int *well, char **cause)
{
    struct load_crowd c = {.options = o, .count = o->listeners + o->stalled + o->trickle, .seed = o->seed};
    json_t *report = NULL;
    *well = 0;
    if (load_url_parse(o->url, NULL, &c.start, cause) || load_node(&c.start, cause) < 0 ||
        enough_files(c.count + SPARE_FILES, cause))
        return NULL;
    c.sources = o->sources;
    if (!c.sources && c.count > PORTS_EASILY_FOUND) c.sources = 1 + (unsigned)(c.count / PORTS_EASILY_FOUND);
    c.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c.epoll < 0) {
        cause_set(cause, "epoll: %s", strerror(errno));
        return NULL;
    }
    c.listeners = xcalloc((size_t)c.count, sizeof *c.listeners);
    c.due_ns = xcalloc((size_t)c.count, sizeof *c.due_ns);
    c.piece = xmalloc(LOAD_PIECE);
    int64_t start = clock_boot_ns();
    make_listeners(&c, start);
    double ready_s = live(&c, start);
    int64_t now = clock_boot_ns();
    if (c.forbidden) {
        if (cause) *cause = c.forbidden;
    } else {
        /* who streams at the end is known before all are ended */
        for (int i = 0; i < c.count; i++) {
            enum load_state state = c.listeners[i].state;
            load_listener_close(&c, i, now);
            c.listeners[i].state = state;
        }
        report = load_report(&c, (double)(now - start) / 1e9, ready_s, well);
    }
    for (int i = 0; c.forbidden && i < c.count; i++)
        load_listener_close(&c, i, now);
    for (int i = 0; i < LOAD_RATES_MAX; i++)
        load_reference_free(c.references[i]);
    load_cuts_free(&c.totals.cuts);
    free(c.listeners);
    free(c.due_ns);
    free(c.piece);
    close(c.epoll);
    return report;
}
