#include "root/air/loops.h"

#include <stdlib.h>

#include "common/http.h"
#include "common/json.h"
#include "common/json_write.h"
#include "common/log.h"
#include "common/mem.h"

static void load(struct mount *m, const char *state, int due)
{
    char *cause = NULL;
    struct loop *loop = loop_load(state, m->spec.name, m->spec.kbps, &cause);
    if (loop) {
        log_debug("loops", "%s has loop %s", m->spec.name, loop_version(loop));
        filler_set_loop(m->filler, loop);
    } else if (due) {
        log_error("loops", "%s", cause);
    }
    free(cause);
}

void loops_open(struct mount *m, const char *state, const char *station)
{
    m->filler = filler_new(m->ring);
    filler_set_title(m->filler, filler_title_of(station));
    load(m, state, 0);
}

void loops_renew(struct mounts *mounts, const char *state, const json_t *body)
{
    struct mount *m = mounts_at(mounts, (size_t)json_int_or(body, "mount", MOUNTS_MAX, 0, MOUNTS_MAX, NULL));
    if (m) load(m, state, 1);
}

void loops_tell(struct mounts *mounts, struct json_write *answer)
{
    json_write_open(answer, "mounts", '[');
    for (size_t i = 0; i < mounts_count(mounts); i++) {
        const struct mount *m = mounts_at(mounts, i);
        const struct loop *loop = filler_loop(m->filler);
        json_write_open(answer, NULL, '{');
        json_write_str(answer, "name", m->spec.name);
        json_write_int(answer, "kbps", m->spec.kbps);
        json_write_bool(answer, "always", m->spec.always);
        if (loop) json_write_str(answer, "loop", loop_version(loop));
        json_write_close(answer, '}');
    }
    json_write_close(answer, ']');
}

void loops_reply(struct mounts *mounts, struct http_request *request)
{
    char name[64];
    const char *asked = http_query_get(request, "mount", name, sizeof name);
    struct mount *m = mounts_find(mounts, asked ? asked : MOUNT_MAIN);
    const struct loop *loop = m ? filler_loop(m->filler) : NULL;
    if (!loop) {
        http_reply_error(request, 404, m ? "this mount has no loop yet" : "no such mount");
        return;
    }
    size_t len;
    const uint8_t *bytes = loop_bytes(loop, &len);
    http_reply(request, 200, "audio/mpeg", bytes, len);
}
