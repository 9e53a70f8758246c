#include "root/air/workers.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/air/executable.h"

#define READY_LIMIT_S   30
#define DRAIN_LIMIT_S   10
#define STUDIO_LIMIT_S  3 /* its successor waits */
#define STOP_LIMIT_S    3
#define DISMISS_LIMIT_S 1
#define JOB_DEFAULT_S   120
#define JOB_GRACE_S     5.0
#define WATCH_S         1

enum life { LIFE_STARTING, LIFE_READY, LIFE_SERVING, LIFE_DRAINING, LIFE_ENDED };
static const char *const life_names[] = {"starting", "ready", "serving", "draining", "ended"};

/* Invariant: freed when both are gone, the process (pid 0) and the channel (end NULL). */
struct worker {
    TAILQ_ENTRY(worker) next;
    struct place *place;
    enum life life;
    pid_t pid;
    struct switch_end *end;
    unsigned generation;
    int64_t started_ns;
    struct event *limit; /* late with READY, draining too long, or a job that overruns */
    const char *why_killed;
    int64_t job; /* track under analysis, 0 none */
};

struct place {
    struct workers *workers;
    enum role role;
    unsigned index, restarts;
    struct worker *current, *successor;
    struct proc_backoff backoff;
    struct event *restart;
};

struct workers {
    struct event_base *base;
    struct workers_conf conf;
    char *path;
    struct switchboard *board;
    struct place *places;
    unsigned place_count, generation;
    TAILQ_HEAD(, worker) all;
    struct event *child_signal, *watch, *stop_limit;
    struct executable executable;
    int stopping;
};

static void start(struct place *place);
static void retire(struct worker *worker);

static void limit_in(struct worker *worker, double seconds)
{
    struct timeval in = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    event_add(worker->limit, &in);
}

static double drain_limit_s(const struct worker *worker)
{
    int set_ms = worker->place->workers->conf.drain_ms;
    if (set_ms) return set_ms / 1000.0;
    return worker->place->role == ROLE_STUDIO || worker->place->role == ROLE_CODER ? STUDIO_LIMIT_S
                                                                                   : DRAIN_LIMIT_S;
}

/* Such as only read leave nothing half done: a station that stops waits for no track and no slow disk. */
static int may_be_cut_off(const struct worker *worker)
{
    return worker->place->role == ROLE_ANALYSE || worker->place->role == ROLE_SCAN;
}

static void kill_worker(struct worker *worker, const char *why)
{
    if (why) worker->why_killed = why;
    if (worker->pid) kill(worker->pid, SIGKILL);
}

static void maybe_free(struct worker *worker)
{
    if (worker->pid || worker->end) return;
    struct workers *workers = worker->place->workers;
    TAILQ_REMOVE(&workers->all, worker, next);
    event_free(worker->limit);
    free(worker);
    if (workers->stopping && TAILQ_EMPTY(&workers->all)) {
        workers->stopping = 2;
        if (workers->stop_limit) event_del(workers->stop_limit);
        workers->conf.stopped(workers->conf.context);
    }
}

/* Birth */

static int on_demand(enum role role)
{
    return role == ROLE_LIVE;
}

static void restart_later(struct place *place)
{
    if (place->workers->stopping || on_demand(place->role)) return;
    int wait_ms = proc_backoff_next(&place->backoff, clock_boot_ns());
    struct timeval in = {wait_ms / 1000, wait_ms % 1000 * 1000};
    event_add(place->restart, &in);
    place->restarts++;
}

/* An analyser lowers its priority by itself, once the first music no longer waits for it. */
static int nice_of(enum role role)
{
    return role == ROLE_SCAN ? 5 : 0;
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct worker *w = arg;
    const char *why = w->life == LIFE_STARTING   ? "not ready in time"
                      : w->life == LIFE_SERVING  ? "its job takes too long"
                      : w->life == LIFE_DRAINING ? "did not drain in time"
                                                 : "did not end in time";
    kill_worker(w, why);
}

