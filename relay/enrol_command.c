#include "relay/enrol_command.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/fetch.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/challenge.h"
#include "relay/enrolment.h"
#include "relay/options.h"

#define CONNECT_MS 10000
#define TOTAL_MS   20000 /* the root calls back within 8 s */
#define ANSWER_MAX 8192

struct command {
    struct relay_options options;
    struct enrol_token token;
    struct enrolment enrolment;
    struct event_base *base;
    struct front *front;
    struct http_server *http;
    struct challenge *challenge;
    struct fetch_client *client;
    size_t url; /* of the token's: the one that is asked */
    enum fetch_failure failure;
    int exit_code;
};

static void ask_exchange(struct command *c);

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *format, ...)
{
    va_list ap;
    fprintf(stderr, "forever-relay enrol: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static void end(struct command *c, int exit_code)
{
    c->exit_code = exit_code;
    event_base_loopbreak(c->base);
}

static void on_failure(void *context, enum fetch_failure why)
{
    ((struct command *)context)->failure = why;
}

/* POSTs body, which it takes over, to the root at hand. */
static void ask(struct command *c, const char *path, json_t *body, const char *bearer,
                void (*on_end)(void *, int, const char *, const void *, size_t))
{
    char *text = json_text(body), *url = xasprintf("%s%s", c->token.urls[c->url], path), *cause = NULL;
    const struct fetch_conf conf = {.url = url,
                                    .pin = c->token.pin,
                                    .bearer = bearer,
                                    .body = text,
                                    .body_len = strlen(text),
                                    .body_type = "application/json",
                                    .connect_ms = CONNECT_MS,
                                    .total_ms = TOTAL_MS,
                                    .max_bytes = ANSWER_MAX,
                                    .on_failure = on_failure,
                                    .on_end = on_end,
                                    .context = c};
    if (!fetch_start(c->client, &conf, &cause)) {
        complain("%s", cause);
        end(c, EX_SOFTWARE);
    }
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    free(url);
    free(cause);
    json_decref(body);
}

static const char *of_root(const struct command *c)
{
    return c->token.urls[c->url];
}

/* No answer. */
static void say_unreached(struct command *c, const char *error)
{
    if (c->failure == FETCH_PIN)
        complain(
            "%s has another key than the token says: it is not the root, or somebody stands between; nothing "
            "was told to it",
            of_root(c));
    else
        complain("the root can't be reached at %s: %s", of_root(c), error);
}

static void on_checked(void *context, int status, const char *error, const void *body, size_t len)
{
    struct command *c = context;
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    const char *words = json_str_or(answer, "words", NULL, NULL), *name = c->enrolment.name;
    if (!status) {
        say_unreached(c, error);
        complain("%s is enrolled, but was not called back", name);
        end(c, 1);
    } else if (status != 200 || !words) {
        complain("%s is enrolled, but the root did not call it back (%d %s)", name, status,
                 json_str_or(answer, "error", "", NULL));
        end(c, 1);
    } else if (!json_is_true(json_object_get(answer, "reachable"))) {
        complain("%s is enrolled, but the root does not reach it at %s:\n  %s\nListeners are sent there as "
                 "soon as it "
                 "does; it tries again while the relay runs",
                 name, c->enrolment.public_url, words);
        end(c, 1);
    } else {
        printf("%s is enrolled with %s, which reaches it at %s: %s\n", name, of_root(c),
               c->enrolment.public_url, words);
        end(c, 0);
    }
    json_decref(answer);
}

/* The credential is of no use until it is kept. */
static void take(struct command *c, const json_t *answer)
{
    const char *credential = json_str_or(answer, "credential", "", NULL);
    const char *name = json_str_or(answer, "name", "", NULL);
    struct enrolment *e = &c->enrolment;
    char *cause = NULL;
    if (!enrol_secret_is_sound(credential) || strcmp(name, c->token.name) != 0) {
        complain("the answer of %s makes no sense", of_root(c));
        end(c, EX_PROTOCOL);
        return;
    }
    memcpy(e->name, c->token.name, sizeof e->name);
    memcpy(e->urls, c->token.urls, sizeof e->urls);
    e->url_count = c->token.url_count;
    memcpy(e->pin, c->token.pin, sizeof e->pin);
    memcpy(e->credential, credential, sizeof e->credential);
    if (enrolment_store(c->options.state, e, &cause)) {
        complain("%s; the token is used up: \"forever-root ctl relay invite %s\" makes another one", cause,
                 e->name);
        free(cause);
        end(c, EX_CANTCREAT);
        return;
    }
    ask(c, "/api/relay/check", json_pack("{s:s}", "public_url", e->public_url), e->credential, on_checked);
}

static void on_exchanged(void *context, int status, const char *error, const void *body, size_t len)
{
    struct command *c = context;
    json_t *answer = json_parse(body, len, ANSWER_MAX, NULL);
    if (status == 200 && !error) {
        take(c, answer);
    } else if (!status) {
        say_unreached(c, error);
        if (++c->url < c->token.url_count)
            ask_exchange(c);
        else
            end(c, c->failure == FETCH_PIN ? EX_PROTOCOL : EX_UNAVAILABLE);
    } else {
        complain("the root refuses: %s (%d)", json_str_or(answer, "error", "it says nothing of why", NULL),
                 status);
        end(c, status == 403 ? EX_NOPERM : status == 429 || status == 503 ? EX_TEMPFAIL : EX_PROTOCOL);
    }
    json_decref(answer);
}

static void ask_exchange(struct command *c)
{
    c->failure = FETCH_FAILED;
    ask(c, "/api/relay/enrol",
        json_pack("{s:s,s:s,s:s}", "secret", c->token.secret, "name", c->token.name, "version",
                  FOREVER_VERSION),
        NULL, on_exchanged);
}

/* The token: of --token-file, else the first line that says something on standard input. */
static int read_token(struct command *c, char **cause)
{
    char text[ENROL_TOKEN_MAX + 256] = "";
    size_t len = 0;
    int result = -1;
    c->exit_code = EX_NOINPUT;
    if (c->options.token_file) {
        char *whole = proc_read_file(c->options.token_file, sizeof text - 1, &len, cause);
        if (!whole) return -1;
        memcpy(text, whole, len);
        OPENSSL_cleanse(whole, len);
        free(whole);
    } else {
        if (isatty(STDIN_FILENO)) fprintf(stderr, "The token, and Enter: ");
        while (fgets(text, sizeof text, stdin) && text[strspn(text, " \t\r\n")] == '\0')
            ;
        len = strlen(text);
    }
    c->exit_code = EX_DATAERR;
    result = enrol_token_read(text, len, &c->token, cause);
    OPENSSL_cleanse(text, sizeof text);
    return result;
}

/* Answers the root's call where the relay will, unless that runs already. 0, or -1 with *cause. */
static int listen_here(struct command *c, char **cause)
{
    int port, tls_port;
    char *why = NULL;
    c->exit_code = EX_CANTCREAT;
    if (proc_make_dir(c->options.state, cause)) return -1;
    if (proc_lock_state(c->options.state, &why)) {
        int runs = errno == EWOULDBLOCK;
        if (!runs) cause_set(cause, "%s", why);
        free(why);
        return runs ? 0 : -1;
    }
    c->exit_code = EX_UNAVAILABLE;
    c->front = front_new(c->base, &c->options.front, (unsigned)c->options.max_listeners, cause);
    if (!c->front) return -1;
    c->http = front_server(c->front, "forever-relay/" FOREVER_VERSION);
    c->challenge = challenge_new(c->http, c->options.state, NULL, NULL);
    return front_listen(c->front, c->http, &port, &tls_port, cause);
}

static void finish(struct command *c)
{
    fetch_client_free(c->client);
    challenge_free(c->challenge);
    http_server_free(c->http);
    front_free(c->front);
    if (c->base) event_base_free(c->base);
    relay_options_free(&c->options);
    OPENSSL_cleanse(&c->token, sizeof c->token);
    OPENSSL_cleanse(&c->enrolment, sizeof c->enrolment);
}

int enrol_command_main(int argc, char **argv)
{
    struct command c = {0};
    char *cause = NULL;
    enum conf_result loaded = relay_options_load_enrol(&c.options, argc, argv, &c.exit_code, &cause);
    if (loaded == CONF_DONE) return 0;
    if (loaded == CONF_RUN) {
        log_init("enrol", LOG_LEVEL_WARN);
        signal(SIGPIPE, SIG_IGN);
        c.base = event_base_new();
        snprintf(c.enrolment.public_url, sizeof c.enrolment.public_url, "%s", c.options.public_url);
        if (!c.base) abort();
        if (!read_token(&c, &cause) && !listen_here(&c, &cause)) {
            c.client = fetch_client_new(c.base);
            ask_exchange(&c);
            event_base_dispatch(c.base);
        }
    }
    if (cause) complain("%s", cause);
    free(cause);
    int code = c.exit_code;
    finish(&c);
    return code;
}
