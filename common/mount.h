/* mount: what a mount is called and how many bits it has: one line of the operator's list, one row of what
 * nodes tell each other. The mix is one; every mount carries it at the same positions in another bit rate.
 *
 * The first mount of a node is the main one, "stream": it never sleeps. A further one sleeps while nobody
 * hears it, unless it is told to be on always. */
#ifndef FOREVER_COMMON_MOUNT_H
#define FOREVER_COMMON_MOUNT_H
#include <stddef.h>
#include <jansson.h>

#define MOUNT_MAIN       "stream"
#define MOUNTS_MAX       16 /* the main one among them */
#define MOUNT_NAME_BYTES 32 /* with its NUL */

struct mount_spec {
    char name[MOUNT_NAME_BYTES]; /* a-z 0-9 - _ */
    unsigned kbps;
    int always;
};

/* "NAME:KBITS" or "NAME:KBITS:always". 0, or -1 with *cause. */
int mount_spec_parse(const char *text, struct mount_spec *out, char **cause);
/* Such rows, separated by commas or spaces, after the `count` that the list has: how many it has then, at
 * most MOUNTS_MAX; -1 with *cause. */
int mount_specs_parse(const char *text, struct mount_spec *list, size_t count, char **cause);
/* Only the name: 0, or -1 with *cause when it is none. */
int mount_spec_name(struct mount_spec *out, const char *name, char **cause);
/* The index of a name in a list; -1 when it is not there. */
int mount_spec_find(const struct mount_spec *list, size_t count, const char *name);

/* [{"name","kbps","always"}...]: a new reference. */
json_t *mount_specs_json(const struct mount_spec *list, size_t count);
/* The other way, into at most MOUNTS_MAX rows: how many; -1 with *cause when it is no such list, names one
 * twice, or does not begin with the main one. */
int mount_specs_read(const json_t *json, struct mount_spec *list, char **cause);

/* Where a node keeps the ring of a further mount: fresh memory. */
char *mount_ring_path(const char *state, const char *name);
/* Removes the rings of mounts that are not in the list (any more). */
void mount_sweep_rings(const char *state, const struct mount_spec *list, size_t count);

#endif
