#include "root/air/relay_ctl.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/enrol.h"
#include "common/json.h"
#include "common/link_door.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/fleet.h"
#include "root/air/link_listen.h"

#define EXPIRES_MAX_S  (30 * 86400)
#define EXPIRES_S      3600
#define DEADLINE_MAX_S 86400
#define DEADLINE_S     600

static int64_t now_s(void)
{
    return clock_wall_ns() / CLOCK_NS_PER_S;
}

/* Members that are there replace those of the terms; -1 with *cause. */
static int read_terms(const json_t *given, struct relay_terms *out, char **cause)
{
    int bad = 0;
    const char *region = json_str_or(given, "region", out->region, &bad);
    if (strlen(region) >= sizeof out->region) return cause_set(cause, "region: \"%.20s\" is none", region);
    if (region != out->region) snprintf(out->region, sizeof out->region, "%s", region);
    out->allotment_bytes =
        (uint64_t)json_int_or(given, "allotment_bytes", (int64_t)out->allotment_bytes, 0, INT64_MAX, &bad);
    out->uplink_bps =
        (uint64_t)json_int_or(given, "uplink_bps", (int64_t)out->uplink_bps, 0, INT64_MAX, &bad);
    out->reset_day = (int)json_int_or(given, "reset_day", out->reset_day, 1, TERMS_RESET_DAY_MAX, &bad);
    out->max_listeners =
        (uint32_t)json_int_or(given, "max_listeners", out->max_listeners, 0, UINT32_MAX, &bad);
    out->price_per_gb = json_real_or(given, "price_per_gb", out->price_per_gb, &bad);
    if (bad) return cause_set(cause, "one of the terms is of the wrong type or out of range");
    return roster_check_terms(out, cause);
}

/* The address of the link listener as relays reach it */

static int host_is_near(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcasecmp(host, "localhost");
}

/* Of the first address it listens at; "" for all addresses. */
static void door_host(const struct air *air, char host[64])
{
    const struct conf_list *asked = &air->options->link_listen;
    struct conf_list own = {0};
    int port;
    if (!asked->count) own = link_door_addresses(&air->options->front.listen);
    *host = '\0';
    if (asked->count || own.count)
        conf_parse_listen((asked->count ? asked : &own)->items[0], host, &port, NULL);
    link_door_addresses_free(&own);
}

int relay_ctl_link_url(const char *host, int port, const char *public_url, char url[ENROL_URL_MAX + 1],
                       char **cause)
{
    int n = -1;
    if (host_is_near(host)) {
        n = snprintf(url, ENROL_URL_MAX + 1, strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d", host,
                     port);
    } else if (public_url) {
        const char *from = strstr(public_url, "://") + 3;
        size_t len = *from == '[' ? strcspn(from, "]") + 1 : strcspn(from, ":/");
        n = snprintf(url, ENROL_URL_MAX + 1, "https://%.*s:%d", (int)len, from, port);
    }
    if (n > 0 && n <= ENROL_URL_MAX && enrol_link_url_is_sound(url)) return 0;
    return cause_set(cause,
                     "say by which address relays reach this root's link listener: --link-url "
                     "https://HOST:%d (the root's own --public-url would tell it too)",
                     port);
}

static int read_link_urls(const struct air *air, const json_t *given, struct enrol_token *out, char **cause)
{
    size_t i;
    const json_t *one;
    if (!json_array_size(given)) {
        char host[64];
        door_host(air, host);
        out->url_count = 1;
        return relay_ctl_link_url(host, link_listen_port(air), air->options->public_url, out->urls[0], cause);
    }
    if (json_array_size(given) > ENROL_URLS_MAX)
        return cause_set(cause, "--link-url can be given %d times", ENROL_URLS_MAX);
    json_array_foreach(given, i, one)
    {
        const char *url = json_string_value(one);
        if (!url || !enrol_link_url_is_sound(url))
            return cause_set(cause, "--link-url: \"%.80s\" is not of the form https://HOST:PORT",
                             url ? url : "");
        snprintf(out->urls[out->url_count++], sizeof *out->urls, "%s", url);
    }
    return 0;
}

/* Verbs: 0 with more in `answer`, or -1 with *cause */

/* All but the secret, so that nothing is changed when something is wrong. */
static int prepare_token(const struct air *air, const json_t *ask, const char *name, struct enrol_token *out,
                         int64_t *until_s, char **cause)
{
    int bad = 0;
    *out = (struct enrol_token){0};
    if (!enrol_name_is_sound(name)) return cause_set(cause, "a relay's name is " ENROL_NAME_RULE);
    if (!link_listen_pin(air))
        return cause_set(cause, "this root has no link listener, at which relays enrol (--link-listen)");
    *until_s = now_s() + json_int_or(ask, "expires_s", EXPIRES_S, 1, EXPIRES_MAX_S, &bad);
    if (bad) return cause_set(cause, "--expires must be 1s to 30d");
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->pin, sizeof out->pin, "%s", link_listen_pin(air));
    return read_link_urls(air, json_object_get(ask, "link_urls"), out, cause);
}

static int invite(struct air *air, struct enrol_token *token, int64_t until_s, json_t *answer, char **cause)
{
    if (roster_invite(fleet_roster(air->fleet), token->name, until_s, token->secret, cause)) return -1;
    char *text = enrol_token_write(token);
    json_object_set_new(answer, "token", json_string(text));
    json_object_set_new(answer, "until_s", json_integer(until_s));
    json_object_set_new(answer, "link_url", json_string(token->urls[0]));
    OPENSSL_cleanse(text, strlen(text));
    OPENSSL_cleanse(token->secret, sizeof token->secret);
    free(text);
    return 0;
}

