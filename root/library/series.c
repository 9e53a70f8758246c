#include "root/library/series.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/library/db.h"
#include "root/library/library.h"

#define DAY_S   INT64_C(86400)
#define GRACE_S 25 /* a batch may come late by as much */
#define CLOCK_BACK_S                                                                                         \
    7200                /* looked at again when the clock went back: the same comes out for what was done    \
                         */
#define SLICE_NODES 256 /* summed up at a time */

static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE nodes(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE series(level INTEGER NOT NULL, t INTEGER NOT NULL, node INTEGER NOT NULL, data BLOB NOT "
    "NULL,"
    "  PRIMARY KEY(level, t, node)) WITHOUT ROWID;"
    "CREATE TABLE summed(level INTEGER PRIMARY KEY, until INTEGER NOT NULL);" /* rows below it are made */
    "CREATE TABLE ledger(day INTEGER NOT NULL, node INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    "  PRIMARY KEY(day, node)) WITHOUT ROWID;",
    /* 2 */
    "CREATE TABLE learned(node INTEGER PRIMARY KEY, data TEXT NOT NULL);",
};

static int look(struct library *l)
{
    int64_t nodes = db_int(l, 0, "SELECT max(id) FROM nodes", ""),
            rows = db_int(l, 0, "SELECT max(level) FROM series", ""),
            days = db_int(l, 0, "SELECT max(day) FROM ledger", ""),
            learned = db_int(l, 0, "SELECT max(node) FROM learned", "");
    return nodes < 0 || rows < 0 || days < 0 || learned < 0 ? -1 : 0;
}

static const struct db_kind kind = {.name = "stats.db",
                                    .migrations = migrations,
                                    .version = sizeof migrations / sizeof *migrations,
                                    .pragmas = "PRAGMA synchronous = FULL; PRAGMA cache_size = -8192",
                                    .look = look};

/* Which slice of which stretch is next; kept in memory only: after a restart the stretch is done again from
 * its first, with the same result. */
struct series {
    struct library *db;
    struct {
        int64_t t, node;
    } under_way[SAMPLE_LEVELS];
};

int series_open(struct series **out, const char *dir, char **cause)
{
    struct library *db;
    *out = NULL;
    if (db_open(&db, dir, &kind, cause)) return -1;
    *out = xcalloc(1, sizeof **out);
    (*out)->db = db;
    for (int i = 0; i < SAMPLE_LEVELS; i++)
        (*out)->under_way[i].t = INT64_MIN;
    return 0;
}

void series_close(struct series *s)
{
    if (!s) return;
    library_close(s->db);
    free(s);
}

int series_broken(const struct series *s)
{
    return library_broken(s->db);
}

int series_begin(struct series *s)
{
    return library_begin(s->db);
}

int series_commit(struct series *s)
{
    return library_commit(s->db);
}

void series_undo(struct series *s)
{
    db_run(s->db, "ROLLBACK", "");
}

/* Writing */

/* 0: there is none, and no room for it; -1 */
static int64_t node_id(struct library *l, const char *name, int make)
{
    int64_t id = db_int(l, 0, "SELECT id FROM nodes WHERE name = ?", "t", name);
    if (id || !make) return id;
    int64_t count = db_int(l, 0, "SELECT max(id) FROM nodes", "");
    if (count < 0 || count >= SERIES_NODES_MAX) return count < 0 ? -1 : 0;
    return db_run(l, "INSERT INTO nodes(name) VALUES(?)", "t", name) ? -1 : db_last_id(l);
}

static int put_sample(struct library *l, int level, int64_t t, int64_t node, const struct sample *sample)
{
    uint8_t bytes[SAMPLE_BYTES_MAX];
    size_t len = sample_put(sample, bytes);
    return db_run(l, "INSERT OR REPLACE INTO series(level, t, node, data) VALUES(?, ?, ?, ?)", "iiib",
                  (int64_t)level, t, node, bytes, len);
}

