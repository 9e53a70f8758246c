/* relays.json:
 *
 *   {"version":1,"relays":[{"name","kind","region","allotment_bytes","reset_day","price_per_gb","uplink_bps",
 *     "drained","added_s", and where there is something to say:
 *     "max_listeners","uncalled","url","drain_until_s","enrolled_s","revoked_s",
 *     "credential","next_credential","token","token_until_s","token_used_s"}]}
 *
 * Secrets are their SHA-256 in hexadecimal; a member that ends in _s is a time in seconds since 1970. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/air/roster_internal.h"

#define VERSION       1
#define FILE_MAX      (64u << 20)
#define TIME_MAX      INT64_C(253402300799) /* the year 9999 */
#define ALLOTMENT_MAX UINT64_C(1000000000000000000)
#define UPLINK_MAX    UINT64_C(1000000000000)
#define PRICE_MAX     1000.0
#define SLOTS_MAX     1000000u

static const char *const continents[] = {"eu", "na", "sa", "as", "af", "oc"};

static int region_is_sound(const char *region)
{
    int known = !*region;
    for (size_t i = 0; i < sizeof continents / sizeof *continents; i++)
        known |= !strncmp(region, continents[i], 2);
    if (!known || !*region || !region[2]) return known;
    return region[2] == '-' && region[3] >= 'a' && region[3] <= 'z' && region[4] >= 'a' && region[4] <= 'z' &&
           !region[5];
}

int roster_check_terms(const struct relay_terms *terms, char **cause)
{
    if (!enrol_name_is_sound(terms->name)) return cause_set(cause, "name must be " ENROL_NAME_RULE);
    if (!region_is_sound(terms->region))
        return cause_set(cause,
                         "region must be eu, na, sa, as, af or oc, perhaps with a country behind it (eu-de)");
    if (terms->allotment_bytes > ALLOTMENT_MAX)
        return cause_set(cause, "allotment_bytes must be 0 to %llu", (unsigned long long)ALLOTMENT_MAX);
    if (terms->reset_day < 1 || terms->reset_day > 28) return cause_set(cause, "reset_day must be 1 to 28");
    if (!(terms->price_per_gb >= 0 && terms->price_per_gb <= PRICE_MAX))
        return cause_set(cause, "price_per_gb must be 0 to %g", PRICE_MAX);
    if (terms->uplink_bps > UPLINK_MAX)
        return cause_set(cause, "uplink_bps must be 0 to %llu", (unsigned long long)UPLINK_MAX);
    if (terms->max_listeners > SLOTS_MAX) return cause_set(cause, "max_listeners must be 0 to %u", SLOTS_MAX);
    return 0;
}

/* Reading */

static const char *const members[] = {"name",          "kind",          "region",          "allotment_bytes",
                                      "reset_day",     "price_per_gb",  "uplink_bps",      "drained",
                                      "url",           "drain_until_s", "added_s",         "enrolled_s",
                                      "revoked_s",     "credential",    "next_credential", "token",
                                      "token_until_s", "token_used_s",  "max_listeners",   "uncalled"};

static int check_members(const json_t *one, char **cause)
{
    const char *key;
    const json_t *value;
    if (!json_is_object(one)) return cause_set(cause, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)one, key, value)
    {
        size_t i = 0, count = sizeof members / sizeof *members;
        while (i < count && strcmp(members[i], key) != 0)
            i++;
        if (i == count) return cause_set(cause, "\"%.40s\" is no member of a relay", key);
        if (json_is_null(value)) return cause_set(cause, "%s must not be null", key);
    }
    return 0;
}

static int read_key(const json_t *one, const char *member, struct roster_key *out, char **cause)
{
    const json_t *value = json_object_get(one, member);
    *out = (struct roster_key){.set = value != NULL};
    if (!value ||
        (json_is_string(value) && !enrol_unhex(json_string_value(value), out->hash, sizeof out->hash)))
        return 0;
    return cause_set(cause, "%s must be %d hexadecimal digits", member, 2 * ENROL_HASH_BYTES);
}

