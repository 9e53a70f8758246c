/* The words of `forever-root ctl relay`, and what it says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/enrol.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/relay_ctl.h"
#include "root/air/terms.h"
#include "root/air/units.h"

const char relay_ctl_usage[] =
    "  relay list\n"
    "  relay add NAME [TERMS] [TOKEN]  a relay more: prints the command to run on its machine\n"
    "  relay add NAME --icecast URL    an Icecast server that relays the stream\n"
    "  relay invite NAME [TOKEN]       another token, for a relay that lost its own or was revoked\n"
    "  relay show NAME\n"
    "  relay set NAME TERMS [--call no]    other terms; no: it is not called at its public address\n"
    "  relay drain NAME [--deadline 10m]   no new listeners; present ones are moved by then\n"
    "  relay undrain NAME\n"
    "  relay rotate NAME               another credential, with the next report\n"
    "  relay revoke NAME               its credential ends at once; its listeners are not cut\n"
    "  relay remove NAME               forgets it\n"
    "    TERMS  --allotment 1TB --reset-day 5 --price 0.01/GB --uplink 1Gbit --region eu --max-listeners "
    "500\n"
    "    TOKEN  --expires 1h --link-url https://HOST:PORT --public-url http://RELAY:8001\n";

static const struct verb {
    const char *name;
    int named, terms, token, deadline;
} verbs[] = {{"list", 0, 0, 0, 0},   {"add", 1, 1, 1, 0},   {"invite", 1, 0, 1, 0},  {"show", 1, 0, 0, 0},
             {"set", 1, 1, 0, 0},    {"drain", 1, 0, 0, 1}, {"undrain", 1, 0, 0, 0}, {"rotate", 1, 0, 0, 0},
             {"revoke", 1, 0, 0, 0}, {"remove", 1, 0, 0, 0}};

static int set_terms(json_t *terms, const char *option, const char *text, char **cause)
{
    uint64_t number;
    int64_t whole;
    double price;
    json_t *value = NULL;
    const char *member = option;
    if (!strcmp(option, "allotment")) {
        member = "allotment_bytes";
        if (!units_parse_bytes(text, &number, cause)) value = json_integer((json_int_t)number);
    } else if (!strcmp(option, "uplink")) {
        member = "uplink_bps";
        if (!units_parse_rate(text, &number, cause)) value = json_integer((json_int_t)number);
    } else if (!strcmp(option, "reset-day")) {
        member = "reset_day";
        if (!units_parse_whole(text, 1, TERMS_RESET_DAY_MAX, &whole, cause)) value = json_integer(whole);
    } else if (!strcmp(option, "max-listeners")) {
        member = "max_listeners";
        if (!units_parse_whole(text, 0, 1000000, &whole, cause)) value = json_integer(whole);
    } else if (!strcmp(option, "price")) {
        member = "price_per_gb";
        if (!units_parse_price(text, &price, cause)) value = json_real(price);
    } else if (!strcmp(option, "region")) {
        value = json_string(strcmp(text, "none") ? text : "");
        if (!value) cause_set(cause, "must be text");
    } else {
        return 1;
    }
    if (!value) return -1;
    json_object_set_new(terms, member, value);
    return 0;
}

/* 0; 1 when this verb has no such option; -1 with *cause. */
static int set_option(const struct verb *verb, json_t *ask, const char *option, const char *text,
                      char **cause)
{
    int64_t s;
    if (verb->terms) {
        int result = set_terms(json_object_get(ask, "terms"), option, text, cause);
        if (result <= 0) return result;
    }
    if (verb->token && !strcmp(option, "expires")) {
        if (units_parse_time(text, 1, 30 * 86400, &s, cause)) return -1;
        json_object_set_new(ask, "expires_s", json_integer(s));
    } else if (verb->token && !strcmp(option, "link-url")) {
        if (!enrol_link_url_is_sound(text))
            return cause_set(cause, "\"%s\" is not of the form https://HOST:PORT", text);
        json_array_append_new(json_object_get(ask, "link_urls"), json_string(text));
    } else if (verb->token && !strcmp(option, "public-url")) {
        if (strpbrk(text, " '\"\\$`\n") || strncmp(text, "http", 4))
            return cause_set(cause, "\"%s\" is no address", text);
        json_object_set_new(ask, "public_url", json_string(text)); /* for relay_ctl_show */
    } else if (!strcmp(verb->name, "add") && !strcmp(option, "icecast")) {
        json_object_set_new(ask, "icecast", json_string(text));
    } else if (!strcmp(verb->name, "set") && !strcmp(option, "call")) {
        if (strcmp(text, "yes") && strcmp(text, "no"))
            return cause_set(cause, "\"%s\" is neither yes nor no", text);
        json_object_set_new(ask, "call", json_boolean(!strcmp(text, "yes")));
    } else if (verb->deadline && !strcmp(option, "deadline")) {
        if (units_parse_time(text, 1, 86400, &s, cause)) return -1;
        json_object_set_new(ask, "deadline_s", json_integer(s));
    } else {
        return 1;
    }
    return 0;
}

