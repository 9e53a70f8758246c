/* store_jobs: which track is analysed next, and which are under way. Used by store.c.
 *
 * While the station is young a few tracks are taken from all over the library, so that its first hour is
 * varied, the very first among the smaller ones, which are soon done. Then the rest in the order they were
 * found; then those analysed by an older version, whose old values serve meanwhile. */
#ifndef FOREVER_ROOT_WORK_STORE_JOBS_H
#define FOREVER_ROOT_WORK_STORE_JOBS_H
#include <stdint.h>

#include "root/library/tracks.h"

struct library;
struct jobs;

struct job {
    int64_t track, size, mtime_ns; /* the file as it was given out */
    int64_t forget_ns;             /* CLOCK_BOOTTIME: nobody works on it any more */
    int done;                      /* its result came; its picture may follow */
};

struct jobs *jobs_new(uint64_t seed);
void jobs_free(struct jobs *jobs);
/* 0: nothing to do. */
int64_t jobs_choose(struct jobs *jobs, struct library *library);
/* 1 while the station has hardly anything to play: the jobs given now are what its first music waits for. */
int jobs_urgent(struct library *library);
/* Given out: how long it may take, in seconds. */
double jobs_begin(struct jobs *jobs, int64_t track, int64_t size, int64_t mtime_ns);
/* NULL when it is not under way. Valid until the next call. */
struct job *jobs_find(struct jobs *jobs, int64_t track);
void jobs_end(struct jobs *jobs, int64_t track);

#endif
