/* Listeners that a node wants to be rid of, without cutting anybody's music: one that resumes is reset and
 * asks for the next byte, which another node then gives it; one that can't is let go between two frames. */
#include "common/fanout_internal.h"

#include "common/mp3.h"

static uint32_t slots(const struct fanout *f)
{
    return f->chunk_count * FANOUT_CHUNK_SLOTS;
}

unsigned fanout_kind_count(const struct fanout *f, int resumable)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < slots(f); i++) {
        const struct listener *l = fanout_slot(f, i);
        count += l->fd >= 0 && l->resumable == !!resumable;
    }
    return count;
}

static int is_between_frames(const struct fanout *f, const struct listener *l)
{
    return !l->blocked && !l->pending && !l->held &&
           mp3_frame_offset(f->kbps, mp3_frame_at(f->kbps, l->cursor)) == l->cursor;
}

unsigned fanout_part(struct fanout *f, unsigned most, int resumable)
{
    unsigned count = 0;
    for (uint32_t looked = 0, all = slots(f); looked < all && count < most; looked++) {
        uint32_t index = f->part_at++ % all;
        const struct listener *l = fanout_slot(f, index);
        if (l->fd < 0 || l->resumable != !!resumable) continue;
        if (!resumable && !is_between_frames(f, l)) continue;
        fanout_end_listener(f, index, FANOUT_PARTED, resumable);
        count++;
    }
    return count;
}

void fanout_cut(struct fanout *f)
{
    for (uint32_t i = 0, all = slots(f); i < all; i++) {
        if (fanout_slot(f, i)->fd >= 0) fanout_end_listener(f, i, FANOUT_PARTED, 1);
    }
}
