#include "root/library/art.h"

#include <string.h>

#include "common/mem.h"
#include "root/library/db.h"

/* Browsers are given these as they are: nothing among them can carry script. */
static const char *const pictures[] = {"image/jpeg", "image/png",  "image/webp",
                                       "image/gif",  "image/avif", "image/bmp"};

int art_store(struct library *l, int64_t track, const char *mime, const void *bytes, size_t len)
{
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        if (!strcmp(mime, pictures[i]))
            return db_run(l, "INSERT OR REPLACE INTO art(track, mime, bytes) VALUES(?, ?, ?)", "itb", track,
                          mime, bytes, len);
    }
    return -1;
}

int art_load(struct library *l, int64_t track, char **mime, uint8_t **bytes, size_t *len)
{
    sqlite3_stmt *q = db_query(l, "SELECT mime, bytes FROM art WHERE track = ?", "i", track);
    int got = db_step(l, q);
    if (got <= 0) return got;
    const void *blob = sqlite3_column_blob(q, 1);
    *len = (size_t)sqlite3_column_bytes(q, 1);
    *bytes = xmalloc(*len + 1);
    if (*len) memcpy(*bytes, blob, *len);
    *mime = db_text(q, 0);
    db_done(q);
    return 1;
}