int series_put(struct series *s, int64_t t, const struct sample_node *node)
{
    struct library *l = s->db;
    int64_t id = node_id(l, node->name, 1);
    if (id <= 0) return (int)id;
    if (node->has_sample && put_sample(l, 0, t, id, &node->sample)) return -1;
    for (size_t i = 0; i < node->day_count; i++) {
        int64_t bytes = node->days[i].bytes > INT64_MAX ? INT64_MAX : (int64_t)node->days[i].bytes;
        if (db_run(l,
                   "INSERT INTO ledger(day, node, bytes) VALUES(?, ?, ?)"
                   " ON CONFLICT(day, node) DO UPDATE SET bytes = max(bytes, excluded.bytes)",
                   "iii", node->days[i].day, id, bytes))
            return -1;
    }
    return 0;
}

/* Summing up */

static int64_t floor_to(int64_t t, int64_t step)
{
    int64_t rest = t % step;
    return t - (rest < 0 ? rest + step : rest);
}

static int64_t summed_until(struct library *l, int level)
{
    return db_int(l, INT64_MIN + 1, "SELECT until FROM summed WHERE level = ?", "i", (int64_t)level);
}

static int set_summed(struct library *l, int level, int64_t until)
{
    return db_run(l, "INSERT OR REPLACE INTO summed(level, until) VALUES(?, ?)", "ii", (int64_t)level, until);
}

/* Adds what a level holds of a node's stretch at t: 1 when there was something; -1. */
static int add_at(struct library *l, int level, int64_t t, int64_t node, struct sample *sum)
{
    struct sample one;
    sqlite3_stmt *q = db_query(l, "SELECT data FROM series WHERE level = ? AND t = ? AND node = ?", "iii",
                               (int64_t)level, t, node);
    int got = db_step(l, q);
    if (got <= 0) return got;
    int known = sample_get(&one, sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)) > 0;
    if (known) sample_add(sum, &one);
    db_done(q);
    return known;
}

/* The nodes [first, first + SLICE_NODES) of the stretch at t of a level, from the level below it. */
static int sum_slice(struct library *l, int level, int64_t t, int64_t first)
{
    const struct sample_level *to = &sample_levels[level], *from = &sample_levels[level - 1];
    struct sample *sums = xcalloc(SLICE_NODES, sizeof *sums), one;
    uint8_t there[SLICE_NODES] = {0};
    int got = 0;
    for (int64_t at = t; at < t + to->step_s && got >= 0; at += from->step_s) {
        sqlite3_stmt *q =
            db_query(l, "SELECT node, data FROM series WHERE level = ? AND t = ? AND node >= ? AND node < ?",
                     "iiii", (int64_t)(level - 1), at, first, first + SLICE_NODES);
        while ((got = db_step(l, q)) > 0) {
            int64_t i = sqlite3_column_int64(q, 0) - first;
            if (!sample_get(&one, sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1))) continue;
            sample_add(&sums[i], &one);
            there[i] = 1;
        }
    }
    if (got >= 0) got = library_begin(l);
    for (int i = 0; i < SLICE_NODES && got == 0; i++) {
        if (there[i]) got = put_sample(l, level, t, first + i, &sums[i]);
    }
    free(sums);
    if (got) {
        db_run(l, "ROLLBACK", "");
        return -1;
    }
    return library_commit(l);
}

/* One slice of the next stretch of a level that is due: 1; 0: none is; -1. */
static int sum_up(struct series *s, int level, int64_t now_s)
{
    struct library *l = s->db;
    const struct sample_level *to = &sample_levels[level];
    int64_t until = summed_until(l, level);
    if (until == -1) return -1;
    if (until >
        now_s + to->step_s) { /* the clock was ahead: what came since it went back is to be done yet */
        until = floor_to(now_s - CLOCK_BACK_S, to->step_s);
        if (set_summed(l, level, until)) return -1;
    }
    int64_t first =
        db_int(l, INT64_MIN + 1, "SELECT t FROM series WHERE level = ? AND t >= ? ORDER BY t LIMIT 1", "ii",
               (int64_t)(level - 1), until < 0 ? 0 : until);
    if (first == -1) return -1;
    if (first < 0) return 0;
    int64_t t = floor_to(first, to->step_s), end = t + to->step_s;
    if (end + GRACE_S > now_s) return 0;
    if (s->under_way[level].t != t) {
        s->under_way[level].t = t;
        s->under_way[level].node = 1;
    }
    int64_t last = db_int(l, 0, "SELECT max(id) FROM nodes", "");
    if (last < 0 || sum_slice(l, level, t, s->under_way[level].node)) return -1;
    s->under_way[level].node += SLICE_NODES;
    if (s->under_way[level].node <= last) return 1;
    s->under_way[level].t = INT64_MIN;
    return set_summed(l, level, end) ? -1 : 1;
}

