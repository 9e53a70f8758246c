/* conf: loading.
 *
 * Every source (default, file, environment, command line) gives texts with the place they come from; they
 * are applied in that order, each over the one before, and each is checked even when a later one replaces
 * it: a wrong line in the file is an error although the command line overrides it. */
#include "common/conf.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "common/mem.h"

#define LINE_MAX_BYTES 4096

/* What every table gets. */
static const char *const builtin_names[] = {"config",        "check-config", "print-config", "print-manual",
                                            "print-example", "help",         "version"};
enum {
    BUILTIN_CONFIG,
    BUILTIN_CHECK,
    BUILTIN_PRINT,
    BUILTIN_MANUAL,
    BUILTIN_EXAMPLE,
    BUILTIN_HELP,
    BUILTIN_VERSION
};
#define BUILTIN_COUNT (sizeof builtin_names / sizeof *builtin_names)

static void *slot(const struct conf_option *o, void *dest)
{
    return (char *)dest + o->offset;
}

static int is_list(const struct conf_option *o)
{
    return o->type == CONF_LIST || o->type == CONF_COMMAS;
}

static void list_clear(struct conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct conf_list){0};
}

static void list_add(struct conf_list *list, const char *text, size_t len)
{
    if (len == 0) return;
    list->items = xrealloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = xstrndup(text, len);
}

void conf_free(const struct conf_table *table, void *dest)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        if (o->type == CONF_STRING || o->type == CONF_CHOICE) {
            char **text = slot(o, dest);
            free(*text);
            *text = NULL;
        } else if (is_list(o)) {
            list_clear(slot(o, dest));
        }
    }
}

/* Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours. */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    size_t n = strnlen(a, MAX), m = strnlen(b, MAX);
    unsigned d[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

static const char *nearest(const struct conf_table *table, const char *name, int builtins)
{
    const char *best = "";
    unsigned distance = ~0u;
    for (size_t i = 0; i < table->count + (builtins ? BUILTIN_COUNT : 0); i++) {
        const char *known = i < table->count ? table->options[i].name : builtin_names[i - table->count];
        unsigned d = edit_distance(name, known);
        if (d < distance) {
            distance = d;
            best = known;
        }
    }
    return best;
}

static const struct conf_option *find(const struct conf_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (!strcmp(table->options[i].name, name)) return &table->options[i];
    }
    return NULL;
}

static int parse_bool(const char *text, int *out)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strcasecmp(text, words[i])) {
            *out = (int)(i & 1);
            return 0;
        }
    }
    return -1;
}

static int choice_known(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        if (n == len && !strncmp(at, text, n)) return 1;
        at += n + (at[n] != '\0');
    }
    return 0;
}

/* Gives the option the value in text. A list grows. */
static int assign(const struct conf_option *o, void *dest, const char *place, const char *text, int split,
                  char **cause)
{
    char unit[32];
    conf_unit(o, unit);
    char *end;
    errno = 0;
    if (o->type == CONF_INT || o->type == CONF_REAL) {
        const char *what = o->type == CONF_INT ? "a whole number" : "a number";
        double value = o->type == CONF_INT ? (double)strtol(text, &end, 10) : strtod(text, &end);
        if (*text == '\0' || isspace((unsigned char)*text) || *end || !isfinite(value) || errno == ERANGE ||
            value < o->min || value > o->max)
            return cause_set(cause, "%s: \"%s\" is not %s from %.15g to %.15g%s", place, text, what, o->min,
                             o->max, unit);
        if (o->type == CONF_INT)
            *(long *)slot(o, dest) = strtol(text, NULL, 10);
        else
            *(double *)slot(o, dest) = value;
        return 0;
    }
    if (o->type == CONF_BOOL) {
        if (parse_bool(text, slot(o, dest)))
            return cause_set(cause, "%s: \"%s\" is none of yes, no, true, false, on, off, 1, 0", place, text);
        return 0;
    }
    if (o->type == CONF_CHOICE && !choice_known(o->choices, text))
        return cause_set(cause, "%s: \"%s\" is none of %s", place, text, o->choices);
    if (!is_list(o)) {
        char *why = NULL;
        if (o->check && o->check(text, &why)) {
            cause_set(cause, "%s: \"%s\" %s", place, text, why ? why : "is not allowed");
            free(why);
            return -1;
        }
        char **out = slot(o, dest);
        free(*out);
        *out = *text ? xstrdup(text) : NULL;
        return 0;
    }
    while (*text) {
        if (o->type == CONF_COMMAS) text += strspn(text, " ");
        size_t n = split ? strcspn(text, o->type == CONF_COMMAS ? "," : ":") : strlen(text);
        char *item = xstrndup(text, n), *why = NULL;
        int bad = n && o->check && o->check(item, &why);
        if (bad)
            cause_set(cause, "%s: \"%s\" %s", place, item, why ? why : "is not allowed");
        else
            list_add(slot(o, dest), item, n);
        free(why);
        free(item);
        if (bad) return -1;
        text += n + (text[n] != '\0');
    }
    return 0;
}

