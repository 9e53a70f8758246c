/* options: what a relay can be told: one table for command line, file and environment. */
#ifndef FOREVER_RELAY_OPTIONS_H
#define FOREVER_RELAY_OPTIONS_H
#include "common/front.h"
#include "common/log.h"
#include "relay/enrolment.h"

struct relay_options {
    /* as given */
    struct conf_list roots, root_pins, link_listen;
    char *upstream_icecast, *token_file, *public_url, *state, *name, *log_level_name;
    double idle_linger_s, lead_s, drain_deadline_s;
    struct front_options front;
    long max_listeners;
    /* worked out */
    struct enrolment *enrolled; /* when no root was given: what the state directory holds */
    char *token, host[64];
    int port;
    enum log_level level;
};

/* As conf_load, with the token read and what was left open filled in; public_url stays NULL when it can only
 * be told from the port listened on (relay_options_public_url). */
enum conf_result relay_options_load(struct relay_options *out, int argc, char **argv, int *exit_code,
                                    char **cause);
/* The same options for `forever-relay enrol`, which needs no root, but a public address; the token file is
 * not read. */
enum conf_result relay_options_load_enrol(struct relay_options *out, int argc, char **argv, int *exit_code,
                                          char **cause);
void relay_options_free(struct relay_options *options);
/* Without --public-url: the address listened on, or this host's name. Fresh memory. */
char *relay_options_public_url(const struct relay_options *options, int port);

extern const struct conf_table relay_options_table;

#endif
