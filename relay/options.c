#include "relay/options.h"

#include <openssl/crypto.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/enrol.h"
#include "common/link_door.h"
#include "common/mem.h"
#include "common/proc.h"

#define TOKEN_MAX_BYTES 4096

static int check_url(const char *text, char **cause)
{
    size_t head = !strncasecmp(text, "http://", 7) ? 7 : !strncasecmp(text, "https://", 8) ? 8 : 0;
    if (!head || !text[head] || strpbrk(text, " \"<>\\?#"))
        return cause_set(cause, "must be an absolute http:// or https:// address without query");
    return 0;
}

static int check_pin(const char *text, char **cause)
{
    return !strcmp(text, "-") || enrol_pin_is_sound(text)
               ? 0
               : cause_set(cause, "must be sha256// and 44 characters of base64, or -");
}

#define AT(member) offsetof(struct relay_options, member)
static const struct conf_option table[] = {
    {.name = "root",
     .type = CONF_COMMAS,
     .offset = AT(roots),
     .unit = "URL",
     .check = check_url,
     .help = "address of the root, for example http://127.0.0.1:8000; of several nodes of one station the "
             "first that "
             "fares well is pulled from"},
    {.name = "root-pin",
     .type = CONF_COMMAS,
     .offset = AT(root_pins),
     .unit = "PIN",
     .check = check_pin,
     .help =
         "sha256//... of the key of the root in the same place, as its `ctl status` tells; no other key is "
         "spoken to; - for one that is known by its certificate"},
    {.name = "upstream-icecast",
     .type = CONF_STRING,
     .offset = AT(upstream_icecast),
     .unit = "URL",
     .check = check_url,
     .help =
         "instead of a root: carries the MP3 stream (constant bit rate, 44.1 kHz) of an Icecast or SHOUTcast "
         "server on, with its titles"},
    {.name = "token-file",
     .type = CONF_STRING,
     .offset = AT(token_file),
     .unit = "FILE",
     .help = "file with the secret that this relay presents to the root"},
    FRONT_OPTIONS(struct relay_options, front, ":8001"),
    {.name = "link-listen",
     .type = CONF_COMMAS,
     .offset = AT(link_listen),
     .unit = "ADDR:PORT",
     .check = link_door_check_listen,
     .help = "where other relays may link, over TLS with a key of this relay's own, so that the root can put "
             "some of them "
             "under this one as far as its uplink is known to carry them"},
    {.name = "public-url",
     .type = CONF_STRING,
     .offset = AT(public_url),
     .unit = "URL",
     .check = check_url,
     .help =
         "address by which listeners reach this relay; left out, it is made of the address listened on or of "
         "this host's name"},
    {.name = "state",
     .type = CONF_STRING,
     .offset = AT(state),
     .unit = "DIR",
     .help = "where the relay keeps the programme it holds"},
    {.name = "idle-linger",
     .type = CONF_REAL,
     .offset = AT(idle_linger_s),
     .def = "15",
     .min = 0,
     .max = 86400,
     .unit = "SECONDS",
     .help = "what a visit may cost the root beside its burst and twice its time, in seconds of the mount's "
             "rate: the pull goes on for most of that after the last listener, for half of it where it is "
             "below 4, and with 0 it ends at once and begins smaller"},
    {.name = "max-listeners",
     .type = CONF_INT,
     .offset = AT(max_listeners),
     .def = "1000",
     .min = 1,
     .max = 1000000,
     .unit = "N",
     .help = "listeners served at most; a further one gets 503"},
    {.name = "lead",
     .type = CONF_REAL,
     .offset = AT(lead_s),
     .def = "240",
     .min = 2,
     .max = 900,
     .unit = "SECONDS",
     .help = "how much of the programme ahead of the air is held at most, to live on when the root is gone"},
    {.name = "drain-deadline",
     .type = CONF_REAL,
     .offset = AT(drain_deadline_s),
     .def = "60",
     .min = 0,
     .max = 3600,
     .unit = "SECONDS",
     .help = "after SIGTERM: how long listeners have to finish or to be moved to other nodes before this one "
             "ends; a second signal ends it at once"},
    {.name = "name",
     .type = CONF_STRING,
     .offset = AT(name),
     .unit = "TEXT",
     .help =
         "name of this relay in the root's statistics; left out, this host's name; one that was enrolled has "
         "the name it was given"},
    {.name = "log-level",
     .type = CONF_CHOICE,
     .offset = AT(log_level_name),
     .def = "info",
     .choices = "error|warn|info|debug",
     .help = "what is logged to standard error"},
};

static char *host_name(void)
{
    char name[65] = "";
    if (gethostname(name, sizeof name - 1) || !*name) return xstrdup("localhost");
    return xstrdup(name);
}

static char *default_state(void)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (xdg && *xdg == '/') return xasprintf("%s/forever-relay", xdg);
    if (home && *home == '/') return xasprintf("%s/.local/state/forever-relay", home);
    return xstrdup("./relay-state");
}

/* One line of printable text; white space around it does not count. */
static int read_token(struct relay_options *o, char **cause)
{
    size_t len;
    char *text = proc_read_file(o->token_file, TOKEN_MAX_BYTES, &len, cause);
    if (!text) return -1;
    size_t from = strspn(text, " \t\r\n"), n = strlen(text + from);
    while (n && strchr(" \t\r\n", text[from + n - 1]))
        n--;
    int bad = n == 0 || strlen(text) != len;
    for (size_t i = from; i < from + n; i++)
        bad |= text[i] <= ' ' || text[i] > '~';
    if (!bad) o->token = xstrndup(text + from, n);
    free(text);
    if (!bad) return 0;
    return cause_set(cause, "%s: a token is one line of 1 to %d printable characters without spaces",
                     o->token_file, TOKEN_MAX_BYTES);
}

