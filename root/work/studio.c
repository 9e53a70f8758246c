/* studio: makes the programme ahead of the air: chooses with the brain, plans, renders, encodes, sends.
 *
 * One item (up to a second and a bit of frames) at a time, as far as air's credit goes, looking at messages
 * in between. All it knows can be lost: air tells a new studio where to go on and with which segments, and
 * the frames it makes from these are the very ones this one would have made. A skip is a retraction: the
 * programme is cut at the fork and goes on with something else in a new branch. A file that fails while it is
 * rendered has already been announced, so the studio asks air for such a fork a little before the place.
 *
 * Where there are further mounts, what is rendered goes to the spool, from which the coder encodes them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "root/work/live_take.h"
#include "root/work/loop_make.h"
#include "root/work/output.h"
#include "root/work/refill.h"
#include "root/work/shelf.h"
#include "root/work/show.h"
#include "root/work/work.h"

#define ITEM_FRAMES 49
/* After a start or a fork BURST_S are made at once, then PACE times as fast as it plays until the lead is
 * there: what is chosen later is chosen from more of a library that is still being analysed. */
#define BURST_S      30
#define PACE         4
#define PLAN_AHEAD   (10 * PCM_RATE) /* of what is encoded: a file that fails to open then does no harm */
#define KEPT_BEHIND  (20 * PCM_RATE) /* of the air: a skip's priming reads there */
#define ASK_MS       200             /* pause after a brain that had nothing to play */
#define FORK_MS      2000            /* pause before air is asked for a fork again */
#define ALIVE_S      2               /* between two signs of life while hours of a track are passed over */
#define PACE_MS      300             /* pause when the pace is kept: an item's worth */
#define NS_PER_MS    1000000
#define LIVE_MS      40 /* a live source is looked after so often */
#define SCANT_S      4
#define HUNGRY_S     1.75 /* with so much credit unused and nothing to send, a live source is too slow */
#define LOOP_S       3600 /* between two looks whether a new loop is due */
#define LOOP_ASK_S   1    /* while nothing plays that it could be made of */
#define LOOP_AGAIN_S 10   /* after one that was given up */
#define LOOP_LEAD_S  30   /* with so much ahead of the air, one under way comes before more of it */
#define REFILL_S     15   /* with less than this ahead of the air, frames come before what the spool lacks */

_Static_assert(ITEM_FRAMES <= WIRE_FRAMES_MAX, "an item is one message");

struct studio {
    struct work *work;
    struct shelf *shelf;
    struct show *show;
    struct output *output; /* NULL: to be started at `next` */
    struct spool *spool;   /* NULL: only one mount, or no room */
    struct refill *refill; /* NULL: the spool lacks nothing */
    struct live_take *live;
    int scant; /* `until` is, or may still be, as near to the air as while a live source is on */
    int begun; /* START has come */
    uint32_t branch;
    uint64_t next, until; /* frame to send next; credit */
    uint64_t spool_from;  /* frames before it were made already: what primes them in the spool stays */
    uint64_t paced_from;  /* frame and time from which the pace counts */
    int64_t paced_ns;
    int64_t ask_ns;  /* when the brain may be asked again */
    int64_t fork_ns; /* when air is asked for a fork again; 0: none is wanted */
    uint64_t fork_frame;
    struct loop_make *loop; /* under way; NULL */
    int64_t loop_ns;        /* when it is looked again whether one is due */
    int lost;               /* an error that nothing here can mend; a new studio may */
};

static void output_drop(struct studio *s)
{
    output_free(s->output);
    s->output = NULL;
}

static void refill_drop(struct studio *s)
{
    refill_free(s->refill);
    s->refill = NULL;
}

static void loop_drop(struct studio *s)
{
    if (!s->loop) return;
    loop_make_free(s->loop);
    s->loop = NULL;
    s->loop_ns = clock_boot_ns() + LOOP_AGAIN_S * CLOCK_NS_PER_S;
}

static uint64_t frames_of(double seconds)
{
    return (uint64_t)(seconds * MP3_RATE / MP3_FRAME_SAMPLES);
}

static void pace_begin(struct studio *s)
{
    s->paced_from = s->next;
    s->paced_ns = clock_boot_ns();
}

/* Frames below this may be made now. */
static uint64_t edge_now(const struct studio *s)
{
    uint64_t burst = (uint64_t)BURST_S * MP3_RATE / MP3_FRAME_SAMPLES;
    uint64_t paced = s->paced_from + burst + PACE * mp3_ns_to_frame(clock_boot_ns() - s->paced_ns);
    return paced < s->until ? paced : s->until;
}

