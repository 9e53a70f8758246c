/* admit: who is served here and who is sent to a relay. relay_limit is exact: the root serves so many
 * listeners, never one more while a relay has room; a listener's second socket and one that comes back are no
 * further listener. Where all relays have had their joins for now (after the loss of one, say), listeners are
 * kept waiting for their turn, up to HELD_MAX; what is beyond that is told to come again. */
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "root/air/air.h"
#include "root/air/geo.h"
#include "root/air/icecast_poll.h"
#include "root/air/router.h"

#define HELD_MAX      2000
#define ELSEWHERE_MAX 8
#define TELL_NS       INT64_C(600000000000)

static uint64_t fresh_bits(void)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint64_t)clock_boot_ns() * UINT64_C(0x9e3779b97f4a7c15);
    return random;
}

int relays_elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    const struct air *air = context;
    const char *urls[ELSEWHERE_MAX];
    int64_t now_ns = clock_boot_ns();
    if (i >= ELSEWHERE_MAX) return -1;
    /* the same ones in the same order, for as long as a playlist is written */
    uint64_t random = (uint64_t)(now_ns / CLOCK_NS_PER_S) * UINT64_C(0x9e3779b97f4a7c15);
    if (registry_others(air->registry, NULL, secure, random, now_ns, urls, NULL, i + 1) <= i) return -1;
    int n = snprintf(location, size, "%s/stream.mp3", urls[i]);
    return n < (int)size ? 0 : -1;
}

enum station_verdict relays_admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size)
{
    struct air *air = context;
    return relays_admit_to(air, mounts_at(air->mounts, 0), request, asking, location, size);
}

/* A place is there: and sound? */
static enum station_verdict serve_from(struct mount *mount, const struct http_request *request,
                                       enum station_asking asking)
{
    if (asking == STATION_HEAD) return STATION_SERVE;
    if (mount_want(mount, station_burst_s(request, asking))) return STATION_FULL;
    return mount_playable(mount) ? STATION_SERVE : STATION_WAIT;
}

/* An Icecast server of the operator's, which carries the mount on. There is room for it, as for a relay's
 * link. */
static int may_carry(const struct air *air, const struct http_request *request, const char *agent)
{
    return mounts_links(air->mounts) < AIR_LINKS_MAX &&
           icecast_poll_pulls(air->icecasts, http_peer_addr(request), agent);
}

static unsigned held(const struct air *air)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mounts_count(air->mounts); i++)
        sum += station_waiting(mounts_at(air->mounts, i)->station);
    return sum;
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    struct air *air = context;
    (void)fd, (void)what;
    for (size_t i = 0; i < mounts_count(air->mounts); i++)
        station_wake(mounts_at(air->mounts, i)->station);
}

/* 1 when the listener may wait for its turn. */
static int hold(struct air *air, int64_t hold_ns)
{
    if (held(air) >= HELD_MAX) return 0;
    if (!air->turn) air->turn = evtimer_new(air->base, on_turn, air);
    const struct timeval after = {hold_ns / CLOCK_NS_PER_S, hold_ns % CLOCK_NS_PER_S / 1000};
    if (!evtimer_pending(air->turn, NULL)) evtimer_add(air->turn, &after);
    return 1;
}

/* Why there are free places, and still nobody is sent there. */
static void tell_reserve(struct air *air)
{
    int64_t now_ns = clock_boot_ns();
    if (air->reserve_told_ns && now_ns - air->reserve_told_ns < TELL_NS) return;
    air->reserve_told_ns = now_ns;
    log_info("relays",
             "the places that are free at relays are kept for the listeners of the largest one, should it "
             "be lost (--relay-reserve none does without)");
}

static enum station_verdict send_on(struct air *air, const struct mount *mount,
                                    const struct http_request *request, enum station_asking asking,
                                    const char *region, char *location, size_t size, int *nobody)
{
    char from[24];
    const struct registry_ask ask = {.region = region,
                                     .secure = http_secure(request),
                                     .mount = mount->spec.name,
                                     .random = fresh_bits(),
                                     .probe = asking == STATION_HEAD,
                                     .later = asking == STATION_LISTEN,
                                     .resumes = http_query_get(request, "from", from, sizeof from) != NULL};
    struct registry_choice choice;
    *nobody = 0;
    switch (registry_route(air->registry, &ask, clock_boot_ns(), location, size, &choice)) {
    case ROUTER_TO:
        air->redirects += asking == STATION_GET;
        if (asking == STATION_GET) geo_count(air->geo, region);
        return choice.as_is ? STATION_AWAY : STATION_REDIRECT;
    case ROUTER_HOLD:
        if (asking == STATION_HEAD) return STATION_SERVE;
        if (hold(air, choice.hold_ns)) return STATION_WAIT;
        break;
    case ROUTER_NOBODY:
        if (choice.reserved && asking != STATION_HEAD) tell_reserve(air);
        break;
    }
    *nobody = 1;
    return STATION_FULL;
}

enum station_verdict relays_admit_to(struct air *air, struct mount *mount, struct http_request *request,
                                     enum station_asking asking, char *location, size_t size)
{
    int probe = asking != STATION_GET, nobody;
    const struct options *o = air->options;
    if (!air_has_music(air)) return STATION_WAIT;
    const char *agent = http_header(request, "user-agent");
    if (asking == STATION_GET && may_carry(air, request, agent)) {
        enum station_verdict served = serve_from(mount, request, asking);
        return served == STATION_SERVE ? STATION_CARRY : served;
    }
    /* who was sent here by a relay stays: one hop, and one more from a relay that can't */
    int stays = station_agent_stays(agent) || station_hops(request) > 0;
    uint64_t listening = mounts_listening(air->mounts), limit = (uint64_t)o->relay_limit;
    enum limits_verdict room = station_room(mount->station, request);
    if (limits_is_personal(room)) {
        air->refused += !probe;
        return STATION_FULL;
    }
    /* where the one is, so is the other */
    if (asking == STATION_GET && room == LIMITS_OK && station_is_twin(mount->station, request))
        return serve_from(mount, request, asking);
    char region[GEO_REGION_MAX];
    geo_region(air->geo, http_peer_addr(request), region);
    uint64_t most = room == LIMITS_OK ? listening + 1 : listening;
    enum router_verdict verdict = router_admit(listening, limit, most, stays, 1);
    if (verdict == ROUTER_REDIRECT) {
        enum station_verdict sent = send_on(air, mount, request, asking, region, location, size, &nobody);
        if (!nobody) return sent;
        verdict = router_admit(listening, limit, most, stays, 0);
    }
    if (verdict == ROUTER_SERVE) {
        enum station_verdict served = serve_from(mount, request, asking);
        if (served == STATION_SERVE && !probe) geo_count(air->geo, region);
        return served;
    }
    air->refused += !probe;
    return STATION_FULL;
}
