#include "root/library/library.h"

#include "common/clock.h"
#include "common/mem.h"
#include "root/library/db.h"

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

static int look(struct library *l)
{
    int64_t tracks = db_int(l, 0, "SELECT max(id) FROM tracks", ""),
            plays = db_int(l, 0, "SELECT max(id) FROM plays", ""),
            features = db_int(l, 0, "SELECT max(track) FROM features", "");
    return tracks < 0 || plays < 0 || features < 0 ? -1 : 0;
}

/* Synchronous NORMAL: what is in it can be found out again, and it is written for every track and segment. */
static const struct db_kind kind = {.name = "library.db",
                                    .migrations = migrations,
                                    .version = sizeof migrations / sizeof *migrations,
                                    .pragmas = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384",
                                    .look = look};

/* Ids of a database that was set aside are still about (in the brain, in planned segments): a new one starts
 * far above them. */
static int begin_ids(struct library *l)
{
    int64_t given =
        db_renewed(l) ? db_int(l, 0, "SELECT seq FROM sqlite_sequence WHERE name = 'tracks'", "") : 1;
    if (given) return given < 0 ? -1 : 0;
    return db_run(l, "INSERT INTO sqlite_sequence(name, seq) VALUES('tracks', ?)", "i",
                  clock_wall_ns() / CLOCK_NS_PER_S);
}

int library_open(struct library **out, const char *dir, char **cause)
{
    if (db_open(out, dir, &kind, cause)) return -1;
    if (!dir || !begin_ids(*out)) return 0;
    cause_set(cause, "%s can't be written", kind.name);
    library_close(*out);
    *out = NULL;
    return -1;
}
