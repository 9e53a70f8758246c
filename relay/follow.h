/* follow: what a link's records do to the ring and the pacer of a relay (docs/PROTOCOL.md, "The link").
 *
 * The ring holds what the relay knows of one branch of one station. HELLO says how the link's frames join it:
 * they go on at its head, or it is begun anew. What has aired here is never taken back; frames that come
 * again are skipped. */
#ifndef FOREVER_RELAY_FOLLOW_H
#define FOREVER_RELAY_FOLLOW_H
#include <stdint.h>

#include "common/link.h"
#include "common/pacer.h"
#include "common/ring.h"
#include "common/station.h"

struct follow {
    /* set by the caller, for each link anew */
    struct ring *ring;
    struct pacer *pacer;
    int asked_from; /* the request said what is held */
    /* by follow_record */
    int greeted;                      /* HELLO has come */
    int begun_anew;                   /* it did not join what was held */
    unsigned kbps;                    /* HELLO's */
    uint64_t root_air;                /* HELLO's */
    uint64_t frames;                  /* taken */
    double root_lead_s;               /* HELLO's */
    struct station_identity identity; /* HELLO's, valid as long as its record */
};

enum follow_result {
    FOLLOW_ON,
    FOLLOW_RATE,   /* HELLO with another bit rate, in kbps: give a ring of that rate and the same record again
                    */
    FOLLOW_BROKEN, /* *cause says which rule was broken: end the link */
};
enum follow_result follow_record(struct follow *follow, const struct link_record *record, char **cause);

#endif