/* One option at argv[*i], as --name value or --name=value. */
static int read_option(const struct verb *verb, json_t *ask, int argc, char **argv, int *i, char **cause)
{
    const char *a = argv[*i] + 2, *value = strchr(a, '=');
    char name[32], *why = NULL;
    size_t len = value ? (size_t)(value - a) : strlen(a);
    if (len >= sizeof name) return cause_set(cause, "%s is no option", argv[*i]);
    memcpy(name, a, len);
    name[len] = '\0';
    if (value)
        value++;
    else if (*i + 1 < argc)
        value = argv[++*i];
    else
        return cause_set(cause, "--%s needs a value", name);
    int result = set_option(verb, ask, name, value, &why);
    if (result > 0) cause_set(&why, "is no option of relay %s", verb->name);
    if (result) cause_set(cause, "--%s%s %s", name, result < 0 ? ":" : "", why);
    free(why);
    return result ? -1 : 0;
}

json_t *relay_ctl_parse(int argc, char **argv, char **cause)
{
    const struct verb *verb = verbs, *end = verbs + sizeof verbs / sizeof *verbs;
    while (verb < end && (!argc || strcmp(verb->name, argv[0]) != 0))
        verb++;
    if (verb == end) {
        cause_set(
            cause,
            "relay has the verbs list, add, invite, show, set, drain, undrain, rotate, revoke and remove");
        return NULL;
    }
    json_t *ask = json_pack("{s:s,s:s,s:{},s:[]}", "verb", "relay", "do", verb->name, "terms", "link_urls");
    const char *name = NULL;
    for (int i = 1; i < argc; i++) {
        int failed = 0;
        if (!strncmp(argv[i], "--", 2))
            failed = read_option(verb, ask, argc, argv, &i, cause);
        else if (!name && verb->named)
            name = argv[i];
        else
            failed = cause_set(cause, "\"%s\" is too much", argv[i]);
        if (failed) goto failed;
    }
    if (verb->named && (!name || !enrol_name_is_sound(name))) {
        cause_set(cause, "relay %s needs the relay's name: " ENROL_NAME_RULE "%s%s%s", verb->name,
                  name ? ", not \"" : "", name ? name : "", name ? "\"" : "");
        goto failed;
    }
    if (!strcmp(verb->name, "set") && !json_object_size(json_object_get(ask, "terms")) &&
        !json_object_get(ask, "call")) {
        cause_set(cause, "relay set needs something to set, as --price 0.01/GB");
        goto failed;
    }
    if (name) json_object_set_new(ask, "name", json_string(name));
    return ask;
failed:
    json_decref(ask);
    return NULL;
}

/* What it says */

static const char *text_of(const json_t *one, const char *member)
{
    return json_str_or(one, member, "", NULL);
}

static int64_t whole(const json_t *one, const char *member)
{
    return json_int_or(one, member, 0, INT64_MIN, INT64_MAX, NULL);
}

static const char *moment(int64_t s, char out[32])
{
    time_t t = (time_t)s;
    struct tm parts;
    gmtime_r(&t, &parts);
    strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts);
    return out;
}

static void show_command(const json_t *ask, const json_t *answer)
{
    char until[32];
    const char *url = json_str_or(ask, "public_url", "http://ITS-ADDRESS:8001", NULL);
    printf("# On the machine of %s, as the user that the relay will run as, until %s, once:\n",
           text_of(ask, "name"), moment(whole(answer, "until_s"), until));
    printf("forever-relay enrol --public-url %s <<'END'\n%s\nEND\n", url, text_of(answer, "token"));
}

static void show_time(const json_t *one, const char *member, const char *label)
{
    char text[32];
    if (whole(one, member)) printf("%-12s%s\n", label, moment(whole(one, member), text));
}