/* Messages */

static void on_start(struct studio *s, const json_t *body)
{
    int bad = 0;
    s->branch = (uint32_t)json_int_or(body, "branch", 0, 0, UINT32_MAX, &bad);
    s->next = s->until = (uint64_t)json_int_or(body, "next", 0, 0, INT64_MAX, &bad);
    if (bad) log_error("studio", "START is malformed");
    s->spool_from = s->next;
    output_drop(s);
    refill_drop(s);
    show_begin(s->show, s->next, json_object_get(body, "segments"));
    if (s->spool) {
        uint64_t air = (uint64_t)json_int_or(body, "air", (int64_t)s->next, 0, INT64_MAX, NULL);
        uint64_t past = frames_of(SPOOL_PAST_S / 2);
        s->refill = refill_new(s->spool, show_programme(s->show), air > past ? air - past : 0, s->next);
    }
    s->begun = 1;
    pace_begin(s);
    s->ask_ns = s->fork_ns = 0;
    log_info("studio", "goes on at frame %" PRIu64 " of branch %u with %zu segments", s->next, s->branch,
             programme_count(show_programme(s->show)));
}

/* What only a past that nobody can fork from any more needs is given up. */
static void release(struct studio *s)
{
    uint64_t lead = (uint64_t)(s->work->lead_s * PCM_RATE), kept = lead + KEPT_BEHIND;
    uint64_t edge = (s->until < s->next ? s->until : s->next) * MP3_FRAME_SAMPLES;
    if (edge > kept + OUTPUT_PAST) programme_release(show_programme(s->show), edge - kept - OUTPUT_PAST);
}

static void on_credit(struct studio *s, const json_t *body)
{
    if (json_int_or(body, "branch", -1, 0, UINT32_MAX, NULL) != s->branch) return;
    s->until = (uint64_t)json_int_or(body, "until", 0, 0, INT64_MAX, NULL);
    if (!live_take_on(s->live) && s->until > s->next + frames_of(SCANT_S)) s->scant = 0;
    release(s);
}

static void on_retract(struct studio *s, const json_t *body)
{
    int bad = 0;
    int64_t branch = json_int_or(body, "branch", -1, 0, UINT32_MAX, &bad);
    int64_t position = json_int_or(body, "position", -1, 0, INT64_MAX, &bad);
    int64_t live = json_int_or(body, "live", 0, 1, INT64_MAX, &bad);
    if (bad || branch <= s->branch || position < 0) {
        log_error("studio", "RETRACT is malformed");
        return;
    }
    s->branch = (uint32_t)branch;
    if ((uint64_t)position < s->next) s->next = (uint64_t)position;
    if (s->until > s->next) s->until = s->next;
    s->spool_from = s->next;
    output_drop(s);
    if (s->refill) refill_cut(s->refill, s->next);
    s->scant |= live || live_take_on(s->live);
    show_fork(s->show, s->next);
    if (live)
        live_take_begin(s->live, live);
    else
        live_take_forked(s->live);
    pace_begin(s);
    s->ask_ns = s->fork_ns = 0;
}

static void handle(struct studio *s, struct work_message *message)
{
    switch (message->row->type) {
    case WIRE_START:
        on_start(s, message->body);
        break;
    case WIRE_CREDIT:
        if (s->begun) on_credit(s, message->body);
        break;
    case WIRE_RETRACT:
        if (s->begun) on_retract(s, message->body);
        break;
    case WIRE_LIVE_PCM:
        live_take_source(s->live, message->body, message->fd);
        message->fd = -1;
        break;
    case WIRE_LIVE_TITLE:
        live_take_title(s->live, message->body);
        break;
    case WIRE_LIVE_STOP:
        live_take_stop(s->live, message->body);
        break;
    default:
        log_warn("studio", "%s is not for the studio", message->row->name);
    }
    work_message_free(message);
}

/* Work */

static void fork_ask(struct studio *s)
{
    s->fork_ns = clock_boot_ns() + (int64_t)FORK_MS * NS_PER_MS;
    work_send(s->work, WIRE_FORK, 0,
              json_pack("{s:I,s:I}", "branch", (json_int_t)s->branch, "position", (json_int_t)s->fork_frame),
              -1);
}

