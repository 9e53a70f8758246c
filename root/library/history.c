#include "root/library/history.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "root/library/db.h"

#define KEEP_NS   (INT64_C(400) * 86400 * CLOCK_NS_PER_S)
#define KEEP_ROWS INT64_C(1000000)
#define SAME_NS   (INT64_C(3600) * CLOCK_NS_PER_S)
/* Pruning runs with every so many rows. */
#define PRUNE_EVERY 1000

int history_prune(struct library *l, int64_t now_ns)
{
    if (db_run(l, "DELETE FROM plays WHERE wall_ns < ?", "i", now_ns - KEEP_NS)) return -1;
    return db_run(l, "DELETE FROM plays WHERE id <= (SELECT max(id) FROM plays) - ?", "i", KEEP_ROWS);
}

/* The last track of a segment is the one that plays on. */
static int64_t played(const json_t *body)
{
    const json_t *tracks = json_object_get(body, "tracks");
    size_t n = json_array_size(tracks);
    return n ? json_int_or(json_array_get(tracks, n - 1), "track", 0, 0, INT64_MAX, NULL) : 0;
}

int history_add(struct library *l, uint64_t position, uint32_t branch, int64_t wall_ns, const json_t *body)
{
    /* positions begin anew with a new ring: the same place a day later is another one */
    int64_t same = db_int(
        l, 0, "SELECT 1 FROM plays WHERE position = ? AND branch = ? AND wall_ns BETWEEN ? AND ? LIMIT 1",
        "iiii", (int64_t)position, (int64_t)branch, wall_ns - SAME_NS, wall_ns + SAME_NS);
    if (same) return same < 0 ? -1 : 0;
    char *text = json_text(body);
    int result = db_run(l, "INSERT INTO plays(position, branch, wall_ns, track, body) VALUES(?, ?, ?, ?, ?)",
                        "iiiit", (int64_t)position, (int64_t)branch, wall_ns, played(body), text);
    free(text);
    if (!result && db_last_id(l) % PRUNE_EVERY == 0) result = history_prune(l, wall_ns);
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
