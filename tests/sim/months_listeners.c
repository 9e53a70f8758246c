/* Listeners of the months: where the root sends them, and again when there is no place; where a relay sends
 * those it moves. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/months_internal.h"

#define PATIENCE_S 300
#define RESUMES    0.6 /* of listeners: the site's players, and programs that ask for a range */
#define HOPS       2   /* as common/station has it */

static void put(struct months *m, uint32_t relay, uint32_t at)
{
    struct machine *r = &m->machines[relay];
    struct session *s = &m->sessions[at];
    months_settle(m, r);
    r->listeners++;
    r->kinds[s->resumes]++;
    r->accepted++;
    if (++m->listening > m->peak) m->peak = m->listening;
    s->relay = relay;
    s->before = NOBODY;
    s->after = r->first[s->resumes];
    if (s->after != NOBODY) m->sessions[s->after].before = at;
    r->first[s->resumes] = at;
    if (r->listeners * LINE_BPS > (double)r->terms.uplink_bps) m->over_line++;
}

static void take(struct months *m, uint32_t at)
{
    struct session *s = &m->sessions[at];
    struct machine *r = &m->machines[s->relay];
    months_settle(m, r);
    r->listeners--;
    r->kinds[s->resumes]--;
    r->closed++;
    m->listening--;
    if (s->before != NOBODY)
        m->sessions[s->before].after = s->after;
    else
        r->first[s->resumes] = s->after;
    if (s->after != NOBODY) m->sessions[s->after].before = s->before;
    s->relay = NOBODY;
}

/* The root itself, when no relay has room and it has some. */
static uint32_t root_serves(const struct months *m)
{
    return m->machines[m->conf->relays].listeners < m->conf->root_places ? m->conf->relays : NOBODY;
}

/* Where the root sends it, if it is taken there; NOBODY: it has to come again. kept: there are places, but
 * they are kept for the loss of the largest relay. */
static uint32_t ask(struct months *m, unsigned place, int *kept)
{
    char location[512];
    struct registry_choice choice;
    const struct registry_ask to = {.region = sim_places[place].region, .random = sim_bits(&m->random)};
    *kept = 0;
    if (!m->root) return NOBODY;
    if (registry_route(m->root, &to, months_ns(m), location, sizeof location, &choice) != ROUTER_TO) {
        *kept = choice.reserved;
        return root_serves(m);
    }
    m->redirects++;
    uint32_t relay = (uint32_t)strtoul(choice.name + 1, NULL, 10);
    struct machine *r = &m->machines[relay];
    const char *ticket = strstr(location, "?ticket=");
    if (ticket) ticket += strlen("?ticket=");
    int taken = r->back_s <= 0 && r->draining == NODE_OPEN && r->listeners < MAX_PLACES &&
                admission_judge(r->admission, ticket, r->listeners, months_ns(m)) != ADMISSION_ELSEWHERE;
    if (!taken) {
        m->misplaced++;
        return NOBODY;
    }
    admission_taken(r->admission, ticket, 0, months_ns(m));
    return relay;
}

static void wait_for(struct months *m, uint32_t at, int kept)
{
    if (m->waiting_count == m->waiting_capacity) {
        m->waiting_capacity = m->waiting_capacity ? m->waiting_capacity * 2 : 1024;
        m->waiting = xrealloc(m->waiting, m->waiting_capacity * sizeof *m->waiting);
    }
    m->waiting[m->waiting_count++] =
        (struct waiting){at, m->sessions[at].visit, kept, m->now_s + PATIENCE_S + (double)m->interval_s};
}

