/* brain: what to play next and why.
 *
 * It keeps the pool in memory, loaded page by page between other messages and kept in step by the store's
 * events, and the plays, from the history and from what has been planned since. The choice itself is pure:
 * root/order/pick.h. The station begins when there are two tracks to join, or when one has been alone for a
 * while. In its first minute it knows only the few tracks that are analysed so far, while the studio could
 * plan minutes ahead: rather than repeat one of them it makes the studio wait a little for the next analysis.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/order/pick.h"
#include "root/work/work.h"

#define HISTORY_LIMIT 20000
#define RECENT_MAX    50000 /* plays remembered */
#define LIST_MAX      10000 /* ids taken from one list of a request */
#define ALONE_NS      (5 * CLOCK_NS_PER_S)
#define RETRY_MS      200
#define YOUNG_TRACKS  20                    /* a smaller pool that grows is worth waiting for */
#define GROWING_NS    (20 * CLOCK_NS_PER_S) /* since the last track came */
#define WAIT_MAX_S    8.0
#define WAIT_SHARE    0.3 /* of what the last choice lasts: the studio stays far ahead of the air */
#define READY_NS      (2 * CLOCK_NS_PER_S) /* ready by then, loaded or not */

struct ids {
    int64_t *items;
    size_t count, room;
};

/* While the pool is loaded anew, the former one serves: `loading` is the one being filled. At the first time
 * both are one and the same. Invariant: loading is NULL when nothing is left to load. */
struct brain {
    struct work *work;
    struct pool *pool, *loading;
    int64_t after;     /* the next page's */
    struct ids recent; /* plays, oldest first */
    int history_known, ready;
    uint32_t history_seq, pool_seq; /* requests under way; 0 */
    int64_t started_ns, retry_ns;   /* retry_ns: not before */
    int64_t grown_ns;               /* when the pool grew last; 0 */
    int64_t answered, answered_ns;  /* the last choice */
    int64_t alone_ns;               /* since when the pool has held a single track; 0 */
};

static void append(struct ids *ids, int64_t id)
{
    if (ids->count == ids->room) {
        ids->room = ids->room ? ids->room * 2 : 64;
        ids->items = xrealloc(ids->items, ids->room * sizeof *ids->items);
    }
    ids->items[ids->count++] = id;
}

static void append_list(struct ids *ids, const json_t *list)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (i == LIST_MAX) break;
        if (json_integer_value(item) > 0) append(ids, json_integer_value(item));
    }
}

static int64_t last(const struct ids *ids)
{
    return ids->count ? ids->items[ids->count - 1] : 0;
}

/* Loading */

static void load_anew(struct brain *b)
{
    if (b->loading && b->loading != b->pool) pool_free(b->loading);
    b->loading = pool_count(b->pool) ? pool_new() : b->pool;
    b->after = 0;
    b->pool_seq = 0; /* a reply under way is of the former state */
}

/* Sends what is due. Both questions wait in air while the store is away. */
static void ask(struct brain *b)
{
    if (clock_boot_ns() < b->retry_ns) return;
    if (!b->history_known && !b->history_seq)
        b->history_seq = work_ask(b->work, WIRE_HISTORY, json_pack("{s:i}", "limit", HISTORY_LIMIT));
    if (b->loading && !b->pool_seq)
        b->pool_seq = work_ask(b->work, WIRE_POOL, json_pack("{s:I}", "after", (json_int_t)b->after));
}

static void put_summary(struct brain *b, struct pool *pool, const json_t *summary)
{
    struct track track;
    char *cause = NULL;
    track_init(&track);
    if (track_from_json(&track, summary, &cause)) {
        log_error("brain", "a summary is refused: %s", cause);
        free(cause);
        return;
    }
    if (track.id > b->after && pool == b->loading) b->after = track.id;
    pool_put(pool, &track);
    track_free(&track);
}

static void on_page(struct brain *b, const json_t *body)
{
    const json_t *summary;
    size_t i;
    int64_t before = b->after;
    json_array_foreach(json_object_get(body, "tracks"), i, summary) put_summary(b, b->loading, summary);
    /* a page that leads nowhere would be asked for ever */
    if (!json_bool_or(body, "last", false, NULL) && b->after > before) return;
    if (b->loading != b->pool) {
        pool_free(b->pool);
        b->pool = b->loading;
    }
    b->loading = NULL;
    log_info("brain", "%zu tracks to choose from, %zu plays remembered", pool_count(b->pool),
             b->recent.count);
}

static void on_plays(struct brain *b, const json_t *body)
{
    const json_t *plays = json_object_get(body, "plays");
    struct ids recent = {0};
    for (size_t i = json_array_size(plays); i-- > 0;) {
        int64_t id = json_int_or(json_array_get(plays, i), "track", 0, 1, INT64_MAX, NULL);
        if (id) append(&recent, id);
    }
    /* what was planned while the question was under way comes after */
    for (size_t i = 0; i < b->recent.count; i++)
        append(&recent, b->recent.items[i]);
    free(b->recent.items);
    b->recent = recent;
    b->history_known = 1;
}

static void on_reply(struct brain *b, const struct work_message *m)
{
    uint32_t *seq = m->seq == b->history_seq ? &b->history_seq : m->seq == b->pool_seq ? &b->pool_seq : NULL;
    if (!seq || !m->seq) return;
    *seq = 0;
    if (m->row->type == WIRE_ERROR) {
        log_warn("brain", "the store: %s", json_str_or(m->body, "error", "no reason given", NULL));
        b->retry_ns = clock_boot_ns() + RETRY_MS * INT64_C(1000000);
    } else if (m->row->type == WIRE_HISTORY_IS) {
        on_plays(b, m->body);
    } else if (m->row->type == WIRE_POOL_IS && b->loading) {
        on_page(b, m->body);
    }
}

