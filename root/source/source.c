#include "root/source/source.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

struct source {
    const struct source_backend *backend;
    void *state;
    char *location;
};

int source_is_music(const char *name)
{
    /* m4p is what protected AAC is called: it is named so that its owner hears why it is not played */
    static const char *const endings[] = {"mp3", "flac", "ogg", "oga",  "opus", "m4a",  "m4b", "m4p",
                                          "mp4", "aac",  "wav", "wave", "aif",  "aiff", "aifc"};
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name) return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (!strcasecmp(dot + 1, endings[i])) return 1;
    }
    return 0;
}

struct source *source_open(const char *location)
{
    struct source *s = xcalloc(1, sizeof *s);
    s->backend = strcmp(location, "null:") ? &source_folder : &source_null;
    s->location = xstrdup(location);
    for (size_t n = strlen(location); n > 1 && s->location[n - 1] == '/'; n--)
        s->location[n - 1] = '\0';
    s->state = s->backend->open(s->location);
    return s;
}

void source_close(struct source *s)
{
    if (!s) return;
    s->backend->close(s->state);
    free(s->location);
    free(s);
}

const char *source_location(const struct source *s)
{
    return s->location;
}

int source_walk(struct source *s, source_found found, void *context, struct source_report *report,
                char **cause)
{
    *report = (struct source_report){0};
    return s->backend->walk(s->state, found, context, report, cause);
}

int source_fd(const struct source *s)
{
    return s->backend->fd(s->state);
}

int source_changes(struct source *s, source_found found, void *context)
{
    return s->backend->changes(s->state, found, context);
}

/* null: a library of nothing. */

static void *null_open(const char *location)
{
    (void)location;
    return NULL;
}

static void null_close(void *state)
{
    (void)state;
}

static int null_walk(void *state, source_found found, void *context, struct source_report *report,
                     char **cause)
{
    (void)state;
    (void)found;
    (void)context;
    (void)report;
    (void)cause;
    return 0;
}

static int null_fd(const void *state)
{
    (void)state;
    return -1;
}

static int null_changes(void *state, source_found found, void *context)
{
    (void)state;
    (void)found;
    (void)context;
    return 0;
}

const struct source_backend source_null = {"null", null_open, null_close, null_walk, null_fd, null_changes};