static int read_time(const json_t *one, const char *member, int64_t *out, char **cause)
{
    int bad = 0;
    *out = json_int_or(one, member, 0, 0, TIME_MAX, &bad);
    return bad ? cause_set(cause, "%s must be seconds since 1970", member) : 0;
}

static int read_terms(const json_t *one, struct relay_terms *out, char **cause)
{
    int bad = 0;
    if (json_copy_text(one, "name", out->name, sizeof out->name, cause) ||
        json_copy_text(one, "region", out->region, sizeof out->region, cause))
        return -1;
    out->allotment_bytes = (uint64_t)json_int_or(one, "allotment_bytes", 0, 0, (int64_t)ALLOTMENT_MAX, &bad);
    out->uplink_bps = (uint64_t)json_int_or(one, "uplink_bps", 0, 0, (int64_t)UPLINK_MAX, &bad);
    out->max_listeners = (uint32_t)json_int_or(one, "max_listeners", 0, 0, SLOTS_MAX, &bad);
    out->reset_day = (int)json_int_or(one, "reset_day", 0, 1, 28, &bad);
    out->price_per_gb = json_real_or(one, "price_per_gb", NAN, &bad);
    out->drained = json_bool_or(one, "drained", false, &bad);
    if (bad)
        return cause_set(
            cause,
            "allotment_bytes, reset_day, price_per_gb, uplink_bps, max_listeners and drained must be numbers "
            "in range, and yes or no");
    return roster_check_terms(out, cause);
}

int roster_entry_read(const json_t *one, struct roster_entry *out, char **cause)
{
    const char *kind = json_string_value(json_object_get(one, "kind"));
    const json_t *url = json_object_get(one, "url");
    if (check_members(one, cause) || read_terms(one, &out->terms, cause)) return -1;
    if (!kind || (strcmp(kind, roster_kinds[0]) && strcmp(kind, roster_kinds[1])))
        return cause_set(cause, "kind must be %s or %s", roster_kinds[0], roster_kinds[1]);
    out->kind = strcmp(kind, roster_kinds[0]) ? ROSTER_ICECAST : ROSTER_FOREVER;
    if ((url && (!json_is_string(url) || json_string_length(url) > ROSTER_URL_MAX)) ||
        (!url && out->kind == ROSTER_ICECAST))
        return cause_set(cause, "url must be a text of at most %d bytes", ROSTER_URL_MAX);
    if (read_time(one, "added_s", &out->added_s, cause) ||
        read_time(one, "enrolled_s", &out->enrolled_s, cause) ||
        read_time(one, "revoked_s", &out->revoked_s, cause) ||
        read_time(one, "drain_until_s", &out->drain_until_s, cause) ||
        read_time(one, "token_until_s", &out->token_until_s, cause) ||
        read_time(one, "token_used_s", &out->token_used_s, cause) ||
        read_key(one, "credential", &out->credential, cause) ||
        read_key(one, "next_credential", &out->next, cause) || read_key(one, "token", &out->token, cause))
        return -1;
    int bad = 0;
    out->uncalled = json_bool_or(one, "uncalled", false, &bad);
    if (bad) return cause_set(cause, "uncalled must be true or false");
    if (out->next.set && !out->credential.set) return cause_set(cause, "next_credential needs a credential");
    out->url = url ? xstrdup(json_string_value(url)) : NULL;
    return 0;
}

static int read_relays(struct roster *roster, const json_t *list, char **cause)
{
    const json_t *one;
    size_t i;
    char *why = NULL;
    json_array_foreach(list, i, one)
    {
        struct roster_row *row = xcalloc(1, sizeof *row);
        if (roster_entry_read(one, &row->entry, &why))
            ;
        else if (roster_find(roster, row->entry.terms.name))
            cause_set(&why, "there are two relays \"%s\"", row->entry.terms.name);
        else if (roster_row_add(roster, row))
            cause_set(&why, "there may be %d relays", ROSTER_MAX);
        if (why) {
            cause_set(cause, "%s: relays[%zu]: %s", roster->path, i, why);
            free(why);
            roster_row_free(roster, row);
            return -1;
        }
        roster_row_link(roster, row);
    }
    return 0;
}

