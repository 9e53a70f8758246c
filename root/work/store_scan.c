/* What scan tells the store: files found, and that a walk is complete. */
#include "root/work/store.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/library.h"
#include "root/track.h"

static struct walk *find_walk(struct store *s, const json_t *body)
{
    char *root = path_from_text(json_str_or(body, "root", "", NULL));
    struct walk *walk = NULL;
    for (size_t i = 0; i < s->work->library_count && !walk; i++) {
        if (!strcmp(s->walks[i].root, root)) walk = &s->walks[i];
    }
    free(root);
    if (!walk) return NULL;
    int64_t generation = json_int_or(body, "generation", 0, 0, INT64_MAX, NULL);
    if (walk->generation != generation) {
        walk->generation = generation;
        walk->count = 0;
    }
    return walk;
}

static void walk_add(struct walk *walk, int64_t id)
{
    if (walk->count == walk->room) {
        walk->room = walk->room ? walk->room * 2 : 256;
        walk->ids = xrealloc(walk->ids, walk->room * sizeof *walk->ids);
    }
    walk->ids[walk->count++] = id;
}

void store_on_found(struct store *s, const json_t *body)
{
    struct walk *walk = find_walk(s, body);
    const json_t *files = json_object_get(body, "files"), *item;
    size_t i, count = json_array_size(files), changed = 0;
    if (!walk || !count || library_begin(s->library)) return;
    int64_t *ids = xcalloc(count, sizeof *ids);
    json_array_foreach(files, i, item)
    {
        int bad = 0;
        char *path = path_from_text(json_str_or(item, "path", "", &bad));
        int64_t size = json_int_or(item, "size", 0, 0, INT64_MAX, &bad), id;
        int64_t time_ns = json_int_or(item, "mtime_ns", 0, INT64_MIN, INT64_MAX, &bad);
        enum tracks_change change;
        if (!bad && store_is_below(walk->root, path) &&
            !tracks_found(s->library, walk->root, path, size, time_ns, &id, &change)) {
            walk_add(walk, id);
            if (change != TRACKS_SAME) s->progress_due = 1;
            if (change == TRACKS_CHANGED || change == TRACKS_BACK) ids[changed++] = id;
        }
        free(path);
    }
    if (!library_commit(s->library)) {
        for (i = 0; i < changed; i++)
            store_announce(s, ids[i]);
    }
    free(ids);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* What a whole walk did not find is gone. */
void store_on_scanned(struct store *s, const json_t *body)
{
    struct walk *walk = find_walk(s, body);
    if (!walk) return;
    const char *error = json_str_or(body, "error", NULL, NULL);
    if (error) {
        log_warn("store", "%s: %s: its tracks stay as they are", walk->root, error);
        return;
    }
    if (walk->count < (size_t)json_int_or(body, "files", 0, 0, INT64_MAX, NULL)) {
        log_warn("store", "%s: not all of the walk arrived: its tracks stay as they are", walk->root);
        return;
    }
    if (walk->count) qsort(walk->ids, walk->count, sizeof *walk->ids, by_value);
    int64_t ids[500], after = 0;
    int n;
    size_t gone = 0, at = 0;
    while ((n = tracks_of_root(s->library, walk->root, after, ids, 500)) > 0) {
        for (int i = 0; i < n; i++) {
            while (at < walk->count && walk->ids[at] < ids[i])
                at++;
            if (at < walk->count && walk->ids[at] == ids[i]) continue;
            if (!tracks_set_gone(s->library, ids[i])) store_announce(s, ids[i]);
            gone++;
        }
        after = ids[n - 1];
    }
    struct tracks_count count;
    if (tracks_count(s->library, &count)) return;
    log_info("store", "%s: %zu files found, %zu gone; %lld analysed, %lld to do, %lld failed", walk->root,
             walk->count, gone, (long long)count.analysed, (long long)count.pending, (long long)count.failed);
    if (!count.total) log_warn("store", "%s: no music there yet; it is watched", walk->root);
    walk->count = 0;
    s->progress_due = 1;
}
