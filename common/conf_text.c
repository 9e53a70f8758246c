/* conf: what the table says to people: --help, the manual's option list, the example file, --print-config. */
#include "common/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define HELP_COLUMN 32
#define HELP_WIDTH  100

/* Prints text from the given column on, wrapped between words. */
static void wrap(FILE *out, const char *text, int column, int width)
{
    int at = column;
    for (const char *word = text; *word;) {
        size_t n = strcspn(word, " ");
        if (at > column && at + 1 + (int)n > width) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", (int)n, word);
        at += (int)n;
        word += n;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

void conf_unit(const struct conf_option *o, char out[32])
{
    const char *unit = o->unit && strcmp(o->unit, "N") ? o->unit : "";
    if (!strcmp(unit, "KBITS")) unit = "kbit/s";
    int n = snprintf(out, 32, "%s%.30s", *unit ? " " : "", unit);
    for (int i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)out[i]);
}

/* " (64 to 320 kbit/s, default 192)"; "" when there is nothing to say. */
static void limits(const struct conf_option *o, char *out, size_t size)
{
    char range[200] = "";
    char unit[32];
    conf_unit(o, unit);
    if (o->type == CONF_INT || o->type == CONF_REAL)
        snprintf(range, sizeof range, "%.15g to %.15g%s", o->min, o->max, unit);
    else if (o->type == CONF_CHOICE)
        snprintf(range, sizeof range, "%s", o->choices);
    else if (o->type == CONF_LIST || o->type == CONF_COMMAS)
        snprintf(range, sizeof range, "may be repeated");
    const char *def = o->def && *o->def ? o->def : NULL;
    out[0] = '\0';
    if (*range || def)
        snprintf(out, size, " (%s%s%s%s)", range, *range && def ? ", " : "", def ? "default " : "",
                 def ? def : "");
}

static const char *value_name(const struct conf_option *o)
{
    if (o->type == CONF_CHOICE) return "NAME";
    return o->unit ? o->unit : "TEXT";
}

static void help_row(FILE *out, const char *left, const char *text)
{
    int n = fprintf(out, "  %s", left);
    if (n + 2 > HELP_COLUMN) {
        fputc('\n', out);
        n = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - n, "");
    wrap(out, text, HELP_COLUMN, HELP_WIDTH);
}

void conf_write_help(const struct conf_table *table, FILE *out)
{
    fprintf(out, "%s: %s\n\nUsage: %s [OPTION...]\n", table->program, table->summary, table->program);
    if (table->synopsis) {
        for (const char *s = table->synopsis; *s;) {
            size_t n = strcspn(s, "\n");
            fprintf(out, "       %.*s\n", (int)n, s);
            s += n + (s[n] != '\0');
        }
    }
    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        char left[128], range[256];
        if (o->type == CONF_BOOL)
            snprintf(left, sizeof left, "--[no-]%s", o->name);
        else
            snprintf(left, sizeof left, "--%s %s", o->name, value_name(o));
        limits(o, range, sizeof range);
        char *text = xasprintf("%s%s", o->help, range);
        help_row(out, left, text);
        free(text);
    }
    fputc('\n', out);
    help_row(out, "--config FILE", "read options from an INI file");
    help_row(out, "--check-config", "check all options and end");
    help_row(out, "--print-config", "print the options in force, as such a file, and end");
    help_row(out, "--print-manual", "print the manual's list of options (mdoc) and end");
    help_row(out, "--print-example", "print a commented example of such a file and end");
    help_row(out, "--help", "this text");
    help_row(out, "--version", "print the version");
    fprintf(out, "\nEvery option is also `name = value` in the file (section [%s]) and %s_NAME in the\n",
            table->section, table->prefix);
    fprintf(out, "environment. The command line wins over the environment, the environment over the file.\n");
}

/* mdoc text: a backslash is an escape, and a dot or quote at the start of a line a request. */
static void mdoc_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

void conf_write_manual(const struct conf_table *table, FILE *out)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        char range[256];
        fprintf(out, ".It Fl \\-%s", o->type == CONF_BOOL ? "[no\\-]" : "");
        mdoc_text(out, o->name);
        if (o->type != CONF_BOOL) fprintf(out, " Ar %s", value_name(o));
        fputc('\n', out);
        limits(o, range, sizeof range);
        char *text = xasprintf("%s%s.", o->help, range);
        *text = (char)toupper((unsigned char)*text);
        mdoc_text(out, text);
        fputc('\n', out);
        free(text);
    }
    fputs(".El\n", out);
}

void conf_write_example(const struct conf_table *table, FILE *out)
{
    fprintf(out, "# %s: %s\n# A line that is commented out shows the default.\n\n[%s]\n", table->program,
            table->summary, table->section);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        char range[256];
        limits(o, range, sizeof range);
        const char *def = o->def                                        ? o->def
                          : o->type == CONF_BOOL                        ? "no"
                          : o->type == CONF_INT || o->type == CONF_REAL ? "0"
                                                                        : "";
        fprintf(out, "\n# %c%s%s.\n#%s =%s%s\n", toupper((unsigned char)*o->help), o->help + 1, range,
                o->name, *def ? " " : "", def);
    }
}

void conf_write_values(const struct conf_table *table, const void *src, FILE *out)
{
    fprintf(out, "[%s]\n", table->section);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_option *o = &table->options[i];
        const void *at = (const char *)src + o->offset;
        const struct conf_list *list = at;
        const char *text;
        switch (o->type) {
        case CONF_BOOL:
            fprintf(out, "%s = %s\n", o->name, *(const int *)at ? "yes" : "no");
            break;
        case CONF_INT:
            fprintf(out, "%s = %ld\n", o->name, *(const long *)at);
            break;
        case CONF_REAL:
            fprintf(out, "%s = %.15g\n", o->name, *(const double *)at);
            break;
        case CONF_STRING:
        case CONF_CHOICE:
            memcpy(&text, at, sizeof text);
            fprintf(out, "%s%s =%s%s\n", text ? "" : "#", o->name, text ? " " : "", text ? text : "");
            break;
        case CONF_LIST:
        case CONF_COMMAS:
            for (size_t k = 0; k < list->count; k++)
                fprintf(out, "%s = %s\n", o->name, list->items[k]);
            if (list->count == 0) fprintf(out, "#%s =\n", o->name);
            break;
        }
    }
}
