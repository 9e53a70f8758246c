#include "relay/parents.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/proc.h"

struct entry {
    struct parent parent;
    char *url, *pin, *token;
    int failures;
    int64_t rest_until_ns, tried_ns;
    int64_t well_since_ns; /* 0: it does not work now */
};

struct parents {
    struct entry list[PARENTS_MAX];
    size_t count;
    int last_id;
};

static int same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static void entry_free(struct entry *e)
{
    free(e->url);
    free(e->pin);
    free(e->token);
}

static void entry_make(struct entry *e, int id, const char *url, const char *pin, const char *token,
                       int proposed)
{
    *e = (struct entry){
        .url = xstrdup(url), .pin = pin ? xstrdup(pin) : NULL, .token = token ? xstrdup(token) : NULL};
    size_t n = strlen(e->url);
    while (n && e->url[n - 1] == '/')
        e->url[--n] = '\0';
    e->parent =
        (struct parent){.id = id, .url = e->url, .pin = e->pin, .token = e->token, .proposed = proposed};
}

struct parents *parents_new(void)
{
    return xcalloc(1, sizeof(struct parents));
}

void parents_free(struct parents *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++)
        entry_free(&p->list[i]);
    free(p);
}

int parents_add(struct parents *p, const char *url, const char *pin, const char *token)
{
    if (p->count == PARENTS_MAX) return -1;
    entry_make(&p->list[p->count++], ++p->last_id, url, pin, token, 0);
    return 0;
}

static void drop_proposed(struct parents *p)
{
    entry_free(&p->list[0]);
    memmove(&p->list[0], &p->list[1], --p->count * sizeof p->list[0]);
}

int parents_propose(struct parents *p, const char *url, const char *pin, const char *token)
{
    struct entry *first = p->count && p->list[0].parent.proposed ? &p->list[0] : NULL;
    if (first && url && same(first->url, url) && same(first->pin, pin)) {
        free(first->token);
        first->parent.token = first->token = token ? xstrdup(token) : NULL;
        return 0;
    }
    if (!first && !url) return 0;
    if (first) drop_proposed(p);
    if (!url || p->count == PARENTS_MAX) return 1;
    memmove(&p->list[1], &p->list[0], p->count++ * sizeof p->list[0]);
    entry_make(&p->list[0], ++p->last_id, url, pin, token, 1);
    return 1;
}

void parents_set_token(struct parents *p, const char *token)
{
    for (size_t i = 0; i < p->count; i++) {
        struct entry *e = &p->list[i];
        if (e->parent.proposed) continue;
        char *old = e->token;
        e->parent.token = e->token = token ? xstrdup(token) : NULL;
        free(old);
    }
}

size_t parents_count(const struct parents *p)
{
    return p->count;
}

const struct parent *parents_at(const struct parents *p, size_t index)
{
    return index < p->count ? &p->list[index].parent : NULL;
}

static const struct entry *find(const struct parents *p, int id)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->list[i].parent.id == id) return &p->list[i];
    }
    return NULL;
}

const struct parent *parents_find(const struct parents *p, int id)
{
    const struct entry *e = find(p, id);
    return e ? &e->parent : NULL;
}

static int rests(const struct entry *e, int64_t now)
{
    return now < e->rest_until_ns;
}

const struct parent *parents_choose(const struct parents *p, int64_t now)
{
    const struct entry *oldest = NULL;
    for (size_t i = 0; i < p->count; i++) {
        const struct entry *e = &p->list[i];
        if (!rests(e, now)) return &e->parent;
        if (!oldest || e->tried_ns < oldest->tried_ns) oldest = e;
    }
    return oldest ? &oldest->parent : NULL;
}

const struct parent *parents_better(const struct parents *p, int id, int64_t now)
{
    for (size_t i = 0; i < p->count && p->list[i].parent.id != id; i++) {
        if (!rests(&p->list[i], now)) return &p->list[i].parent;
    }
    return NULL;
}

const struct parent *parents_other(const struct parents *p, int id, int64_t now)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->list[i].parent.id != id && !rests(&p->list[i], now)) return &p->list[i].parent;
    }
    return NULL;
}

void parents_failed(struct parents *p, int id, int64_t now)
{
    struct entry *e = (struct entry *)(uintptr_t)find(p, id);
    if (!e) return;
    if (e->well_since_ns && now - e->well_since_ns >= PARENTS_WELL_S * CLOCK_NS_PER_S) e->failures = 0;
    e->well_since_ns = 0;
    e->tried_ns = now;
    int ms = proc_jitter_ms(PARENTS_REST_MS, PARENTS_REST_CAP_S * 1000, e->failures);
    if (e->failures < 30) e->failures++;
    e->rest_until_ns = now + ms * INT64_C(1000000);
}

void parents_worked(struct parents *p, int id, int64_t now)
{
    struct entry *e = (struct entry *)(uintptr_t)find(p, id);
    if (!e) return;
    e->tried_ns = now;
    e->rest_until_ns = 0;
    if (!e->well_since_ns) e->well_since_ns = now;
}