/* Serving */

static void note_pool(struct brain *b)
{
    if (pool_count(b->pool) != 1)
        b->alone_ns = 0;
    else if (!b->alone_ns)
        b->alone_ns = clock_boot_ns();
}

static void on_track(struct brain *b, const struct work_message *m)
{
    size_t count = pool_count(b->pool);
    int64_t after = b->after; /* where the loading stands is not an event's business */
    struct pool *both[2] = {b->pool, b->loading != b->pool ? b->loading : NULL};
    for (int i = 0; i < 2 && both[i]; i++) {
        if (m->row->type == WIRE_TRACK_READY)
            put_summary(b, both[i], m->body);
        else
            pool_remove(both[i], json_int_or(m->body, "track", 0, 1, INT64_MAX, NULL));
    }
    b->after = after;
    if (pool_count(b->pool) > count) b->grown_ns = clock_boot_ns();
}

static void on_planned(struct brain *b, const json_t *body)
{
    int64_t id = json_int_or(body, "track", 0, 1, INT64_MAX, NULL);
    if (!id || id == last(&b->recent)) return;
    if (b->recent.count == RECENT_MAX) {
        b->recent.count /= 2;
        memmove(b->recent.items, b->recent.items + RECENT_MAX - b->recent.count,
                b->recent.count * sizeof *b->recent.items);
    }
    append(&b->recent, id);
}

static int may_begin(const struct brain *b)
{
    size_t count = pool_count(b->pool);
    return count > 1 || (count == 1 && clock_boot_ns() >= b->alone_ns + ALONE_NS);
}

/* Whether this choice repeats a track that a little patience would spare. Never after a skip, which goes on
 * from another track than the last choice. */
static int is_worth_waiting(const struct brain *b, int64_t id, int64_t after, const struct ids *recent)
{
    int64_t now_ns = clock_boot_ns();
    if (pool_count(b->pool) >= YOUNG_TRACKS || !b->grown_ns || now_ns > b->grown_ns + GROWING_NS) return 0;
    double wait_s = pool_duration_s(b->pool, b->answered) * WAIT_SHARE;
    if (wait_s > WAIT_MAX_S) wait_s = WAIT_MAX_S;
    if (after != b->answered || isnan(wait_s) || now_ns > b->answered_ns + (int64_t)(wait_s * 1e9)) return 0;
    for (size_t i = recent->count; i-- > 0 && recent->count - i <= YOUNG_TRACKS;) {
        if (recent->items[i] == id) return 1;
    }
    return 0;
}

static void on_next(struct brain *b, uint32_t seq, const json_t *body)
{
    struct ids recent = {0}, avoid = {0};
    for (size_t i = 0; i < b->recent.count; i++)
        append(&recent, b->recent.items[i]);
    append_list(&recent, json_object_get(body, "planned"));
    append_list(&avoid, json_object_get(body, "avoid"));
    int64_t after = json_int_or(body, "after", 0, 1, INT64_MAX, NULL);
    if (!after) after = last(&recent); /* a station that begins again goes on from the last one aired */
    json_t *why = NULL;
    int64_t id = !may_begin(b) ? 0
                               : order_pick(b->pool, after, recent.items, recent.count, avoid.items,
                                            avoid.count, b->work->seed, &why);
    if (id && is_worth_waiting(b, id, after, &recent)) {
        id = 0;
        json_decref(why);
    }
    if (id) {
        b->answered = id;
        b->answered_ns = clock_boot_ns();
    }
    json_t *reply =
        id ? json_pack("{s:I,s:o}", "track", (json_int_t)id, "why", why) : json_pack("{s:b}", "none", 1);
    work_send(b->work, WIRE_NEXT_IS, seq, reply, -1);
    free(recent.items);
    free(avoid.items);
}

static void handle(struct brain *b, const struct work_message *m)
{
    if (m->row->kind == WIRE_REPLY)
        on_reply(b, m);
    else if (m->row->type == WIRE_NEXT)
        on_next(b, m->seq, m->body);
    else if (m->row->type == WIRE_PLANNED)
        on_planned(b, m->body);
    else if (m->row->type == WIRE_TRACK_READY || m->row->type == WIRE_TRACK_GONE)
        on_track(b, m);
    else if (m->row->type == WIRE_REPOOL)
        load_anew(b);
    note_pool(b);
}

int work_brain(struct work *work)
{
    struct brain b = {.work = work, .pool = pool_new(), .started_ns = clock_boot_ns()};
    struct work_message message;
    int got = 0, code = 0;
    load_anew(&b);
    while (got >= 0 && !code) {
        ask(&b);
        if (!b.ready && ((b.history_known && !b.loading) || clock_boot_ns() > b.started_ns + READY_NS)) {
            b.ready = 1;
            if (work_ready(work)) code = EX_IOERR;
        }
        int waiting = !b.ready || ((!b.history_known || b.loading) && !(b.history_seq || b.pool_seq));
        got = work_next(work, &message, waiting ? RETRY_MS : -1);
        if (got > 0) {
            handle(&b, &message);
            work_message_free(&message);
        }
    }
    if (b.loading != b.pool) pool_free(b.loading);
    pool_free(b.pool);
    free(b.recent.items);
    return code;
}
