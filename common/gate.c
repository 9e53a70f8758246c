/* A listener's tag is its seat itself, in the eight bytes of a pointer, so that a listener costs nothing
 * more. With an access log it is a record of what the log's line will say. */
#include "common/gate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define TEXT_MAX 300 /* of a request's texts, each */

_Static_assert(sizeof(struct limits_seat) == sizeof(void *), "a seat fits a pointer");

struct gate {
    struct limits *limits;
    struct access_log *access;
};

struct visit {
    struct limits_seat seat;
    struct net_addr peer;
    uint16_t status, minor, at[5]; /* where in texts: method, target, query, referer, agent */
    char texts[];
};

struct gate *gate_new(struct limits *limits, struct access_log *access)
{
    struct gate *g = xcalloc(1, sizeof *g);
    g->limits = limits;
    g->access = access;
    return g;
}

void gate_free(struct gate *g)
{
    free(g);
}

struct limits *gate_limits(struct gate *g)
{
    return g->limits;
}

/* NULL without memory: that one has no line then. */
static struct visit *visit_new(const struct http_request *request, int status)
{
    struct access_line line;
    http_access_line(request, &line);
    const char *const texts[] = {line.method, line.target, line.query, line.referer, line.agent};
    size_t lens[5], len = 0;
    for (size_t i = 0; i < 5; i++) {
        lens[i] = texts[i] ? strnlen(texts[i], TEXT_MAX) : 0;
        len += lens[i] + 1;
    }
    struct visit *v = malloc(sizeof *v + len);
    if (!v) return NULL;
    *v = (struct visit){.peer = line.peer, .status = (uint16_t)status, .minor = (uint16_t)line.minor};
    for (size_t i = 0, at = 0; i < 5; i++) {
        v->at[i] = (uint16_t)at;
        if (lens[i]) memcpy(v->texts + at, texts[i], lens[i]);
        v->texts[at + lens[i]] = '\0';
        at += lens[i] + 1;
    }
    return v;
}

enum limits_verdict gate_judge(struct gate *g, const char *mount, unsigned kbps,
                               const struct http_request *request, unsigned spare)
{
    return limits_judge(g->limits, mount, kbps, http_peer_addr(request), spare, clock_boot_ns());
}

enum limits_verdict gate_enter(struct gate *g, const char *mount, unsigned kbps,
                               const struct http_request *request, unsigned spare, int status, void **tag)
{
    struct limits_seat seat;
    *tag = NULL;
    enum limits_verdict verdict =
        limits_enter(g->limits, mount, kbps, http_peer_addr(request), spare, clock_boot_ns(), &seat);
    if (verdict != LIMITS_OK) return verdict;
    if (!g->access) {
        memcpy(tag, &seat, sizeof seat);
        return LIMITS_OK;
    }
    struct visit *visit = visit_new(request, status);
    if (!visit) {
        limits_leave(g->limits, seat);
        return LIMITS_MEMORY;
    }
    visit->seat = seat;
    *tag = visit;
    return LIMITS_OK;
}

static void leave(struct gate *g, void *tag, const struct fanout_ended *ended)
{
    struct limits_seat seat;
    if (!tag) return;
    if (!g->access) {
        memcpy(&seat, &tag, sizeof seat);
        limits_leave(g->limits, seat);
        return;
    }
    struct visit *v = tag;
    if (ended) {
        const struct access_line line = {.peer = v->peer,
                                         .method = v->texts + v->at[0],
                                         .target = v->texts + v->at[1],
                                         .query = v->texts + v->at[2],
                                         .referer = v->texts + v->at[3],
                                         .agent = v->texts + v->at[4],
                                         .reason = fanout_end_names[ended->why],
                                         .mount = limits_seat_mount(g->limits, v->seat),
                                         .minor = v->minor,
                                         .status = v->status,
                                         .bytes = ended->bytes,
                                         .seconds = ended->seconds};
        access_log_write(g->access, &line);
    }
    limits_leave(g->limits, v->seat);
    free(v);
}

void gate_give_up(struct gate *g, void *tag)
{
    leave(g, tag, NULL);
}

void gate_on_ended(void *context, const struct fanout_ended *ended)
{
    leave(context, ended->tag, ended);
}

int gate_refuse(struct gate *g, enum limits_verdict verdict, const char *why, unsigned *retry_s)
{
    uint64_t since;
    if (limits_refused(g->limits, verdict, clock_boot_ns(), &since))
        log_warn("gate", "%" PRIu64 " listener%s turned away with %u here: %s (%s)", since,
                 since == 1 ? "" : "s", limits_counts(g->limits)->seats, why, limits_names[verdict]);
    *retry_s = limits_retry_s(g->limits, verdict);
    return limits_is_personal(verdict) ? 429 : 503;
}
