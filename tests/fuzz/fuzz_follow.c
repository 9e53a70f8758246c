/* Any bytes as a link to a relay: whatever a root says, the relay's ring and pacer keep their invariants. */
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "relay/follow.h"
#include "tests/fuzz/fuzz.h"

static int64_t boot_ns, wall_ns;

static void check(struct ring *ring, struct pacer *pacer)
{
    boot_ns += CLOCK_NS_PER_S / 4;
    wall_ns += CLOCK_NS_PER_S / 4;
    uint64_t before = ring_floor(ring), air = pacer_air(pacer, NULL);
    if (air < before || air != ring_floor(ring)) abort();
    if (ring_tail(ring) > air || air > ring_head(ring)) abort();
    const struct ring_mark *mark, *last = NULL;
    for (size_t i = 0; (mark = ring_mark(ring, i)); last = mark, i++) {
        if (last && last->position > mark->position) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const struct ring_conf conf = {.path = NULL, .kbps = 64, .past_s = 1, .lead_s = 2};
    const struct pacer_conf pacing = {.start_lead_s = 0.5};
    struct ring *ring;
    struct link_record record;
    log_set_level(LOG_LEVEL_ERROR);
    boot_ns = wall_ns = 1000 * CLOCK_NS_PER_S;
    clock_fake(&boot_ns, &wall_ns);
    if (ring_open(&ring, &conf, NULL)) abort();
    struct pacer *pacer = pacer_new(ring, &pacing);
    struct link_decoder *decoder = link_decoder_new();
    struct follow follow = {.ring = ring, .pacer = pacer, .asked_from = (int)(len & 1)};
    int more = 1;
    for (size_t at = 0; at < len && more >= 0;) {
        size_t piece = len - at < LINK_FEED_MAX ? len - at : LINK_FEED_MAX;
        link_decoder_feed(decoder, bytes + at, piece);
        at += piece;
        while ((more = link_decoder_next(decoder, &record, NULL)) == 1) {
            if (follow_record(&follow, &record, NULL) != FOLLOW_ON) more = -1;
            check(ring, pacer);
            if (more < 0) break;
        }
    }
    link_decoder_free(decoder);
    pacer_free(pacer);
    ring_close(ring);
    clock_fake(NULL, NULL);
    return 0;
}
