/* again: what aired, rendered again from the station's history: the same frames, to the byte.
 *
 * The history keeps each segment with its whole plan and the hashes of the files in it. Started at any frame
 * an output gives what one that never stopped would have given (output.h), so what lies a little before and
 * after the wanted frames is all that is needed beside them. Live input is not kept, so where it aired
 * nothing can be rendered; neither across a place where the programme began anew, as then nothing led up to
 * it. */
#ifndef FOREVER_ROOT_WORK_AGAIN_H
#define FOREVER_ROOT_WORK_AGAIN_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "root/work/render_file.h"

struct again {
    const char *state;      /* with the database */
    char *const *libraries; /* where a file that moved is looked for, by its name */
    size_t library_count;
    struct render_file file; /* first and frames: what of the air */
};

/* What is told of it once it is done. */
struct again_told {
    json_t *segments; /* that sound in it, in order, their tracks with "path"; owned */
    char
        *maker; /* where other programs than this one made some of them: the first such; owned, may be NULL */
};

enum again_result {
    AGAIN_DONE,
    AGAIN_UNKNOWN, /* the history does not hold all of it */
    AGAIN_REFUSED, /* it can't be rendered: live input, a new beginning */
    AGAIN_FILES,   /* a file is missing or has changed: *cause has a line for each */
    AGAIN_FAILED,
};
/* *cause when it is not done. *told is filled when it is. */
enum again_result again_render(const struct again *again, struct again_told *told, char **cause);

#endif
