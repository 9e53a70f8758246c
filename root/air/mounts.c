#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/air/air.h"
#include "root/air/mounts_internal.h"

#define FILL_RATE  4.0
#define AHEAD_S    6.0  /* of the air that a waking mount is given at once */
#define BACK_S     0.5  /* that it begins before the burst */
#define BACK_MAX_S 31.0 /* a burst is 30 s at most */
#define SOUND_S    0.5  /* ahead of the air for the first listener to start */
#define SILENT_S   15   /* a coder that has orders and says nothing for so long hangs */

static uint64_t frames_of(double seconds)
{
    return (uint64_t)ceil(seconds * MP3_RATE / MP3_FRAME_SAMPLES);
}

static const struct ring *lead_of(const struct mount *m)
{
    return m->mounts->air->ring;
}

/* What is heard of it, and by whom */

static unsigned heard_by(const struct mount *m)
{
    const struct fanout_counts *c = fanout_counts(m->fanout);
    return (unsigned)(c->listening + c->carriers) + station_waiting(m->station) + link_server_count(m->link);
}

/* Frames below this can be encoded for good. A frame looks ahead into the next one's block, and at a fork the
 * block at the main mount's head is still the old branch's: its beginning is the same, so the frame before it
 * comes out right, but an encoder that has taken it would go on wrong. */
static uint64_t settled(const struct mount *m)
{
    uint64_t head = ring_head(lead_of(m));
    return head ? head - 1 : 0;
}

int mount_playable(const struct mount *m)
{
    const struct air *air = m->mounts->air;
    if (m->index == 0) return air_has_music(air);
    uint64_t head = ring_head(m->ring), enough = air_position(air) + frames_of(SOUND_S);
    uint64_t most = settled(m);
    /* one that wakes catches up many times faster than it is heard: the first piece is enough */
    if (m->awake && m->catching_up && head >= ring_tail(m->ring) + frames_of(SOUND_S)) return 1;
    return m->awake && head > ring_tail(m->ring) && head >= (enough < most ? enough : most);
}

/* Orders to the coder */

static int tell(struct mount *m, uint64_t until)
{
    json_t *body = json_pack("{s:i,s:I,s:I,s:I,s:I}", "mount", (int)m->index, "wake", (json_int_t)m->wake,
                             "branch", (json_int_t)ring_branch(m->ring), "next",
                             (json_int_t)ring_head(m->ring), "until", (json_int_t)until);
    struct workers *workers = m->mounts->air->workers;
    if (workers) return switchboard_send(workers_switchboard(workers), ROLE_CODER, WIRE_ENCODE, body);
    json_decref(body);
    return -1;
}

/* How far the coder may go: what is settled, as far as there is room, and no faster than the pace of a fill.
 */
static uint64_t edge_of(const struct mount *m)
{
    uint64_t edge = settled(m), room = ring_floor(m->ring) + ring_capacity(m->ring);
    uint64_t paced =
        m->paced_from + (uint64_t)(FILL_RATE * (double)mp3_ns_to_frame(clock_boot_ns() - m->paced_ns));
    if (edge > room) edge = room;
    return edge < paced ? edge : paced;
}

static void give(struct mount *m)
{
    if (!m->awake) return;
    uint64_t edge = edge_of(m);
    if (m->told && edge <= m->until) return;
    /* a second at a time, unless it stands still for want of it */
    if (m->told && edge < m->until + frames_of(1) && ring_head(m->ring) < m->until) return;
    if (edge < ring_head(m->ring)) edge = ring_head(m->ring);
    /* since when it is waited for */
    if (!m->told || ring_head(m->ring) >= m->until) m->ordered_ns = clock_boot_ns();
    m->told = tell(m, edge) == 0;
    if (m->told) m->until = edge;
}

/* Where a mount begins that has nothing to go on with. */
static uint64_t beginning(const struct mount *m, double burst_s)
{
    uint64_t air = air_position(m->mounts->air);
    uint64_t back = frames_of(fmin(fmax(burst_s, AIR_BURST_S) + BACK_S, BACK_MAX_S));
    return air > back ? air - back : 0;
}

/* Makes its ring one that frames can be appended to, near the air. */
static void place(struct mount *m, double burst_s)
{
    uint64_t from = beginning(m, burst_s);
    int useless = ring_align(m->ring, lead_of(m));
    /* a ring that rested is empty, at the head it had: mostly ahead of the air */
    if (useless || ring_tail(m->ring) > from || ring_head(m->ring) < from ||
        ring_head(m->ring) > ring_head(lead_of(m)))
        ring_reset(m->ring, ring_station(lead_of(m)), ring_branch(lead_of(m)), from);
    m->wake++;
    m->told = 0;
    m->catching_up = 1;
    m->until = 0;
    m->paced_from = air_position(m->mounts->air) + frames_of(AHEAD_S);
    if (m->paced_from < ring_head(m->ring)) m->paced_from = ring_head(m->ring);
    m->paced_ns = clock_boot_ns();
}

