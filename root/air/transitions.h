/* transitions: what airs between two tracks, counted for /metrics: how they were joined, and what their
 * certificates said. Names come from the studio; each list has room for a few, the rest is "other". */
#ifndef FOREVER_ROOT_AIR_TRANSITIONS_H
#define FOREVER_ROOT_AIR_TRANSITIONS_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define TRANSITIONS_NAMES      16
#define TRANSITIONS_NAME_BYTES 32

struct evbuffer;

struct transitions_tally {
    struct {
        char name[TRANSITIONS_NAME_BYTES];
        uint64_t count;
    } rows[TRANSITIONS_NAMES];
    size_t used; /* the last one possible is "other" */
};

struct transitions {
    struct transitions_tally techniques, rules;
    uint64_t passed, failed, tries;
};

/* Every series is there from the start, at 0; rules as they first fail. */
void transitions_init(struct transitions *t);
/* A segment that airs; one of a single track, or of live input, is none of ours. */
void transitions_note(struct transitions *t, const json_t *segment);
void transitions_write(const struct transitions *t, struct evbuffer *out);

#endif
