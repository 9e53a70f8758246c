/* Links between the nodes of the tree, as relay/uplink asks for them and relay/feed and the root answer:
 * reached or not, let in by a grant, refused by lineage, begun where they join, fed in turns of a second. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "tests/sim/tree_internal.h"

#define CONNECT_S   3.0
#define STALL_NS    (5 * SIM_S)
#define LOOK_S      0.05
#define WAIT_NS     (4 * SIM_S)
#define LINKS_MOST  256 /* of a relay, as relay/feed has it */
#define ROOT_LINKS  1024
#define BURST_S     4
#define AHEAD_S     1.5
#define FILL        2
#define CUT_S       0.02
#define ROOT_LEAD_S (TREE_LEAD_S + 5)

enum { ASKED, WAITS, UP, OVER };

struct uplink {
    struct uplink *next; /* of all that ever were */
    struct uplink_conf conf;
    struct machine_relay *child;
    int from, parent, state, accepted, counted;
    char url[48], id[LINEAGE_ID_MAX], token[LINK_GRANT_TEXT];
    char link[17];
    struct follow follow;
    uint64_t head, asked, sent;
    int has_from, told;
    int64_t asked_ns, fresh_ns, heard_ns, pushed_ns;
};

/* The relay's side: relay/uplink's functions */

struct uplink *__wrap_uplink_start(const struct uplink_conf *conf, char **cause);
void __wrap_uplink_free(struct uplink *u);
int __wrap_uplink_parent(const struct uplink *u);
const char *__wrap_uplink_url(const struct uplink *u);
int __wrap_uplink_accepted(const struct uplink *u);
const char *__wrap_uplink_link(const struct uplink *u);
struct follow *__wrap_uplink_follow(struct uplink *u);
uint64_t __wrap_uplink_head(const struct uplink *u);
int __wrap_uplink_still_fits(const struct uplink *u, const struct ring *ring);
int64_t __wrap_uplink_fresh_ns(const struct uplink *u);

static int target(const char *url)
{
    return strncmp(url, "https://r", 9) || url[9] == 'o' ? TREE_STATION : (int)strtoul(url + 9, NULL, 10);
}

struct uplink *__wrap_uplink_start(const struct uplink_conf *conf, char **cause)
{
    struct tree_sim *w = tree_world;
    struct uplink *u = xcalloc(1, sizeof *u);
    (void)cause;
    u->conf = *conf;
    u->child = (struct machine_relay *)conf->ring;
    u->from = target(conf->parent->url);
    u->parent = conf->parent->id;
    snprintf(u->url, sizeof u->url, "%s", conf->parent->url);
    snprintf(u->id, sizeof u->id, "%s", conf->node);
    snprintf(u->token, sizeof u->token, "%s", conf->parent->token ? conf->parent->token : "");
    u->has_from = u->follow.asked_from = conf->has_from;
    u->asked = conf->has_from ? u->child->head : 0;
    u->asked_ns = u->fresh_ns = u->heard_ns = w->now_ns;
    u->next = w->all;
    w->all = u;
    if (w->live_count == w->live_capacity) {
        w->live_capacity = w->live_capacity ? w->live_capacity * 2 : 4096;
        w->live = xrealloc(w->live, w->live_capacity * sizeof(struct uplink *));
    }
    w->live[w->live_count++] = u;
    tree_later(0.02 + sim_exponential(&w->random, 0.03), TREE_ARRIVES, 0, u);
    return u;
}

static void leave(struct uplink *u)
{
    if (u->counted && u->from == TREE_STATION) tree_world->root_links--;
    if (u->counted && u->from >= 0) tree_world->relays[u->from].links--;
    if (u->state == WAITS) tree_world->relays[u->from].asking--;
    u->counted = 0;
    if (u->child->fed_by == u) {
        u->child->fed_by = NULL;
        /* one that sleeps misses nothing */
        if (u->child->listeners + u->child->links + u->child->asking) u->child->lost_ns = tree_world->now_ns;
    }
    u->state = OVER;
}

/* Its memory stays until the end: an event may still speak of it. */
void __wrap_uplink_free(struct uplink *u)
{
    if (u && u->state != OVER) leave(u);
}

int __wrap_uplink_parent(const struct uplink *u)
{
    return u->parent;
}

const char *__wrap_uplink_url(const struct uplink *u)
{
    return u->url;
}

int __wrap_uplink_accepted(const struct uplink *u)
{
    return u->accepted;
}

const char *__wrap_uplink_link(const struct uplink *u)
{
    return u->link;
}

struct follow *__wrap_uplink_follow(struct uplink *u)
{
    return &u->follow;
}

uint64_t __wrap_uplink_head(const struct uplink *u)
{
    return u->head;
}

int __wrap_uplink_still_fits(const struct uplink *u, const struct ring *ring)
{
    (void)u, (void)ring;
    return 1;
}

