#include "root/air/dial.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/fetch.h"
#include "common/json.h"
#include "common/mem.h"

#define ANSWER_MAX    4096
#define CLOCK_LIMIT_S 2.0 /* beyond it, and beyond what the way takes, clocks are said to differ */
#define LOCATION_MAX  256

struct dial {
    struct fetch *fetch;
    char *url, *name, nonce[33], location[LOCATION_MAX];
    unsigned char keys[2][ENROL_HASH_BYTES];
    size_t key_count;
    int total_ms;
    int64_t asked_wall_ns;
    enum fetch_failure failure;
    void (*done)(void *context, const struct dial_result *result);
    void *context;
};

int dial_url_is_sound(const char *url)
{
    size_t head = !strncasecmp(url, "http://", 7)    ? 7
                  : !strncasecmp(url, "https://", 8) ? 8
                                                     : 0,
           n = strlen(url);
    if (!head || n == head || n > DIAL_URL_MAX || url[head] == '/') return 0;
    for (size_t i = 0; i < n; i++) {
        if (url[i] <= ' ' || url[i] > '~' || strchr("\"<>\\^`{|}?#", url[i])) return 0;
    }
    return 1;
}

static __attribute__((format(printf, 2, 3))) void say(struct dial_result *out, const char *format, ...)
{
    va_list ap;
    size_t n = strlen(out->words);
    va_start(ap, format);
    vsnprintf(out->words + n, sizeof out->words - n, format, ap);
    va_end(ap);
}

/* "HOST port PORT" of a sound address. */
static void write_place(const char *url, char *out, size_t size)
{
    int secure = !strncasecmp(url, "https:", 6);
    const char *host = url + (secure ? 8 : 7);
    size_t len = strcspn(host, "/"), name = len;
    const char *at = memchr(host, '@', len);
    if (at) {
        len -= (size_t)(at + 1 - host);
        host = at + 1;
        name = len;
    }
    for (size_t i = len; i-- > 0 && host[i] >= '0' && host[i] <= '9';) {
        if (i && host[i - 1] == ':') name = i - 1;
    }
    if (name == len)
        snprintf(out, size, "%.*s port %d", (int)len, host, secure ? 443 : 80);
    else
        snprintf(out, size, "%.*s port %.*s", (int)name, host, (int)(len - name - 1), host + name + 1);
}

static void say_failure(const struct dial *d, const char *error, struct dial_result *out)
{
    char place[DIAL_URL_MAX + 16];
    write_place(d->url, place, sizeof place);
    int name = (int)strcspn(place, " ");
    switch (d->failure) {
    case FETCH_NO_NAME:
        say(out, "the name %.*s is not known: no DNS server told an address for it", name, place);
        break;
    case FETCH_REFUSED:
        say(out,
            "nothing listens at %s (connection refused): is the relay running, does it listen at that port "
            "(--listen), and does a router pass it on?",
            place);
        break;
    case FETCH_UNREACHABLE:
        say(out, "no way leads to %s: %s", place, error);
        break;
    case FETCH_NO_CONNECT:
        say(out,
            "%s does not answer (timed out): a firewall, at the provider or on the machine, seems to drop "
            "what "
            "comes to that port",
            place);
        break;
    case FETCH_SILENT:
        say(out, "%s takes the connection but says nothing within %d s", place, d->total_ms / 1000);
        break;
    case FETCH_CLOSED:
        say(out, "%s takes the connection and closes it without an answer", place);
        break;
    case FETCH_NOT_HTTP:
        say(out, "%s answers, but not in HTTP: another program listens there, or it wants https://", place);
        break;
    case FETCH_NOT_TLS:
        say(out,
            "%s does not speak TLS: either the address begins with http://, or the relay needs a certificate "
            "(--tls-listen, --tls-cert)",
            place);
        break;
    case FETCH_CERT_TIME:
        say(out, "the certificate at %s has expired, or is not valid yet: renew it, or set the clock", place);
        break;
    case FETCH_CERT_NAME:
        say(out, "the certificate at %s is for another name than %.*s", place, name, place);
        break;
    case FETCH_CERT_ISSUER:
        say(out,
            "nobody known has signed the certificate at %s (it is self-signed, or the chain is not whole): "
            "no "
            "browser would take it",
            place);
        break;
    default:
        say(out, "%s can't be reached: %s", place, error);
    }
}

static void say_stranger(const struct dial *d, int status, struct dial_result *out)
{
    char place[DIAL_URL_MAX + 16];
    write_place(d->url, place, sizeof place);
    say(out,
        "%s answers (with %d) but is no forever relay: another web server is there, or a proxy that does not "
        "pass "
        "/api/relay/ on",
        place, status);
}