/* A source of higher precedence replaces the whole of a list. */
static void begin_source(const struct conf_option *o, void *dest)
{
    if (is_list(o)) list_clear(slot(o, dest));
}

/* The file */

struct file {
    const struct conf_table *table;
    void *dest;
    const char *path;
    FILE *stream;
    int line, in_other_section, *seen; /* seen[option]: line it was set in */
    char *cause;
};

static void file_fail(struct file *f, const char *what)
{
    if (!f->cause) cause_set(&f->cause, "%s:%d: %s", f->path, f->line, what);
}

/* inih tells no line numbers and calls nobody for a section without keys, so both are read off here. */
static char *file_line(char *text, int size, void *context)
{
    struct file *f = context;
    if (f->cause || !fgets(text, size, f->stream)) return NULL;
    f->line++;
    size_t len = strlen(text);
    if (len + 1 == (size_t)size && text[len - 1] != '\n') {
        file_fail(f, "the line is too long");
        return NULL;
    }
    const char *s = text + strspn(text, " \t");
    if (*s != '[') return text;
    size_t n = strcspn(++s, "]");
    if (s[n] == ']' && (n != strlen(f->table->section) || strncmp(s, f->table->section, n))) {
        char *what = xasprintf("[%.*s]: unknown section, the only one is [%s]", (int)(n > 60 ? 60 : n), s,
                               f->table->section);
        file_fail(f, what);
        free(what);
        return NULL;
    }
    return text;
}

static int file_value(void *context, const char *section, const char *name, const char *value)
{
    struct file *f = context;
    (void)section;
    if (f->cause) return 1;
    const struct conf_option *o = find(f->table, name);
    if (!o) {
        cause_set(&f->cause, "%s:%d: %.60s: unknown option, the nearest name is \"%s\"", f->path, f->line,
                  name, nearest(f->table, name, 0));
        return 1;
    }
    int *seen = &f->seen[o - f->table->options];
    if (*seen && !is_list(o)) {
        cause_set(&f->cause, "%s:%d: %s: set a second time, first in line %d", f->path, f->line, name, *seen);
        return 1;
    }
    if (!*seen) begin_source(o, f->dest);
    *seen = f->line;
    char *place = xasprintf("%s:%d: %s", f->path, f->line, name);
    assign(o, f->dest, place, value, 1, &f->cause);
    free(place);
    return 1;
}

static int load_file(const struct conf_table *table, void *dest, const char *path, int *exit_code,
                     char **cause)
{
    struct stat st;
    *exit_code = EX_NOINPUT;
    FILE *stream = fopen(path, "re");
    if (stream && !fstat(fileno(stream), &st) && S_ISDIR(st.st_mode)) {
        fclose(stream);
        stream = NULL;
        errno = EISDIR;
    }
    if (!stream) return cause_set(cause, "%s: can't be read: %s", path, strerror(errno));
    struct file f = {.table = table, .dest = dest, .path = path, .stream = stream};
    f.seen = xcalloc(table->count, sizeof *f.seen);
    ini_use_stack = false;
    ini_initial_alloc = LINE_MAX_BYTES;
    ini_max_line = LINE_MAX_BYTES;
    ini_allow_multiline = false;
    int bad = ini_parse_stream(file_line, &f, file_value, &f);
    if (!f.cause && bad)
        cause_set(&f.cause, "%s:%d: neither \"name = value\" nor a section nor a comment", path, bad);
    if (!f.cause && ferror(stream)) cause_set(&f.cause, "%s: can't be read: %s", path, strerror(errno));
    free(f.seen);
    fclose(stream);
    *cause = f.cause;
    *exit_code = EX_CONFIG;
    return f.cause ? -1 : 0;
}

/* The environment */

