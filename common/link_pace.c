#include "common/link_pace.h"

#include <math.h>
#include <stddef.h>

#include "common/mp3.h"

#define FRAMES_PER_S ((double)MP3_RATE / MP3_FRAME_SAMPLES)
#define TOKENS_S     0.2                  /* of the budget, kept while nobody asks */
#define BEGIN_MOST   (4 * LINK_PACE_MOST) /* frames that a link owes at most */
#define DEBT_S       60.0                 /* of the budget at most that beginnings take in advance */
#define SOUND_SHARE  0.98                 /* of what a link in step costs, at least */

static void refill(struct link_budget *b, int64_t now_ns)
{
    double seconds = (double)(now_ns - b->ns) * 1e-9, most = b->bytes_per_s * TOKENS_S;
    b->tokens = seconds > 0 && b->ns ? fmin(b->tokens + seconds * b->bytes_per_s, most) : b->tokens;
    b->ns = now_ns;
}

void link_pace_begin(struct link_pace *p, struct link_budget *budget, unsigned kbps, double times,
                     int64_t now_ns)
{
    *p = (struct link_pace){.times = times,
                            .budget = budget && budget->bytes_per_s > 0 ? budget : NULL,
                            .frame_bytes = kbps * 1000.0 / 8 / FRAMES_PER_S,
                            .ns = now_ns};
}

static void set_filling(struct link_pace *p, int filling)
{
    if (p->budget && filling && !p->filling) p->budget->filling++;
    if (p->budget && !filling && p->filling) p->budget->filling--;
    p->filling = filling;
}

void link_pace_set(struct link_pace *p, double times)
{
    if (times < p->times) p->allowance = 0;
    p->times = times;
}

void link_pace_end(struct link_pace *p)
{
    set_filling(p, 0);
}

/* What the budget lends of so many frames. */
static double borrow(struct link_pace *p, double frames, double seconds, int64_t now_ns)
{
    struct link_budget *b = p->budget;
    if (!b) return frames;
    refill(b, now_ns);
    double share = b->bytes_per_s * seconds / (b->filling ? b->filling : 1);
    double bytes = fmin(frames * p->frame_bytes, fmin(share, fmax(b->tokens, 0)));
    b->tokens -= bytes;
    return bytes / p->frame_bytes;
}

int link_pace_fills(const struct link_pace *p)
{
    return p->filling;
}

uint64_t link_pace_allow(struct link_pace *p, uint64_t lacking, int64_t now_ns)
{
    double seconds = (double)(now_ns - p->ns) * 1e-9, most = fmin((double)lacking, LINK_PACE_MOST);
    if (seconds < 0) seconds = 0;
    p->ns = now_ns;
    p->allowance = fmin(p->allowance + seconds * FRAMES_PER_S, LINK_PACE_MOST);
    set_filling(p, p->times > 1 && lacking > 2 * (uint64_t)LINK_PACE_MOST);
    double more = fmin((p->times - 1) * FRAMES_PER_S * seconds, most - p->allowance);
    if (p->times > 1 && more > 0) {
        double around = fmin(more, p->around);
        p->around -= around;
        p->allowance += borrow(p, more - around, seconds, now_ns);
    }
    return p->allowance > 0 ? (uint64_t)p->allowance : 0;
}

static void take_from_budget(struct link_pace *p, double frames)
{
    if (!p->budget || frames <= 0) return;
    p->budget->tokens = fmax(p->budget->tokens - frames * p->frame_bytes, -DEBT_S * p->budget->bytes_per_s);
}

double link_pace_frames(const struct link_pace *p, size_t bytes)
{
    return (double)bytes / p->frame_bytes;
}

void link_pace_begun(struct link_pace *p, double frames, double owed)
{
    take_from_budget(p, frames - owed); /* what is owed is borrowed bit by bit */
    p->allowance = -fmin(owed, BEGIN_MOST);
}

void link_pace_spent(struct link_pace *p, double frames)
{
    p->allowance -= frames;
    if (p->allowance >= -BEGIN_MOST) return;
    take_from_budget(p, -BEGIN_MOST - p->allowance);
    p->allowance = -BEGIN_MOST;
}

void link_pace_around(struct link_pace *p, double frames)
{
    if (p->filling) p->around = fmin(p->around + frames, LINK_PACE_MOST);
}

/* What the beginning brings beside the burst: half of the linger, the link's stay being the other. */
static double beside_burst_s(double linger_s)
{
    return fmin(linger_s / 2 - LINK_PACE_WAYS_S, LINK_START_S);
}

double link_pace_less(double linger_s)
{
    return LINK_START_S - beside_burst_s(linger_s);
}

double link_pace_stay(double linger_s)
{
    return SOUND_SHARE * fmax(linger_s - LINK_PACE_WAYS_S - beside_burst_s(linger_s), 0);
}
