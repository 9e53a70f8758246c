/* store: what the parts of the store role share: store.c (announcing, files, answers), store_scan.c (what
 * scan found), store_analyse.c (jobs and their results). */
#ifndef FOREVER_ROOT_WORK_STORE_H
#define FOREVER_ROOT_WORK_STORE_H
#include <stdint.h>
#include <sys/stat.h>

#include "root/library/tracks.h"
#include "root/work/work.h"

struct library;
struct series;
struct jobs;

/* One walk of scan: which of the tracks it found. */
struct walk {
    char *root;
    int64_t generation;
    int64_t *ids;
    size_t count, room;
};

struct store {
    struct work *work;
    struct library *library;
    struct jobs *jobs;
    struct walk *walks;    /* by root, as configured */
    struct series *series; /* NULL: it can't be opened; the music goes on without */
    int batch_open, series_due;
    int64_t batch_t;
    int64_t started_ns, progress_ns;
    int progress_due;
    unsigned aired; /* segments that went to the history */
    char *maker;    /* of what airs now */
};

/* Brings the brain in step after a track changed, and has the progress told. */
void store_announce(struct store *s, int64_t track);
/* The reason is kept, logged and announced. */
void store_set_failed(struct store *s, int64_t track, const char *reason);
/* Opens a track's file, and notes what the attempt shows: that it is gone, or no file to play. The descriptor
 * with *st; -1 with *cause. */
int store_open_media(struct store *s, const struct track_file *file, struct stat *st, char **cause);
int store_is_below(const char *root, const char *path);
int64_t store_mtime_ns(const struct stat *st);
int store_unchanged(const struct track_file *file, const struct stat *st);
int64_t store_body_track(const json_t *body); /* 0: none */

/* store_scan.c */
void store_on_found(struct store *s, const json_t *body);
void store_on_scanned(struct store *s, const json_t *body);
/* store_analyse.c */
void store_on_job(struct store *s, uint32_t seq);
void store_on_features(struct store *s, const json_t *body);
void store_on_failed(struct store *s, const json_t *body);
void store_on_job_lost(struct store *s, const json_t *body);
void store_on_art(struct store *s, const uint8_t *bytes, size_t len);
void store_on_wave(struct store *s, const uint8_t *bytes, size_t len);

/* store_series.c */
void store_series_open(struct store *s);
void store_series_close(struct store *s);
void store_on_series(struct store *s, const uint8_t *bytes, size_t len);
void store_on_series_get(struct store *s, uint32_t seq, const json_t *body);
void store_on_ledger_drop(struct store *s, const json_t *body);
void store_on_ledger_get(struct store *s, uint32_t seq, const json_t *body);
void store_on_learned(struct store *s, const json_t *body);
void store_on_learned_get(struct store *s, uint32_t seq, const json_t *body);
/* Some milliseconds of what is to be done when nothing else is. */
void store_series_work(struct store *s);
/* WIRE_ERROR */
void store_reply_error(struct store *s, uint32_t seq, const char *text);

#endif
