/* registry_internal: what registry.c (who is known), registry_report.c (what they say), registry_route.c and
 * registry_view.c share. */
#ifndef FOREVER_ROOT_AIR_REGISTRY_INTERNAL_H
#define FOREVER_ROOT_AIR_REGISTRY_INTERNAL_H
#include "common/fanout.h"
#include "root/air/registry.h"

#define REGISTRY_URL_MAX     512
#define REGISTRY_VERSION_MAX 32
#define REGISTRY_SESSION_MAX 32
#define REGISTRY_ENDED       4  /* sessions known to have ended: what they reported may still be on its way */
#define REGISTRY_LATE_S      30 /* for so long at most */

struct relay {
    struct relay_terms terms; /* the name is there in any case */
    struct registry_month month;
    enum registry_kind kind;
    uint8_t enrolled, unreachable, fixed_url, has_key, spent;
    uint32_t slot, place; /* of the router; in the list */
    char *url;
    char version[REGISTRY_VERSION_MAX], session[REGISTRY_SESSION_MAX];
    struct {
        char session[REGISTRY_SESSION_MAX];
        int64_t ns;                 /* when another followed it */
    } ended[REGISTRY_ENDED];        /* the latest first; "": none */
    int64_t seq, heard_ns, over_ns; /* over_ns: since when more listen than may; 0: they do not */
    struct registry_values values;
    struct registry_counters before;  /* of all earlier sessions */
    struct registry_counters earlier; /* counted before this registry was, when it was first heard of */
    uint64_t sessions, redirects;
    struct registry_mount *mounts; /* as many as it tells */
    unsigned mount_count;
    unsigned char key[TICKET_KEY_BYTES];
    uint32_t epoch;
};

struct registry {
    struct registry_conf conf;
    struct router *router;
    struct ticket_signer *signer; /* NULL: no tickets */
    struct relay **list;          /* in no order */
    size_t count, capacity;
    struct relay **slots; /* by the router's number */
    uint32_t *hash;       /* of names: places in the list and 1; 0: none */
    size_t hash_size;
    struct mount_spec mounts[MOUNTS_MAX];
    size_t mount_count;
    int64_t begun_ns, swept_ns; /* begun: the first tick */
    double stays, stayed_s;     /* listeners gone, and how long all have listened, lately */
    uint64_t closed;
};

struct relay *registry_relay(const struct registry *registry, const char *name);
/* NULL when there is no room. */
struct relay *registry_add(struct registry *registry, const char *name, int64_t now_ns);
void registry_drop(struct registry *registry, struct relay *relay);
int registry_url_is_sound(const char *url);
int registry_text_is_sound(const char *text, size_t max);
void registry_set_url(struct relay *relay, const char *url); /* slashes at its end do not count */
int registry_is_healthy(const struct registry *registry, const struct relay *relay, int64_t now_ns);
double registry_age_s(const struct relay *relay, int64_t now_ns);
int registry_is_secure(const struct relay *relay);

#endif
