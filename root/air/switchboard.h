/* switchboard: joins the workers' channels by the wire table (root/wire.h).
 *
 * An end is one worker's channel. What an end says is checked against the table (kind, sender, size) and then
 * handed to air, or passed on unread to the end that serves the role it is meant for. A request is given a
 * number of the switchboard's own, so that the reply finds its way back whatever the workers count; it waits
 * for a role that is down, is asked again (once) of the next worker when the one that had it died, and is
 * answered with WIRE_ERROR when its deadline passes. So the replacement of a worker is not seen by the
 * others, only its absence is.
 *
 * Bounds: requests under way per end, and the channels' own queues. An end whose messages nobody waits for
 * (scan, analyse) is not read while its destination's queue is not empty. An end that breaks the table, fills
 * its queue, or leaves SWITCHBOARD_MISSES requests in a row unanswered is reported lost. */
#ifndef FOREVER_ROOT_AIR_SWITCHBOARD_H
#define FOREVER_ROOT_AIR_SWITCHBOARD_H
#include "root/wire.h"

struct event_base;
struct switchboard;
struct switch_end;

#define SWITCHBOARD_PENDING_MAX 64 /* requests under way per end */
#define SWITCHBOARD_MISSES      3

struct switchboard_conf {
    /* An event for air. body is NULL for binary rows, else borrowed. Returning -1 with *cause says that the
     * worker broke the rules: it is reported lost. */
    int (*to_air)(void *context, struct switch_end *end, const struct wire_row *row,
                  const struct msg *message, json_t *body, char **cause);
    /* A message was passed on by `from` to `to`; to is NULL when a reply came too late to be delivered. */
    void (*passed)(void *context, struct switch_end *from, struct switch_end *to, const struct wire_row *row,
                   const struct msg *message);
    /* The end can't go on: cause NULL when it was closed at the other side. Nothing is read or sent any more;
     * the owner removes it, now or later. Always called from the loop, never from within a call of yours. */
    void (*lost)(void *context, struct switch_end *end, const char *cause);
    void *context;
};

struct switchboard *switchboard_new(struct event_base *base, const struct switchboard_conf *conf);
/* Removes what is left; pending requests of air end with an error. */
void switchboard_free(struct switchboard *board);

/* Takes over the channel's descriptor. */
struct switch_end *switchboard_add(struct switchboard *board, enum role role, int fd, void *tag);
/* Closes the channel. Fine from within any callback. */
void switchboard_remove(struct switch_end *end);
/* From now on this end serves its role; what waited for the role is sent. NULL end: nobody does. */
void switchboard_serve(struct switchboard *board, enum role role, struct switch_end *end);
struct switch_end *switchboard_serving(const struct switchboard *board, enum role role);
void *switch_end_tag(const struct switch_end *end);
int64_t switch_end_heard_ns(const struct switch_end *end); /* CLOCK_BOOTTIME of its last message */

/* Air's own events; consume body. -1 when the end is dead or nobody serves the role. */
int switchboard_tell(struct switch_end *end, enum wire_type type, json_t *body);
/* The same of any body (the caller's), with a descriptor that stays the caller's. */
int switchboard_hand(struct switch_end *end, enum wire_type type, const void *body, size_t len, int fd);
int switchboard_send(struct switchboard *board, enum role role, enum wire_type type, json_t *body);
/* Air's own request (consumes body): replied is called exactly once, later; it may ask again but cancel
 * nothing else; message is NULL when there was an error, which says why. Returns a handle for cancelling (no
 * callback follows then), never 0. */
typedef void (*switchboard_replied)(void *context, const struct msg *message, const char *error);
uint32_t switchboard_request(struct switchboard *board, enum wire_type type, json_t *body,
                             switchboard_replied replied, void *context);
void switchboard_cancel(struct switchboard *board, uint32_t handle);

struct switchboard_counts {
    uint64_t events, requests, timeouts, late, dropped, rule_breaks;
};
const struct switchboard_counts *switchboard_counts(const struct switchboard *board);

#endif
