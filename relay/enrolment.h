/* enrolment: what a relay was given when it enrolled: its name, its roots with the pin of their key, its
 * credential. Kept in STATE/enrolment.json (mode 0600), written beside and renamed, read strictly. */
#ifndef FOREVER_RELAY_ENROLMENT_H
#define FOREVER_RELAY_ENROLMENT_H
#include <stddef.h>

#include "common/enrol.h"

#define ENROLMENT_PUBLIC_URL_MAX 512

struct enrolment {
    char name[ENROL_NAME_MAX + 1];
    char urls[ENROL_URLS_MAX][ENROL_URL_MAX + 1];
    size_t url_count;
    char pin[ENROL_PIN_TEXT];
    char credential[ENROL_SECRET_TEXT];
    char public_url[ENROLMENT_PUBLIC_URL_MAX + 1];
};

/* 1 when there is one, 0 when not, -1 with *cause, which names file and member. */
int enrolment_load(const char *state, struct enrolment *out, char **cause);
/* 0, or -1 with *cause: the file is as it was. */
int enrolment_store(const char *state, const struct enrolment *enrolment, char **cause);

#endif
