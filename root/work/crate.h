/* crate: a library gathered offline, all analysed, for the render tool.
 *
 * Folders are walked, what the state's database does not know yet is analysed in child processes (a file that
 * crashes or hangs its child is skipped with a reason, kept in the database), and the playable tracks get
 * numbers of their own, 1.. in order of their paths: so the same folders give the same numbers whatever a
 * database went through. Of files with the same content the first counts. */
#ifndef FOREVER_ROOT_WORK_CRATE_H
#define FOREVER_ROOT_WORK_CRATE_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

struct crate;

struct crate_report {
    size_t files, known, analysed, failed, same;
};

/* roots: directories; state: of the database, created when missing, NULL for none. Blocks for minutes, with a
 * line of progress on standard error. 0; -1 with an owned *cause. */
int crate_open(struct crate **out, char *const *roots, size_t root_count, const char *state,
               struct crate_report *report, char **cause);
void crate_free(struct crate *crate);
size_t crate_count(const struct crate *crate);
/* NULL when the number is none. Owned by the crate; its path is as found, in bytes. */
const struct track *crate_track(const struct crate *crate, int64_t number);

#endif
