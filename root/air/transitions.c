#include "root/air/transitions.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/stats.h"

static int is_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n && !text[n] && n < TRANSITIONS_NAME_BYTES;
}

static void tally_add(struct transitions_tally *tally, const char *name, uint64_t count)
{
    size_t i = 0;
    if (!is_name(name) || tally->used == TRANSITIONS_NAMES) name = "other";
    while (i < tally->used && strcmp(tally->rows[i].name, name))
        i++;
    if (i == tally->used && i == TRANSITIONS_NAMES - 1) name = "other";
    if (i == TRANSITIONS_NAMES) i--;
    if (i == tally->used) {
        snprintf(tally->rows[i].name, TRANSITIONS_NAME_BYTES, "%s", name);
        tally->used++;
    }
    tally->rows[i].count += count;
}

void transitions_init(struct transitions *t)
{
    static const char *const known[] = {"blend", "swap", "cut", "echo", "fade"};
    *t = (struct transitions){0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        tally_add(&t->techniques, known[i], 0);
}

void transitions_note(struct transitions *t, const json_t *segment)
{
    const char *technique = json_str_or(segment, "technique", "play", NULL);
    if (!strcmp(technique, "play") || !strcmp(technique, "live")) return;
    tally_add(&t->techniques, technique, 1);
    const json_t *certificate = json_object_get(segment, "certificate"), *rule;
    if (!json_is_object(certificate)) return; /* a skip's fade: nobody listened to it before */
    if (json_bool_or(certificate, "passed", false, NULL))
        t->passed++;
    else
        t->failed++;
    t->tries += (uint64_t)json_int_or(certificate, "tries", 0, 0, 1000, NULL) + 1;
    size_t i;
    json_array_foreach(json_object_get(certificate, "failed"), i, rule)
    {
        tally_add(&t->rules, json_is_string(rule) ? json_string_value(rule) : "", 1);
    }
}

static void sample(struct evbuffer *out, const char *name, const char *key, const char *value, uint64_t count)
{
    char label[80] = "";
    stats_label(label, sizeof label, key, value);
    stats_write_sample(out, name, label, (double)count);
}

void transitions_write(const struct transitions *t, struct evbuffer *out)
{
    stats_write_head(out, "forever_transitions_total", STATS_COUNTER,
                     "Transitions that aired, by how they join.");
    for (size_t i = 0; i < t->techniques.used; i++)
        sample(out, "forever_transitions_total", "technique", t->techniques.rows[i].name,
               t->techniques.rows[i].count);
    stats_write_head(out, "forever_certificates_total", STATS_COUNTER,
                     "Transitions that aired, by what was measured of them before.");
    sample(out, "forever_certificates_total", "result", "passed", t->passed);
    sample(out, "forever_certificates_total", "result", "failed", t->failed);
    stats_write_head(out, "forever_certificate_failures_total", STATS_COUNTER,
                     "Rules that transitions on air did not keep.");
    for (size_t i = 0; i < t->rules.used; i++)
        sample(out, "forever_certificate_failures_total", "rule", t->rules.rows[i].name,
               t->rules.rows[i].count);
    stats_write_head(out, "forever_transition_tries_total", STATS_COUNTER,
                     "Ways to join that were rendered and measured for them.");
    stats_write_sample(out, "forever_transition_tries_total", "", (double)t->tries);
}