static char *env_name(const struct conf_table *table, const char *name)
{
    char *text = xasprintf("%s_%s", table->prefix, name);
    for (char *c = text; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    return text;
}

/* An empty variable counts as unset: container files can't unset one. */
static int load_environment(const struct conf_table *table, void *dest, char **cause)
{
    int result = 0;
    for (size_t i = 0; i < table->count && !result; i++) {
        const struct conf_option *o = &table->options[i];
        char *name = env_name(table, o->name);
        const char *value = getenv(name);
        if (value && *value) {
            begin_source(o, dest);
            result = assign(o, dest, name, value, 1, cause);
        }
        free(name);
    }
    return result;
}

/* The command line */

struct arguments {
    int builtin[BUILTIN_COUNT];
    const char *config;
};

/* One argument at argv[*at]; dest NULL reads only what is built in. */
static int load_argument(const struct conf_table *table, void *dest, int argc, char **argv, int *at,
                         int *given, struct arguments *out, char **cause)
{
    const char *arg = argv[*at];
    if (strncmp(arg, "--", 2) || !arg[2]) return cause_set(cause, "\"%s\" is no option (see --help)", arg);
    size_t len = strcspn(arg + 2, "=");
    char *name = xstrndup(arg + 2, len), *place = xasprintf("--%s", name);
    const char *value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
    int result = 0;
    const struct conf_option *o = find(table, name);
    int negated = !o && !strncmp(name, "no-", 3) && (o = find(table, name + 3)) && o->type == CONF_BOOL;
    size_t b = 0;
    while (b < BUILTIN_COUNT && strcmp(name, builtin_names[b]))
        b++;
    if (!o && b == BUILTIN_COUNT) {
        result =
            cause_set(cause, "%s: unknown option, the nearest name is --%s", place, nearest(table, name, 1));
    } else if ((o && o->type == CONF_BOOL) || (!o && b != BUILTIN_CONFIG)) {
        if (value)
            result = cause_set(cause, "%s: \"%s\" is too much, this option takes no value", place, value);
        else if (!o)
            out->builtin[b] = 1;
        else if (dest)
            *(int *)slot(o, dest) = !negated;
    } else {
        if (o && !strncmp(name, "no-", 3) && strcmp(name, o->name)) {
            result = cause_set(cause, "%s: unknown option, the nearest name is --%s", place, o->name);
        } else if (!value && (*at + 1 >= argc || !strncmp(argv[*at + 1], "--", 2))) {
            result = cause_set(cause, "%s: needs a value%s%s", place, o && o->unit ? ": " : "",
                               o && o->unit ? o->unit : "");
        } else {
            if (!value) value = argv[++*at];
            if (!o)
                out->config = value;
            else if (dest && !given[o - table->options]++)
                begin_source(o, dest);
            if (o && dest) result = assign(o, dest, place, value, 0, cause);
        }
    }
    free(name);
    free(place);
    return result;
}

static int load_arguments(const struct conf_table *table, void *dest, int argc, char **argv,
                          struct arguments *out, char **cause)
{
    int *given = xcalloc(table->count, sizeof *given), result = 0;
    for (int i = 1; i < argc && !result; i++)
        result = load_argument(table, dest, argc, argv, &i, given, out, cause);
    free(given);
    return result;
}

static int load_all(const struct conf_table *table, void *dest, int argc, char **argv, const char *config,
                    int *exit_code, char **cause)
{
    *exit_code = EX_CONFIG;
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        if (o->def && assign(o, dest, o->name, o->def, 1, cause)) return -1;
    }
    if (config && load_file(table, dest, config, exit_code, cause)) return -1;
    if (load_environment(table, dest, cause)) return -1;
    *exit_code = EX_USAGE;
    struct arguments again = {0};
    return load_arguments(table, dest, argc, argv, &again, cause);
}

enum conf_result conf_load(const struct conf_table *table, void *dest, int argc, char **argv, int *exit_code,
                           char **cause)
{
    struct arguments args = {0};
    *exit_code = EX_USAGE;
    if (load_arguments(table, NULL, argc, argv, &args, cause)) return CONF_FAIL;
    if (args.builtin[BUILTIN_HELP]) conf_write_help(table, stdout);
    if (args.builtin[BUILTIN_VERSION]) printf("%s %s\n", table->program, FOREVER_VERSION);
    if (args.builtin[BUILTIN_MANUAL]) conf_write_manual(table, stdout);
    if (args.builtin[BUILTIN_EXAMPLE]) conf_write_example(table, stdout);
    if (args.builtin[BUILTIN_HELP] || args.builtin[BUILTIN_VERSION] || args.builtin[BUILTIN_MANUAL] ||
        args.builtin[BUILTIN_EXAMPLE]) {
        *exit_code = 0;
        return CONF_DONE;
    }
    char *variable = env_name(table, "config");
    const char *config = args.config ? args.config : getenv(variable);
    free(variable);
    if (config && !*config) config = NULL;
    if (load_all(table, dest, argc, argv, config, exit_code, cause)) {
        conf_free(table, dest);
        return CONF_FAIL;
    }
    int printing = args.builtin[BUILTIN_PRINT], checking = args.builtin[BUILTIN_CHECK];
    if (table->finish && (checking || !printing) && table->finish(dest, exit_code, cause)) {
        conf_free(table, dest);
        return CONF_FAIL;
    }
    *exit_code = 0;
    if (printing) conf_write_values(table, dest, stdout);
    if (checking) printf("%s: the configuration is good\n", table->program);
    if (!printing && !checking) return CONF_RUN;
    conf_free(table, dest);
    return CONF_DONE;
}

int conf_parse_listen(const char *text, char host[64], int *port, char **cause)
{
    const char *must = "must be ADDR:PORT, [ADDR]:PORT, :PORT or PORT, with a port from 0 to 65535";
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text;
    const char *from = text, *to = colon ? colon : text;
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (!close || close + 1 != colon) return cause_set(cause, "%s", must);
        from++;
        to = close;
    } else if (colon && strchr(text, ':') != colon) {
        return cause_set(cause, "%s", must);
    }
    size_t len = (size_t)(to - from), count = strspn(digits, "0123456789");
    if (count == 0 || count > 5 || digits[count] || len > 63 || (*text == '[' && len == 0) ||
        strtol(digits, NULL, 10) > 65535)
        return cause_set(cause, "%s", must);
    memcpy(host, from, len);
    host[len] = '\0';
    *port = (int)strtol(digits, NULL, 10);
    return 0;
}
