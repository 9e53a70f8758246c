#include "root/air/mounts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/air/air.h"
#include "root/air/loops.h"

#define PAST_S     600.0 /* of a mount that is on always, as the main one: HLS and resumes reach back so far */
#define NEAR_S     60.0  /* of one that sleeps: a relay's link that was cut, a resume */
#define FILL_RATE  4.0
#define AHEAD_S    6.0  /* of the air that a waking mount is given at once */
#define BACK_S     0.5  /* that it begins before the burst */
#define BACK_MAX_S 31.0 /* a burst is 30 s at most */
#define SOUND_S    0.5  /* ahead of the air for the first listener to start */
#define SILENT_S   15   /* a coder that has orders and says nothing for so long hangs */
#define WAIT_MS    5000

struct mounts {
    struct air *air;
    struct mount list[MOUNTS_MAX];
    size_t count;
    uint64_t peak; /* of listeners at all mounts, as far as the ticks saw */
};

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

/* Parts */

static uint64_t on_air(void *context)
{
    struct mount *m = context;
    uint64_t air = air_position(m->mounts->air);
    ring_set_floor(m->ring, air);
    return air;
}

static int runs(void *context)
{
    return !pacer_starved(((struct mount *)context)->mounts->air->pacer);
}

/* A frame that is due and has not been encoded yet is looked for again in a while. */
static int64_t until_on_air(void *context, uint64_t position)
{
    struct mount *m = context;
    int64_t ns = pacer_until(m->mounts->air->pacer, position);
    return ns <= 0 && ring_head(m->ring) < position ? CLOCK_NS_PER_S / 10 : ns;
}

static uint64_t on_air_exact(void *context, uint32_t *ns)
{
    return pacer_on_air(((struct mount *)context)->mounts->air->pacer, ns);
}

static enum station_verdict admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size)
{
    struct mount *m = context;
    return relays_admit_to(m->mounts->air, m, request, asking, location, size);
}

static int elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    return relays_elsewhere(((struct mount *)context)->mounts->air, secure, i, location, size);
}

static int open_one(struct mount *m, const struct options *o, char **cause)
{
    char *path = mount_ring_path(o->state, m->spec.name);
    const struct ring_conf conf = {.path = path,
                                   .kbps = m->spec.kbps,
                                   .past_s = m->spec.always ? PAST_S : NEAR_S,
                                   .lead_s = o->lead + 10,
                                   .marks_of = m->mounts->air->ring,
                                   .resting = 1};
    int rc = ring_open(&m->ring, &conf, cause);
    free(path);
    return rc;
}

int mounts_open(struct mounts **out, struct air *air, char **cause)
{
    struct mounts *mounts = xcalloc(1, sizeof *mounts);
    *out = mounts;
    mounts->air = air;
    mounts->count = air->options->mount_count;
    mount_sweep_rings(air->options->state, air->options->mounts, mounts->count);
    for (size_t i = 0; i < mounts->count; i++) {
        struct mount *m = &mounts->list[i];
        m->spec = air->options->mounts[i];
        m->mounts = mounts;
        m->index = (unsigned)i;
        if (i && open_one(m, air->options, cause)) return -1;
    }
    mounts->list[0].ring = air->ring;
    for (size_t i = 0; i < mounts->count; i++)
        loops_open(&mounts->list[i], air->options->state, air->options->name);
    mounts->list[0].awake = 1;
    return 0;
}

/* One that was heard when the last life ended is kept for those who come back at once. */
static void begin(struct mount *m)
{
    int held = !ring_resting(m->ring) && ring_head(m->ring) > air_position(m->mounts->air);
    if (m->spec.always || held)
        wake(m, 0);
    else
        ring_rest(m->ring);
}

static void on_link_closed(void *context, void *peer)
{
    relays_link_ended(((struct mount *)context)->mounts->air, peer);
}

static void make_parts(struct mount *m)
{
    struct air *air = m->mounts->air;
    const struct options *o = air->options;
    const struct station_identity identity = {
        .name = o->name, .description = o->description, .genre = o->genre, .url = o->public_url};
    m->fanout = fanout_new(air->base, m->ring,
                           &(struct fanout_conf){.burst_s = AIR_BURST_S,
                                                 .lag_limit_s = AIR_LAG_LIMIT_S,
                                                 .air = on_air,
                                                 .until = until_on_air,
                                                 .filler = m->filler,
                                                 .runs = runs,
                                                 .context = m});
    m->link = link_server_new(air->base, m->ring,
                              &(struct link_server_conf){.name = identity.name,
                                                         .description = identity.description,
                                                         .genre = identity.genre,
                                                         .url = identity.url,
                                                         .mount = m->spec.name,
                                                         .burst_s = AIR_BURST_S,
                                                         .fill_rate = AIR_LINK_FILL_RATE,
                                                         .budget = &air->link_budget,
                                                         .follows = 1,
                                                         .air = on_air_exact,
                                                         .closed = on_link_closed,
                                                         .context = m});
    m->station = station_new(air->base, air->http, m->ring, m->fanout,
                             &(struct station_conf){.identity = identity,
                                                    .public_url = o->public_url,
                                                    .mount = m->spec.name,
                                                    .main = air->station,
                                                    .wait_ms = WAIT_MS,
                                                    .gate = front_gate(air->front),
                                                    .admit = admit,
                                                    .elsewhere = elsewhere,
                                                    .air = on_air,
                                                    .context = m});
}

