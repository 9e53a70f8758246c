/* coder: the frames of the mounts beside the main one, from the PCM that the studio keeps in the spool.
 *
 * A process of its own, so that a mount that wakes never waits for a render, and a slow or dead coder costs
 * the main mount nothing. It knows what air orders and nothing else: frames of a mount from a position on,
 * always behind the main mount's head. What the main mount has, the spool has, in the same branch: a block is
 * in it before the frame that is made of it is sent. So all that can happen is a block that is not there (the
 * studio has to render it again): it is looked for again in a while. The mount nearest to the air comes
 * first. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/work/press.h"
#include "root/work/spool.h"
#include "root/work/work.h"

#define ITEM_FRAMES 49
#define RETRY_NS    (CLOCK_NS_PER_S / 10)
#define NS_PER_MS   1000000

_Static_assert(ITEM_FRAMES <= WIRE_FRAMES_MAX, "an item is one message");

struct mount {
    int ordered; /* something was, once */
    uint32_t wake, branch;
    uint64_t next, until;
    struct press *press; /* NULL: to be started at `next` */
    int64_t retry_ns;    /* not before, boot time */
    int64_t lacks_ns;    /* when air was told last that something is missing; 0: nothing is */
};

struct coder {
    struct work *work;
    struct mount mounts[MOUNTS_MAX];
    struct spool *spool; /* NULL: not there yet */
    int lost;
};

static void press_drop(struct mount *m)
{
    press_free(m->press);
    m->press = NULL;
}

static void on_encode(struct coder *c, const json_t *body)
{
    int bad = 0;
    int64_t index = json_int_or(body, "mount", 0, 1, MOUNTS_MAX - 1, &bad);
    int64_t wake = json_int_or(body, "wake", 0, 0, UINT32_MAX, &bad);
    int64_t branch = json_int_or(body, "branch", 0, 0, UINT32_MAX, &bad);
    int64_t next = json_int_or(body, "next", 0, 0, INT64_MAX, &bad);
    int64_t until = json_int_or(body, "until", 0, 0, INT64_MAX, &bad);
    if (bad || (size_t)index >= c->work->mount_count || !index) {
        log_error("coder", "ENCODE is malformed");
        return;
    }
    struct mount *m = &c->mounts[index];
    if (!m->ordered || m->wake != (uint32_t)wake || m->branch != (uint32_t)branch) {
        press_drop(m);
        m->next = (uint64_t)next;
        m->retry_ns = 0;
    }
    m->ordered = 1;
    m->wake = (uint32_t)wake;
    m->branch = (uint32_t)branch;
    m->until = (uint64_t)until;
    if (!until) press_drop(m);
}

/* The mount to be served now; NULL with *wait_ms (-1: for ever) when there is none. */
static struct mount *choose(struct coder *c, int *wait_ms)
{
    int64_t now = clock_boot_ns(), wait_ns = INT64_MAX;
    struct mount *best = NULL;
    for (size_t i = 1; i < c->work->mount_count; i++) {
        struct mount *m = &c->mounts[i];
        if (m->next >= m->until) continue;
        if (m->retry_ns > now)
            wait_ns = m->retry_ns - now < wait_ns ? m->retry_ns - now : wait_ns;
        else if (!best || m->next < best->next)
            best = m;
    }
    *wait_ms = best ? 0 : wait_ns == INT64_MAX ? -1 : (int)(wait_ns / NS_PER_MS) + 1;
    return best;
}

/* What is missing may come. Air, which would take silence for a coder that hangs, hears of it. */
static void later(struct coder *c, struct mount *m, uint64_t block)
{
    int64_t now = clock_boot_ns();
    m->retry_ns = now + RETRY_NS;
    if (m->lacks_ns && now - m->lacks_ns < CLOCK_NS_PER_S) return;
    m->lacks_ns = now;
    work_send(c->work, WIRE_LACKS, 0,
              json_pack("{s:i,s:I}", "mount", (int)(m - c->mounts), "block", (json_int_t)block), -1);
}

/* Frames of one item into bytes, as far as the spool goes; -1 with *cause when the encoder fails. */
static int press_item(struct coder *c, struct mount *m, unsigned want, unsigned *count, uint8_t *bytes,
                      size_t *len, char **cause)
{
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    *count = 0;
    *len = 0;
    while (*count < want) {
        size_t n;
        unsigned got = press_take(m->press, want - *count, bytes + *len, &n);
        *count += got;
        *len += n;
        if (got) continue;
        if (spool_get(c->spool, press_block(m->press), pcm)) {
            later(c, m, press_block(m->press));
            return 0;
        }
        if (press_feed(m->press, pcm, cause)) return -1;
    }
    return 0;
}

static void item_send(struct coder *c, struct mount *m)
{
    static uint8_t bytes[WIRE_ENCODED_HEAD + ITEM_FRAMES * MP3_FRAME_MAX_BYTES];
    char *cause = NULL;
    size_t len = 0, index = (size_t)(m - c->mounts);
    unsigned count = 0,
             want = m->until - m->next < ITEM_FRAMES ? (unsigned)(m->until - m->next) : ITEM_FRAMES;
    if (!c->spool && spool_open(&c->spool, c->work->state, c->work->lead_s, 0, &cause)) {
        log_debug("coder", "%s", cause); /* the studio has not made it yet */
        free(cause);
        later(c, m, m->next);
        return;
    }
    if (!m->press) m->press = press_new(c->work->mounts[index].kbps, m->next, &cause);
    if (!m->press || press_item(c, m, want, &count, bytes + WIRE_ENCODED_HEAD, &len, &cause)) {
        log_error("coder", "frame %" PRIu64 " of mount %s: %s", m->next, c->work->mounts[index].name, cause);
        free(cause);
        c->lost = 1;
        return;
    }
    if (!count) return;
    wire_encoded_encode(bytes, m->next, m->branch, count, (uint32_t)index, m->wake);
    m->next += count;
    m->lacks_ns = 0;
    work_send_bytes(c->work, WIRE_ENCODED, 0, bytes, WIRE_ENCODED_HEAD + len);
}

int work_coder(struct work *work)
{
    struct coder c = {.work = work};
    struct work_message message;
    work_ready(work);
    while (!work->quit && !c.lost) {
        int wait_ms;
        struct mount *m = choose(&c, &wait_ms);
        int got = work_next(work, &message, m ? 0 : wait_ms);
        if (got < 0) break;
        if (got > 0) {
            if (message.row->type == WIRE_ENCODE)
                on_encode(&c, message.body);
            else
                log_warn("coder", "%s is not for the coder", message.row->name);
            work_message_free(&message);
        } else if (m) {
            item_send(&c, m);
        }
    }
    for (size_t i = 0; i < MOUNTS_MAX; i++)
        press_drop(&c.mounts[i]);
    spool_close(c.spool);
    return c.lost ? EX_SOFTWARE : EX_OK;
}
