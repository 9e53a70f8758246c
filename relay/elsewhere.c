#include "relay/elsewhere.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"

#define URL_MAX_BYTES 700

struct stream {
    char *url;
    unsigned room;
    int secure, last; /* last: for whom all the others can't take */
};

struct elsewhere {
    struct stream streams[ELSEWHERE_MAX];
    size_t count, turn; /* turn: of those that have no room any more */
    int64_t told_ns;
};

struct elsewhere *elsewhere_new(void)
{
    return xcalloc(1, sizeof(struct elsewhere));
}

void elsewhere_free(struct elsewhere *e)
{
    if (!e) return;
    elsewhere_set(e, NULL, NULL, 0);
    free(e);
}

/* It goes into a Location header and into playlists: nothing in it may end either. */
static int url_is_sound(const char *url)
{
    if (strncasecmp(url, "http://", 7) && strncasecmp(url, "https://", 8)) return 0;
    size_t n = 0;
    while (url[n] > ' ' && url[n] <= '~' && !strchr("\"<>\\^`{|}?#", url[n]))
        n++;
    return !url[n] && n <= URL_MAX_BYTES;
}

void elsewhere_set(struct elsewhere *e, const char *const *urls, const unsigned *rooms, size_t count)
{
    while (e->count)
        free(e->streams[--e->count].url);
    for (size_t i = 0; i < count && e->count < ELSEWHERE_MAX; i++) {
        if (!urls[i] || !url_is_sound(urls[i])) continue;
        unsigned room = rooms && rooms[i] < ELSEWHERE_UNLIMITED ? rooms[i] : ELSEWHERE_UNLIMITED;
        e->streams[e->count++] =
            (struct stream){xstrdup(urls[i]), room, !strncasecmp(urls[i], "https:", 6), !room};
    }
    e->told_ns = clock_boot_ns();
}

void elsewhere_read(struct elsewhere *e, const json_t *urls, const json_t *rooms)
{
    const char *list[ELSEWHERE_MAX];
    unsigned room[ELSEWHERE_MAX];
    for (size_t i = 0; i < ELSEWHERE_MAX; i++) {
        const json_t *said = json_array_get(rooms, i);
        json_int_t n = json_integer_value(said);
        list[i] = json_string_value(json_array_get(urls, i));
        room[i] = !json_is_integer(said) || n > ELSEWHERE_UNLIMITED ? ELSEWHERE_UNLIMITED
                  : n > 0                                           ? (unsigned)n
                                                                    : 0;
    }
    elsewhere_set(e, list, room, ELSEWHERE_MAX);
}

static int tell(const struct stream *stream, char *location, size_t size)
{
    return snprintf(location, size, "%s", stream->url) < (int)size ? 0 : -1;
}

int elsewhere_name(const struct elsewhere *e, int secure, size_t i, char *location, size_t size)
{
    for (size_t k = 0; k < e->count; k++)
        if (e->streams[k].secure == !!secure && i-- == 0) return tell(&e->streams[k], location, size);
    return -1;
}

unsigned elsewhere_room(const struct elsewhere *e)
{
    unsigned sum = 0;
    for (size_t k = 0; k < e->count; k++)
        sum +=
            e->streams[k].room < ELSEWHERE_UNLIMITED - sum ? e->streams[k].room : ELSEWHERE_UNLIMITED - sum;
    return sum;
}

/* Nowhere is room: the one whose turn it is. root: that one first. */
static int next_of(struct elsewhere *e, int secure, int root, size_t *out)
{
    for (int last = root, tries = 0; tries < 2; last = !last, tries++) {
        for (size_t k = 0; k < e->count; k++) {
            size_t at = (e->turn + k) % e->count;
            if (e->streams[at].secure != !!secure || e->streams[at].last != last) continue;
            *out = at;
            return 0;
        }
    }
    return -1;
}

int elsewhere_send(struct elsewhere *e, int secure, enum elsewhere_need need, int probe, char *location,
                   size_t size)
{
    for (size_t k = 0; k < e->count; k++) {
        struct stream *stream = &e->streams[k];
        if (stream->secure != !!secure || !stream->room) continue;
        if (tell(stream, location, size)) return -1;
        if (!probe && stream->room < ELSEWHERE_UNLIMITED) stream->room--;
        return 0;
    }
    size_t at;
    int fresh = clock_boot_ns() - e->told_ns < ELSEWHERE_FRESH_S * CLOCK_NS_PER_S;
    if (need == ELSEWHERE_CAN_WAIT || next_of(e, secure, need == ELSEWHERE_MUST_GO && fresh, &at)) return -1;
    if (!probe) e->turn = at + 1;
    return tell(&e->streams[at], location, size);
}