int64_t __wrap_uplink_fresh_ns(const struct uplink *u)
{
    return u->fresh_ns;
}

static void end(struct uplink *u, int status, const char *why)
{
    if (u->state == OVER) return;
    if (u->state == WAITS) {
        tree_world->relays[u->from].asking--;
        u->state = ASKED;
    }
    u->conf.ended(u->conf.context, u, xstrdup(why), status >= 400 && status < 500);
}

/* As relay/uplink takes a record. 0, or -1 when the link is over. */
static int take(struct uplink *u, struct link_record *record)
{
    char *broken = NULL;
    uint64_t frames = u->follow.frames;
    int64_t now = tree_world->now_ns;
    if (record->type == LINK_HELLO) {
        double lead_s = json_real_or(record->body, "lead_s", 0, NULL);
        u->head = (uint64_t)json_int_or(record->body, "air_position", 0, 0, INT64_MAX, NULL) +
                  (uint64_t)(lead_s * TREE_FRAMES_S) + 1;
        u->fresh_ns = now;
        if (u->asked > u->head)
            u->fresh_ns += (int64_t)((double)(u->asked - u->head) / TREE_FRAMES_S * 1.2e9);
    }
    u->heard_ns = now;
    int rc = u->conf.record(u->conf.context, u, record, &broken);
    if (u->follow.frames != frames) u->fresh_ns = now;
    if (!rc && u->state != OVER) u->conf.taken(u->conf.context, u, LINK_HEAD_BYTES);
    if (!rc && u->state != OVER) return 0;
    if (rc && record->type != LINK_FRAMES) tree_world->refused_loops++;
    if (rc) end(u, 200, broken ? broken : "broken");
    free(broken);
    return -1;
}

/* The other side */

static int reached(const struct uplink *u)
{
    int side = u->from == TREE_STATION ? 0 : tree_world->relays[u->from].side;
    return u->child->side == side && (u->from == TREE_STATION || !tree_world->relays[u->from].gone);
}

static uint64_t head_of(int from)
{
    return from == TREE_STATION ? tree_air() + (uint64_t)(ROOT_LEAD_S * TREE_FRAMES_S)
                                : tree_world->relays[from].head;
}

static uint64_t tail_of(int from)
{
    uint64_t back = (uint64_t)(TREE_BACK_S * TREE_FRAMES_S), air = tree_air();
    uint64_t kept = air > back ? air - back : 0;
    return from == TREE_STATION || tree_world->relays[from].tail < kept ? kept
                                                                        : tree_world->relays[from].tail;
}

static const json_t *path_of(int from)
{
    return from == TREE_STATION ? NULL : tree_world->relays[from].path;
}

static void push(struct uplink *u)
{
    struct tree_sim *w = tree_world;
    uint64_t air = tree_air(), head = head_of(u->from);
    uint64_t most = air + (uint64_t)(TREE_LEAD_S * TREE_FRAMES_S);
    double seconds = (double)(w->now_ns - u->pushed_ns) / 1e9;
    uint64_t allowed = u->sent + (uint64_t)(FILL * TREE_FRAMES_S * seconds);
    uint64_t at_once = air + (uint64_t)(AHEAD_S * TREE_FRAMES_S);
    if (allowed < at_once) allowed = at_once;
    if (head > most) head = most;
    if (head > allowed) head = allowed;
    u->pushed_ns = w->now_ns;
    struct link_record record = {.type = LINK_CLOCK, .position = air};
    if (head > u->sent)
        record = (struct link_record){
            .type = LINK_FRAMES, .position = u->sent, .count = (uint32_t)(head - u->sent)};
    if (head > u->sent) u->sent = head;
    take(u, &record);
}

static void begin(struct uplink *u)
{
    struct tree_sim *w = tree_world;
    uint64_t air = tree_air(), head = head_of(u->from), tail = tail_of(u->from);
    uint64_t burst = (uint64_t)(BURST_S * TREE_FRAMES_S), position = air > burst ? air - burst : 0;
    if (position < tail) position = tail;
    if (u->has_from && u->asked >= tail) position = u->asked < head ? u->asked : head;
    if (u->state == WAITS) w->relays[u->from].asking--;
    u->state = UP;
    u->accepted = u->counted = 1;
    u->pushed_ns = w->now_ns;
    u->sent = position;
    w->links_begun++;
    if (u->from == TREE_STATION)
        w->root_links++;
    else
        w->relays[u->from].links++;
    snprintf(u->link, sizeof u->link, "%016llx", (unsigned long long)w->links_begun);
    json_t *body =
        json_pack("{s:I,s:I,s:f,s:s}", "position", (json_int_t)position, "air_position", (json_int_t)air,
                  "lead_s", ((double)head - (double)air) / TREE_FRAMES_S, "link", u->link);
    if (path_of(u->from)) json_object_set(body, "path", (json_t *)(uintptr_t)path_of(u->from));
    struct link_record record = {.type = LINK_HELLO, .body = body};
    int rc = take(u, &record);
    json_decref(body);
    if (rc) return;
    struct machine_relay *c = u->child;
    if (c->lost_ns && c->lost_ns != w->now_ns && w->wait_count < w->wait_capacity)
        w->waits_ms[w->wait_count++] = (uint32_t)((w->now_ns - c->lost_ns) / 1000000);
    c->lost_ns = 0;
    c->fed_by = u;
    push(u);
}

