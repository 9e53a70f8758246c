/* Files are in WAL mode: a power cut may lose the last moments (none where synchronous is FULL), never the
 * file. The user_version counts the migrations; they run in order, each in a transaction with its number.
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

#include "common/log.h"
#include "common/mem.h"

#define BUSY_MS        5000
#define STATEMENTS_MAX 64
#define ASIDE_MAX      1000

/* Invariant: count <= STATEMENTS_MAX, sqls[i] is the text statements[i] was prepared from. */
struct library {
    sqlite3 *db;
    const struct db_kind *kind;
    char *path; /* NULL in memory */
    int broken;
    size_t count;
    const char *sqls[STATEMENTS_MAX];
    sqlite3_stmt *statements[STATEMENTS_MAX];
};

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
    if (version > l->kind->version) {
        log_error("library", "the database is of version %d, made by a newer program; %d is known here",
                  (int)version, l->kind->version);
        l->broken = 1;
        return -1;
    }
    while (version < l->kind->version) {
        char *step = xasprintf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT",
                               l->kind->migrations[version], (int)version + 1);
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
    if (execute(l, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;"
                   "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY") ||
        execute(l, l->kind->pragmas))
        return -1;
    return migrate(l) || l->kind->look(l) ? -1 : 0;
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

int db_open(struct library **out, const char *dir, const struct db_kind *kind, char **cause)
{
    struct library *l = xcalloc(1, sizeof *l);
    l->kind = kind;
    l->path = dir ? xasprintf("%s/%s", dir, kind->name) : NULL;
    const char *name = dir ? l->path : ":memory:";
    int result = open_db(l, name);
    if (result && l->broken && dir) {
        close_db(l);
        result = set_aside(l->path, cause) ? -2 : open_db(l, name);
    }
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

int db_renewed(const struct library *l)
{
    if (!l->path) return 0;
    char *aside = xasprintf("%s.broken-1", l->path);
    int renewed = access(aside, F_OK) == 0;
    free(aside);
    return renewed;
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
