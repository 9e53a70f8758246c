/* The file is in WAL mode with synchronous NORMAL: a power cut may lose the last moments, never the file. Its
 * user_version counts the migrations below; they run in order, each in a transaction with its number.
 *
 * A damaged file is found where it shows: at opening, or when any statement says so (reading all of a large
 * library at each start would cost the station seconds). Then it is set aside and a new one begun: what is in
 * it can be found out again. */
#include "root/library/db.h"
#include "root/library/library.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define BUSY_MS        5000
#define STATEMENTS_MAX 64
#define ASIDE_MAX      1000

/* Invariant: count <= STATEMENTS_MAX, sqls[i] is the text statements[i] was prepared from. */
struct library {
    sqlite3 *db;
    char *path; /* NULL in memory */
    int broken;
    size_t count;
    const char *sqls[STATEMENTS_MAX];
    sqlite3_stmt *statements[STATEMENTS_MAX];
};

static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE tracks("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT," /* never given twice: the history refers to it */
    "  path TEXT NOT NULL UNIQUE,"            /* path_to_text */
    "  root TEXT NOT NULL,"
    "  size INTEGER NOT NULL,"
    "  mtime_ns INTEGER NOT NULL,"
    "  state INTEGER NOT NULL DEFAULT 0,"
    "  present INTEGER NOT NULL DEFAULT 1,"
    "  reason TEXT,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  hash TEXT);"
    "CREATE INDEX tracks_todo ON tracks(present, state, id);"
    "CREATE INDEX tracks_content ON tracks(hash, id) WHERE hash IS NOT NULL;"
    "CREATE INDEX tracks_root ON tracks(root, id);"
    "CREATE TABLE features("
    "  track INTEGER PRIMARY KEY REFERENCES tracks(id) ON DELETE CASCADE,"
    "  version INTEGER NOT NULL,"
    "  tags TEXT NOT NULL,"
    "  summary TEXT NOT NULL);" /* the features without the long arrays: what ordering reads of every track */
    "CREATE INDEX features_version ON features(version, track);"
    "CREATE TABLE wholes("
    "  track INTEGER PRIMARY KEY REFERENCES tracks(id) ON DELETE CASCADE,"
    "  features TEXT NOT NULL);"
    "CREATE TABLE art("
    "  track INTEGER PRIMARY KEY REFERENCES tracks(id) ON DELETE CASCADE,"
    "  mime TEXT NOT NULL,"
    "  bytes BLOB NOT NULL);"
    "CREATE TABLE plays("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  position INTEGER NOT NULL,"
    "  branch INTEGER NOT NULL,"
    "  wall_ns INTEGER NOT NULL,"
    "  track INTEGER NOT NULL," /* the one that plays on from here; may be gone since */
    "  body TEXT NOT NULL);"
    "CREATE INDEX plays_wall ON plays(wall_ns);"
    "CREATE INDEX plays_place ON plays(position, branch);",
    /* 2 */
    "ALTER TABLE tracks ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;" /* version of analysis attempts counts
                                                                       */
    "CREATE TABLE waves("
    "  track INTEGER PRIMARY KEY REFERENCES tracks(id) ON DELETE CASCADE,"
    "  bytes BLOB NOT NULL);",
};
#define SCHEMA_VERSION (int)(sizeof migrations / sizeof *migrations)

/* Logs a failure and notes whether it is the file that is damaged. Always -1. */
static int failed(struct library *l, const char *what)
{
    int code = sqlite3_errcode(l->db) & 0xff;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) l->broken = 1;
    log_error("library", "%s: %s", what, sqlite3_errmsg(l->db));
    return -1;
}

/* Queries */

static sqlite3_stmt *prepared(struct library *l, const char *sql)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->sqls[i] == sql) return l->statements[i];
    }
    if (l->count == STATEMENTS_MAX) {
        log_error("library", "more than %d statements", STATEMENTS_MAX);
        abort();
    }
    sqlite3_stmt *s;
    if (sqlite3_prepare_v3(l->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
        failed(l, sql);
        return NULL;
    }
    l->sqls[l->count] = sql;
    l->statements[l->count++] = s;
    return s;
}

static sqlite3_stmt *query_args(struct library *l, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *s = prepared(l, sql);
    if (!s) return NULL;
    for (int i = 1; *types; types++, i++) {
        if (*types == 'i') {
            sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        } else if (*types == 't') {
            sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        } else { /* b */
            const void *bytes = va_arg(ap, const void *);
            sqlite3_bind_blob64(s, i, bytes, va_arg(ap, size_t), SQLITE_TRANSIENT);
        }
    }
    return s;
}

sqlite3_stmt *db_query(struct library *l, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *s = query_args(l, sql, types, ap);
    va_end(ap);
    return s;
}

void db_done(sqlite3_stmt *query)
{
    sqlite3_reset(query);
    sqlite3_clear_bindings(query);
}

int db_step(struct library *l, sqlite3_stmt *query)
{
    if (!query) return -1;
    int code = sqlite3_step(query);
    if (code == SQLITE_ROW) return 1;
    int result = code == SQLITE_DONE ? 0 : failed(l, sqlite3_sql(query));
    db_done(query);
    return result;
}

int db_run(struct library *l, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *s = query_args(l, sql, types, ap);
    va_end(ap);
    int got = db_step(l, s);
    if (got > 0) db_done(s);
    return got < 0 ? -1 : 0;
}