static struct worker *spawn(struct place *place)
{
    struct workers *workers = place->workers;
    char *cause = NULL;
    int fd;
    place->backoff.started_ns = clock_boot_ns();
    pid_t pid = proc_spawn(workers->path, role_name(place->role), nice_of(place->role), &fd, &cause);
    if (pid < 0) {
        log_error("workers", "%s", cause);
        free(cause);
        return NULL;
    }
    struct worker *w = xcalloc(1, sizeof *w);
    w->place = place;
    w->pid = pid;
    w->generation = ++workers->generation;
    w->started_ns = clock_boot_ns();
    w->limit = evtimer_new(workers->base, on_limit, w);
    w->end = switchboard_add(workers->board, place->role, fd, w);
    TAILQ_INSERT_TAIL(&workers->all, w, next);
    limit_in(w, READY_LIMIT_S);
    switchboard_tell(w->end, WIRE_CONFIG,
                     workers->conf.configure(workers->conf.context, place->role, w->generation));
    log_debug("workers", "%s %u started, process %d", role_name(place->role), place->index, (int)pid);
    return w;
}

static void start(struct place *place)
{
    struct workers *workers = place->workers;
    if (workers->stopping || place->current) return;
    /* nobody could take its findings; the store's taking over starts it */
    if (place->role == ROLE_SCAN && !switchboard_serving(workers->board, ROLE_STORE)) return;
    place->current = spawn(place);
    if (place->current) return;
    restart_later(place);
    if (on_demand(place->role)) workers->conf.down(workers->conf.context, place->role);
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    start(arg);
}

/* Taking over */

static void restart_scan(struct workers *workers)
{
    for (unsigned i = 0; i < workers->place_count; i++) {
        struct place *p = &workers->places[i];
        if (p->role != ROLE_SCAN || (p->current && p->current->life < LIFE_SERVING)) continue;
        if (p->current) retire(p->current);
        p->current = NULL;
        start(p);
    }
}

static void take_over(struct worker *w)
{
    struct workers *workers = w->place->workers;
    enum role role = w->place->role;
    w->life = LIFE_SERVING;
    switchboard_serve(workers->board, role, w->end);
    workers->conf.up(workers->conf.context, role, w->end);
    if (role == ROLE_STORE) restart_scan(workers);
}

/* Tells a worker that it is not needed any more. */
static void retire(struct worker *w)
{
    enum role role = w->place->role;
    w->life = LIFE_DRAINING;
    if (!w->end) return;
    switchboard_tell(w->end, WIRE_QUIT, json_object());
    if (role == ROLE_SCAN) {
        /* two walks at once would contradict each other: its voice is cut off here */
        switchboard_remove(w->end);
        w->end = NULL;
        limit_in(w, STUDIO_LIMIT_S);
    } else if (!w->job) { /* else it keeps the job's own limit */
        limit_in(w, drain_limit_s(w));
    }
}

static void on_ready(struct worker *w)
{
    struct place *place = w->place;
    event_del(w->limit);
    w->life = LIFE_READY;
    log_info("workers", "%s ready, process %d", role_name(place->role), (int)w->pid);
    if (place->successor != w) {
        take_over(w);
        return;
    }
    struct worker *old = place->current;
    if (place->role == ROLE_STUDIO || place->role == ROLE_CODER) {
        retire(old); /* this one takes over when the old one is gone: see ended */
        return;
    }
    place->current = w;
    place->successor = NULL;
    take_over(w);
    retire(old);
}

/* Death */

static void lost_job(struct worker *w, const char *why)
{
    if (!w->job || w->place->workers->stopping) return;
    log_warn("workers", "the analysis of track %lld was lost: %s", (long long)w->job, why);
    switchboard_send(w->place->workers->board, ROLE_STORE, WIRE_JOB_LOST,
                     json_pack("{s:I,s:s}", "track", (json_int_t)w->job, "reason", why));
    w->job = 0;
}