void months_join(struct months *m, unsigned place)
{
    uint32_t at = m->free_session;
    m->joins++;
    if (at != NOBODY) {
        m->free_session = m->sessions[at].next;
    } else {
        if (m->session_count == m->session_capacity) {
            m->session_capacity = m->session_capacity ? m->session_capacity * 2 : 4096;
            m->sessions = xrealloc(m->sessions, m->session_capacity * sizeof *m->sessions);
        }
        at = m->session_count++;
        m->sessions[at].visit = 0;
    }
    double stay = sim_stay(&m->random, m->stay_s);
    if (stay > WHEEL - 2) stay = WHEEL - 2;
    uint32_t slot = (uint32_t)((int64_t)(m->now_s + stay + 1) % WHEEL);
    struct session *s = &m->sessions[at];
    *s = (struct session){
        .next = m->wheel[slot], .relay = NOBODY, .visit = s->visit + 1, .place = (uint8_t)place};
    s->resumes = sim_unit(&m->random) < RESUMES;
    m->wheel[slot] = at;
    int kept;
    uint32_t relay = ask(m, place, &kept);
    m->kept_away += kept != 0;
    m->at_root += relay == m->conf->relays;
    if (relay == NOBODY)
        wait_for(m, at, kept);
    else
        put(m, relay, at);
}

void months_end_sessions(struct months *m, int64_t second)
{
    uint32_t at = m->wheel[second % WHEEL], next;
    m->wheel[second % WHEEL] = NOBODY;
    for (; at != NOBODY; at = next) {
        struct session *s = &m->sessions[at];
        next = s->next;
        if (s->relay != NOBODY) take(m, at);
        s->visit++;
        s->next = m->free_session;
        m->free_session = at;
    }
}

void months_try_again(struct months *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->waiting_count; i++) {
        struct waiting w = m->waiting[i];
        struct session *s = &m->sessions[w.at];
        if (s->visit != w.visit) continue; /* as long as it would have stayed */
        uint32_t relay = ask(m, s->place, &w.kept);
        if (relay != NOBODY) {
            put(m, relay, w.at);
        } else if (m->now_s < w.until_s) {
            m->waiting[kept++] = w;
        } else {
            m->refused++;
            m->kept_refused += w.kept != 0;
        }
    }
    m->waiting_count = kept;
}

void months_lose(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    for (int resumes = 0; resumes < 2; resumes++) {
        while (r->first[resumes] != NOBODY) {
            uint32_t at = r->first[resumes];
            take(m, at);
            wait_for(m, at, 0);
            m->lost_listeners++;
        }
    }
}

/* Where a relay sends somebody on to, without a ticket. */
static uint32_t send_on(const struct months *m, struct machine *r, enum elsewhere_need need)
{
    char url[64];
    if (elsewhere_send(r->elsewhere, 0, need, 0, url, sizeof url)) return NOBODY;
    return strcmp(url, MONTHS_ROOT_URL) != 0 ? (uint32_t)strtoul(url + strlen("http://r"), NULL, 10)
                                             : m->conf->relays;
}

/* It was reset and asks for its next byte at `relay`, which sends it on as relay/node does. */
static void resume(struct months *m, uint32_t relay, uint32_t at)
{
    int waits = m->machines[relay].draining != NODE_CLOSED;
    uint32_t to = send_on(m, &m->machines[relay], waits ? ELSEWHERE_CAN_WAIT : ELSEWHERE_MUST_GO);
    if (to == NOBODY && waits) {
        put(m, relay, at);
        return;
    }
    for (int hops = 1; to != NOBODY; hops++) {
        struct machine *r = &m->machines[to];
        if (to == m->conf->relays) break;
        if (r->back_s > 0 || (r->draining != NODE_OPEN && hops == HOPS))
            to = NOBODY;
        else if (r->draining != NODE_OPEN)
            to = send_on(m, r, ELSEWHERE_TRY);
        else
            break;
    }
    if (to == m->conf->relays) to = m->root ? root_serves(m) : NOBODY;
    if (to == NOBODY || m->machines[to].listeners >= MAX_PLACES) {
        m->stranded++;
        wait_for(m, at, 0);
        return;
    }
    put(m, to, at);
    m->moved[m->machines[relay].stops]++;
    if (to != m->conf->relays) months_hurry(m, to);
}

uint32_t months_part(struct months *m, uint32_t relay, uint32_t most, int resumes)
{
    struct machine *r = &m->machines[relay];
    uint32_t count = 0;
    for (; count < most && r->first[resumes] != NOBODY; count++) {
        uint32_t at = r->first[resumes];
        take(m, at);
        if (resumes) {
            resume(m, relay, at);
        } else {
            wait_for(m, at, 0);
            m->let_go++;
        }
    }
    return count;
}