static int wake(struct mount *m, double burst_s)
{
    char *cause = NULL;
    if (ring_rouse(m->ring, &cause)) {
        log_error("mounts", "mount %s can't be woken: %s", m->spec.name, cause);
        free(cause);
        return -1;
    }
    m->awake = 1;
    m->wakes++;
    m->wake_s = 0;
    m->lacked = 0;
    m->woken_ns = m->wanted_ns = clock_boot_ns();
    place(m, burst_s);
    log_info("mounts", "%s wakes at frame %" PRIu64, m->spec.name, ring_head(m->ring));
    give(m);
    return 0;
}

static void put_to_sleep(struct mount *m)
{
    m->awake = 0;
    m->wake++;
    tell(m, 0);
    m->told = 0;
    ring_rest(m->ring);
    log_info("mounts", "%s sleeps: nobody hears it", m->spec.name);
}

int mount_want(struct mount *m, double back_s)
{
    m->wanted_ns = clock_boot_ns();
    return m->index == 0 || m->awake ? 0 : wake(m, back_s);
}

/* Following the main mount */

static void follow(struct mount *m)
{
    if (!m->awake) return;
    uint32_t branch = ring_branch(m->ring);
    if (ring_align(m->ring, lead_of(m))) {
        place(m, 0);
    } else if (ring_branch(m->ring) != branch) {
        m->told = 0; /* the order names its branch */
        link_server_wake(m->link);
    }
    give(m);
}

void mounts_follow(struct mounts *mounts)
{
    for (size_t i = 1; i < mounts->count; i++)
        follow(&mounts->list[i]);
}

static void watch_coder(struct mounts *mounts, int64_t now)
{
    struct workers *workers = mounts->air->workers;
    struct switch_end *coder = workers ? switchboard_serving(workers_switchboard(workers), ROLE_CODER) : NULL;
    if (!coder || now - switch_end_heard_ns(coder) < SILENT_S * CLOCK_NS_PER_S) return;
    for (size_t i = 1; i < mounts->count; i++) {
        const struct mount *m = &mounts->list[i];
        int waits = m->awake && m->told && ring_head(m->ring) < m->until;
        if (!waits || now - m->ordered_ns < SILENT_S * CLOCK_NS_PER_S) continue;
        workers_fail(workers, ROLE_CODER, "it is silent");
        return;
    }
}

void mounts_tick(struct mounts *mounts)
{
    int64_t now = clock_boot_ns();
    watch_coder(mounts, now);
    mounts->peak = mounts_peak(mounts);
    for (size_t i = 1; i < mounts->count; i++) {
        struct mount *m = &mounts->list[i];
        if (!m->awake) {
            if (m->spec.always && now - m->woken_ns > CLOCK_NS_PER_S) {
                m->woken_ns = now; /* the next try, when this one fails */
                wake(m, 0);
            }
            continue;
        }
        follow(m);
        if (heard_by(m)) m->wanted_ns = now;
        if (!m->spec.always &&
            (double)(now - m->wanted_ns) > mounts->air->options->mount_linger * CLOCK_NS_PER_S)
            put_to_sleep(m);
    }
}

void mounts_coder_up(struct mounts *mounts)
{
    for (size_t i = 1; i < mounts->count; i++) {
        struct mount *m = &mounts->list[i];
        if (!m->awake) continue;
        place(m, 0);
        give(m);
    }
}

void mounts_coder_down(struct mounts *mounts)
{
    for (size_t i = 1; i < mounts->count; i++)
        mounts->list[i].told = 0;
}

void mounts_lacks(struct mounts *mounts, const json_t *body)
{
    int64_t index = json_int_or(body, "mount", 0, 0, MOUNTS_MAX, NULL);
    struct mount *m = index > 0 && (size_t)index < mounts->count ? &mounts->list[index] : NULL;
    if (!m || m->lacked || !m->awake) return;
    m->lacked = 1;
    log_warn("mounts", "%s waits: what was rendered of frame %lld is not in the spool", m->spec.name,
             (long long)json_int_or(body, "block", 0, 0, INT64_MAX, NULL));
}

int mounts_encoded(struct mounts *mounts, const struct msg *message, char **cause)
{
    uint64_t position;
    uint32_t branch, count, index, number;
    const uint8_t *bytes;
    size_t len;
    if (wire_encoded_decode(message, &position, &branch, &count, &index, &number, &bytes, &len) ||
        index == 0 || index >= mounts->count)
        return cause_set(cause, "a message of encoded frames that is none");
    struct mount *m = &mounts->list[index];
    if (!m->awake || number != m->wake || branch < ring_branch(m->ring)) return 0; /* an older order's */
    if (position != ring_head(m->ring) || position + count > m->until)
        return cause_set(cause, "frames of mount %s at %" PRIu64 ", which were not ordered", m->spec.name,
                         position);
    if (ring_append(m->ring, branch, position, count, bytes, len, cause)) return -1;
    m->frames += count;
    if (position + count >= air_position(mounts->air)) m->catching_up = 0;
    if (m->wake_s == 0 && mount_playable(m))
        m->wake_s = (double)(clock_boot_ns() - m->woken_ns) / CLOCK_NS_PER_S;
    if (station_waiting(m->station) && mount_playable(m)) station_wake(m->station);
    link_server_wake(m->link);
    give(m);
    return 0;
}
