/* Reports of relays that get lost, come twice, late, or after those of the next start: nothing is counted
 * wrongly, and opened - closed = listening at every moment, to the unit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "root/air/registry.h"
#include "tests/draw.h"
#include "tests/report_json.h"

#define RELAYS   5
#define SESSIONS 6
#define REPORTS  30
#define ALL      (RELAYS * SESSIONS * REPORTS)

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    return draw_bits(&seed) % below;
}

struct told {
    int relay, session, seq;
    uint64_t accepted, closed, bytes;
    uint64_t at; /* when it arrives */
};

static int by_arrival(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int tell(struct registry *r, const struct told *t, int64_t now_ns)
{
    char name[16], session[16], url[32], *cause = NULL;
    snprintf(name, sizeof name, "relay-%d", t->relay);
    snprintf(session, sizeof session, "%d-%d", t->relay, t->session);
    snprintf(url, sizeof url, "http://r%d.example", t->relay);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:I,s:I,s:I}", "name", name, "public_url", url, "version",
                          "1", "session", session, "seq", t->seq, "accepted", (json_int_t)t->accepted,
                          "closed", (json_int_t)t->closed, "listeners", (json_int_t)(t->accepted - t->closed),
                          "bytes_out", (json_int_t)t->bytes);
    int result = report_json(r, NULL, o, now_ns, &cause);
    if (result < 0) fail_msg("%s", cause);
    json_decref(o);
    return result;
}

/* Every relay's life: starts, listeners that come and go, kills in the middle. */
static size_t make_lives(struct told *out)
{
    size_t n = 0;
    for (int relay = 0; relay < RELAYS; relay++) {
        for (int session = 0; session < SESSIONS; session++) {
            struct told t = {.relay = relay, .session = session};
            for (int seq = 1; seq <= REPORTS; seq++) {
                uint64_t come = draw(9);
                t.seq = seq;
                t.accepted += come;
                t.closed += draw(t.accepted - t.closed + 1);
                t.bytes += draw(100000);
                t.at = (uint64_t)(session * REPORTS + seq) * 100;
                out[n++] = t;
            }
        }
    }
    return n;
}

static void any_order_any_loss(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        static struct told lives[ALL], sent[3 * ALL];
        struct told last[RELAYS][SESSIONS] = {0};
        int current[RELAYS], news_lost = 0;
        size_t n = make_lives(lives), count = 0;
        for (size_t i = 0; i < n; i++) {
            /* the first of a session is answered before the program can be started again: it is not overtaken
             */
            int first = lives[i].seq == 1;
            for (uint64_t copies = first ? 1 : draw(4); copies-- > 0;) {
                sent[count] = lives[i];
                if (!first) sent[count].at += draw(800); /* by up to eight others */
                count++;
            }
        }
        qsort(sent, count, sizeof *sent, by_arrival);
        struct registry *r = registry_new(
            &(struct registry_conf){.router = {.rate_bps = 128000, .no_reserve = 1}, .master = "m"});
        for (int i = 0; i < RELAYS; i++)
            current[i] = -1;
        int64_t now_ns = 1000 * CLOCK_NS_PER_S;
        for (size_t i = 0; i < count; i++) {
            const struct told *t = &sent[i];
            now_ns += 3000000; /* all this within some ten seconds */
            int news = t->session > current[t->relay] ||
                       (t->session == current[t->relay] && t->seq > last[t->relay][t->session].seq);
            assert_int_equal(tell(r, t, now_ns), news);
            news_lost += !news;
            if (news) {
                current[t->relay] = t->session;
                last[t->relay][t->session] = *t;
            }
            if (i % 16) continue;
            struct registry_totals totals;
            uint64_t accepted = 0, bytes = 0, listening = 0;
            for (int k = 0; k < RELAYS; k++) {
                for (int s = 0; s < SESSIONS; s++) {
                    accepted += last[k][s].accepted;
                    bytes += last[k][s].bytes;
                }
                if (current[k] >= 0) listening += last[k][current[k]].accepted - last[k][current[k]].closed;
            }
            registry_totals(r, now_ns, &totals);
            assert_int_equal(totals.accepted, accepted);
            assert_int_equal(totals.bytes_out, bytes);
            assert_int_equal(totals.listeners, listening);
            assert_int_equal(totals.accepted - totals.closed, listening);
        }
        assert_true(news_lost > 100);
        /* all fall silent: whoever listened there has gone, and nothing else has changed */
        struct registry_totals before, after;
        registry_totals(r, now_ns, &before);
        registry_totals(r, now_ns + 60 * CLOCK_NS_PER_S, &after);
        assert_int_equal(after.listeners, 0);
        assert_int_equal(after.accepted, before.accepted);
        assert_int_equal(after.closed, after.accepted);
        registry_free(r);
    }
}

/* Should two starts come in the wrong order, the one that lives is heard after a while. */
static void the_one_that_lives_is_heard(void **state)
{
    (void)state;
    struct registry *r =
        registry_new(&(struct registry_conf){.router = {.rate_bps = 128000, .no_reserve = 1}, .master = "m"});
    int64_t now_ns = 1000 * CLOCK_NS_PER_S;
    struct told lives = {.relay = 1, .session = 2, .seq = 1, .accepted = 5},
                dead = {.relay = 1, .session = 1, .seq = 1};
    assert_int_equal(tell(r, &lives, now_ns), 1);
    assert_int_equal(tell(r, &dead, now_ns), 1);
    int heard = 0;
    for (int s = 2; s < 60 && !heard; s += 2) {
        lives.seq++;
        heard = tell(r, &lives, now_ns + s * CLOCK_NS_PER_S);
    }
    assert_true(heard);
    registry_free(r);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    fprintf(stderr, "seed %llu (%s SEED)\n", (unsigned long long)seed, argv[0]);
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_any_loss),
        cmocka_unit_test(the_one_that_lives_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
