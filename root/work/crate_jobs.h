/* crate_jobs: many files analysed side by side, each in a process of its own. */
#ifndef FOREVER_ROOT_WORK_CRATE_JOBS_H
#define FOREVER_ROOT_WORK_CRATE_JOBS_H
#include <stddef.h>
#include <stdint.h>

struct library;

struct crate_job {
    int64_t id; /* of the library */
    const char *path;
    int64_t size;
};

/* Runs them all, as many at a time as there are processors; each ends in the library as analysed or failed
 * with a reason. A child that dies or overruns its time fails its file only. */
void crate_jobs_run(struct library *library, const struct crate_job *jobs, size_t count, size_t *analysed,
                    size_t *failed);

#endif