/* The channel is gone: whatever the process still does, it serves no more. */
static void ended(struct worker *w, const char *cause)
{
    struct place *place = w->place;
    struct workers *workers = place->workers;
    enum life life = w->life;
    lost_job(w, w->why_killed ? w->why_killed : "the analyser died on it");
    w->life = LIFE_ENDED;
    switchboard_remove(w->end);
    w->end = NULL;
    if (cause) {
        log_error("workers", "%s (process %d): %s", role_name(place->role), (int)w->pid, cause);
        kill_worker(w, "it failed");
    } else if (w->pid) {
        limit_in(w, 1); /* it is on its way out */
    }
    if (place->successor == w) {
        place->successor = NULL;
        log_error("workers", "the new %s did not get ready: the old one stays", role_name(place->role));
    } else if (place->current == w) {
        place->current = place->successor;
        place->successor = NULL;
        if (place->current && place->current->life == LIFE_READY) {
            take_over(place->current);
        } else {
            if (life == LIFE_SERVING || life == LIFE_DRAINING || on_demand(place->role))
                workers->conf.down(workers->conf.context, place->role);
            if (!place->current) restart_later(place);
        }
    }
    maybe_free(w);
}

static void on_lost(void *context, struct switch_end *end, const char *cause)
{
    (void)context;
    ended(switch_end_tag(end), cause);
}

static void log_death(const struct worker *w, int status)
{
    const char *role = role_name(w->place->role);
    if (w->place->workers->stopping && may_be_cut_off(w))
        log_debug("workers", "%s (process %d) was cut off", role, (int)w->pid);
    else if (WIFSIGNALED(status))
        log_warn("workers", "%s (process %d) ended by signal %d%s%s", role, (int)w->pid, WTERMSIG(status),
                 w->why_killed ? ": " : "", w->why_killed ? w->why_killed : "");
    else if (WEXITSTATUS(status))
        log_warn("workers", "%s (process %d) ended with exit code %d", role, (int)w->pid,
                 WEXITSTATUS(status));
    else
        log_debug("workers", "%s (process %d) ended", role, (int)w->pid);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct workers *workers = arg;
    struct worker *w, *after;
    for (w = TAILQ_FIRST(&workers->all); w; w = after) {
        after = TAILQ_NEXT(w, next);
        int status;
        if (!w->pid || waitpid(w->pid, &status, WNOHANG) != w->pid) continue;
        log_death(w, status);
        w->pid = 0;
        event_del(w->limit);
        /* the channel tells the rest: what the worker said last is still in it */
        maybe_free(w);
        if (workers->stopping > 1) return;
    }
}

/* Jobs: air only notes what passes */

static void note_job(struct worker *w, const struct msg *message)
{
    json_t *body = wire_body(message, NULL);
    int64_t track = json_int_or(body, "track", 0, 1, INT64_MAX, NULL);
    double limit_s = json_real_or(body, "deadline_s", JOB_DEFAULT_S, NULL);
    json_decref(body);
    if (!track) return;
    w->job = track;
    limit_in(w, (limit_s > 0 && limit_s < 3600 ? limit_s : JOB_DEFAULT_S) +
                    (w->place->workers->conf.job_grace_ms ? w->place->workers->conf.job_grace_ms / 1e3
                                                          : JOB_GRACE_S));
}

static void on_passed(void *context, struct switch_end *from, struct switch_end *to,
                      const struct wire_row *row, const struct msg *message)
{
    struct workers *workers = context;
    if (row->type == WIRE_JOB_IS) {
        if (to) {
            note_job(switch_end_tag(to), message);
            return;
        }
        json_t *body = wire_body(message, NULL);
        int64_t track = json_int_or(body, "track", 0, 1, INT64_MAX, NULL);
        if (track) {
            switchboard_send(workers->board, ROLE_STORE, WIRE_JOB_LOST,
                             json_pack("{s:I,s:s}", "track", (json_int_t)track, "reason",
                                       "the analyser ended before it got it"));
        }
        json_decref(body);
    } else if (row->type == WIRE_FEATURES || row->type == WIRE_FAILED) {
        struct worker *w = switch_end_tag(from);
        w->job = 0;
        event_del(w->limit);
        if (w->life == LIFE_DRAINING) limit_in(w, drain_limit_s(w));
    }
}