static void read_clock(const struct dial *d, const json_t *answer, struct dial_result *out)
{
    int64_t now_ns = clock_wall_ns(), way_ns = now_ns - d->asked_wall_ns;
    double told_s = json_real_or(answer, "clock", NAN, NULL);
    out->ahead_s = told_s - ((double)d->asked_wall_ns + (double)way_ns / 2) / 1e9;
    double off_s = fabs(out->ahead_s);
    if (off_s > CLOCK_LIMIT_S && off_s > (double)way_ns / 1e9)
        say(out, "; its clock is %.0f s %s the root's: let NTP set both", off_s,
            out->ahead_s > 0 ? "ahead of" : "behind");
}

static void judge(const struct dial *d, int status, const json_t *answer, struct dial_result *out)
{
    const char *who = json_str_or(answer, "forever", "", NULL), *name = json_str_or(answer, "name", "", NULL);
    const char *proof = json_str_or(answer, "proof", "", NULL);
    char mine[ENROL_PROOF_TEXT];
    int proven = 0;
    if (status / 100 == 3) {
        say(out, "it redirects to %s: the public address has to be one that answers itself",
            *d->location ? d->location : "elsewhere");
        return;
    }
    if (strcmp(who, "relay") != 0) {
        say_stranger(d, status, out);
        return;
    }
    if (status != 200) {
        say(out, "a forever relay answers there, but it has not been enrolled (%.100s)",
            json_str_or(answer, "error", "it says nothing of why", NULL));
        return;
    }
    if (strcmp(name, d->name) != 0) {
        say(out, "another relay answers there: it calls itself %.64s",
            enrol_name_is_sound(name) ? name : "otherwise");
        return;
    }
    for (size_t i = 0; i < d->key_count; i++) {
        enrol_proof(d->keys[i], d->name, d->nonce, mine);
        proven |= strlen(proof) == strlen(mine) && enrol_same(proof, mine, strlen(mine));
    }
    if (!proven) {
        say(out,
            "a relay that calls itself %s answers there but can't prove it: perhaps it is another machine, "
            "with a "
            "credential that has ended",
            name);
        return;
    }
    out->reached = 1;
    say(out, "reached");
    read_clock(d, answer, out);
}

static void dial_free(struct dial *d)
{
    free(d->url);
    free(d->name);
    free(d);
}

static void on_field(void *context, const char *name, const char *value)
{
    struct dial *d = context;
    if (strcasecmp(name, "location") != 0) return;
    size_t n = 0;
    for (; value[n] && n < sizeof d->location - 1; n++)
        d->location[n] = (char)(value[n] > ' ' && value[n] <= '~' ? value[n] : '?');
    d->location[n] = '\0';
}

static void on_failure(void *context, enum fetch_failure why)
{
    struct dial *d = context;
    d->failure = why;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct dial *d = context;
    struct dial_result result = {.ahead_s = NAN};
    d->fetch = NULL;
    if (!status) {
        say_failure(d, error ? error : "no answer", &result);
    } else if (error) {
        say_stranger(d, status, &result); /* its answer is too long, or was cut */
    } else {
        json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
        judge(d, status, answer, &result);
        json_decref(answer);
    }
    d->done(d->context, &result);
    dial_free(d);
}

struct dial *dial_start(struct fetch_client *client, const struct dial_conf *conf, char **cause)
{
    if (!dial_url_is_sound(conf->url)) {
        cause_set(cause, "a public address is http:// or https://, a host, and no query, of at most %d bytes",
                  DIAL_URL_MAX);
        return NULL;
    }
    struct dial *d = xcalloc(1, sizeof *d);
    d->url = xstrdup(conf->url);
    d->name = xstrdup(conf->name);
    d->key_count = conf->key_count < 2 ? conf->key_count : 2;
    memcpy(d->keys, conf->keys, d->key_count * sizeof *d->keys);
    d->total_ms = conf->total_ms;
    d->done = conf->done;
    d->context = conf->context;
    d->asked_wall_ns = clock_wall_ns();
    enrol_nonce_make(d->nonce);
    char *url = xasprintf("%s/api/relay/challenge?nonce=%s", conf->url, d->nonce);
    const struct fetch_conf fetch = {.url = url,
                                     .ca_file = conf->ca_file,
                                     .fresh = 1,
                                     .connect_ms = conf->connect_ms,
                                     .total_ms = conf->total_ms,
                                     .max_bytes = ANSWER_MAX,
                                     .on_field = on_field,
                                     .on_failure = on_failure,
                                     .on_end = on_end,
                                     .context = d};
    d->fetch = fetch_start(client, &fetch, cause);
    free(url);
    if (d->fetch) return d;
    dial_free(d);
    return NULL;
}

void dial_cancel(struct dial *d)
{
    if (!d) return;
    fetch_cancel(d->fetch);
    dial_free(d);
}
