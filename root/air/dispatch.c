#include "root/air/dispatch.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/live.h"
#include "root/air/loops.h"
#include "root/air/recall.h"
#include "root/air/sampler.h"
#include "root/track.h"

/* With credit and no word from it for this share of the lead, the studio hangs. The least leaves it time to
 * find its place in a long file. */
#define STUDIO_SILENT_SHARE 0.5
#define STUDIO_SILENT_MIN_S 12
#define STUDIO_SILENT_MAX_S 45

static json_t *configure(void *context, enum role role, unsigned generation)
{
    const struct air *air = context;
    const struct options *o = air->options;
    (void)role;
    json_t *libraries = json_array();
    for (size_t i = 0; i < o->library.count; i++) {
        char *text = path_to_text(o->library.items[i]);
        json_array_append_new(libraries, json_string(text));
        free(text);
    }
    char *state = path_to_text(o->state);
    json_t *body =
        json_pack("{s:s,s:o,s:i,s:f,s:I,s:f,s:s,s:i}", "state", state, "libraries", libraries, "bitrate_kbps",
                  (int)o->bitrate, "lead_s", o->lead, "seed", (json_int_t)o->seed, "target_lufs",
                  o->target_lufs, "log_level", log_level_name(o->level), "generation", (int)generation);
    json_object_set_new(body, "mounts", mounts_specs(air->mounts));
    if (o->fallback) {
        char *fallback = path_to_text(o->fallback);
        json_object_set_new(body, "fallback", json_string(fallback));
        free(fallback);
    }
    json_object_set_new(body, "max_tempo_change_pct", json_real(o->max_tempo_change));
    json_object_set_new(body, "min_play_pct", json_real(o->min_play));
    json_object_set_new(body, "history_days", json_integer(o->history_days));
    free(state);
    return body;
}

static void on_up(void *context, enum role role, struct switch_end *end)
{
    struct air *air = context;
    if (role == ROLE_STUDIO) schedule_studio_up(air->schedule);
    if (role == ROLE_STORE) {
        schedule_store_up(air->schedule);
        sampler_store_up(air->sampler);
        recall_store_up(air->recall);
    }
    if (role == ROLE_CODER) mounts_coder_up(air->mounts);
    if (role == ROLE_LIVE) live_up(air->live, end);
}

static void on_down(void *context, enum role role)
{
    struct air *air = context;
    if (role == ROLE_STUDIO) {
        live_studio_down(air->live);
        schedule_studio_down(air->schedule);
    }
    if (role == ROLE_CODER) mounts_coder_down(air->mounts);
    if (role == ROLE_LIVE) live_down(air->live);
}

static int on_event(void *context, struct switch_end *end, const struct wire_row *row,
                    const struct msg *message, json_t *body, char **cause)
{
    (void)end;
    struct air *air = context;
    switch (row->type) {
    case WIRE_FRAMES:
        return schedule_frames(air->schedule, message, cause);
    case WIRE_LACKS:
        mounts_lacks(air->mounts, body);
        return 0;
    case WIRE_ENCODED:
        return mounts_encoded(air->mounts, message, cause);
    case WIRE_MARK:
        return schedule_mark(air->schedule, body, cause);
    case WIRE_FORK:
        return schedule_fork(air->schedule, body, cause);
    case WIRE_LOOP:
        loops_renew(air->mounts, air->options->state, body);
        return 0;
    case WIRE_ALIVE: /* that it was heard is all there is to it */
        return 0;
    case WIRE_PROGRESS:
        progress_take(&air->progress, body, clock_boot_ns());
        return 0;
    default:
        if (live_event(air->live, row, body)) return 0;
        return cause_set(cause, "air has no use for %s", row->name);
    }
}

static void on_stopped(void *context)
{
    event_base_loopbreak(((struct air *)context)->base);
}

void dispatch_tick(struct air *air)
{
    struct switch_end *end = switchboard_serving(workers_switchboard(air->workers), ROLE_STUDIO);
    if (!end || ring_head(air->ring) >= schedule_credit(air->schedule)) return;
    double limit_s = air->options->lead * STUDIO_SILENT_SHARE;
    if (limit_s < STUDIO_SILENT_MIN_S) limit_s = STUDIO_SILENT_MIN_S;
    if (limit_s > STUDIO_SILENT_MAX_S) limit_s = STUDIO_SILENT_MAX_S;
    if ((double)(clock_boot_ns() - switch_end_heard_ns(end)) > limit_s * CLOCK_NS_PER_S)
        workers_fail(air->workers, ROLE_STUDIO, "it is silent");
}

void dispatch_begin(struct air *air)
{
    const struct options *o = air->options;
    struct workers_conf conf = {.path = o->worker,
                                .analysers = (unsigned)o->analysers,
                                .coder = o->mount_count > 1,
                                .configure = configure,
                                .up = on_up,
                                .down = on_down,
                                .event = on_event,
                                .stopped = on_stopped,
                                .context = air};
    air->workers = workers_new(air->base, &conf);
}
