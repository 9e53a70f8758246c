/* Every request waits for the store's answer; so many at most, since each may hold some megabytes. */
#include "root/air/pictures.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/air/air.h"

#define WAITING_MAX 64
#define CACHING     "public, max-age=3600"

struct picture {
    struct air *air;
    struct http_request *request;
    uint32_t handle;
    enum wire_type type;
};
static unsigned waiting;

static void picture_free(struct picture *picture)
{
    waiting--;
    free(picture);
}

static void cancelled(void *context)
{
    struct picture *picture = context;
    switchboard_cancel(workers_switchboard(picture->air->workers), picture->handle);
    picture_free(picture);
}

static void replied(void *context, const struct msg *message, const char *error)
{
    struct picture *picture = context;
    struct http_request *request = picture->request;
    const char *type = "application/octet-stream";
    const uint8_t *bytes = message ? message->body : NULL;
    char quiet[8];
    if (bytes && picture->type == WIRE_ART_GET) { /* its type comes first */
        const uint8_t *nul = memchr(bytes, '\0', message->len);
        type = (const char *)bytes;
        bytes = nul ? nul + 1 : NULL;
    }
    picture_free(picture);
    if (!bytes) {
        /* a page asks so, since browsers complain about every 404 */
        if (http_query_get(request, "quiet", quiet, sizeof quiet))
            http_reply(request, 204, NULL, NULL, 0);
        else
            http_reply_error(request, 404, "%s", error ? error : "no picture");
        return;
    }
    http_add_header(request, "Cache-Control", CACHING);
    http_reply(request, 200, type, bytes, message->len - (size_t)(bytes - message->body));
}

static void ask(struct air *air, struct http_request *request, enum wire_type type, int64_t track)
{
    if (waiting >= WAITING_MAX || air->stopping) {
        http_add_header(request, "Retry-After", "1");
        http_reply_error(request, 503, "too many pictures are asked for");
        return;
    }
    struct picture *picture = xcalloc(1, sizeof *picture);
    *picture = (struct picture){air, request, 0, type};
    waiting++;
    http_defer(request, cancelled, picture);
    picture->handle = switchboard_request(workers_switchboard(air->workers), type,
                                          json_pack("{s:I}", "track", (json_int_t)track), replied, picture);
}

/* The number at the start of text, followed by `rest`; 0 when it is none. */
static int64_t track_of(const char *text, const char *rest)
{
    size_t n = strspn(text, "0123456789");
    return n && n <= 18 && !strcmp(text + n, rest) ? strtoll(text, NULL, 10) : 0;
}

static void on_art(void *context, struct http_request *request)
{
    int64_t track = track_of(http_path(request) + strlen("/art/"), "");
    if (track)
        ask(context, request, WIRE_ART_GET, track);
    else
        http_reply_error(request, 404, "no such track");
}

static void on_track(void *context, struct http_request *request)
{
    int64_t track = track_of(http_path(request) + strlen("/api/tracks/"), "/waveform");
    if (track)
        ask(context, request, WIRE_WAVE_GET, track);
    else
        http_reply_error(request, 404, "no such track");
}

void pictures_routes(struct air *air)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/art/*", on_art, 1, "a track's cover picture"},
        {HTTP_GET, "/api/tracks/*", on_track, 1, "/api/tracks/TRACK/waveform: peaks in three bands"},
    };
    http_server_routes(air->http, routes, sizeof routes / sizeof *routes, air);
}
