/* library: what the station knows of its music, in one SQLite file of the state directory.
 *
 * One process at a time works with it (during a swap two, for a moment; SQLite's locks cover that). The
 * concepts have headers of their own: tracks.h (files and their fate), features.h (what analysis found),
 * art.h, history.h. Functions return -1 when the database fails, which is logged here once; a caller goes on
 * without (the music never stops), and closes when library_broken says that the file is damaged: it is then
 * set aside (library.db.broken-N), and the next library_open begins anew. Ids given in the new one differ
 * from all ids of the old, so nobody takes one track for another. */
#ifndef FOREVER_ROOT_LIBRARY_LIBRARY_H
#define FOREVER_ROOT_LIBRARY_LIBRARY_H

struct library;

/* dir: the state directory, which exists; NULL keeps all in memory. 0, or -1 with an owned *cause. */
int library_open(struct library **out, const char *dir, char **cause);
void library_close(struct library *library); /* NULL is fine */
/* The file is damaged: close, and open again. */
int library_broken(const struct library *library);
/* Everything between the two is written at once. No nesting; a commit that fails has undone it all. */
int library_begin(struct library *library);
int library_commit(struct library *library);

#endif
