/* Listeners of the months: where the root sends them, and again when there is no place. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/months_internal.h"

#define PATIENCE_S 300

static void put(struct months *m, uint32_t relay, uint32_t at)
{
    struct machine *r = &m->machines[relay];
    struct session *s = &m->sessions[at];
    months_settle(m, r);
    r->listeners++;
    r->accepted++;
    if (++m->listening > m->peak) m->peak = m->listening;
    s->relay = relay;
    s->before = NOBODY;
    s->after = r->first;
    if (r->first != NOBODY) m->sessions[r->first].before = at;
    r->first = at;
    if (r->listeners * LINE_BPS > (double)r->terms.uplink_bps) m->over_line++;
}

static void take(struct months *m, uint32_t at)
{
    struct session *s = &m->sessions[at];
    struct machine *r = &m->machines[s->relay];
    months_settle(m, r);
    r->listeners--;
    r->closed++;
    m->listening--;
    if (s->before != NOBODY)
        m->sessions[s->before].after = s->after;
    else
        r->first = s->after;
    if (s->after != NOBODY) m->sessions[s->after].before = s->before;
    s->relay = NOBODY;
}

/* Where the root sends it, if it is taken there; NOBODY: it has to come again. */
static uint32_t ask(struct months *m, unsigned place)
{
    char location[512];
    struct registry_choice choice;
    const struct registry_ask to = {.region = sim_places[place].region, .random = sim_bits(&m->random)};
    if (!m->root ||
        registry_route(m->root, &to, months_ns(m), location, sizeof location, &choice) != ROUTER_TO)
        return NOBODY;
    m->redirects++;
    uint32_t relay = (uint32_t)strtoul(choice.name + 1, NULL, 10);
    struct machine *r = &m->machines[relay];
    const char *ticket = strstr(location, "?ticket=");
    if (ticket) ticket += strlen("?ticket=");
    int taken = r->back_s <= 0 && !r->draining && r->listeners < MAX_PLACES &&
                admission_judge(r->admission, ticket, r->listeners, months_ns(m)) != ADMISSION_ELSEWHERE;
    if (!taken) {
        m->misplaced++;
        return NOBODY;
    }
    admission_taken(r->admission, ticket, 0, months_ns(m));
    return relay;
}

static void wait_for(struct months *m, uint32_t at)
{
    if (m->waiting_count == m->waiting_capacity) {
        m->waiting_capacity = m->waiting_capacity ? m->waiting_capacity * 2 : 1024;
        m->waiting = xrealloc(m->waiting, m->waiting_capacity * sizeof *m->waiting);
    }
    m->waiting[m->waiting_count++] =
        (struct waiting){at, m->sessions[at].visit, m->now_s + PATIENCE_S + (double)m->interval_s};
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
    m->wheel[slot] = at;
    uint32_t relay = ask(m, place);
    if (relay == NOBODY)
        wait_for(m, at);
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
        uint32_t relay = ask(m, s->place);
        if (relay != NOBODY)
            put(m, relay, w.at);
        else if (m->now_s < w.until_s)
            m->waiting[kept++] = w;
        else
            m->refused++;
    }
    m->waiting_count = kept;
}

void months_lose(struct months *m, uint32_t relay)
{
    while (m->machines[relay].first != NOBODY) {
        uint32_t at = m->machines[relay].first;
        take(m, at);
        wait_for(m, at);
        m->lost_listeners++;
    }
}

void months_move(struct months *m, uint32_t relay, uint32_t most)
{
    for (uint32_t at = m->machines[relay].first, next; at != NOBODY && most--; at = next) {
        next = m->sessions[at].after;
        uint32_t to = ask(m, m->sessions[at].place);
        if (to == NOBODY || to == relay) continue;
        take(m, at);
        put(m, to, at);
        m->moved++;
    }
}
