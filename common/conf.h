/* conf: one table of options drives the command line, the INI file, the environment, the defaults, the
 * range checks, --help, --print-config and the manual's option section.
 *
 * Precedence: command line, then environment (PREFIX_NAME, dashes as underscores, e.g.
 * FOREVER_RELAY_LIMIT), then the file given by --config (or its environment form), then the default. The file
 * is INI (inih) with one section named as the table says, or none; an unknown section or key is an error
 * that names file, line and the nearest known name. Every table gets, without listing them: --config FILE,
 * --check-config, --print-config, --print-manual, --print-example, --help, --version. Both `--name value` and
 * `--name=value` work; a boolean takes no value on the command line (--name, --no-name) and
 * yes/no/true/false/on/off/1/0 elsewhere.
 *
 * Errors are one line that names the place ("station.conf:12: bitrate", "--bitrate",
 * "FOREVER_BITRATE"), the value and the allowed range, and carry a sysexits code: EX_USAGE (64) for the
 * command line, EX_CONFIG (78) for file and environment, EX_NOINPUT (66) for a file that can't be read. */
#ifndef FOREVER_COMMON_CONF_H
#define FOREVER_COMMON_CONF_H
#include <stddef.h>
#include <stdio.h>

enum conf_type {
    CONF_BOOL,   /* int */
    CONF_INT,    /* long */
    CONF_REAL,   /* double */
    CONF_STRING, /* char *, NULL when unset and without default */
    CONF_LIST,   /* struct conf_list: repeatable, also in the file; there and in the environment one value may
                    hold several, separated by `:` */
    CONF_COMMAS, /* the same, separated by `,`, for what has colons in it: addresses */
    CONF_CHOICE, /* char *, one of choices ("a|b|c") */
};

struct conf_list {
    char **items;
    size_t count;
};

struct conf_option {
    const char *name; /* as on the command line, without dashes */
    enum conf_type type;
    size_t offset;       /* in the destination struct */
    const char *def;     /* as text; NULL: 0, NULL or empty */
    double min, max;     /* CONF_INT and CONF_REAL, both inclusive */
    const char *choices; /* CONF_CHOICE */
    const char *unit; /* the value's name in help: "KBITS", "SECONDS", "N", "ADDR:PORT", "DIR"; a number's is
                         also its unit, in small letters, "N" being none */
    const char *help; /* one sentence, lower case, no full stop */
    /* more than a range can say: 0, or -1 with an owned *cause ("must ..."); NULL when not needed */
    int (*check)(const char *text, char **cause);
};

struct conf_table {
    const char *program;  /* "forever-root" */
    const char *section;  /* "root" */
    const char *prefix;   /* "FOREVER" */
    const char *summary;  /* one line for --help */
    const char *synopsis; /* extra usage lines, may be NULL */
    const struct conf_option *options;
    size_t count;
    /* Judges what the options say together and fills in what is derived of them; NULL when not needed. Called
     * by conf_load before the program runs and for --check-config. 0, or -1 with *exit_code and *cause; what
     * it allocated beside the options' own stays the caller's to free. */
    int (*finish)(void *dest, int *exit_code, char **cause);
};

enum conf_result {
    CONF_RUN,  /* go on with the program */
    CONF_DONE, /* --help, --version, --check-config, --print-config did their work: exit 0 */
    CONF_FAIL, /* *cause says why, *exit_code how */
};

/* Fills *dest (zeroed by the caller). argv[0] is skipped; an argument that is no option is an error. */
enum conf_result conf_load(const struct conf_table *table, void *dest, int argc, char **argv, int *exit_code,
                           char **cause);
void conf_free(const struct conf_table *table, void *dest);
/* A number's unit with a space before it: " kbit/s"; "" when it has none. */
void conf_unit(const struct conf_option *option, char out[32]);
/* --help; the man page's option list in mdoc; a commented example file; what is set now, as a file. */
void conf_write_help(const struct conf_table *table, FILE *out);
void conf_write_manual(const struct conf_table *table, FILE *out);
void conf_write_example(const struct conf_table *table, FILE *out);
void conf_write_values(const struct conf_table *table, const void *src, FILE *out);

/* "127.0.0.1:8000", "[::1]:8000", ":8000" (all addresses), "8000": splits into host ("" = all) and port
 * 0..65535 (0: any free port). -1 with *cause. host holds at most 63 characters. */
int conf_parse_listen(const char *text, char host[64], int *port, char **cause);

#endif