void mounts_parts(struct mounts *mounts)
{
    struct air *air = mounts->air;
    mounts->list[0].fanout = air->fanout;
    mounts->list[0].link = air->link;
    mounts->list[0].station = air->station;
    for (size_t i = 1; i < mounts->count; i++) {
        make_parts(&mounts->list[i]);
        begin(&mounts->list[i]);
    }
}

void mounts_stop(struct mounts *mounts)
{
    for (size_t i = 1; mounts && i < mounts->count; i++) {
        struct mount *m = &mounts->list[i];
        if (m->station) station_free(m->station);
        if (m->fanout) fanout_free(m->fanout, 1);
        if (m->link) link_server_free(m->link);
    }
}

void mounts_free(struct mounts *mounts)
{
    for (size_t i = 0; mounts && i < mounts->count; i++) {
        filler_free(mounts->list[i].filler);
        if (i && mounts->list[i].ring) ring_close(mounts->list[i].ring);
    }
    free(mounts);
}

/* Lists and sums */

size_t mounts_count(const struct mounts *mounts)
{
    return mounts->count;
}

struct mount *mounts_at(struct mounts *mounts, size_t index)
{
    return index < mounts->count ? &mounts->list[index] : NULL;
}

struct mount *mounts_find(struct mounts *mounts, const char *name)
{
    if (!strcmp(name, "main")) return &mounts->list[0];
    for (size_t i = 0; i < mounts->count; i++) {
        if (!strcmp(mounts->list[i].spec.name, name)) return &mounts->list[i];
    }
    return NULL;
}

void mounts_counts(const struct mounts *mounts, struct fanout_counts *out)
{
    *out = (struct fanout_counts){0};
    for (size_t i = 0; i < mounts->count; i++)
        fanout_counts_add(out, fanout_counts(mounts->list[i].fanout));
}

uint64_t mounts_listening(const struct mounts *mounts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += fanout_counts(mounts->list[i].fanout)->listening;
    return sum;
}

uint64_t mounts_peak(const struct mounts *mounts)
{
    uint64_t now = mounts_listening(mounts), most = now > mounts->peak ? now : mounts->peak;
    for (size_t i = 0; i < mounts->count; i++) {
        uint64_t one = station_peak(mounts->list[i].station);
        if (one > most) most = one;
    }
    return most;
}

unsigned mounts_waiting(const struct mounts *mounts)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += station_waiting(mounts->list[i].station);
    return sum;
}

unsigned mounts_links(const struct mounts *mounts)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += link_server_count(mounts->list[i].link) +
               (unsigned)fanout_counts(mounts->list[i].fanout)->carriers;
    return sum;
}

uint64_t mounts_link_bytes(const struct mounts *mounts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += link_server_bytes(mounts->list[i].link) + fanout_counts(mounts->list[i].fanout)->carrier_bytes;
    return sum;
}

json_t *mounts_specs(const struct mounts *mounts)
{
    return mount_specs_json(mounts->air->options->mounts, mounts->count);
}

json_t *mounts_json(const struct mounts *mounts)
{
    json_t *list = mounts_specs(mounts);
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *m = &mounts->list[i];
        uint64_t air = air_position(mounts->air), head = ring_head(m->ring);
        json_t *o = json_array_get(list, i);
        json_object_set_new(o, "awake", json_boolean(m->awake));
        json_object_set_new(o, "listeners", json_integer((json_int_t)fanout_counts(m->fanout)->listening));
        json_object_set_new(o, "links", json_integer(link_server_count(m->link)));
        json_object_set_new(
            o, "lead_s", json_real(m->awake && head > air ? (double)mp3_frame_to_ns(head - air) / 1e9 : 0));
        json_object_set_new(o, "bytes_out", json_integer((json_int_t)fanout_counts(m->fanout)->bytes));
        if (i == 0) continue;
        json_object_set_new(o, "wakes", json_integer((json_int_t)m->wakes));
        json_object_set_new(o, "frames", json_integer((json_int_t)m->frames));
        json_object_set_new(o, "wake_s", m->wake_s > 0 ? json_real(m->wake_s) : json_null());
    }
    return list;
}
