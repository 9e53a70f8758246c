#include "relay/loops.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"

#define CONNECT_MS   3000
#define TOTAL_MS     120000
#define FIRST_MS     2000   /* the first loop of a mount: soon, but not all relays at once */
#define RENEW_MS     600000 /* another one: it is not needed before the present one is */
#define RETRY_MS     10000
#define RETRY_CAP_MS 600000

/* One fetch at a time; wanted_mount is "" when nothing is wanted. */
struct loops {
    struct loops_conf conf;
    struct event *due;
    struct fetch *fetch;
    char wanted_mount[MOUNT_NAME_BYTES], wanted_version[LOOP_NAME_BYTES];
    char *root, *pin, *token;
    int failures;
};

static struct node *node_of(const struct loops *l, const char *mount)
{
    const struct bundle_mount *m;
    for (size_t i = 0; (m = bundle_at(l->conf.bundle, i)); i++) {
        if (!strcmp(m->spec.name, mount)) return m->node;
    }
    return NULL;
}

static void after(struct loops *l, int ms)
{
    const struct timeval t = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(l->due, &t);
}

static void take(struct loops *l, const void *body, size_t len)
{
    struct node *node = node_of(l, l->wanted_mount);
    char *cause = NULL;
    struct loop *loop = node ? loop_new(ring_kbps(node_ring(node)), body, len, &cause) : NULL;
    if (loop && strcmp(loop_version(loop), l->wanted_version)) {
        loop_free(loop);
        loop = NULL;
        cause_set(&cause, "it is another one than was told");
    }
    if (loop) {
        node_set_loop(node, loop);
        l->failures = 0;
    } else if (node) {
        log_warn("loops", "the loop of %s is of no use: %s", l->wanted_mount, cause);
        l->failures++;
    }
    free(cause);
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct loops *l = context;
    l->fetch = NULL;
    if (status == 200 && !error) {
        take(l, body, len);
    } else {
        log_debug("loops", "the loop of %s does not come: %d %s", l->wanted_mount, status,
                  error ? error : "");
        l->failures++;
    }
    *l->wanted_mount = '\0'; /* the next report's answer tells again */
}

static void on_due(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    struct loops *l = context;
    char *url = xasprintf("%s/link/loop?mount=%s", l->root, l->wanted_mount), *cause = NULL;
    const struct fetch_conf conf = {.url = url,
                                    .pin = l->pin,
                                    .bearer = l->token,
                                    .connect_ms = CONNECT_MS,
                                    .total_ms = TOTAL_MS,
                                    .max_bytes = LOOP_BYTES_MAX,
                                    .on_end = on_end,
                                    .context = l};
    l->fetch = fetch_start(l->conf.client, &conf, &cause);
    if (!l->fetch) {
        log_warn("loops", "%s", cause);
        *l->wanted_mount = '\0';
        l->failures++;
    }
    free(cause);
    free(url);
}

struct loops *loops_new(const struct loops_conf *conf)
{
    struct loops *l = xcalloc(1, sizeof *l);
    l->conf = *conf;
    l->due = evtimer_new(conf->base, on_due, l);
    return l;
}

void loops_free(struct loops *l)
{
    if (!l) return;
    fetch_cancel(l->fetch);
    event_free(l->due);
    free(l->root);
    free(l->pin);
    free(l->token);
    free(l);
}

static void replace(char **text, const char *by)
{
    char *fresh = by ? xstrdup(by) : NULL;
    free(*text);
    *text = fresh;
}

/* 1 when it is one we lack. */
static int want(struct loops *l, const char *mount, const char *version)
{
    const struct node *node = node_of(l, mount);
    const struct loop *held = node ? node_loop(node) : NULL;
    if (!node || strlen(version) != LOOP_NAME_BYTES - 1 || (held && !strcmp(loop_version(held), version)))
        return 0;
    snprintf(l->wanted_mount, sizeof l->wanted_mount, "%s", mount);
    snprintf(l->wanted_version, sizeof l->wanted_version, "%s", version);
    after(l, l->failures ? proc_jitter_ms(RETRY_MS, RETRY_CAP_MS, l->failures)
                         : (int)arc4random_uniform(held ? RENEW_MS : FIRST_MS));
    return 1;
}

void loops_told(struct loops *l, const json_t *mounts, const char *root, const char *pin, const char *token)
{
    size_t i;
    const json_t *mount;
    if (*l->wanted_mount) return;
    replace(&l->root, root);
    replace(&l->pin, pin);
    replace(&l->token, token);
    json_array_foreach(mounts, i, mount)
    {
        const char *name = json_str_or(mount, "name", "", NULL);
        if (want(l, name, json_str_or(mount, "loop", "", NULL))) return;
    }
}
