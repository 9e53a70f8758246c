/* {"version":1,"name","credential","pin","roots":["https://HOST:PORT",...],"public_url"} */
#include "relay/enrolment.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/proc.h"

#define VERSION   1
#define FILE_MAX  16384
#define FILE_NAME "enrolment.json"

static int read_value(const json_t *value, struct enrolment *out, char **cause)
{
    const json_t *roots = json_object_get(value, "roots"), *one;
    int bad = 0;
    size_t i;
    if (json_int_or(value, "version", 0, VERSION, VERSION, &bad) != VERSION || bad)
        return cause_set(cause, "version must be %d", VERSION);
    if (json_object_size(value) != 6)
        return cause_set(cause, "there is a member too many, or one is missing");
    if (json_copy_text(value, "name", out->name, sizeof out->name, cause) ||
        json_copy_text(value, "credential", out->credential, sizeof out->credential, cause) ||
        json_copy_text(value, "pin", out->pin, sizeof out->pin, cause) ||
        json_copy_text(value, "public_url", out->public_url, sizeof out->public_url, cause))
        return -1;
    if (!enrol_name_is_sound(out->name)) return cause_set(cause, "name must be " ENROL_NAME_RULE);
    if (!enrol_secret_is_sound(out->credential)) return cause_set(cause, "credential is none");
    if (!enrol_pin_is_sound(out->pin))
        return cause_set(cause, "pin must be sha256// and 44 characters of base64");
    out->url_count = json_array_size(roots);
    if (!out->url_count || out->url_count > ENROL_URLS_MAX)
        return cause_set(cause, "roots must be a list of 1 to %d", ENROL_URLS_MAX);
    json_array_foreach(roots, i, one)
    {
        const char *url = json_string_value(one);
        if (!url || !enrol_link_url_is_sound(url))
            return cause_set(cause, "roots[%zu] must be https://HOST:PORT", i);
        snprintf(out->urls[i], sizeof *out->urls, "%s", url);
    }
    return 0;
}

int enrolment_load(const char *state, struct enrolment *out, char **cause)
{
    char *path = xasprintf("%s/" FILE_NAME, state), *text = NULL, *why = NULL;
    struct stat st;
    size_t len = 0;
    int result = -1;
    *out = (struct enrolment){0};
    if (stat(path, &st)) {
        result = errno == ENOENT || errno == ENOTDIR ? 0 : cause_set(cause, "%s: %s", path, strerror(errno));
    } else if (st.st_mode & 077) {
        cause_set(cause, "%s: others may read or write it (mode %04o), and it holds a secret: chmod 600 it",
                  path, (unsigned)st.st_mode & 07777);
    } else if ((text = proc_read_file(path, FILE_MAX, &len, cause))) {
        json_t *value = json_parse(text, len, FILE_MAX, &why);
        if (value && !read_value(value, out, &why))
            result = 1;
        else
            cause_set(cause, "%s: %s", path, why);
        json_decref(value);
        OPENSSL_cleanse(text, len);
    }
    free(text);
    free(why);
    free(path);
    return result;
}

int enrolment_store(const char *state, const struct enrolment *e, char **cause)
{
    char *path = xasprintf("%s/" FILE_NAME, state);
    json_t *roots = json_array();
    for (size_t i = 0; i < e->url_count; i++)
        json_array_append_new(roots, json_string(e->urls[i]));
    json_t *value = json_pack("{s:i,s:s,s:s,s:s,s:o,s:s}", "version", VERSION, "name", e->name, "credential",
                              e->credential, "pin", e->pin, "roots", roots, "public_url", e->public_url);
    char *text = json_text(value);
    int result = proc_write_file(path, text, strlen(text), 0600, cause);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    json_decref(value);
    free(path);
    return result;
}
