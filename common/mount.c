#include "common/mount.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

static int set_name(struct mount_spec *out, const char *name, size_t len, char **cause)
{
    if (len == 0 || len >= sizeof out->name)
        return cause_set(cause, "a mount's name has 1 to %d letters", MOUNT_NAME_BYTES - 1);
    memcpy(out->name, name, len);
    out->name[len] = '\0';
    if (strspn(out->name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
        return cause_set(cause, "\"%s\" is no name of a mount: a to z, 0 to 9, - and _ make one", out->name);
    return 0;
}

int mount_spec_name(struct mount_spec *out, const char *name, char **cause)
{
    return set_name(out, name, strlen(name), cause);
}

static int set_kbps(struct mount_spec *out, long kbps, char **cause)
{
    if (kbps < 0 || kbps > MP3_KBPS_MAX || !mp3_kbps_valid((unsigned)kbps))
        return cause_set(cause,
                         "mount %s: the bit rate must be 64, 80, 96, 112, 128, 160, 192, 224, 256 or 320",
                         out->name);
    out->kbps = (unsigned)kbps;
    return 0;
}

int mount_spec_parse(const char *text, struct mount_spec *out, char **cause)
{
    *out = (struct mount_spec){0};
    const char *colon = strchr(text, ':');
    if (!colon) return cause_set(cause, "\"%.40s\" must be NAME:KBITS or NAME:KBITS:always", text);
    if (set_name(out, text, (size_t)(colon - text), cause)) return -1;
    char *end = (char *)(uintptr_t)colon;
    long kbps = colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    if (set_kbps(out, kbps, cause)) return -1;
    out->always = !strcmp(end, ":always");
    if (*end && !out->always)
        return cause_set(cause, "mount %s: \"%.20s\" after the bit rate; only :always may stand there",
                         out->name, end);
    return 0;
}

int mount_specs_parse(const char *text, struct mount_spec *list, size_t count, char **cause)
{
    for (;;) {
        text += strspn(text, ", \t");
        size_t len = strcspn(text, ", \t");
        if (len == 0) return (int)count;
        if (count == MOUNTS_MAX)
            return cause_set(cause, "at most %d mounts, the main one among them", MOUNTS_MAX);
        char *one = xstrndup(text, len);
        int rc = mount_spec_parse(one, &list[count], cause);
        free(one);
        if (rc) return -1;
        const char *name = list[count].name;
        if (!strcmp(name, MOUNT_MAIN) || !strcmp(name, "main"))
            return cause_set(cause, "%s is the main mount, whose bit rate is set apart", name);
        if (mount_spec_find(list, count, name) >= 0) return cause_set(cause, "mount %s is there twice", name);
        count++;
        text += len;
    }
}

int mount_spec_find(const struct mount_spec *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(list[i].name, name)) return (int)i;
    }
    return -1;
}

json_t *mount_specs_json(const struct mount_spec *list, size_t count)
{
    json_t *json = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(json, json_pack("{s:s,s:i,s:b}", "name", list[i].name, "kbps",
                                              (int)list[i].kbps, "always", list[i].always));
    return json;
}

int mount_specs_read(const json_t *json, struct mount_spec *list, char **cause)
{
    size_t count = json_array_size(json);
    if (count == 0 || count > MOUNTS_MAX) return cause_set(cause, "a list of 1 to %d mounts", MOUNTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(json, i);
        int bad = 0;
        const char *name = json_str_or(row, "name", "", &bad);
        int64_t kbps = json_int_or(row, "kbps", 0, 0, MP3_KBPS_MAX, &bad);
        list[i] = (struct mount_spec){.always = json_bool_or(row, "always", 0, &bad)};
        if (bad) return cause_set(cause, "mount %zu: a member is of the wrong type", i);
        if (set_name(&list[i], name, strlen(name), cause) || set_kbps(&list[i], (long)kbps, cause)) return -1;
        if (mount_spec_find(list, i, list[i].name) >= 0)
            return cause_set(cause, "mount %s is there twice", list[i].name);
    }
    if (strcmp(list[0].name, MOUNT_MAIN)) return cause_set(cause, "the first mount must be " MOUNT_MAIN);
    return (int)count;
}

char *mount_ring_path(const char *state, const char *name)
{
    return xasprintf("%s/mount-%s.ring", state, name);
}

void mount_sweep_rings(const char *state, const struct mount_spec *list, size_t count)
{
    DIR *folder = opendir(state);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        struct mount_spec spec;
        const char *name = entry->d_name + strlen("mount-"), *end = strstr(entry->d_name, ".ring");
        if (strncmp(entry->d_name, "mount-", strlen("mount-")) || !end || end < name) continue;
        if (set_name(&spec, name, (size_t)(end - name), NULL) || mount_spec_find(list, count, spec.name) >= 0)
            continue;
        char *path = xasprintf("%s/%s", state, entry->d_name);
        if (unlink(path) == 0) log_info("mounts", "%s goes: there is no such mount any more", path);
        free(path);
    }
    if (folder) closedir(folder);
}
