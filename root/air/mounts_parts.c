/* What each mount is made of. */
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/loops.h"
#include "root/air/mounts_internal.h"

#define PAST_S  600.0 /* of a mount that is on always, as the main one: HLS and resumes reach back so far */
#define NEAR_S  60.0  /* of one that sleeps: a relay's link that was cut, a resume */
#define WAIT_MS 5000

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
        mount_want(m, 0);
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