/* One stretch of a level that is too old: 1; 0: none is; -1 */
static int forget(struct library *l, int64_t now_s)
{
    for (int level = 0; level < SAMPLE_LEVELS; level++) {
        const struct sample_level *v = &sample_levels[level];
        if (!v->keep_s) continue;
        int64_t oldest = db_int(l, INT64_MAX, "SELECT t FROM series WHERE level = ? ORDER BY t LIMIT 1", "i",
                                (int64_t)level);
        if (oldest == -1) return -1;
        if (oldest >= now_s - v->keep_s) continue;
        int64_t until = level + 1 < SAMPLE_LEVELS ? summed_until(l, level + 1) : INT64_MAX;
        if (until == -1) return -1;
        if (oldest >= until && until > 0) continue; /* not summed up yet */
        return db_run(l, "DELETE FROM series WHERE level = ? AND t = ?", "ii", (int64_t)level, oldest) ? -1
                                                                                                       : 1;
    }
    int64_t day = db_int(l, INT64_MAX, "SELECT day FROM ledger ORDER BY day LIMIT 1", "");
    if (day == -1) return -1;
    if (day >= now_s / DAY_S - LEDGER_DAYS) return 0;
    return db_run(l, "DELETE FROM ledger WHERE day = ?", "i", day) ? -1 : 1;
}

int series_work(struct series *s, int64_t now_s)
{
    int more = 0; /* a level's turn comes when nothing is due in the one below: it is complete so far */
    for (int level = 1; level < SAMPLE_LEVELS && !more; level++)
        more = sum_up(s, level, now_s);
    return more ? more : forget(s->db, now_s);
}

/* Reading */

/* One step, from the level and, where that is not summed up yet, from those below: 1 when anything is known.
 */
static int read_step(struct library *l, int level, int64_t node, int64_t from_s, int64_t to_s,
                     const int64_t *until, struct sample *sum)
{
    int known = 0;
    for (int64_t t = floor_to(from_s, sample_levels[level].step_s); t < to_s;
         t += sample_levels[level].step_s) {
        int got = level && t >= until[level]
                      ? read_step(l, level - 1, node, t, t + sample_levels[level].step_s, until, sum)
                      : add_at(l, level, t, node, sum);
        if (got < 0) return -1;
        known |= got;
    }
    return known;
}

int series_read(struct series *s, const char *name, int64_t from_s, int64_t to_s, int64_t step_s,
                json_t *columns)
{
    struct library *l = s->db;
    int level = sample_level_of(step_s);
    int64_t until[SAMPLE_LEVELS] = {0}, node = node_id(l, name, 0);
    if (node <= 0) return (int)node;
    for (int i = 1; i <= level; i++) {
        until[i] = summed_until(l, i);
        if (until[i] == -1) return -1;
        if (until[i] < 0) until[i] = 0;
    }
    /* where nothing is, nothing is looked up: a year before the first row costs as little as a minute */
    int64_t first = INT64_MAX, last = -1;
    for (int i = 0; i <= level; i++) {
        int64_t a = db_int(l, INT64_MAX, "SELECT t FROM series WHERE level = ? ORDER BY t LIMIT 1", "i",
                           (int64_t)i),
                b = db_int(l, 0, "SELECT t FROM series WHERE level = ? ORDER BY t DESC LIMIT 1", "i",
                           (int64_t)i);
        if (a == -1 || b == -1) return -1;
        if (a < first) first = a;
        if (b + sample_levels[i].step_s > last) last = b + sample_levels[i].step_s;
    }
    if (first == INT64_MAX) return 0;
    if (from_s < floor_to(first, step_s)) from_s = floor_to(first, step_s);
    if (to_s > last) to_s = last;
    for (int64_t t = from_s; t < to_s; t += step_s) {
        struct sample sum = {0};
        int got = read_step(l, level, node, t, t + step_s, until, &sum);
        if (got < 0) return -1;
        if (!got) continue;
        json_array_append_new(json_object_get(columns, "t"), json_integer(t));
        sample_append(columns, &sum);
    }
    return 0;
}