int64_t db_int(struct library *l, int64_t def, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *s = query_args(l, sql, types, ap);
    va_end(ap);
    int got = db_step(l, s);
    if (got <= 0) return got < 0 ? -1 : def;
    int64_t value = sqlite3_column_type(s, 0) == SQLITE_NULL ? def : sqlite3_column_int64(s, 0);
    db_done(s);
    return value;
}

int64_t db_last_id(struct library *l)
{
    return sqlite3_last_insert_rowid(l->db);
}

int db_changes(struct library *l)
{
    return sqlite3_changes(l->db);
}

char *db_text(sqlite3_stmt *query, int column)
{
    const char *text = (const char *)sqlite3_column_text(query, column);
    return text ? xstrdup(text) : NULL;
}

int library_begin(struct library *l)
{
    return db_run(l, "BEGIN IMMEDIATE", "");
}

int library_commit(struct library *l)
{
    if (!db_run(l, "COMMIT", "")) return 0;
    if (!sqlite3_get_autocommit(l->db)) db_run(l, "ROLLBACK", "");
    return -1;
}

int library_broken(const struct library *l)
{
    return l->broken;
}

/* Opening */

static int execute(struct library *l, const char *sql)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(l, sql);
}

static int migrate(struct library *l)
{
    int64_t version = db_int(l, 0, "PRAGMA user_version", "");
    if (version < 0) return -1;
    if (version > SCHEMA_VERSION) {
        log_error("library", "the database is of version %d, made by a newer program; %d is known here",
                  (int)version, SCHEMA_VERSION);
        l->broken = 1;
        return -1;
    }
    while (version < SCHEMA_VERSION) {
        char *step = xasprintf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT", migrations[version],
                               (int)version + 1);
        int result = execute(l, step);
        free(step);
        if (result) return -1;
        version++;
    }
    return 0;
}

static void close_db(struct library *l)
{
    for (size_t i = 0; i < l->count; i++)
        sqlite3_finalize(l->statements[i]);
    l->count = 0;
    sqlite3_close(l->db);
    l->db = NULL;
}

static int open_db(struct library *l, const char *path)
{
    l->broken = 0;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &l->db, flags, NULL) != SQLITE_OK) return failed(l, path);
    sqlite3_extended_result_codes(l->db, 0);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    if (execute(l, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                   "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384"))
        return -1;
    if (migrate(l)) return -1;
    /* every table is looked at once, so that a torn file shows now */
    int64_t tracks = db_int(l, 0, "SELECT max(id) FROM tracks", ""),
            plays = db_int(l, 0, "SELECT max(id) FROM plays", ""),
            features = db_int(l, 0, "SELECT max(track) FROM features", "");
    return tracks < 0 || plays < 0 || features < 0 ? -1 : 0;
}

/* Renames the database and its companions to the first free .broken-N. */
static int set_aside(const char *path, char **cause)
{
    for (int n = 1; n <= ASIDE_MAX; n++) {
        char *aside = xasprintf("%s.broken-%d", path, n);
        if (access(aside, F_OK) == 0) {
            free(aside);
            continue;
        }
        int result =
            rename(path, aside) ? cause_set(cause, "can't set %s aside: %s", path, strerror(errno)) : 0;
        for (int i = 0; i < 2; i++) {
            char *from = xasprintf("%s%s", path, i ? "-wal" : "-shm"),
                 *to = xasprintf("%s%s", aside, i ? "-wal" : "-shm");
            if (rename(from, to) && errno != ENOENT) unlink(from);
            free(from);
            free(to);
        }
        if (!result)
            log_error("library", "the database is damaged: set aside as %s; a new one is begun", aside);
        free(aside);
        return result;
    }
    return cause_set(cause, "%d damaged databases beside %s", ASIDE_MAX, path);
}

/* Ids of a database that was set aside are still about (in the brain, in planned segments): a new one starts
 * far above them. */
static int begin_ids(struct library *l)
{
    char *aside = xasprintf("%s.broken-1", l->path);
    int renewed = access(aside, F_OK) == 0;
    free(aside);
    int64_t given = renewed ? db_int(l, 0, "SELECT seq FROM sqlite_sequence WHERE name = 'tracks'", "") : 1;
    if (given) return given < 0 ? -1 : 0;
    return db_run(l, "INSERT INTO sqlite_sequence(name, seq) VALUES('tracks', ?)", "i",
                  clock_wall_ns() / CLOCK_NS_PER_S);
}

int library_open(struct library **out, const char *dir, char **cause)
{
    struct library *l = xcalloc(1, sizeof *l);
    l->path = dir ? xasprintf("%s/library.db", dir) : NULL;
    const char *name = dir ? l->path : ":memory:";
    int result = open_db(l, name);
    if (result && l->broken && dir) {
        close_db(l);
        result = set_aside(l->path, cause) ? -2 : open_db(l, name);
    }
    if (!result && dir) result = begin_ids(l);
    if (result == -1)
        cause_set(cause, "can't open %s: %s", name, l->db ? sqlite3_errmsg(l->db) : "out of memory");
    if (result) {
        l->broken = 0; /* the caller hears of it */
        library_close(l);
        *out = NULL;
        return -1;
    }
    *out = l;
    return 0;
}

void library_close(struct library *l)
{
    if (!l) return;
    close_db(l);
    char *cause = NULL;
    if (l->broken && l->path && set_aside(l->path, &cause)) log_error("library", "%s", cause);
    free(cause);
    free(l->path);
    free(l);
}
