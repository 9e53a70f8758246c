#include "root/library/features.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/db.h"

/* A stored text is ours, yet a damaged file must not become a damaged track. */
static json_t *parse(int64_t id, const char *text)
{
    char *cause = NULL;
    json_t *value = text ? json_parse(text, strlen(text), SIZE_MAX, &cause) : NULL;
    if (!value) log_error("library", "track %lld: %s", (long long)id, cause ? cause : "no features");
    free(cause);
    return value;
}

int features_store(struct library *l, const struct track *track)
{
    json_t *summary = track_summary_to_json(track), *whole = features_to_json(&track->features);
    char *tags_text = json_text(json_object_get(summary, "tags"));
    char *summary_text = json_text(json_object_get(summary, "features"));
    char *whole_text = json_text(whole);
    int result = db_run(l, "SAVEPOINT features", ""); /* a caller's transaction goes on around it */
    if (!result)
        result =
            db_run(l, "INSERT OR REPLACE INTO features(track, version, tags, summary) VALUES(?, ?, ?, ?)",
                   "iitt", track->id, (int64_t)track->features.version, tags_text, summary_text);
    if (!result)
        result = db_run(l, "INSERT OR REPLACE INTO wholes(track, features) VALUES(?, ?)", "it", track->id,
                        whole_text);
    if (!result)
        result = db_run(l, "UPDATE tracks SET state = 1, reason = NULL, attempts = 0, hash = ? WHERE id = ?",
                        "ti", track->hash, track->id);
    if (result) db_run(l, "ROLLBACK TO features", "");
    if (db_run(l, "RELEASE features", "")) result = -1;
    free(tags_text);
    free(summary_text);
    free(whole_text);
    json_decref(summary);
    json_decref(whole);
    return result;
}

/* {"track","path","hash","tags","features"} of a row id, path, hash, tags, features. */
static json_t *row_json(sqlite3_stmt *q)
{
    int64_t id = sqlite3_column_int64(q, 0);
    json_t *tags = parse(id, (const char *)sqlite3_column_text(q, 3));
    json_t *features = parse(id, (const char *)sqlite3_column_text(q, 4));
    json_t *object = json_object();
    json_object_set_new(object, "track", json_integer(id));
    json_object_set_new(object, "path", json_string((const char *)sqlite3_column_text(q, 1)));
    if (sqlite3_column_type(q, 2) != SQLITE_NULL)
        json_object_set_new(object, "hash", json_string((const char *)sqlite3_column_text(q, 2)));
    json_object_set_new(object, "tags", tags ? tags : json_object());
    json_object_set_new(object, "features", features ? features : json_object());
    return object;
}

int features_load(struct library *l, int64_t id, struct track *out)
{
    sqlite3_stmt *q = db_query(l,
                               "SELECT t.id, t.path, t.hash, f.tags, w.features FROM tracks t"
                               " JOIN features f ON f.track = t.id JOIN wholes w ON w.track = t.id"
                               " WHERE t.id = ?",
                               "i", id);
    int got = db_step(l, q);
    track_init(out);
    if (got <= 0) return got;
    json_t *object = row_json(q);
    db_done(q);
    char *cause = NULL;
    int result = track_from_json(out, object, &cause) ? -1 : 1;
    if (result < 0) log_error("library", "track %lld: %s", (long long)id, cause);
    free(cause);
    json_decref(object);
    return result;
}

int features_pool(struct library *l, int64_t after, int limit, json_t *array)
{
    /* of equal contents the lowest id is played */
    sqlite3_stmt *q = db_query(
        l,
        "SELECT t.id, t.path, t.hash, f.tags, f.summary FROM tracks t JOIN features f ON f.track = t.id"
        " WHERE t.present = 1 AND t.state = 1 AND t.id > ? AND NOT EXISTS (SELECT 1 FROM tracks o"
        " WHERE o.hash = t.hash AND o.id < t.id AND o.present = 1 AND o.state = 1) ORDER BY t.id LIMIT ?",
        "ii", after, (int64_t)limit);
    int count = 0, got;
    while ((got = db_step(l, q)) > 0) {
        json_array_append_new(array, row_json(q));
        count++;
    }
    return got < 0 ? -1 : count;
}

json_t *features_summary(struct library *l, int64_t id)
{
    sqlite3_stmt *q = db_query(l,
                               "SELECT t.id, t.path, t.hash, f.tags, f.summary FROM tracks t"
                               " JOIN features f ON f.track = t.id WHERE t.id = ?",
                               "i", id);
    if (db_step(l, q) <= 0) return NULL;
    json_t *object = row_json(q);
    db_done(q);
    return object;
}
