/* admission: whom a relay takes first. Pure; the caller brings the clock.
 *
 * Who comes with a ticket of the root's is taken while there is a place. Some places are kept for them: who
 * comes without (a playlist's second address, a link somebody shared) is taken below a soft threshold, and
 * sent elsewhere from there on until some have left. The threshold holds only while the root is heard of, as
 * nobody else gives out tickets.
 *
 * A ticket is used when its listener gets a place, once. Tickets of the epoch before the present one are good
 * until their time is over, so that a root that starts anew takes nobody's place away. */
#ifndef FOREVER_RELAY_ADMISSION_H
#define FOREVER_RELAY_ADMISSION_H
#include <stdint.h>
#include <jansson.h>

struct admission;

struct admission *admission_new(unsigned max_listeners);
void admission_free(struct admission *admission); /* NULL is fine */

/* The root's answer to a report: the epoch, its key of TICKET_KEY_BYTES, the root's clock (common/ticket's),
 * the lowest number that may still be good. */
void admission_told(struct admission *admission, uint32_t epoch, const unsigned char *key, uint32_t clock,
                    uint64_t floor, int64_t now_ns);
/* The same as it comes, its member "ticket"; NULL: it has none. */
void admission_answered(struct admission *admission, const json_t *ticket, int64_t now_ns);

enum admission_verdict {
    ADMISSION_TICKET,   /* comes with a good ticket */
    ADMISSION_ROOM,     /* without one, and there is room */
    ADMISSION_ELSEWHERE /* without one, and the places left are for those who have one */
};
/* ticket: as it stands in the address, or NULL. listening: now, at this relay. */
enum admission_verdict admission_judge(struct admission *admission, const char *ticket, unsigned listening,
                                       int64_t now_ns);
/* The listener has its place: its ticket is used. One that is of no use is counted, unless its listener only
 * resumes. */
void admission_taken(struct admission *admission, const char *ticket, int resumes, int64_t now_ns);

struct admission_counts { /* of the present epoch */
    uint32_t epoch;
    uint64_t floor, from_floor, redeemed, expired, refused;
};
/* 0, or -1 before there is an epoch. */
int admission_counts(const struct admission *admission, struct admission_counts *out);
/* {"epoch","floor","from_floor","redeemed","expired","refused"} for the report; NULL before there is an
 * epoch. A new reference. */
json_t *admission_json(const struct admission *admission);

#endif
