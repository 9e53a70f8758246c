#include "root/library/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "root/library/db.h"
#include "root/library/library.h"

#define KEEP_ROWS INT64_C(1000000)
#define SAME_NS   (INT64_C(3600) * CLOCK_NS_PER_S)
#define FRAME     1152 /* samples */
#define BODY_MAX  ((size_t)1 << 20)
#define ROWS_MAX  20000 /* of one answer: a day has some hundreds */

int history_prune(struct library *l, int64_t now_ns, int days)
{
    if (db_run(l, "DELETE FROM plays WHERE wall_ns < ?", "i",
               now_ns - (int64_t)days * 86400 * CLOCK_NS_PER_S))
        return -1;
    return db_run(l, "DELETE FROM plays WHERE id <= (SELECT max(id) FROM plays) - ?", "i", KEEP_ROWS);
}

/* The last track of a segment is the one that plays on. */
static int64_t played(const json_t *body)
{
    const json_t *tracks = json_object_get(body, "tracks");
    size_t n = json_array_size(tracks);
    return n ? json_int_or(json_array_get(tracks, n - 1), "track", 0, 0, INT64_MAX, NULL) : 0;
}

int history_add(struct library *l, uint64_t position, uint32_t branch, int64_t wall_ns, const json_t *body,
                const char *maker)
{
    /* positions begin anew with a new ring: the same place a day later is another one */
    int64_t same = db_int(
        l, 0, "SELECT 1 FROM plays WHERE position = ? AND branch = ? AND wall_ns BETWEEN ? AND ? LIMIT 1",
        "iiii", (int64_t)position, (int64_t)branch, wall_ns - SAME_NS, wall_ns + SAME_NS);
    if (same) return same < 0 ? -1 : 0;
    json_t *kept = json_copy((json_t *)body);
    if (maker) json_object_set_new(kept, "made_by", json_text_lossy(maker));
    char *text = json_text(kept);
    json_decref(kept);
    int result = db_run(l, "INSERT INTO plays(position, branch, wall_ns, track, body) VALUES(?, ?, ?, ?, ?)",
                        "iiiit", (int64_t)position, (int64_t)branch, wall_ns, played(body), text);
    free(text);
    return result;
}

int history_latest(struct library *l, int limit, json_t *array)
{
    /* a row begins a play when the row before it is of another track */
    sqlite3_stmt *q = db_query(l,
                               "SELECT track, position, wall_ns FROM plays p WHERE track > 0 AND track IS NOT"
                               " (SELECT track FROM plays o WHERE o.id < p.id ORDER BY o.id DESC LIMIT 1)"
                               " ORDER BY id DESC LIMIT ?",
                               "i", (int64_t)limit);
    int count = 0, got;
    while ((got = db_step(l, q)) > 0) {
        double wall_s = (double)sqlite3_column_int64(q, 2) / (double)CLOCK_NS_PER_S;
        json_array_append_new(array, json_pack("{s:I,s:I,s:f}", "track",
                                               (json_int_t)sqlite3_column_int64(q, 0), "position",
                                               (json_int_t)sqlite3_column_int64(q, 1), "wall_s", wall_s));
        count++;
    }
    return got < 0 ? -1 : count;
}

static uint64_t sample_of(const json_t *body, const char *key)
{
    return (uint64_t)json_int_or(body, key, 0, 0, INT64_MAX, NULL);
}

/* The row's body (new reference) and place; NULL when there is no row or it can't be read. */
static json_t *row_body(struct library *l, sqlite3_stmt *q, int64_t *id, int64_t *position)
{
    if (db_step(l, q) <= 0) return NULL;
    const char *text = (const char *)sqlite3_column_text(q, 2);
    json_t *body = text ? json_parse(text, strlen(text), BODY_MAX, NULL) : NULL;
    *id = sqlite3_column_int64(q, 0);
    *position = sqlite3_column_int64(q, 1);
    db_done(q);
    return body;
}

/* The latest segment that sounds in this frame, as its row. */
static json_t *anchor(struct library *l, uint64_t position, int64_t *id, int64_t *at)
{
    return row_body(l,
                    db_query(l,
                             "SELECT id, position, body FROM plays WHERE position <= ?"
                             " AND json_extract(body, '$.end_sample') > ? ORDER BY id DESC LIMIT 1",
                             "ii", (int64_t)position, (int64_t)(position * FRAME)),
                    id, at);
}

static json_t *neighbour(struct library *l, int later, int64_t *id, int64_t *position)
{
    sqlite3_stmt *q =
        later ? db_query(l, "SELECT id, position, body FROM plays WHERE id > ? ORDER BY id LIMIT 1", "i", *id)
              : db_query(l, "SELECT id, position, body FROM plays WHERE id < ? ORDER BY id DESC LIMIT 1", "i",
                         *id);
    int64_t before = *position;
    json_t *body = row_body(l, q, id, position);
    if (body && (later ? *position < before : *position > before)) { /* of another ring */
        json_decref(body);
        return NULL;
    }
    return body;
}

int history_aired(struct library *l, uint64_t position, uint64_t from, uint64_t to, json_t *array)
{
    int64_t id, at;
    json_t *body = anchor(l, position, &id, &at);
    if (!body) return library_broken(l) ? -1 : 0;
    int64_t last_id = id, last_at = at;
    json_array_append(array, body);
    for (int i = 0; body && sample_of(body, "start_sample") > from && i < ROWS_MAX; i++) {
        json_decref(body);
        body = neighbour(l, 0, &id, &at);
        if (body) json_array_insert(array, 0, body);
    }
    json_decref(body);
    /* one that a skip cut short is told whole: what comes after it says where it ended */
    for (int i = 0; i < ROWS_MAX; i++) {
        body = neighbour(l, 1, &last_id, &last_at);
        if (!body || sample_of(body, "start_sample") >= to) break;
        json_array_append_new(array, body);
        body = NULL;
    }
    json_decref(body);
    return (int)json_array_size(array);
}