static int on_event(void *context, struct switch_end *end, const struct wire_row *row,
                    const struct msg *message, json_t *body, char **cause)
{
    struct workers *workers = context;
    struct worker *w = switch_end_tag(end);
    if (row->type != WIRE_READY)
        return workers->conf.event(workers->conf.context, end, row, message, body, cause);
    if (w->life != LIFE_STARTING) return cause_set(cause, "READY a second time");
    if (!workers->stopping) on_ready(w);
    return 0;
}

/* The executable */

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct workers *workers = arg;
    if (workers->stopping || !executable_look(&workers->executable)) return;
    log_info("workers", "%s has changed: every worker is replaced", workers->path);
    for (int role = ROLE_STORE; role < ROLE_COUNT; role++) {
        if (role != ROLE_SCAN && !on_demand((enum role)role))
            workers_swap(workers, (enum role)role, NULL); /* it follows the store */
    }
}

/* The whole */

static void place_init(struct workers *workers, enum role role, unsigned index)
{
    struct place *p = &workers->places[workers->place_count++];
    *p = (struct place){.workers = workers, .role = role, .index = index};
    p->restart = evtimer_new(workers->base, on_restart, p);
}

struct workers *workers_new(struct event_base *base, const struct workers_conf *conf)
{
    struct workers *workers = xcalloc(1, sizeof *workers);
    workers->base = base;
    workers->conf = *conf;
    workers->path = xstrdup(conf->path);
    TAILQ_INIT(&workers->all);
    struct switchboard_conf board = {
        .to_air = on_event, .passed = on_passed, .lost = on_lost, .context = workers};
    workers->board = switchboard_new(base, &board);
    workers->child_signal = evsignal_new(base, SIGCHLD, on_child, workers);
    event_add(workers->child_signal, NULL);
    workers->watch = event_new(base, -1, EV_PERSIST, on_watch, workers);
    event_add(workers->watch, &(struct timeval){WATCH_S, 0});
    executable_init(&workers->executable, workers->path);
    workers->places = xcalloc((size_t)ROLE_COUNT + conf->analysers, sizeof *workers->places);
    place_init(workers, ROLE_STORE, 0);
    place_init(workers, ROLE_STUDIO, 0);
    place_init(workers, ROLE_BRAIN, 0);
    place_init(workers, ROLE_SCAN, 0);
    if (conf->coder) place_init(workers, ROLE_CODER, 0);
    for (unsigned i = 0; i < conf->analysers; i++)
        place_init(workers, ROLE_ANALYSE, i);
    place_init(workers, ROLE_LIVE, 0);
    for (unsigned i = 0; i < workers->place_count; i++) {
        if (!on_demand(workers->places[i].role)) start(&workers->places[i]);
    }
    return workers;
}

static void on_stop_limit(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct workers *workers = arg;
    struct worker *w;
    TAILQ_FOREACH(w, &workers->all, next)
    kill_worker(w, "did not end in time");
}

void workers_stop(struct workers *workers)
{
    if (workers->stopping) return;
    workers->stopping = 1;
    if (TAILQ_EMPTY(&workers->all)) {
        workers->conf.stopped(workers->conf.context);
        return;
    }
    struct worker *w;
    TAILQ_FOREACH(w, &workers->all, next)
    {
        if (may_be_cut_off(w))
            kill_worker(w, NULL);
        else if (w->end)
            switchboard_tell(w->end, WIRE_QUIT, json_object());
        w->life = w->life == LIFE_ENDED ? LIFE_ENDED : LIFE_DRAINING;
    }
    workers->stop_limit = evtimer_new(workers->base, on_stop_limit, workers);
    event_add(workers->stop_limit, &(struct timeval){STOP_LIMIT_S, 0});
}