static void fork_want(struct studio *s, uint64_t sample)
{
    s->fork_frame = show_fork_frame(s->next, sample);
    output_drop(s);
    fork_ask(s);
}

static int mark_send(struct studio *s, json_t *mark)
{
    json_object_set_new(mark, "branch", json_integer(s->branch));
    return work_send(s->work, WIRE_MARK, 0, mark, -1);
}

static int marks_send(struct studio *s)
{
    for (json_t *mark; (mark = show_mark(s->show));) {
        if (mark_send(s, mark)) return -1;
    }
    return 0;
}

/* A rehearsal may take half of what is in hand ahead of the air. */
static int64_t rehearsal_end(const struct studio *s)
{
    uint64_t lead = frames_of(s->work->lead_s), air = s->until > lead ? s->until - lead : 0;
    if (s->scant) return clock_boot_ns() + CLOCK_NS_PER_S / 2;
    return clock_boot_ns() + (s->next > air ? mp3_frame_to_ns(s->next - air) / 2 : 0);
}

/* Plans until the programme reaches `sample`, as far as that is possible now. A loop under way gives its
 * memory to the rehearsal. */
static void grow(struct studio *s, uint64_t sample)
{
    struct programme *programme = show_programme(s->show);
    while (programme_end(programme) < sample && clock_boot_ns() >= s->ask_ns && !s->work->quit) {
        loop_drop(s);
        int result = show_grow(s->show, rehearsal_end(s));
        if (result > 0) continue;
        s->ask_ns = clock_boot_ns() + (int64_t)ASK_MS * NS_PER_MS;
        if (result < 0) fork_want(s, programme_end(programme));
        return;
    }
}

/* Renders `count` frames and sends them: 0; -1 when a file failed and a fork is wanted, or all is lost. */
static int item_send(struct studio *s, unsigned count)
{
    static uint8_t bytes[WIRE_FRAMES_HEAD + ITEM_FRAMES * MP3_FRAME_MAX_BYTES];
    char *cause = NULL;
    size_t len;
    int64_t bad_track = 0;
    struct programme *programme = show_programme(s->show);
    if (!s->output) {
        s->output = output_new(programme, s->work->bitrate_kbps, OUTPUT_CEILING_DBTP, s->next, 0, &cause);
        if (s->output) output_spool(s->output, s->spool, s->spool_from);
    }
    if (s->output &&
        output_frames(s->output, count, bytes + WIRE_FRAMES_HEAD, &len, &bad_track, &cause) == 0) {
        wire_frames_encode(bytes, s->next, s->branch, count);
        s->next += count;
        return work_send_bytes(s->work, WIRE_FRAMES, 0, bytes, WIRE_FRAMES_HEAD + len);
    }
    if (s->output && bad_track) {
        uint64_t sample = output_reached(s->output);
        show_fail(s->show, bad_track, sample, cause);
        fork_want(s, sample);
    } else {
        log_error("studio", "frame %" PRIu64 ": %s", s->next, cause);
        s->lost = 1;
    }
    free(cause);
    return -1;
}

/* 1 when the spool is to have what it lacks before the next frames come. */
static int refill_first(struct studio *s)
{
    uint64_t lead = frames_of(s->work->lead_s), air = s->until > lead ? s->until - lead : 0;
    if (live_take_on(s->live)) return 0; /* it can't wait */
    return s->refill && (s->next >= s->until || s->next > air + frames_of(REFILL_S));
}

/* 1 when a loop that is under way is to be made before more frames come. */
static int loop_first(const struct studio *s)
{
    uint64_t lead = frames_of(s->work->lead_s), air = s->until > lead ? s->until - lead : 0;
    return s->loop && !live_take_busy(s->live) && s->next > air + frames_of(LOOP_LEAD_S);
}

/* The same while a live session is on: as far as it holds enough. */
static int step_live(struct studio *s, unsigned count)
{
    live_take_grow(s->live, output_needs(s->next + count - 1));
    if (marks_send(s)) return 0;
    uint64_t end = live_take_limit(s->live);
    while (count && output_needs(s->next + count - 1) > end)
        count--;
    if (live_take_due(s->live, !count, s->until > s->next + frames_of(HUNGRY_S))) {
        s->fork_frame = s->next;
        fork_ask(s);
        return 0;
    }
    for (json_t *mark; count && (mark = live_take_mark(s->live, s->next, s->next + count));) {
        if (mark_send(s, mark)) return 0;
    }
    return count && item_send(s, count) == 0;
}

