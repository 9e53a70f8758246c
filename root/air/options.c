#include "root/air/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/json.h"
#include "common/link_door.h"
#include "common/mem.h"
#include "common/proc.h"

#define TOKEN_MIN_BYTES    16
#define TOKEN_MAX_BYTES    4096
#define PASSWORD_MIN_BYTES 8   /* typed into a broadcaster's program by hand */
#define TEXT_MAX           500 /* fits a line of a response header, and a HELLO of the link */

static int check_text(const char *text, char **cause)
{
    if (strlen(text) > TEXT_MAX) return cause_set(cause, "must have at most %d bytes", TEXT_MAX);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        size_t n = utf8_len(c);
        if (!n || *c < ' ' || *c == 127) return cause_set(cause, "must be one line of UTF-8 text");
        c += n;
    }
    return 0;
}

static int check_url(const char *text, char **cause)
{
    size_t head = !strncasecmp(text, "http://", 7) ? 7 : !strncasecmp(text, "https://", 8) ? 8 : 0;
    if (strlen(text) > TEXT_MAX) return cause_set(cause, "must have at most %d bytes", TEXT_MAX);
    if (!head || !text[head] || strpbrk(text, " \"<>\\?#"))
        return cause_set(cause, "must be an absolute http:// or https:// address without query");
    return 0;
}

static int check_mounts(const char *text, char **cause)
{
    struct mount_spec list[MOUNTS_MAX] = {{.name = MOUNT_MAIN}};
    return mount_specs_parse(text, list, 1, cause) < 0 ? -1 : 0;
}

