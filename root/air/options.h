/* options: what the operator can set, one table (see common/conf.h). */
#ifndef FOREVER_ROOT_AIR_OPTIONS_H
#define FOREVER_ROOT_AIR_OPTIONS_H
#include "common/front.h"
#include "common/log.h"
#include "common/mount.h"

struct options {
    struct conf_list library;
    struct front_options front;
    struct conf_list link_listen; /* empty: the port after the main one's */
    char *state, *relay_token_file, *name, *description, *genre, *public_url, *fallback, *worker, *log_level,
        *bitrate_text, *mounts_text, *relay_reserve, *live_password_file, *geo_db;
    long link_fanout, relay_limit, max_listeners, analysers, seed, history_days;
    double lead, target_lufs, max_tempo_change, min_play, mount_linger, fill_budget_mbps;
    /* worked out after loading */
    char host[64];
    int port;
    char *relay_token;   /* NULL: no relay is let in */
    char *live_password; /* NULL: no live source is let in */
    enum log_level level;
    long bitrate;                         /* kbit/s */
    struct mount_spec mounts[MOUNTS_MAX]; /* the main one first */
    size_t mount_count;
};

extern const struct conf_table options_table;

/* conf_load, then all that a table can't say: folders exist, the token is read, default places are filled in.
 * As conf_load returns; options_free in any case. */
enum conf_result options_load(struct options *out, int argc, char **argv, int *exit_code, char **cause);
void options_free(struct options *options);

/* Where the state is kept when nothing says so: FOREVER_STATE, else $XDG_STATE_HOME/forever, else
 * ~/.local/state/forever, else ./state. Owned by the caller. */
char *options_default_state(void);
/* The worker executable when nothing says so: beside this program, else in ../libexec/forever. */
char *options_default_worker(void);

#endif
