/* link_pace: how fast a link may run ahead of what the air asks for. Pure: the caller brings the clock.
 *
 * A link may send what airs (one times the mount's rate) and, while its peer lacks some of the lead, so much
 * more that it fills at `times` the rate. What is above one times is shared by all links of a node in a
 * budget: each that fills gets an equal part, so that together they stay under it. What a link must send at
 * once (its beginning) is never held up; the budget pays for it before it lends again, and the link itself
 * for what of it lay ahead of the air: it has then sent no more than if it had filled from the air on. */
#ifndef FOREVER_COMMON_LINK_PACE_H
#define FOREVER_COMMON_LINK_PACE_H
#include <stddef.h>
#include <stdint.h>

#define LINK_PACE_MOST 64.0 /* frames: what a link that was held up may send at once afterwards */

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
    double frame_bytes, allowance;
    int64_t ns;
    int filling;
};

/* budget is borrowed, NULL for none; zeroed but for bytes_per_s before its first use. */
void link_pace_begin(struct link_pace *pace, struct link_budget *budget, unsigned kbps, double times,
                     int64_t now_ns);
/* Its beginning was sent: so many frames, `ahead` of them ahead of the air, or as many bytes that are none.
 */
void link_pace_begun(struct link_pace *pace, uint64_t frames, double ahead);
/* Bytes beside frames as so many frames. */
double link_pace_frames(const struct link_pace *pace, size_t bytes);
/* 1 or more. What it did not use at a faster pace is not made up for. */
void link_pace_set(struct link_pace *pace, double times);
void link_pace_end(struct link_pace *pace);
/* How many frames it may send now, of `lacking` that it could. */
uint64_t link_pace_allow(struct link_pace *pace, uint64_t lacking, int64_t now_ns);
/* So many were sent, more than allowed where they could not wait. */
void link_pace_spent(struct link_pace *pace, double frames);

#endif
