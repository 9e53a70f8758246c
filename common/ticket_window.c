/* Which numbers were used: a ring of bits, the number's remainder its place. */
#include <string.h>

#include "common/ticket.h"

static uint64_t *word_of(struct ticket_window *w, uint64_t sequence)
{
    return &w->used[sequence % TICKET_WINDOW / 64];
}

static uint64_t bit_of(uint64_t sequence)
{
    return UINT64_C(1) << sequence % 64;
}

/* The oldest number that the window reaches back to. */
static uint64_t bottom(const struct ticket_window *w)
{
    return w->top >= TICKET_WINDOW ? w->top - TICKET_WINDOW + 1 : 1;
}

int ticket_window_used(const struct ticket_window *w, uint64_t sequence)
{
    if (sequence > w->top) return 0;
    if (sequence < bottom(w)) return 1;
    return (w->used[sequence % TICKET_WINDOW / 64] & bit_of(sequence)) != 0;
}

int ticket_window_use(struct ticket_window *w, uint64_t sequence)
{
    if (ticket_window_used(w, sequence)) return -1;
    if (sequence > w->top) {
        if (sequence - w->top >= TICKET_WINDOW)
            memset(w->used, 0, sizeof w->used);
        else
            for (uint64_t s = w->top + 1; s < sequence; s++)
                *word_of(w, s) &= ~bit_of(s);
        w->top = sequence;
    }
    *word_of(w, sequence) |= bit_of(sequence);
    return 0;
}

uint64_t ticket_window_count(const struct ticket_window *w, uint64_t first)
{
    uint64_t n = 0;
    if (first < bottom(w)) first = bottom(w);
    while (first <= w->top) {
        if (first % 64 == 0 && first + 63 <= w->top) {
            n += (uint64_t)__builtin_popcountll(w->used[first % TICKET_WINDOW / 64]);
            first += 64;
        } else {
            n += (uint64_t)((w->used[first % TICKET_WINDOW / 64] & bit_of(first)) != 0);
            first++;
        }
    }
    return n;
}