#define AT(member) offsetof(struct options, member)
static const struct conf_option table[] = {
    {.name = "library",
     .type = CONF_LIST,
     .offset = AT(library),
     .unit = "DIR",
     .help = "folder with music, searched with all below it"},
    FRONT_OPTIONS(struct options, front, ":8000"),
    {.name = "link-listen",
     .type = CONF_COMMAS,
     .offset = AT(link_listen),
     .unit = "ADDR:PORT",
     .check = link_door_check_listen,
     .help =
         "where relays link and report, over TLS with a key of the station's own; left out, the port after "
         "the main one's; none for nowhere"},
    {.name = "link-fanout",
     .type = CONF_INT,
     .offset = AT(link_fanout),
     .def = "100",
     .min = 0,
     .max = 1000,
     .unit = "N",
     .help = "relays that get the programme from here; further ones get it from relays that have "
             "--link-listen and "
             "uplink to spare, as far as there are any; 0 for all"},
    {.name = "fill-budget",
     .type = CONF_REAL,
     .offset = AT(fill_budget_mbps),
     .def = "0",
     .min = 0,
     .max = 1000000,
     .unit = "MBITS",
     .help = "Mbit/s that relays may take together to fill their leads, beyond what airs; 0 for no limit"},
    {.name = "state",
     .type = CONF_STRING,
     .offset = AT(state),
     .unit = "DIR",
     .help = "where the station keeps its database, its programme and its control socket"},
    {.name = "bitrate",
     .type = CONF_CHOICE,
     .offset = AT(bitrate_text),
     .def = "192",
     .choices = "64|80|96|112|128|160|192|224|256|320",
     .unit = "KBITS",
     .help = "bit rate of the stream in kbit/s"},
    {.name = "mounts",
     .type = CONF_STRING,
     .offset = AT(mounts_text),
     .unit = "LIST",
     .check = check_mounts,
     .help = "further bit rates of the same programme, as \"low:64, high:320:always\": each is served at "
             "/NAME.mp3 and encoded only while somebody hears it, or always"},
    {.name = "mount-linger",
     .type = CONF_REAL,
     .offset = AT(mount_linger),
     .def = "60",
     .min = 1,
     .max = 86400,
     .unit = "SECONDS",
     .help = "how long a further mount is encoded after the last one has left"},
    {.name = "lead",
     .type = CONF_REAL,
     .offset = AT(lead),
     .def = "240",
     .min = 10,
     .max = 900,
     .unit = "SECONDS",
     .help = "how far the programme is made ahead of the air"},
    {.name = "fallback",
     .type = CONF_STRING,
     .offset = AT(fallback),
     .unit = "FILE",
     .help = "music (2 to 120 s) that goes round at all nodes when there is no programme for longer than the "
             "lead; "
             "left out, it is cut from a track that was played"},
    {.name = "relay-limit",
     .type = CONF_INT,
     .offset = AT(relay_limit),
     .def = "100",
     .min = 0,
     .max = 1000000,
     .unit = "N",
     .help = "listeners served here before further ones are sent to relays; 0 sends everybody"},
    {.name = "relay-reserve",
     .type = CONF_CHOICE,
     .offset = AT(relay_reserve),
     .def = "auto",
     .choices = "auto|none",
     .help = "auto: with two relays or more, as many of their places are kept free as the largest one's "
             "listeners would need"},
    {.name = "max-listeners",
     .type = CONF_INT,
     .offset = AT(max_listeners),
     .def = "5000",
     .min = 1,
     .max = 1000000,
     .unit = "N",
     .help = "listeners served here at most, when no relay has room"},
    {.name = "relay-token-file",
     .type = CONF_STRING,
     .offset = AT(relay_token_file),
     .unit = "FILE",
     .help = "file with the secret that relays on this machine present; without it no relay is let in"},
    {.name = "geo-db",
     .type = CONF_STRING,
     .offset = AT(geo_db),
     .unit = "FILE",
     .help = "database in MaxMind's format, City or Country, by which listeners are sent to relays of their "
             "region; read again on SIGHUP and by ctl reload"},
    {.name = "live-password-file",
     .type = CONF_STRING,
     .offset = AT(live_password_file),
     .unit = "FILE",
     .help = "file with the password by which a live source (user \"source\", mount /live) takes the air; "
             "without it there is no live input"},
    {.name = "name",
     .type = CONF_STRING,
     .offset = AT(name),
     .check = check_text,
     .def = "forever",
     .unit = "TEXT",
     .help = "name of the station"},
    {.name = "description",
     .type = CONF_STRING,
     .offset = AT(description),
     .check = check_text,
     .unit = "TEXT",
     .help = "one line about the station"},
    {.name = "genre",
     .type = CONF_STRING,
     .offset = AT(genre),
     .check = check_text,
     .unit = "TEXT",
     .help = "genre of the station"},
    {.name = "public-url",
     .type = CONF_STRING,
     .offset = AT(public_url),
     .unit = "URL",
     .check = check_url,
     .help = "address by which listeners reach this node, when it is not the one they ask for"},
    {.name = "target-lufs",
     .type = CONF_REAL,
     .offset = AT(target_lufs),
     .def = "-16",
     .min = -30,
     .max = -8,
     .unit = "LUFS",
     .help = "loudness that all music is brought to"},
    {.name = "max-tempo-change",
     .type = CONF_REAL,
     .offset = AT(max_tempo_change),
     .def = "6",
     .min = 0,
     .max = 8,
     .unit = "PERCENT",
     .help = "tracks whose tempi differ by more are joined without matching their beats"},
    {.name = "min-play",
     .type = CONF_REAL,
     .offset = AT(min_play),
     .min = 0,
     .max = 95,
     .unit = "PERCENT",
     .help = "how much of a track plays at least; 0 stands for 60, and a minute of what is longer than 90 s"},
    {.name = "history-days",
     .type = CONF_INT,
     .offset = AT(history_days),
     .def = "100",
     .min = 1,
     .max = 4000,
     .unit = "DAYS",
     .help = "how long the database keeps what aired, with all that rendering it again takes"},
    {.name = "analysers",
     .type = CONF_INT,
     .offset = AT(analysers),
     .def = "1",
     .min = 1,
     .max = 32,
     .unit = "N",
     .help = "tracks analysed at a time, at low priority"},
    {.name = "seed",
     .type = CONF_INT,
     .offset = AT(seed),
     .def = "1",
     .min = 0,
     .max = 2147483647,
     .unit = "N",
     .help = "start of the random choices among near equals"},
    {.name = "worker",
     .type = CONF_STRING,
     .offset = AT(worker),
     .unit = "FILE",
     .help = "worker executable; default is forever-work beside this program or in ../libexec/forever"},
    {.name = "log-level",
     .type = CONF_CHOICE,
     .offset = AT(log_level),
     .def = "info",
     .choices = "error|warn|info|debug",
     .help = "what is logged to standard error"},
};

