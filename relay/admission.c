#include "relay/admission.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/ticket.h"

#define KEPT_PART  20 /* one in so many places is kept for tickets */
#define BACK_PART  40 /* one in so many has to be free again below that */
#define GRACE_DS   20 /* clocks are told over a network */
#define SILENT_NS  INT64_C(60000000000)
#define EPOCHS     2
#define EPOCH_MORE INT64_C(30000000000) /* an epoch's tickets are over so long after the next began */

struct epoch {
    int known;
    uint32_t id;
    unsigned char key[TICKET_KEY_BYTES];
    uint32_t ahead_ds; /* the root's clock less ours */
    uint64_t floor, redeemed, expired, refused;
    struct ticket_window window;
};

struct admission {
    struct ticket_signer *signer;
    unsigned kept, back, max_listeners;
    int closed;
    int64_t heard_ns, began_ns;  /* the root's last answer; the present epoch */
    struct epoch epochs[EPOCHS]; /* the present one, the one before */
};

struct admission *admission_new(unsigned max_listeners)
{
    struct admission *a = xcalloc(1, sizeof *a);
    a->signer = ticket_signer_new();
    a->max_listeners = max_listeners;
    a->kept = max_listeners / KEPT_PART;
    a->back = max_listeners / BACK_PART;
    return a;
}

void admission_free(struct admission *a)
{
    if (!a) return;
    ticket_signer_free(a->signer);
    free(a);
}

void admission_told(struct admission *a, uint32_t epoch, const unsigned char *key, uint32_t clock,
                    uint64_t floor, int64_t now_ns)
{
    struct epoch *e = &a->epochs[0];
    if (!a->signer) return;
    if (!e->known || e->id != epoch || memcmp(e->key, key, sizeof e->key) != 0) {
        a->epochs[1] = *e;
        *e = (struct epoch){.known = 1, .id = epoch};
        memcpy(e->key, key, sizeof e->key);
        a->began_ns = now_ns;
    }
    e->ahead_ds = clock - ticket_clock(now_ns);
    e->floor = floor;
    a->heard_ns = now_ns;
}

void admission_answered(struct admission *a, const json_t *told, int64_t now_ns)
{
    int bad = 0;
    unsigned char key[TICKET_KEY_BYTES];
    int64_t id = json_int_or(told, "epoch", -1, 0, UINT32_MAX, &bad);
    int64_t clock = json_int_or(told, "clock", -1, 0, UINT32_MAX, &bad);
    int64_t floor = json_int_or(told, "floor", 1, 1, INT64_MAX, &bad);
    const char *text = json_str_or(told, "key", "", &bad);
    if (bad || id < 0 || clock < 0 || ticket_key_read(text, key)) return;
    admission_told(a, (uint32_t)id, key, (uint32_t)clock, (uint64_t)floor, now_ns);
}

enum fate { GOOD, USELESS, LATE, USED };

static enum fate fate_of(struct admission *a, const char *text, int64_t now_ns, struct epoch **of,
                         uint64_t *sequence)
{
    struct ticket t;
    *of = NULL;
    if (!text || ticket_read(text, &t)) return USELESS;
    for (int i = 0; i < EPOCHS && !*of; i++) {
        struct epoch *e = &a->epochs[i];
        if (i && now_ns - a->began_ns > EPOCH_MORE) break;
        if (e->known && e->id == t.epoch && ticket_is_true(a->signer, e->key, text)) *of = e;
    }
    if (!*of) return USELESS;
    *sequence = t.sequence;
    if (ticket_window_used(&(*of)->window, t.sequence)) return USED;
    return ticket_later(ticket_clock(now_ns) + (*of)->ahead_ds - GRACE_DS, t.expires_ds) ? LATE : GOOD;
}

enum admission_verdict admission_judge(struct admission *a, const char *ticket, unsigned listening,
                                       int64_t now_ns)
{
    struct epoch *e;
    uint64_t sequence;
    if (fate_of(a, ticket, now_ns, &e, &sequence) == GOOD) return ADMISSION_TICKET;
    if (!a->heard_ns || now_ns - a->heard_ns > SILENT_NS) return ADMISSION_ROOM;
    unsigned most = a->max_listeners - a->kept;
    if (listening >= most) a->closed = a->kept > 0;
    if (listening + a->back < most) a->closed = 0;
    return a->closed ? ADMISSION_ELSEWHERE : ADMISSION_ROOM;
}

void admission_taken(struct admission *a, const char *ticket, int resumes, int64_t now_ns)
{
    struct epoch *e;
    uint64_t sequence;
    if (!ticket) return;
    switch (fate_of(a, ticket, now_ns, &e, &sequence)) {
    case GOOD:
        ticket_window_use(&e->window, sequence);
        e->redeemed++;
        return;
    case LATE:
        if (!resumes) e->expired++;
        return;
    case USELESS:
    case USED:
        if (!resumes) a->epochs[0].refused++;
    }
}

int admission_counts(const struct admission *a, struct admission_counts *out)
{
    const struct epoch *e = &a->epochs[0];
    if (!e->known) return -1;
    *out = (struct admission_counts){.epoch = e->id,
                                     .floor = e->floor,
                                     .from_floor = ticket_window_count(&e->window, e->floor),
                                     .redeemed = e->redeemed,
                                     .expired = e->expired,
                                     .refused = e->refused};
    return 0;
}

json_t *admission_json(const struct admission *a)
{
    struct admission_counts c;
    if (admission_counts(a, &c)) return NULL;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "epoch", (json_int_t)c.epoch, "floor", (json_int_t)c.floor,
                     "from_floor", (json_int_t)c.from_floor, "redeemed", (json_int_t)c.redeemed, "expired",
                     (json_int_t)c.expired, "refused", (json_int_t)c.refused);
}
