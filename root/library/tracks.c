#include "root/library/tracks.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/library/db.h"
#include "root/library/library.h"
#include "root/track.h"

void track_file_free(struct track_file *file)
{
    free(file->path);
    free(file->reason);
    free(file->hash);
    *file = (struct track_file){0};
}

static int insert(struct library *l, const char *root, const char *path, int64_t size, int64_t mtime_ns,
                  int64_t *id)
{
    if (db_run(l, "INSERT INTO tracks(root, path, size, mtime_ns) VALUES(?, ?, ?, ?)", "ttii", root, path,
               size, mtime_ns))
        return -1;
    *id = db_last_id(l);
    return 0;
}

/* root and path as text. */
static int found(struct library *l, const char *root, const char *path, int64_t size, int64_t mtime_ns,
                 int64_t *id, enum tracks_change *change)
{
    sqlite3_stmt *q =
        db_query(l, "SELECT id, size, mtime_ns, present, root FROM tracks WHERE path = ?", "t", path);
    int got = db_step(l, q);
    if (got < 0) return -1;
    if (got == 0) {
        *change = TRACKS_ADDED;
        return insert(l, root, path, size, mtime_ns, id);
    }
    *id = sqlite3_column_int64(q, 0);
    int same = sqlite3_column_int64(q, 1) == size && sqlite3_column_int64(q, 2) == mtime_ns;
    int present = sqlite3_column_int(q, 3),
        moved = strcmp((const char *)sqlite3_column_text(q, 4), root) != 0;
    db_done(q);
    *change = !same ? TRACKS_CHANGED : present ? TRACKS_SAME : TRACKS_BACK;
    if (!same && tracks_set_changed(l, *id, size, mtime_ns)) return -1;
    if (!present || moved)
        return db_run(l, "UPDATE tracks SET present = 1, root = ? WHERE id = ?", "ti", root, *id);
    return 0;
}

int tracks_found(struct library *l, const char *root, const char *path, int64_t size, int64_t mtime_ns,
                 int64_t *id, enum tracks_change *change)
{
    char *root_text = path_to_text(root), *path_text = path_to_text(path);
    int result = found(l, root_text, path_text, size, mtime_ns, id, change);
    free(root_text);
    free(path_text);
    return result;
}

int tracks_get(struct library *l, int64_t id, struct track_file *out)
{
    sqlite3_stmt *q = db_query(
        l, "SELECT path, size, mtime_ns, state, present, reason, hash, attempts FROM tracks WHERE id = ?",
        "i", id);
    int got = db_step(l, q);
    *out = (struct track_file){0};
    if (got <= 0) return got;
    out->id = id;
    out->path = path_from_text((const char *)sqlite3_column_text(q, 0));
    out->size = sqlite3_column_int64(q, 1);
    out->mtime_ns = sqlite3_column_int64(q, 2);
    out->state = (enum track_state)sqlite3_column_int(q, 3);
    out->present = sqlite3_column_int(q, 4);
    out->reason = db_text(q, 5);
    out->hash = db_text(q, 6);
    out->attempts = sqlite3_column_int(q, 7);
    db_done(q);
    return 1;
}

int64_t tracks_id(struct library *l, const char *path)
{
    char *text = path_to_text(path);
    int64_t id = db_int(l, 0, "SELECT id FROM tracks WHERE path = ?", "t", text);
    free(text);
    return id;
}

int tracks_set_failed(struct library *l, int64_t id, const char *reason)
{
    return db_run(l, "UPDATE tracks SET state = 2, reason = ? WHERE id = ?", "ti", reason, id);
}

int tracks_set_gone(struct library *l, int64_t id)
{
    return db_run(l, "UPDATE tracks SET present = 0 WHERE id = ?", "i", id);
}

int tracks_set_changed(struct library *l, int64_t id, int64_t size, int64_t mtime_ns)
{
    return db_run(
        l,
        "UPDATE tracks SET size = ?, mtime_ns = ?, state = 0, reason = NULL, attempts = 0, hash = NULL"
        " WHERE id = ?",
        "iii", size, mtime_ns, id);
}