static void show_one(const json_t *one)
{
    char text[UNITS_TEXT_MAX], more[UNITS_TEXT_MAX];
    uint64_t allotment = (uint64_t)whole(one, "allotment_bytes"), uplink = (uint64_t)whole(one, "uplink_bps");
    const char *url = text_of(one, "public_url"), *region = text_of(one, "region"),
               *reach = text_of(one, "reach");
    printf("%-12s%s (%s)\n", "relay", text_of(one, "name"), text_of(one, "state"));
    printf("%-12s%s\n", "address", *url ? url : "not known yet");
    if (*reach)
        printf("%-12s%s\n", json_is_true(json_object_get(one, "reachable")) ? "reachable" : "UNREACHABLE",
               reach);
    if (json_object_get(one, "healthy")) {
        double age_s = json_real_or(one, "report_age_s", INFINITY, NULL);
        if (isfinite(age_s))
            printf("%-12s%.0f s ago, %lld listeners, version %s\n", "report", age_s,
                   (long long)whole(one, "listeners"), text_of(one, "version"));
        else
            printf("%-12s%s\n", "report", "none yet");
    }
    printf("%-12s%s\n", "region", *region ? region : "not said");
    if (allotment)
        printf("%-12s%s a month, from day %lld on\n", "allotment", units_bytes_text(allotment, text),
               (long long)whole(one, "reset_day"));
    else
        printf("%-12s%s\n", "allotment", "none");
    const json_t *month = json_object_get(one, "ledger");
    if (month) {
        printf("%-12s%.1f GB since %s", "sent", (double)whole(month, "used_bytes") / TERMS_GB,
               moment(whole(month, "since"), text));
        if (whole(month, "used_bytes"))
            printf(", on course for %.1f GB by %s", (double)whole(month, "projected_bytes") / TERMS_GB,
                   moment(whole(month, "until"), more));
        printf("\n");
    }
    printf("%-12s%s\n", "price", units_price_text(json_real_or(one, "price_per_gb", 0, NULL), more));
    printf("%-12s%s\n", "uplink", uplink ? units_rate_text(uplink, text) : "not said");
    if (whole(one, "max_listeners"))
        printf("%-12s%lld at most\n", "listeners", (long long)whole(one, "max_listeners"));
    if (json_is_true(json_object_get(one, "drained")))
        printf("%-12s%s\n", "drained", "takes no new listeners");
    show_time(one, "drain_until_s", "moved by");
    show_time(one, "token_until_s", "token until");
    show_time(one, "enrolled_s", "enrolled");
    show_time(one, "revoked_s", "revoked");
    if (json_is_true(json_object_get(one, "rotating")))
        printf("%-12s%s\n", "credential", "a new one waits for the next report");
}

static void show_list(const json_t *list)
{
    size_t i;
    const json_t *one;
    if (!json_array_size(list)) printf("no relays: forever-root ctl relay add NAME\n");
    json_array_foreach(list, i, one)
    {
        const char *url = text_of(one, "public_url");
        int drained = json_is_true(json_object_get(one, "drained"));
        printf("%-16s %-10s %-8s %6lld  %s%s\n", text_of(one, "name"), text_of(one, "state"),
               json_is_true(json_object_get(one, "healthy")) ? "healthy" : "silent",
               (long long)whole(one, "listeners"), *url ? url : "-", drained ? " (drained)" : "");
        if (*text_of(one, "reach") && !json_is_true(json_object_get(one, "reachable")) && *url)
            printf("%-16s %s\n", "", text_of(one, "reach"));
    }
}

void relay_ctl_show(const json_t *ask, const json_t *answer)
{
    const char *verb = text_of(ask, "do"), *name = text_of(ask, "name");
    char text[UNITS_TEXT_MAX];
    if (json_object_get(answer, "token"))
        show_command(ask, answer);
    else if (json_object_get(answer, "relays"))
        show_list(json_object_get(answer, "relays"));
    else if (json_object_get(answer, "relay"))
        show_one(json_object_get(answer, "relay"));
    else if (!strcmp(verb, "drain"))
        printf("%s takes no new listeners; present ones leave within %s\n", name,
               units_time_text(whole(answer, "deadline_s"), text));
    else if (!strcmp(verb, "undrain"))
        printf("%s takes listeners again\n", name);
    else if (!strcmp(verb, "rotate"))
        printf("%s gets another credential with its next report; the old one ends when the new one is used\n",
               name);
    else if (!strcmp(verb, "revoke"))
        printf("%s is let in no more; \"relay invite %s\" would bring it back\n", name, name);
    else if (!strcmp(verb, "remove"))
        printf("%s is forgotten\n", name);
    else
        printf("%s is on the list\n", name);
}
