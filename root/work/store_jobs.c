#include "root/work/store_jobs.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/library/library.h"

#define VARIED          16        /* tracks taken from all over the library */
#define QUICK           2         /* of these, the ones that should be soon done */
#define DRAWS           16        /* looked at for each quick one */
#define URGENT          3         /* analysed tracks with which the station can begin */
#define QUICK_BYTES_MIN (1 << 20) /* smaller ones are jingles more often than music */
#define DEADLINE_S      60
#define BYTES_PER_S     (512 << 10) /* a slow machine with long compressed files */
#define GRACE_S         60          /* air reports a lost job by then */
#define JOBS_MAX        256

struct jobs {
    struct job all[JOBS_MAX];
    int count, varied; /* varied: enough were taken from all over */
    uint64_t random;
};

struct jobs *jobs_new(uint64_t seed)
{
    struct jobs *j = xcalloc(1, sizeof *j);
    j->random = seed;
    return j;
}

void jobs_free(struct jobs *j)
{
    free(j);
}

static void remove_at(struct jobs *j, int i)
{
    j->all[i] = j->all[--j->count];
}

struct job *jobs_find(struct jobs *j, int64_t track)
{
    int64_t now_ns = clock_boot_ns();
    for (int i = 0; i < j->count; i++) {
        if (j->all[i].forget_ns < now_ns) remove_at(j, i--);
    }
    for (int i = 0; i < j->count; i++) {
        if (j->all[i].track == track) return &j->all[i];
    }
    return NULL;
}

void jobs_end(struct jobs *j, int64_t track)
{
    struct job *job = jobs_find(j, track);
    if (job) remove_at(j, (int)(job - j->all));
}

double jobs_begin(struct jobs *j, int64_t track, int64_t size, int64_t mtime_ns)
{
    double deadline_s = DEADLINE_S + (double)size / BYTES_PER_S;
    jobs_end(j, track);
    if (j->count == JOBS_MAX) remove_at(j, 0); /* there are never that many analysers */
    j->all[j->count++] = (struct job){.track = track,
                                      .size = size,
                                      .mtime_ns = mtime_ns,
                                      .forget_ns = clock_boot_ns() + (int64_t)((deadline_s + GRACE_S) * 1e9)};
    return deadline_s;
}

static int is_free(struct jobs *j, int64_t track)
{
    const struct job *job = jobs_find(j, track);
    return !job || job->done;
}

/* splitmix64 */
static uint64_t next_random(struct jobs *j)
{
    uint64_t x = j->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Of some drawn at random, the smallest that is no jingle (else the largest jingle); 0: all are under way. */
static int64_t draw(struct jobs *j, struct library *l, int64_t pending, int draws)
{
    int64_t best = 0, best_size = 0;
    for (int i = 0; i < draws; i++) {
        int64_t id = tracks_pending_at(l, (int64_t)(next_random(j) % (uint64_t)pending));
        struct track_file file;
        if (id <= 0 || !is_free(j, id) || tracks_get(l, id, &file) <= 0) continue;
        int fits = file.size >= QUICK_BYTES_MIN, best_fits = best_size >= QUICK_BYTES_MIN;
        int better = fits != best_fits ? fits : fits ? file.size < best_size : file.size > best_size;
        if (!best || better) {
            best = id;
            best_size = file.size;
        }
        track_file_free(&file);
    }
    return best;
}

int jobs_urgent(struct library *l)
{
    struct tracks_count n;
    return !tracks_count(l, &n) && n.analysed < URGENT;
}

int64_t jobs_choose(struct jobs *j, struct library *l)
{
    int64_t id = tracks_next_pending(l, 0);
    if (id > 0 && !j->varied) {
        struct tracks_count n;
        if (tracks_count(l, &n)) return 0;
        int64_t given = n.analysed;
        for (int i = 0; i < j->count; i++)
            given += !j->all[i].done;
        j->varied = given >= VARIED;
        int64_t drawn = j->varied || n.pending < 2 ? 0 : draw(j, l, n.pending, given < QUICK ? DRAWS : 1);
        if (drawn > 0) return drawn;
    }
    while (id > 0 && !is_free(j, id))
        id = tracks_next_pending(l, id);
    if (id > 0) return id;
    struct tracks_outdated after = {0};
    do {
        id = tracks_next_outdated(l, &after);
    } while (id > 0 && !is_free(j, id));
    return id > 0 ? id : 0;
}