int tracks_set_lost(struct library *l, int64_t id, const char *reason, int limit)
{
    if (db_run(l,
               "UPDATE tracks SET attempts = CASE tried WHEN ?1 THEN attempts + 1 ELSE 1 END, tried = ?1"
               " WHERE id = ?2",
               "ii", (int64_t)ANALYSIS_VERSION, id))
        return -1;
    /* an old analysis that can't be renewed goes on serving: only a new track fails */
    if (db_run(l, "UPDATE tracks SET state = 2, reason = ? WHERE id = ? AND state = 0 AND attempts >= ?",
               "tii", reason, id, (int64_t)limit))
        return -1;
    return (int)db_int(l, TRACK_FAILED, "SELECT state FROM tracks WHERE id = ?", "i", id);
}

int tracks_of_root(struct library *l, const char *root, int64_t after, int64_t *ids, int room)
{
    char *text = path_to_text(root);
    sqlite3_stmt *q =
        db_query(l, "SELECT id FROM tracks WHERE root = ? AND id > ? AND present = 1 ORDER BY id LIMIT ?",
                 "tii", text, after, (int64_t)room);
    free(text);
    int count = 0, got;
    while ((got = db_step(l, q)) > 0)
        ids[count++] = sqlite3_column_int64(q, 0);
    return got < 0 ? -1 : count;
}

int tracks_keep_roots(struct library *l, char *const *roots, unsigned count)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < count; i++) {
        char *text = path_to_text(roots[i]);
        json_array_append_new(array, json_string(text));
        free(text);
    }
    char *list = json_dumps(array, JSON_COMPACT);
    int result = db_run(l,
                        "UPDATE tracks SET present = 0"
                        " WHERE present = 1 AND root NOT IN (SELECT value FROM json_each(?))",
                        "t", list);
    free(list);
    json_decref(array);
    return result ? -1 : db_changes(l);
}

int tracks_count(struct library *l, struct tracks_count *out)
{
    sqlite3_stmt *q = db_query(l, "SELECT state, count(*) FROM tracks WHERE present = 1 GROUP BY state", "");
    *out = (struct tracks_count){0};
    int got;
    while ((got = db_step(l, q)) > 0) {
        int64_t n = sqlite3_column_int64(q, 1);
        enum track_state state = (enum track_state)sqlite3_column_int(q, 0);
        out->total += n;
        *(state == TRACK_NEW ? &out->pending : state == TRACK_ANALYSED ? &out->analysed : &out->failed) = n;
    }
    if (got < 0) return -1;
    out->outdated = db_int(l, 0,
                           "SELECT count(*) FROM features f JOIN tracks t ON t.id = f.track"
                           " WHERE f.version < ?1 AND t.present = 1 AND t.state = 1"
                           " AND NOT (t.tried = ?1 AND t.attempts >= 2)",
                           "i", (int64_t)ANALYSIS_VERSION);
    return out->outdated < 0 ? -1 : 0;
}

int64_t tracks_next_pending(struct library *l, int64_t after)
{
    return db_int(l, 0,
                  "SELECT id FROM tracks WHERE present = 1 AND state = 0 AND id > ? ORDER BY id LIMIT 1", "i",
                  after);
}

int64_t tracks_next_outdated(struct library *l, struct tracks_outdated *after)
{
    /* an analysis that was lost twice is not tried for this version again */
    sqlite3_stmt *q =
        db_query(l,
                 "SELECT f.version, f.track FROM features f JOIN tracks t ON t.id = f.track"
                 " WHERE f.version < ?1 AND (f.version, f.track) > (?2, ?3) AND t.present = 1 AND t.state = 1"
                 " AND NOT (t.tried = ?1 AND t.attempts >= 2) ORDER BY f.version, f.track LIMIT 1",
                 "iii", (int64_t)ANALYSIS_VERSION, after->version, after->track);
    int got = db_step(l, q);
    if (got <= 0) return got;
    after->version = sqlite3_column_int64(q, 0);
    after->track = sqlite3_column_int64(q, 1);
    db_done(q);
    return after->track;
}

int64_t tracks_pending_at(struct library *l, int64_t index)
{
    return db_int(l, 0, "SELECT id FROM tracks WHERE present = 1 AND state = 0 ORDER BY id LIMIT 1 OFFSET ?",
                  "i", index);
}

int64_t tracks_played_of(struct library *l, const char *hash)
{
    return tracks_next_of(l, hash, 0);
}

int64_t tracks_next_of(struct library *l, const char *hash, int64_t after)
{
    return db_int(
        l, 0,
        "SELECT id FROM tracks WHERE hash = ? AND id > ? AND present = 1 AND state = 1 ORDER BY id LIMIT 1",
        "ti", hash, after);
}