char *options_default_state(void)
{
    const char *set = getenv("FOREVER_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (set && *set) return xstrdup(set);
    if (xdg && *xdg == '/') return xasprintf("%s/forever", xdg);
    if (home && *home == '/') return xasprintf("%s/.local/state/forever", home);
    return xstrdup("./state");
}

char *options_default_worker(void)
{
    char *beside = xasprintf("%s/forever-work", proc_self_dir());
    if (!access(beside, X_OK)) return beside;
    char *installed = xasprintf("%s/../libexec/forever/forever-work", proc_self_dir());
    if (!access(installed, X_OK)) {
        free(beside);
        return installed;
    }
    free(installed);
    return beside;
}

/* One line of printable text; white space around it does not count. `what`: a token, a password. */
static int read_secret(const char *path, const char *what, size_t min, char **out, char **cause)
{
    size_t len;
    char *text = proc_read_file(path, TOKEN_MAX_BYTES, &len, cause);
    if (!text) return -1;
    size_t from = strspn(text, " \t\r\n"), n = strlen(text + from);
    while (n && strchr(" \t\r\n", text[from + n - 1]))
        n--;
    int bad = n < min || from + n > len;
    for (size_t i = from; i < from + n; i++)
        bad |= text[i] <= ' ' || text[i] > '~';
    if (!bad) *out = xstrndup(text + from, n);
    free(text);
    if (!bad) return 0;
    return cause_set(cause, "%s: a %s is one line of %zu to %d printable characters without spaces", path,
                     what, min, TOKEN_MAX_BYTES);
}

static int check_folder(const char *path, char **cause)
{
    struct stat st;
    if (stat(path, &st)) return cause_set(cause, "--library: %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return cause_set(cause, "--library: %s is no folder", path);
    if (access(path, R_OK | X_OK))
        return cause_set(cause, "--library: %s may not be read by this user", path);
    return 0;
}

static void make_absolute(char **path)
{
    char *real = realpath(*path, NULL);
    if (!real) return;
    free(*path);
    *path = real;
}

static int finish(void *dest, int *exit_code, char **cause)
{
    struct options *o = dest;
    *exit_code = EX_USAGE;
    if (!o->library.count) return cause_set(cause, "no music: give at least one --library DIR");
    if (front_options_check(&o->front, exit_code, cause)) return -1;
    *exit_code = EX_USAGE;
    if (conf_parse_listen(o->front.listen.items[0], o->host, &o->port, cause)) return -1;
    *exit_code = EX_NOINPUT;
    if (o->relay_token_file &&
        read_secret(o->relay_token_file, "token", TOKEN_MIN_BYTES, &o->relay_token, cause))
        return -1;
    if (o->live_password_file &&
        read_secret(o->live_password_file, "password", PASSWORD_MIN_BYTES, &o->live_password, cause))
        return -1;
    if (!o->state) o->state = options_default_state();
    if (!o->worker) o->worker = options_default_worker();
    if (access(o->worker, X_OK)) return cause_set(cause, "--worker: %s is no executable", o->worker);
    for (size_t i = 0; i < o->library.count; i++) {
        if (check_folder(o->library.items[i], cause)) return -1;
        make_absolute(&o->library.items[i]);
    }
    if (o->fallback && access(o->fallback, R_OK))
        return cause_set(cause, "--fallback: %s: %s", o->fallback, strerror(errno));
    if (o->fallback) make_absolute(&o->fallback);
    if (o->public_url) {
        size_t n = strlen(o->public_url);
        while (n && o->public_url[n - 1] == '/')
            o->public_url[--n] = '\0';
    }
    o->bitrate = strtol(o->bitrate_text, NULL, 10);
    o->mounts[0] = (struct mount_spec){.name = MOUNT_MAIN, .kbps = (unsigned)o->bitrate, .always = 1};
    int count = mount_specs_parse(o->mounts_text ? o->mounts_text : "", o->mounts, 1, cause);
    *exit_code = EX_USAGE;
    if (count < 0) return -1;
    o->mount_count = (size_t)count;
    log_level_parse(o->log_level, &o->level);
    return 0;
}

const struct conf_table options_table = {
    .program = "forever-root",
    .section = "root",
    .prefix = "FOREVER",
    .summary = "an endless radio station that mixes a music library by itself",
    .synopsis =
        "forever-root ctl [--state DIR] [--json] status | skip | live stop | reload | swap ROLE\n"
        "forever-root ctl [--state DIR] [--json] relay list | add NAME | invite NAME | show NAME | ...\n"
        "forever-root analyse --json FILE...\n"
        "forever-root render --library DIR [--state DIR] --minutes N --seed S --out FILE "
        "--timeline FILE.json\n"
        "forever-root audition A B --out FILE [--stems DIR] [--draw FILE.svg]\n",
    .options = table,
    .count = sizeof table / sizeof *table,
    .finish = finish,
};

enum conf_result options_load(struct options *out, int argc, char **argv, int *exit_code, char **cause)
{
    *out = (struct options){0};
    return conf_load(&options_table, out, argc, argv, exit_code, cause);
}

void options_free(struct options *options)
{
    conf_free(&options_table, options);
    free(options->relay_token);
    free(options->live_password);
    *options = (struct options){0};
}