/* What is played when there is no programme is made when there is nothing better to do. As step. */
static int step_loop(struct studio *s)
{
    int64_t now = clock_boot_ns(), track = show_track(s->show);
    if (s->loop) {
        if (!loop_make_step(s->loop)) {
            loop_make_free(s->loop);
            s->loop = NULL;
        }
        return 1;
    }
    if (now < s->loop_ns || live_take_busy(s->live)) return 0;
    s->loop_ns = now + LOOP_ASK_S * CLOCK_NS_PER_S;
    if (!track && !s->work->fallback) return 0;
    s->loop_ns = now + LOOP_S * CLOCK_NS_PER_S;
    if (loop_make_due(s->work)) s->loop = loop_make_new(s->work, s->shelf, track);
    return s->loop != NULL;
}

/* One step of work; 1 when there may be more to do at once. */
static int step(struct studio *s)
{
    uint64_t edge = edge_now(s);
    if (s->begun && live_take_busy(s->live)) live_take_poll(s->live, s->next * MP3_FRAME_SAMPLES);
    if (live_take_asked(s->live)) return 0;
    if (s->begun && refill_first(s)) {
        if (!refill_step(s->refill, ITEM_FRAMES)) refill_drop(s);
        return 1;
    }
    if (!s->begun || s->next >= edge || loop_first(s)) return s->begun && step_loop(s);
    if (s->fork_ns) {
        if (clock_boot_ns() >= s->fork_ns) fork_ask(s);
        return 0;
    }
    unsigned count = edge - s->next < ITEM_FRAMES ? (unsigned)(edge - s->next) : ITEM_FRAMES;
    if (live_take_on(s->live)) return step_live(s, count);
    grow(s, output_needs(s->next + count - 1) + PLAN_AHEAD);
    if (marks_send(s) || s->fork_ns) return 0;
    uint64_t end = programme_end(show_programme(s->show));
    while (count && output_needs(s->next + count - 1) > end)
        count--;
    return count && item_send(s, count) == 0;
}

/* How long to wait for a message when there is nothing to do. */
static int pause_ms(const struct studio *s)
{
    if (live_take_on(s->live) || live_take_asked(s->live)) return LIVE_MS;
    if (!s->begun || s->next >= s->until) return live_take_busy(s->live) ? LIVE_MS : -1;
    if (s->next >= edge_now(s)) return live_take_busy(s->live) ? LIVE_MS : PACE_MS;
    int64_t due = s->fork_ns ? s->fork_ns : s->ask_ns, left = (due - clock_boot_ns()) / NS_PER_MS;
    return left < 0 ? 0 : (int)left + 1;
}

static void spool_begin(struct studio *s)
{
    const struct work *work = s->work;
    char *cause = NULL;
    if (work->mount_count < 2) {
        spool_remove(work->state); /* of an earlier life */
    } else if (spool_open(&s->spool, work->state, work->lead_s, 1, &cause)) {
        log_error("studio", "only the main mount has sound: %s", cause);
        free(cause);
    }
}

/* Air takes a studio that says nothing for dead. */
static void on_seek(void *context)
{
    static int64_t told_ns;
    int64_t now = clock_boot_ns();
    if (now - told_ns < ALIVE_S * CLOCK_NS_PER_S) return;
    told_ns = now;
    work_send(context, WIRE_ALIVE, 0, json_object(), -1);
}

int work_studio(struct work *work)
{
    struct studio s = {.work = work};
    struct work_message message;
    s.shelf = shelf_new(work);
    s.show = show_new(work, s.shelf);
    s.live = live_take_new(work, s.show);
    spool_begin(&s);
    decode_on_seek(on_seek, work);
    work_ready(work);
    for (int busy = 0; !work->quit && !s.lost;) {
        int got = work_next(work, &message, busy ? 0 : pause_ms(&s));
        if (got < 0) break;
        if (got > 0) handle(&s, &message);
        /* all messages that are there first: one of them may void what we would do */
        busy = got > 0 || step(&s);
    }
    decode_on_seek(NULL, NULL);
    output_drop(&s);
    refill_drop(&s);
    live_take_free(s.live);
    loop_make_free(s.loop);
    show_free(s.show);
    shelf_free(s.shelf);
    spool_close(s.spool);
    return s.lost ? EX_SOFTWARE : EX_OK;
}