static int do_add(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    const char *icecast = json_str_or(ask, "icecast", NULL, NULL);
    struct relay_terms terms = {.reset_day = 1};
    struct enrol_token token;
    int64_t until_s = 0;
    snprintf(terms.name, sizeof terms.name, "%s", name);
    if (read_terms(json_object_get(ask, "terms"), &terms, cause)) return -1;
    if (icecast && !dial_url_is_sound(icecast))
        return cause_set(cause,
                         "--icecast: the address must begin with http:// or https://, and have no query");
    if (!icecast && prepare_token(air, ask, name, &token, &until_s, cause)) return -1;
    if (roster_find(fleet_roster(air->fleet), name))
        return cause_set(
            cause,
            "there is a relay \"%s\" already: `set` changes its terms, `invite` gives it another token",
            name);
    if (roster_add(fleet_roster(air->fleet), &terms, icecast ? ROSTER_ICECAST : ROSTER_FOREVER, icecast,
                   now_s(), cause))
        return -1;
    return icecast ? 0 : invite(air, &token, until_s, answer, cause);
}

static int do_invite(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    struct enrol_token token;
    int64_t until_s = 0;
    if (prepare_token(air, ask, name, &token, &until_s, cause)) return -1;
    return invite(air, &token, until_s, answer, cause);
}

static int do_list(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask, (void)name, (void)cause;
    const struct roster *roster = fleet_roster(air->fleet);
    json_t *list = json_array();
    for (size_t i = 0; i < roster_count(roster); i++)
        json_array_append_new(list, fleet_json(air->fleet, roster_at(roster, i)));
    json_object_set_new(answer, "relays", list);
    return 0;
}

static int do_show(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask;
    const struct roster_entry *entry = roster_find(fleet_roster(air->fleet), name);
    if (!entry) return cause_set(cause, "there is no relay \"%.70s\"", name);
    json_object_set_new(answer, "relay", fleet_json(air->fleet, entry));
    return 0;
}

static int do_set(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    const struct roster_entry *entry = roster_find(fleet_roster(air->fleet), name);
    if (!entry) return cause_set(cause, "there is no relay \"%.70s\"", name);
    struct relay_terms terms = entry->terms;
    const json_t *call = json_object_get(ask, "call");
    if (read_terms(json_object_get(ask, "terms"), &terms, cause) ||
        roster_set_terms(fleet_roster(air->fleet), name, &terms, cause) ||
        (call && roster_set_uncalled(fleet_roster(air->fleet), name, !json_is_true(call), cause)))
        return -1;
    return do_show(air, ask, name, answer, cause);
}

static int do_drain(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    int bad = 0;
    int64_t deadline_s = json_int_or(ask, "deadline_s", DEADLINE_S, 1, DEADLINE_MAX_S, &bad);
    if (bad) return cause_set(cause, "--deadline must be 1s to 1d");
    json_object_set_new(answer, "deadline_s", json_integer(deadline_s));
    return roster_drain(fleet_roster(air->fleet), name, 1, now_s() + deadline_s, cause);
}

static int do_undrain(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask, (void)answer;
    return roster_drain(fleet_roster(air->fleet), name, 0, 0, cause);
}

static int do_rotate(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask, (void)answer;
    return roster_rotate(fleet_roster(air->fleet), name, cause);
}

static int do_revoke(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask, (void)answer;
    return roster_revoke(fleet_roster(air->fleet), name, now_s(), cause);
}

static int do_remove(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause)
{
    (void)ask, (void)answer;
    return roster_remove(fleet_roster(air->fleet), name, cause);
}

static const struct {
    const char *name;
    int (*run)(struct air *air, const json_t *ask, const char *name, json_t *answer, char **cause);
    int looks; /* changes nothing, is not logged */
} verbs[] = {{"add", do_add, 0},         {"invite", do_invite, 0}, {"list", do_list, 1},
             {"show", do_show, 1},       {"set", do_set, 0},       {"drain", do_drain, 0},
             {"undrain", do_undrain, 0}, {"rotate", do_rotate, 0}, {"revoke", do_revoke, 0},
             {"remove", do_remove, 0}};

json_t *relay_ctl_answer(struct air *air, const json_t *ask)
{
    const char *verb = json_str_or(ask, "do", "", NULL), *name = json_str_or(ask, "name", "", NULL);
    json_t *answer = json_pack("{s:b}", "ok", 1);
    char *cause = NULL;
    int result = -1;
    size_t i = 0, count = sizeof verbs / sizeof *verbs;
    while (i < count && strcmp(verbs[i].name, verb) != 0)
        i++;
    if (i == count)
        cause_set(&cause, "\"%.20s\" is no verb of relay", verb);
    else if (strlen(name) > TERMS_NAME_MAX)
        cause_set(&cause, "a relay's name is " ENROL_NAME_RULE);
    else
        result = verbs[i].run(air, ask, name, answer, &cause);
    if (!result && !verbs[i].looks) log_info("ctl", "relay %s %s", verb, name);
    if (result) {
        json_decref(answer);
        answer = json_pack("{s:b,s:s}", "ok", 0, "error", cause ? cause : "it failed");
    }
    free(cause);
    return answer;
}
