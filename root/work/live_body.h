/* live_body: what a source sends, without HTTP's framing: chunks, a length, or neither. Pure. */
#ifndef FOREVER_ROOT_WORK_LIVE_BODY_H
#define FOREVER_ROOT_WORK_LIVE_BODY_H
#include <stddef.h>
#include <stdint.h>

enum live_body_state {
    LIVE_BODY_DATA,  /* `left` bytes of content follow */
    LIVE_BODY_SIZE,  /* a chunk's size, up to the end of its line */
    LIVE_BODY_CLOSE, /* the line end behind a chunk */
    LIVE_BODY_ENDED,
    LIVE_BODY_BROKEN
};

struct live_body {
    enum live_body_state state;
    int chunked, digits, extension;
    uint64_t left;
};

/* length: of the whole; -1: to the end of the connection. */
void live_body_init(struct live_body *body, int chunked, int64_t length);
/* Takes the framing out of `len` bytes in place: how many are left. */
size_t live_body_take(struct live_body *body, uint8_t *bytes, size_t len);

#endif