/* The ledger */

int series_ledger_drop(struct series *s, const char *name, int64_t now_s)
{
    struct library *l = s->db;
    int64_t node = node_id(l, name, 0), today = now_s / DAY_S;
    if (node <= 0) return (int)node;
    /* within a batch that is being written, or in a transaction of its own: a look for each day, not at all
     * rows */
    if (db_run(l, "SAVEPOINT ledger_drop", "")) return -1;
    int failed = db_run(l, "DELETE FROM learned WHERE node = ?", "i", node);
    for (int64_t day = today - LEDGER_DAYS - 1; day <= today + 1 && !failed; day++)
        failed = db_run(l, "DELETE FROM ledger WHERE day = ? AND node = ?", "ii", day, node);
    return db_run(l, "RELEASE ledger_drop", "") || failed ? -1 : 0;
}

static json_t *days_of(struct library *l, int64_t node, int64_t from_day, int64_t to_day)
{
    json_t *days = json_array();
    for (int64_t day = from_day; day < to_day; day++) {
        int64_t bytes = db_int(l, 0, "SELECT bytes FROM ledger WHERE day = ? AND node = ?", "ii", day, node);
        if (bytes < 0) break;
        if (!bytes) continue;
        json_array_append_new(days, json_integer(day));
        json_array_append_new(days, json_integer(bytes));
    }
    return days;
}

int series_ledger(struct series *s, int64_t *after, int64_t from_day, int64_t to_day, int most, json_t *array)
{
    struct library *l = s->db;
    int count = 0, got;
    int64_t id = *after;
    while (count < most) {
        sqlite3_stmt *q = db_query(l, "SELECT id, name FROM nodes WHERE id > ? ORDER BY id LIMIT 1", "i", id);
        if ((got = db_step(l, q)) <= 0) {
            if (got < 0) return -1;
            break;
        }
        id = sqlite3_column_int64(q, 0);
        char *name = db_text(q, 1);
        db_done(q);
        json_t *days = days_of(l, id, from_day, to_day);
        if (json_array_size(days))
            json_array_append_new(array, json_pack("{s:s,s:O}", "name", name, "days", days));
        json_decref(days);
        free(name);
        count++;
    }
    *after = id;
    return library_broken(l) ? -1 : count;
}

/* What was learned */

int series_learn(struct series *s, const char *name, const json_t *values)
{
    struct library *l = s->db;
    char *text = json_is_object(values) ? json_dumps(values, JSON_COMPACT) : NULL;
    int64_t id = text && strlen(text) <= SERIES_LEARNED_MAX ? node_id(l, name, 1) : 0;
    int result = id > 0 ? db_run(l, "INSERT OR REPLACE INTO learned(node, data) VALUES(?, ?)", "it", id, text)
                        : (int)id;
    free(text);
    return result;
}

int series_learned(struct series *s, int64_t *after, int most, json_t *array)
{
    struct library *l = s->db;
    int count = 0, got;
    sqlite3_stmt *q = db_query(l,
                               "SELECT l.node, n.name, l.data FROM learned l JOIN nodes n ON n.id = l.node"
                               " WHERE l.node > ? ORDER BY l.node LIMIT ?",
                               "ii", *after, (int64_t)most);
    while ((got = db_step(l, q)) > 0) {
        *after = sqlite3_column_int64(q, 0);
        count++;
        char *name = db_text(q, 1), *data = db_text(q, 2);
        json_t *values = data ? json_loads(data, 0, NULL) : NULL;
        if (name && values)
            json_array_append_new(array, json_pack("{s:s,s:O}", "name", name, "values", values));
        json_decref(values);
        free(name);
        free(data);
    }
    return got < 0 ? -1 : count;
}
