/* db: the one place that opens SQLite. Used inside root/library only.
 *
 * SQL texts are literals: a prepared statement is kept for each, found by its address, so a text may not be
 * in use twice at a time (no recursion through one query). Values are always bound. */
#ifndef FOREVER_ROOT_LIBRARY_DB_H
#define FOREVER_ROOT_LIBRARY_DB_H
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>

struct library;

/* One database file: what it is called, how it came to what it is, how it is written. */
struct db_kind {
    const char *name;              /* in the state directory */
    const char *const *migrations; /* in order, each in a transaction with its number */
    int version;                   /* how many */
    const char *pragmas;           /* beside those of every file */
    /* looks at every table once, so that a torn file shows now. 0 or -1 */
    int (*look)(struct library *library);
};

/* As library_open, for any kind. */
int db_open(struct library **out, const char *dir, const struct db_kind *kind, char **cause);
/* 1 when a damaged one was set aside at some time. */
int db_renewed(const struct library *library);

/* Binds by the letters of types: i int64_t, t const char * (may be NULL), b const void * and size_t. NULL
 * when the database failed. */
sqlite3_stmt *db_query(struct library *library, const char *sql, const char *types, ...);
/* 1: a row; 0: no more; -1: failed. Anything but 1 ends the query; db_done ends it early. */
int db_step(struct library *library, sqlite3_stmt *query);
void db_done(sqlite3_stmt *query);
/* Without rows: 0 or -1. */
int db_run(struct library *library, const char *sql, const char *types, ...);
/* One integer: def when there is no row or it is null, -1 when the database failed. */
int64_t db_int(struct library *library, int64_t def, const char *sql, const char *types, ...);
int64_t db_last_id(struct library *library);
int db_changes(struct library *library);
/* A column as fresh text; NULL when null. */
char *db_text(sqlite3_stmt *query, int column);

#endif