static void strip_slashes(char *url)
{
    size_t n = url ? strlen(url) : 0;
    while (n && url[n - 1] == '/')
        url[--n] = '\0';
}

/* Who enrolled needs neither root nor token: 0, or -1 with *cause. */
static int read_enrolment(struct relay_options *o, int *exit_code, char **cause)
{
    struct enrolment e;
    if (o->roots.count || o->upstream_icecast) return 0;
    int found = enrolment_load(o->state, &e, cause);
    *exit_code = EX_NOINPUT;
    if (found < 0) return -1;
    *exit_code = EX_USAGE;
    if (!found)
        return cause_set(
            cause,
            "no root: enrol first (forever-relay enrol, with the token of \"forever-root ctl relay add\"), "
            "or give --root URL; %s holds no enrolment",
            o->state);
    o->enrolled = xcalloc(1, sizeof e);
    *o->enrolled = e;
    OPENSSL_cleanse(&e, sizeof e);
    free(o->name);
    o->name = xstrdup(o->enrolled->name);
    if (!o->public_url && *o->enrolled->public_url) o->public_url = xstrdup(o->enrolled->public_url);
    return 0;
}

static int finish_listening(struct relay_options *o, int *exit_code, char **cause)
{
    if (front_options_check(&o->front, exit_code, cause)) return -1;
    *exit_code = EX_USAGE;
    if (conf_parse_listen(o->front.listen.items[0], o->host, &o->port, cause)) return -1;
    strip_slashes(o->public_url);
    if (!o->state) o->state = default_state();
    return 0;
}

static int finish(void *dest, int *exit_code, char **cause)
{
    struct relay_options *o = dest;
    *exit_code = EX_USAGE;
    if (o->roots.count && o->upstream_icecast)
        return cause_set(cause, "--root and --upstream-icecast: a relay has one source");
    if (o->roots.count && !o->token_file)
        return cause_set(cause,
                         "--token-file FILE must be given (also as a line of the file or FOREVER_RELAY_...)");
    if (finish_listening(o, exit_code, cause)) return -1;
    if (o->root_pins.count && o->root_pins.count != o->roots.count)
        return cause_set(cause, "--root-pin: %zu of them for %zu --root; give one for each, or none",
                         o->root_pins.count, o->roots.count);
    if (read_enrolment(o, exit_code, cause)) return -1;
    *exit_code = EX_NOINPUT;
    if (o->token_file && o->roots.count && read_token(o, cause)) return -1;
    if (!o->name) o->name = host_name();
    log_level_parse(o->log_level_name, &o->level);
    return 0;
}

static int finish_enrol(void *dest, int *exit_code, char **cause)
{
    struct relay_options *o = dest;
    if (finish_listening(o, exit_code, cause)) return -1;
    if (!o->public_url)
        return cause_set(cause,
                         "--public-url URL must be given: the address by which listeners reach this relay");
    if (strlen(o->public_url) > ENROLMENT_PUBLIC_URL_MAX)
        return cause_set(cause, "--public-url must have at most %d bytes", ENROLMENT_PUBLIC_URL_MAX);
    return 0;
}

static const struct conf_table enrol_table = {
    .program = "forever-relay enrol",
    .section = "relay",
    .prefix = "FOREVER_RELAY",
    .summary =
        "makes this machine a relay of the station whose token (of \"forever-root ctl relay add\") comes on "
        "standard input, or is in --token-file",
    .options = table,
    .count = sizeof table / sizeof *table,
    .finish = finish_enrol,
};

const struct conf_table relay_options_table = {
    .program = "forever-relay",
    .section = "relay",
    .prefix = "FOREVER_RELAY",
    .summary = "an edge node that carries a forever station on to any number of listeners",
    .synopsis = "forever-relay enrol --public-url URL [OPTIONS] < TOKEN\n",
    .options = table,
    .count = sizeof table / sizeof *table,
    .finish = finish,
};

enum conf_result relay_options_load(struct relay_options *out, int argc, char **argv, int *exit_code,
                                    char **cause)
{
    *out = (struct relay_options){0};
    enum conf_result result = conf_load(&relay_options_table, out, argc, argv, exit_code, cause);
    if (result != CONF_RUN) relay_options_free(out);
    return result;
}

enum conf_result relay_options_load_enrol(struct relay_options *out, int argc, char **argv, int *exit_code,
                                          char **cause)
{
    *out = (struct relay_options){0};
    enum conf_result result = conf_load(&enrol_table, out, argc, argv, exit_code, cause);
    if (result != CONF_RUN) relay_options_free(out);
    return result;
}

char *relay_options_public_url(const struct relay_options *o, int port)
{
    if (o->public_url) return xstrdup(o->public_url);
    if (*o->host && strcmp(o->host, "0.0.0.0") && strcmp(o->host, "::"))
        return xasprintf(strchr(o->host, ':') ? "http://[%s]:%d" : "http://%s:%d", o->host, port);
    char *host = host_name(), *url = xasprintf("http://%s:%d", host, port);
    free(host);
    return url;
}

void relay_options_free(struct relay_options *o)
{
    conf_free(&relay_options_table, o);
    if (o->enrolled) OPENSSL_cleanse(o->enrolled, sizeof *o->enrolled);
    free(o->enrolled);
    free(o->token);
    *o = (struct relay_options){0};
}
