#include "root/air/icecast_status.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/mem.h"

#define COUNT_MAX 1000000000
#define KBPS_MAX  10000

/* A count as a number or, as some versions have it, as digits in a text. -1: neither ("unlimited"). */
static int64_t count_of(const json_t *source, const char *member, int64_t max)
{
    const json_t *value = json_object_get(source, member);
    int64_t n = -1;
    if (json_is_integer(value)) {
        n = json_integer_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t digits = strlen(text);
        if (digits && digits <= 9 && strspn(text, "0123456789") == digits) n = strtol(text, NULL, 10);
    }
    return n > max ? -1 : n;
}

/* The path of an address, or of a path. */
static const char *path_of(const char *address)
{
    const char *authority = strstr(address, "://");
    if (!authority) return address;
    const char *path = strchr(authority + 3, '/');
    return path ? path : "/";
}

/* listenurl has the host that the server believes to be; the path is what counts. */
static int is_mount(const json_t *source, const char *mount)
{
    const char *at = json_str_or(source, "listenurl", NULL, NULL);
    if (!at) at = json_str_or(source, "mount", NULL, NULL);
    return at && !strcmp(path_of(at), mount);
}

static const json_t *find(const json_t *sources, const char *mount)
{
    if (json_is_object(sources)) return is_mount(sources, mount) ? sources : NULL;
    const json_t *one;
    size_t i;
    json_array_foreach(sources, i, one)
    {
        if (is_mount(one, mount)) return one;
    }
    return NULL;
}

int icecast_status_read(const void *text, size_t len, const char *mount, struct icecast_status *out,
                        char **cause)
{
    char *why = NULL;
    json_t *answer = json_parse(text, len, ICECAST_STATUS_MAX, &why);
    const json_t *stats = json_object_get(answer, "icestats"),
                 *source = find(json_object_get(stats, "source"), mount);
    int64_t listeners = count_of(source, "listeners", COUNT_MAX),
            most = count_of(source, "max_listeners", COUNT_MAX), kbps = count_of(source, "bitrate", KBPS_MAX);
    int result = 0;
    if (kbps < 0) kbps = count_of(source, "ice-bitrate", KBPS_MAX);
    *out = (struct icecast_status){.listeners = (uint64_t)listeners,
                                   .max_listeners = most > 0 ? (uint64_t)most : 0,
                                   .kbps = kbps > 0 ? (unsigned)kbps : 0};
    if (!answer)
        result = cause_set(cause, "its status page is no JSON: %s", why);
    else if (!json_is_object(stats))
        result = cause_set(cause, "its status page is not Icecast's");
    else if (!source)
        result = cause_set(cause, "it has no mount %s now", mount);
    else if (listeners < 0)
        result = cause_set(cause, "it does not say how many listen to %s", mount);
    json_decref(answer);
    free(why);
    return result;
}

int icecast_status_address(const char *stream, char **status, char **mount, char **cause)
{
    size_t scheme = !strncasecmp(stream, "http://", 7) ? 7 : !strncasecmp(stream, "https://", 8) ? 8 : 0;
    size_t host = scheme ? strcspn(stream + scheme, "/?#") : 0;
    const char *path = stream + scheme + host;
    if (!host || *path != '/' || !path[1] || strpbrk(path, "?# \t\r\n"))
        return cause_set(cause, "%s: must be the address of the stream there, as http://HOST:8000/stream.mp3",
                         stream);
    *status = xasprintf("%.*s/status-json.xsl", (int)(scheme + host), stream);
    *mount = xstrdup(path);
    return 0;
}