void workers_free(struct workers *workers)
{
    if (!workers) return;
    struct worker *w, *after;
    for (w = TAILQ_FIRST(&workers->all); w; w = after) {
        after = TAILQ_NEXT(w, next);
        kill_worker(w, NULL);
        if (w->pid) waitpid(w->pid, NULL, 0);
        if (w->end) switchboard_remove(w->end);
        TAILQ_REMOVE(&workers->all, w, next);
        event_free(w->limit);
        free(w);
    }
    switchboard_free(workers->board);
    for (unsigned i = 0; i < workers->place_count; i++)
        event_free(workers->places[i].restart);
    event_free(workers->child_signal);
    event_free(workers->watch);
    if (workers->stop_limit) event_free(workers->stop_limit);
    free(workers->places);
    free(workers->path);
    free(workers);
}

struct switchboard *workers_switchboard(struct workers *workers)
{
    return workers->board;
}

int workers_swap(struct workers *workers, enum role role, char **cause)
{
    if (on_demand(role)) return cause_set(cause, "%s lives no longer than its source", role_name(role));
    for (unsigned i = 0; i < workers->place_count; i++) {
        struct place *p = &workers->places[i];
        if (p->role == role && p->successor)
            return cause_set(cause, "%s is being replaced already", role_name(role));
    }
    for (unsigned i = 0; i < workers->place_count; i++) {
        struct place *p = &workers->places[i];
        if (p->role != role) continue;
        if (p->current && p->current->life == LIFE_SERVING) {
            p->successor = spawn(p);
            if (!p->successor) return cause_set(cause, "a new %s can't be started", role_name(role));
        } else if (p->current) {
            kill_worker(p->current, "replaced before it was ready"); /* the next one is of the new kind */
        } else {
            event_del(p->restart);
            start(p);
        }
    }
    return 0;
}

void workers_begin(struct workers *workers, enum role role)
{
    for (unsigned i = 0; i < workers->place_count; i++) {
        if (workers->places[i].role == role) start(&workers->places[i]);
    }
}

void workers_dismiss(struct workers *workers, enum role role)
{
    for (unsigned i = 0; i < workers->place_count; i++) {
        struct worker *w = workers->places[i].current;
        if (workers->places[i].role != role || !w) continue;
        if (w->life <= LIFE_SERVING) retire(w);
        if (w->pid) limit_in(w, DISMISS_LIMIT_S);
    }
}

void workers_fail(struct workers *workers, enum role role, const char *why)
{
    for (unsigned i = 0; i < workers->place_count; i++) {
        struct worker *w = workers->places[i].current;
        if (workers->places[i].role == role && w && w->life == LIFE_SERVING) kill_worker(w, why);
    }
}

json_t *workers_json(const struct workers *workers)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < workers->place_count; i++) {
        const struct place *p = &workers->places[i];
        const struct worker *w = p->current;
        json_t *one =
            json_pack("{s:s,s:i,s:s,s:i}", "role", role_name(p->role), "index", (int)p->index, "state",
                      p->successor ? "replacing"
                      : w          ? life_names[w->life]
                                   : "waiting",
                      "restarts", (int)p->restarts);
        if (w) {
            json_object_set_new(one, "pid", json_integer(w->pid));
            json_object_set_new(one, "generation", json_integer(w->generation));
            json_object_set_new(one, "uptime_s", json_real((double)(clock_boot_ns() - w->started_ns) / 1e9));
            if (w->job) json_object_set_new(one, "job", json_integer(w->job));
        }
        json_array_append_new(list, one);
    }
    return list;
}

unsigned workers_restarts(const struct workers *workers, enum role role)
{
    unsigned n = 0;
    for (unsigned i = 0; i < workers->place_count; i++)
        n += workers->places[i].role == role ? workers->places[i].restarts : 0;
    return n;
}

int workers_serving(const struct workers *workers, enum role role)
{
    return switchboard_serving(workers->board, role) != NULL || role == ROLE_ANALYSE;
}
