#include "root/work/live_body.h"

#include <string.h>

#define DIGITS_MAX 8 /* of a chunk's size */

void live_body_init(struct live_body *body, int chunked, int64_t length)
{
    *body = (struct live_body){.state = chunked ? LIVE_BODY_SIZE : LIVE_BODY_DATA,
                               .chunked = chunked,
                               .left = length < 0 ? UINT64_MAX : (uint64_t)length};
    if (chunked) body->left = 0;
    if (!chunked && length == 0) body->state = LIVE_BODY_ENDED;
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a size line. */
static void size_byte(struct live_body *b, uint8_t c)
{
    int digit = hex(c);
    if (c == '\n') {
        b->state = !b->digits ? LIVE_BODY_BROKEN : b->left ? LIVE_BODY_DATA : LIVE_BODY_ENDED;
        b->digits = b->extension = 0;
    } else if (b->extension || c == '\r' || c == ';' || c == ' ' || c == '\t') {
        b->extension = 1; /* whatever it says */
    } else if (digit >= 0 && b->digits < DIGITS_MAX) {
        b->left = b->left << 4 | (uint64_t)digit;
        b->digits++;
    } else {
        b->state = LIVE_BODY_BROKEN;
    }
}

size_t live_body_take(struct live_body *b, uint8_t *bytes, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len && b->state < LIVE_BODY_ENDED;) {
        if (b->state == LIVE_BODY_DATA) {
            size_t n = len - i < b->left ? len - i : (size_t)b->left;
            memmove(bytes + kept, bytes + i, n);
            kept += n;
            i += n;
            if (b->left != UINT64_MAX) b->left -= n;
            if (!b->left) b->state = b->chunked ? LIVE_BODY_CLOSE : LIVE_BODY_ENDED;
        } else if (b->state == LIVE_BODY_CLOSE) {
            uint8_t c = bytes[i++];
            if (c == '\n')
                b->state = LIVE_BODY_SIZE;
            else if (c != '\r')
                b->state = LIVE_BODY_BROKEN;
        } else {
            size_byte(b, bytes[i++]);
        }
    }
    return kept;
}