/* What relay/feed answers; NULL: the link may begin, or wait. */
static const char *refusal(const struct uplink *u, int *status)
{
    struct tree_sim *w = tree_world;
    struct machine_relay *p = &w->relays[u->from];
    const char *why = NULL;
    int granted = 0;
    for (int i = 0; i < p->key_count; i++)
        granted |= link_grant_until(p->keys[i], u->token, u->id, w->wall_ns / SIM_S) > 0;
    *status = 403;
    w->ungranted += !granted;
    if (!granted) return "this relay was not told by the root to feed that one";
    *status = 508;
    if (lineage_may_feed(p->path, u->id, &why)) {
        w->refused_loops++;
        return why;
    }
    *status = 503;
    if (p->draining) return "this relay is draining";
    return p->links + p->asking >= LINKS_MOST ? "too many links" : NULL;
}

void tree_arrives(struct uplink *u)
{
    struct tree_sim *w = tree_world;
    const char *why = NULL;
    int status = 0;
    if (u->state == OVER) return;
    if (!reached(u)) {
        tree_later(CONNECT_S, TREE_FAILS, 0, u);
        return;
    }
    if (u->from == TREE_STATION ? !w->root : !w->relays[u->from].pull)
        why = "nothing listens there";
    else if (u->from == TREE_STATION)
        why = w->root_links >= ROOT_LINKS ? "too many links" : NULL;
    else if (u->state == ASKED)
        why = refusal(u, &status);
    if (why) {
        w->refused++;
        end(u, status, why);
    } else if (u->from == TREE_STATION || head_of(u->from) > tree_air()) {
        begin(u);
    } else if (w->now_ns - u->asked_ns > WAIT_NS) {
        end(u, 503, "nothing has come from above yet");
    } else {
        if (u->state == ASKED) {
            u->state = WAITS;
            w->relays[u->from].asking++;
            pull_want(w->relays[u->from].pull);
        }
        tree_later(LOOK_S, TREE_ARRIVES, 0, u);
    }
}

void tree_fails(struct uplink *u)
{
    end(u, 0, "can't be reached");
}

void tree_path(struct uplink *u)
{
    if (u->state != UP || !reached(u) || !path_of(u->from)) return;
    json_t *body = json_pack("{s:s,s:O}", "command", "path", "path", path_of(u->from));
    struct link_record record = {.type = LINK_COMMAND, .body = body};
    take(u, &record);
    json_decref(body);
}

void tree_path_changed(struct machine_relay *relay)
{
    struct tree_sim *w = tree_world;
    int from = (int)(relay - w->relays);
    for (size_t i = 0; i < w->live_count; i++) {
        if (w->live[i]->state == UP && w->live[i]->from == from)
            tree_later(0.02 + sim_exponential(&w->random, 0.03), TREE_PATH, 0, w->live[i]);
    }
}

void tree_cut_links(int from, int heard)
{
    struct tree_sim *w = tree_world;
    for (size_t i = 0; heard && i < w->live_count; i++) {
        struct uplink *u = w->live[i];
        if (u->from == from && (u->state == UP || u->state == WAITS)) tree_later(CUT_S, TREE_FAILS, 0, u);
    }
}

void tree_push(void)
{
    struct tree_sim *w = tree_world;
    size_t kept = 0;
    for (size_t i = 0; i < w->live_count; i++) {
        if (w->live[i]->state != OVER) w->live[kept++] = w->live[i];
    }
    w->live_count = kept;
    for (size_t i = 0; i < kept; i++) { /* links that begin meanwhile come after these */
        struct uplink *u = w->live[i];
        if (u->state != UP) continue;
        int lives = u->from == TREE_STATION ? w->root != NULL : w->relays[u->from].pull != NULL;
        if (lives && reached(u))
            push(u);
        else if (w->now_ns - u->heard_ns >= STALL_NS)
            end(u, 200, "silent");
    }
}

int tree_link_from(const struct uplink *u)
{
    return u && u->state == UP ? u->from : TREE_NOBODY;
}

void tree_net_free(void)
{
    for (struct uplink *u = tree_world->all, *next; u; u = next) {
        next = u->next;
        free(u);
    }
    free(tree_world->live);
}