static int read_json(struct roster *roster, const json_t *value, char **cause)
{
    const json_t *list = json_object_get(value, "relays"), *version = json_object_get(value, "version");
    if (!json_is_object(value) || !json_is_integer(version) || !json_is_array(list) ||
        json_object_size(value) != 2)
        return cause_set(cause, "%s: must be an object of version and relays, and nothing else",
                         roster->path);
    if (json_integer_value(version) != VERSION)
        return cause_set(cause, "%s: is of version %lld, this program reads version %d", roster->path,
                         (long long)json_integer_value(version), VERSION);
    return read_relays(roster, list, cause);
}

char *roster_read_text(const char *path, size_t *len, char **cause)
{
    struct stat st;
    if (lstat(path, &st)) {
        if (errno != ENOENT) cause_set(cause, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        cause_set(cause, "%s: is no plain file", path);
        return NULL;
    }
    if (st.st_mode & 077) {
        cause_set(cause, "%s: others may read or write it (mode %04o): chmod 600 it", path,
                  (unsigned)st.st_mode & 07777);
        return NULL;
    }
    return proc_read_file(path, FILE_MAX, len, cause);
}

int roster_file_read(struct roster *roster, char **cause)
{
    size_t len;
    char *why = NULL, *text = roster_read_text(roster->path, &len, &why);
    if (!text && !why) return 0;
    if (!text) {
        cause_set(cause, "%s", why);
        free(why);
        return -1;
    }
    json_t *value = json_parse(text, len, FILE_MAX, &why);
    int result = value ? read_json(roster, value, cause) : cause_set(cause, "%s: %s", roster->path, why);
    json_decref(value);
    free(text);
    free(why);
    return result;
}

/* Writing */

static void put_key(json_t *one, const char *member, const struct roster_key *key)
{
    char text[2 * ENROL_HASH_BYTES + 1];
    if (!key->set) return;
    enrol_hex(key->hash, sizeof key->hash, text);
    json_object_set_new(one, member, json_string(text));
}

static void put_time(json_t *one, const char *member, int64_t s)
{
    if (s) json_object_set_new(one, member, json_integer(s));
}

json_t *roster_entry_json(const struct roster_entry *e)
{
    const struct relay_terms *t = &e->terms;
    json_t *one =
        json_pack("{s:s,s:s,s:s,s:I,s:i,s:f,s:I,s:b,s:I}", "name", t->name, "kind", roster_kinds[e->kind],
                  "region", t->region, "allotment_bytes", (json_int_t)t->allotment_bytes, "reset_day",
                  t->reset_day, "price_per_gb", t->price_per_gb, "uplink_bps", (json_int_t)t->uplink_bps,
                  "drained", t->drained, "added_s", (json_int_t)e->added_s);
    if (t->max_listeners) json_object_set_new(one, "max_listeners", json_integer(t->max_listeners));
    if (e->url) json_object_set_new(one, "url", json_string(e->url));
    if (e->uncalled) json_object_set_new(one, "uncalled", json_true());
    put_time(one, "drain_until_s", e->drain_until_s);
    put_time(one, "enrolled_s", e->enrolled_s);
    put_time(one, "revoked_s", e->revoked_s);
    put_key(one, "credential", &e->credential);
    put_key(one, "next_credential", &e->next);
    put_key(one, "token", &e->token);
    put_time(one, "token_until_s", e->token_until_s);
    put_time(one, "token_used_s", e->token_used_s);
    return one;
}

/* The name itself must last too, not only what it stands for. The new file is there already: no failure. */
void roster_sync_folder(const char *path)
{
    char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd)) log_warn("roster", "%s: its folder can't be written: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    free(copy);
}

int roster_file_write(const struct roster *roster, char **cause)
{
    json_t *list = json_array(), *value = json_pack("{s:i,s:o}", "version", VERSION, "relays", list);
    for (size_t i = 0; i < roster->count; i++)
        json_array_append_new(list, roster_entry_json(&roster->rows[i]->entry));
    char *text = json_text(value);
    int result = proc_write_file(roster->path, text, strlen(text), 0600, cause);
    free(text);
    json_decref(value);
    if (!result) roster_sync_folder(roster->path);
    return result;
}
