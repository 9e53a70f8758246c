/* progress: how far the analysis is, as the store tells it, and when that is worth a line of the log. */
#ifndef FOREVER_ROOT_AIR_PROGRESS_H
#define FOREVER_ROOT_AIR_PROGRESS_H
#include <stdint.h>
#include <jansson.h>

/* Zeroed before the first. */
struct progress {
    json_t *last; /* the body of the last WIRE_PROGRESS; NULL before */
    int64_t logged_ns;
};

/* Takes what the store tells (body is borrowed). 1 when it was logged: a line at the beginning, at the end,
 * and now and then in between. */
int progress_take(struct progress *progress, json_t *body, int64_t now_ns);
void progress_clear(struct progress *progress);

#endif
