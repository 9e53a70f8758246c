/* elsewhere: the nodes this relay sends listeners on to, as the root told last.
 *
 * The root says how many each may be sent before its next word: what is free there by what it last heard, and
 * less, as others send listeners there, too. So a relay that has to move thousands does not fill a small one
 * before that is known, nor when the root is gone. */
#ifndef FOREVER_RELAY_ELSEWHERE_H
#define FOREVER_RELAY_ELSEWHERE_H
#include <stddef.h>
#include <jansson.h>

#define ELSEWHERE_MAX       4
#define ELSEWHERE_FRESH_S   6           /* so old may the root's word be for the root to be there */
#define ELSEWHERE_UNLIMITED 1000000000u /* room that is not counted: an older root says nothing of it */

struct elsewhere;

struct elsewhere *elsewhere_new(void);
void elsewhere_free(struct elsewhere *elsewhere);
/* In the place of what was told before: `count` addresses of streams, of which those that could not go into a
 * header or a playlist are left out; rooms NULL: not limited; a room of 0: it takes whom all the others
 * can't, which is what the root says of itself. */
void elsewhere_set(struct elsewhere *elsewhere, const char *const *urls, const unsigned *rooms, size_t count);
/* The same from an answer's "elsewhere" and "elsewhere_room"; either may be missing (NULL). */
void elsewhere_read(struct elsewhere *elsewhere, const json_t *urls, const json_t *rooms);

/* The i-th of that scheme (secure: https), whatever its room. 0, or -1 when there are no more. */
int elsewhere_name(const struct elsewhere *elsewhere, int secure, size_t i, char *location, size_t size);
/* How many may be sent to all of them together, at most ELSEWHERE_UNLIMITED. */
unsigned elsewhere_room(const struct elsewhere *elsewhere);

/* Where none has room: */
enum elsewhere_need {
    ELSEWHERE_CAN_WAIT, /* nowhere, for it is served here until some has */
    ELSEWHERE_TRY, /* to each in turn, which send it on when they are full; not to the root, unless alone */
    ELSEWHERE_MUST_GO /* to the root; while that is gone as ELSEWHERE_TRY */
};
/* Where a listener goes: the first with room, which counts it. 0, or -1: nowhere. probe: it is not counted.
 */
int elsewhere_send(struct elsewhere *elsewhere, int secure, enum elsewhere_need need, int probe,
                   char *location, size_t size);

#endif
