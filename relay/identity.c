#include "relay/identity.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"

#define MAX_BYTES 65536

static char *path_of(const char *state)
{
    return xasprintf("%s/identity", state);
}

/* 1 when it is another one. */
static int replace(char **text, const char *by)
{
    if (*text == by || (*text && by && !strcmp(*text, by))) return 0;
    char *fresh = by ? xstrdup(by) : NULL;
    free(*text);
    *text = fresh;
    return 1;
}

static int take(struct identity *identity, const struct station_identity *to)
{
    int news = replace(&identity->name, to->name);
    news |= replace(&identity->description, to->description);
    news |= replace(&identity->genre, to->genre);
    return replace(&identity->url, to->url) | news;
}

void identity_load(struct identity *out, const char *state)
{
    char *path = path_of(state);
    size_t len = 0;
    char *text = proc_read_file(path, MAX_BYTES, &len, NULL);
    json_t *kept = text ? json_parse(text, len, MAX_BYTES, NULL) : NULL;
    const struct station_identity as_kept = {.name = json_str_or(kept, "name", NULL, NULL),
                                             .description = json_str_or(kept, "description", NULL, NULL),
                                             .genre = json_str_or(kept, "genre", NULL, NULL),
                                             .url = json_str_or(kept, "url", NULL, NULL)};
    *out = (struct identity){0};
    take(out, &as_kept);
    json_decref(kept);
    free(text);
    free(path);
}

static void put(json_t *object, const char *key, const char *text)
{
    if (text) json_object_set_new(object, key, json_text_lossy(text));
}

void identity_set(struct identity *identity, const struct station_identity *to, const char *state)
{
    if (!take(identity, to)) return;
    json_t *kept = json_object();
    put(kept, "name", to->name);
    put(kept, "description", to->description);
    put(kept, "genre", to->genre);
    put(kept, "url", to->url);
    char *text = json_text(kept), *path = path_of(state), *cause = NULL;
    if (proc_write_file(path, text, strlen(text), 0600, &cause)) log_warn("relay", "%s", cause);
    free(cause);
    free(path);
    free(text);
    json_decref(kept);
}

void identity_free(struct identity *identity)
{
    free(identity->name);
    free(identity->description);
    free(identity->genre);
    free(identity->url);
}

struct station_identity identity_of(const struct identity *identity)
{
    return (struct station_identity){.name = identity->name,
                                     .description = identity->description,
                                     .genre = identity->genre,
                                     .url = identity->url};
}
