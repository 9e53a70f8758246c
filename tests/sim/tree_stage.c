/* What a relay's pull stands on, in virtual time: the ring as a stretch of positions, the node as a count of
 * those who hear it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "relay/node.h"
#include "tests/sim/tree_internal.h"

/* As common/proc's, from the scenario's seed. */
int __wrap_proc_jitter_ms(int base_ms, int cap_ms, int failures);
int __wrap_proc_jitter_ms(int base_ms, int cap_ms, int failures)
{
    int64_t delay = base_ms;
    for (int i = 0; i < failures && delay < cap_ms; i++)
        delay *= 2;
    if (delay > cap_ms) delay = cap_ms;
    return (int)((double)delay * (0.5 + 0.5 * sim_unit(&tree_world->random)));
}

/* Nobody is told how fast a link fills. */
struct fetch *__wrap_fetch_start(struct fetch_client *client, const struct fetch_conf *conf, char **cause);
void __wrap_fetch_cancel(struct fetch *fetch);
struct fetch *__wrap_fetch_start(struct fetch_client *client, const struct fetch_conf *conf, char **cause)
{
    (void)client, (void)conf, (void)cause;
    return NULL;
}
void __wrap_fetch_cancel(struct fetch *fetch)
{
    (void)fetch;
}

/* The node and its ring */

static struct machine_relay *relay_of(const void *node)
{
    return (struct machine_relay *)(uintptr_t)node;
}

uint64_t __wrap_ring_head(const struct ring *ring);
uint32_t __wrap_ring_branch(const struct ring *ring);
struct ring *__wrap_node_ring(struct node *node);
struct pacer *__wrap_node_pacer(struct node *node);
struct station *__wrap_node_station(struct node *node);
const struct loop *__wrap_node_loop(const struct node *node);
void __wrap_station_wake(struct station *station);
int __wrap_node_set_kbps(struct node *node, unsigned kbps, char **cause);
void __wrap_node_set_identity(struct node *node, const struct station_identity *identity);
void __wrap_node_set_linked(struct node *node, int linked);
void __wrap_node_music(struct node *node);
double __wrap_node_behind_s(const struct node *node);
double __wrap_node_waiting_burst_s(const struct node *node);
int __wrap_node_followed(const struct node *node);
unsigned __wrap_node_needed_by(const struct node *node);

uint64_t __wrap_ring_head(const struct ring *ring)
{
    return relay_of(ring)->head;
}

uint32_t __wrap_ring_branch(const struct ring *ring)
{
    (void)ring;
    return 0;
}

struct ring *__wrap_node_ring(struct node *node)
{
    return (struct ring *)node;
}

struct pacer *__wrap_node_pacer(struct node *node)
{
    return (struct pacer *)node;
}

struct station *__wrap_node_station(struct node *node)
{
    return (struct station *)node;
}

const struct loop *__wrap_node_loop(const struct node *node)
{
    (void)node;
    return NULL;
}

void __wrap_station_wake(struct station *station)
{
    (void)station;
}

int __wrap_node_set_kbps(struct node *node, unsigned kbps, char **cause)
{
    (void)node, (void)kbps, (void)cause;
    return 0;
}

void __wrap_node_set_identity(struct node *node, const struct station_identity *identity)
{
    (void)node, (void)identity;
}

void __wrap_node_set_linked(struct node *node, int linked)
{
    (void)node, (void)linked;
}

void __wrap_node_music(struct node *node)
{
    (void)node;
}

double __wrap_node_behind_s(const struct node *node)
{
    const struct machine_relay *r = relay_of(node);
    return r->head ? ((double)tree_air() - (double)r->head) / TREE_FRAMES_S : INFINITY;
}

double __wrap_node_waiting_burst_s(const struct node *node)
{
    (void)node;
    return 0;
}

int __wrap_node_followed(const struct node *node)
{
    return relay_of(node)->listeners || relay_of(node)->links;
}

unsigned __wrap_node_needed_by(const struct node *node)
{
    const struct machine_relay *r = relay_of(node);
    return r->listeners + r->links + r->asking;
}

/* What records do to positions, as relay/follow does it to a ring. */

enum follow_result __wrap_follow_record(struct follow *f, const struct link_record *record, char **cause);

static void hello(struct follow *f, struct machine_relay *r, const json_t *body)
{
    uint64_t position = (uint64_t)json_int_or(body, "position", 0, 0, INT64_MAX, NULL), air = tree_air();
    f->greeted = 1;
    f->kbps = TREE_KBPS;
    f->root_air = (uint64_t)json_int_or(body, "air_position", 0, 0, INT64_MAX, NULL);
    f->root_lead_s = json_real_or(body, "lead_s", 0, NULL);
    if (r->head > r->tail && position <= r->head) return;
    f->begun_anew = 1;
    /* what has aired meanwhile was counted when it did */
    uint64_t from = r->head > air ? r->head : air;
    if (r->head && position > from) tree_world->gap_frames += position - from;
    r->head = r->tail = position;
    if (!r->heard) r->heard = air > position ? air : position;
}

enum follow_result __wrap_follow_record(struct follow *f, const struct link_record *record, char **cause)
{
    struct machine_relay *r = relay_of(f->ring);
    if ((record->type == LINK_HELLO) == f->greeted) {
        cause_set(cause, "records in the wrong order");
        return FOLLOW_BROKEN;
    }
    if (record->type == LINK_HELLO) hello(f, r, record->body);
    if (record->type != LINK_FRAMES) return FOLLOW_ON;
    if (record->position > r->head) {
        cause_set(cause, "frames are missing");
        return FOLLOW_BROKEN;
    }
    uint64_t end = record->position + record->count;
    if (end <= r->head) return FOLLOW_ON;
    f->frames += end - r->head;
    r->head = end;
    return FOLLOW_ON;
}
