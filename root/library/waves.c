#include "root/library/waves.h"

#include <string.h>

#include "common/mem.h"
#include "root/library/db.h"

int waves_store(struct library *l, int64_t track, const void *bytes, size_t len)
{
    return db_run(l, "INSERT OR REPLACE INTO waves(track, bytes) VALUES(?, ?)", "ib", track, bytes, len);
}

int waves_load(struct library *l, int64_t track, uint8_t **bytes, size_t *len)
{
    sqlite3_stmt *q = db_query(l, "SELECT bytes FROM waves WHERE track = ?", "i", track);
    int got = db_step(l, q);
    if (got <= 0) return got;
    const void *blob = sqlite3_column_blob(q, 0);
    *len = (size_t)sqlite3_column_bytes(q, 0);
    *bytes = xmalloc(*len + 1);
    if (*len) memcpy(*bytes, blob, *len);
    db_done(q);
    return 1;
}
