/* link_pace: how fast a link may run ahead of what the air asks for. Pure: the caller brings the clock.
 *
 * A link may send what airs (one times the mount's rate) and, while its peer lacks some of the lead, so much
 * more that it fills at `times` the rate. What is above one times is shared by all links of a node in a
 * budget: each that fills gets an equal part, so that together they stay under it. What a link must send at
 * once (its beginning) is never held up; the budget pays for it before it lends again, and the link itself
 * for what of it lay ahead of the air: it has then sent no more than if it had filled from the air on.
 *
 * What a visit of T seconds may cost the parent is its burst, 2 T and the relay's linger L, in seconds of the
 * mount's rate (docs/PROTOCOL.md). By t seconds it has sent burst + max(c + t, 2 t), or burst + c + 2 t where
 * c is below 0, marks and heads and all; c, which the beginning brings beside the burst, is LINK_START_S less
 * what the relay asks for (link_pace_less). When the visit ends the word that nobody listens takes d seconds
 * to the parent; that the link ends, after another link_pace_stay, e seconds. The promise holds as long as d
 * + e is at most LINK_PACE_WAYS_S, for any T and L. */
#ifndef FOREVER_COMMON_LINK_PACE_H
#define FOREVER_COMMON_LINK_PACE_H
#include <stddef.h>
#include <stdint.h>

#define LINK_START_S     1.5 /* ahead of the air: enough to start, and as much to spare */
#define LINK_LESS_MAX_S  3.0 /* of what a relay may ask for */
#define LINK_PACE_WAYS_S 0.5
#define LINK_PACE_MOST   64.0 /* frames: what a link that was held up may send at once afterwards */

struct link_budget {
    double bytes_per_s; /* 0: no limit */
    /* private */
    double tokens;
    int64_t ns;
    unsigned filling;
};

struct link_pace {
    /* private */
    double times; /* of the mount's rate while it fills */
    struct link_budget *budget;
    double frame_bytes, allowance, around;
    int64_t ns;
    int filling;
};

/* budget is borrowed, NULL for none; zeroed but for bytes_per_s before its first use. */
void link_pace_begin(struct link_pace *pace, struct link_budget *budget, unsigned kbps, double times,
                     int64_t now_ns);
/* Its beginning was sent: so many frames (or bytes that are none), of which it owes `owed`. */
void link_pace_begun(struct link_pace *pace, double frames, double owed);
/* Bytes beside frames as so many frames. */
double link_pace_frames(const struct link_pace *pace, size_t bytes);
/* 1 or more. What it did not use at a faster pace is not made up for, nor what it owed: at the rate alone it
 * stays where it is. */
void link_pace_set(struct link_pace *pace, double times);
void link_pace_end(struct link_pace *pace);
/* 1 when it fills. */
int link_pace_fills(const struct link_pace *pace);
/* How many frames it may send now, of `lacking` that it could. */
uint64_t link_pace_allow(struct link_pace *pace, uint64_t lacking, int64_t now_ns);
/* So many were sent, more than allowed where they could not wait. */
void link_pace_spent(struct link_pace *pace, double frames);
/* So much was put around frames, as so many of them. A link that fills makes up for that by filling less
 * fast; no other does: the rate alone must keep the lead. */
void link_pace_around(struct link_pace *pace, double frames);

/* For a relay with such a linger (0 or more), in seconds: how much less its link's beginning is to bring, 0
 * to LINK_START_S + LINK_PACE_WAYS_S; how long the link stays when nobody listens there any more. */
double link_pace_less(double linger_s);
double link_pace_stay(double linger_s);

#endif
