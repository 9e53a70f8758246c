/* mem: allocation that never returns NULL.
 *
 * A worker that runs out of memory ends (its supervisor starts another). In air and relay, memory whose
 * size follows a connection is taken with plain malloc and checked: a failure is a 503 for that one. */
#ifndef FOREVER_COMMON_MEM_H
#define FOREVER_COMMON_MEM_H
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* printf into fresh memory; the caller frees. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sets *cause (when cause is not NULL) to an owned message, replacing none: the pattern for expected
 * failures is `return cause_set(cause, "...")`, which is always -1. The caller frees *cause. */
int cause_set(char **cause, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
