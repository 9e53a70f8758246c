/* Requests under way: what is asked of a role finds its worker, and the reply its way back. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/air/switchboard_internal.h"

#define TRIES_MAX 2 /* a request is not asked of a third worker: it may be what kills them */

static void put_error(struct switch_end *end, uint32_t seq, const char *text)
{
    json_t *body = json_pack("{s:s}", "error", text);
    char *bytes = json_text(body);
    switch_put(end, WIRE_ERROR, seq, bytes, strlen(bytes), -1);
    free(bytes);
    json_decref(body);
}

static void pending_free(struct pending *p)
{
    TAILQ_REMOVE(&p->board->pending, p, next);
    if (p->from) p->from->asking--;
    event_free(p->deadline);
    free(p->body);
    free(p);
}

/* Ends a request without a reply. */
static void fail(struct pending *p, const char *why)
{
    struct switch_end *from = p->from;
    uint32_t seq = p->from_seq;
    switchboard_replied replied = p->replied;
    void *context = p->context;
    pending_free(p);
    if (from)
        put_error(from, seq, why);
    else if (replied)
        replied(context, NULL, why);
}

static void ask(struct pending *p)
{
    struct switch_end *to = p->board->serving[p->row->to];
    if (!to || to->lost) return; /* waits for switchboard_serve, or its deadline */
    p->to = to;
    p->tries++;
    switch_put(to, (uint16_t)p->row->type, p->seq, p->body, p->len, -1);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct pending *p = arg;
    struct switchboard *board = p->board;
    struct switch_end *to = p->to;
    const struct wire_row *row = p->row;
    char text[96];
    snprintf(text, sizeof text, "%s %s within %d ms", role_name(row->to),
             to ? "gave no answer" : "was not there", row->deadline_ms);
    board->counts.timeouts++;
    board->depth++;
    fail(p, text);
    if (to && !to->lost && ++to->misses >= SWITCHBOARD_MISSES) switch_lose(to, "it does not answer");
    board->depth--;
    switch_bury(board);
}

static struct pending *pend(struct switchboard *board, const struct wire_row *row, const void *body,
                            size_t len)
{
    struct pending *p = xcalloc(1, sizeof *p);
    p->board = board;
    p->row = row;
    p->body = xmalloc(len);
    memcpy(p->body, body, len);
    p->len = len;
    while (!p->seq) /* 0 is for events */
        p->seq = ++board->seq;
    p->deadline = evtimer_new(board->base, on_deadline, p);
    struct timeval in = {row->deadline_ms / 1000, row->deadline_ms % 1000 * 1000};
    event_add(p->deadline, &in);
    TAILQ_INSERT_TAIL(&board->pending, p, next);
    board->counts.requests++;
    return p;
}

void switch_take_request(struct switch_end *end, const struct wire_row *row, const struct msg *message)
{
    if (!message->seq) {
        switch_lose(end, "a request without number");
    } else if (end->asking >= SWITCHBOARD_PENDING_MAX) {
        put_error(end, message->seq, "too many requests under way");
    } else {
        struct pending *p = pend(end->board, row, message->body, message->len);
        p->from = end;
        p->from_seq = message->seq;
        end->asking++;
        ask(p);
    }
}

static struct pending *find_pending(struct switchboard *board, uint32_t seq)
{
    struct pending *p;
    TAILQ_FOREACH(p, &board->pending, next)
    {
        if (p->seq == seq) return p;
    }
    return NULL;
}

void switch_take_reply(struct switch_end *end, const struct wire_row *row, const struct msg *message)
{
    struct switchboard *board = end->board;
    struct pending *p = find_pending(board, message->seq);
    if (!p || p->to != end) {
        board->counts.late++;
        board->conf.passed(board->conf.context, end, NULL, row, message);
        return;
    }
    if (row->type != WIRE_ERROR && row->type != p->row->reply) {
        switch_lose(end, "a reply of the wrong kind");
        return;
    }
    end->misses = 0;
    struct switch_end *from = p->from;
    switchboard_replied replied = p->replied;
    void *context = p->context;
    uint32_t seq = p->from_seq;
    pending_free(p);
    if (from) {
        if (switch_put(from, message->type, seq, message->body, message->len, message->fd)) from = NULL;
    } else if (replied) {
        json_t *body = row->type == WIRE_ERROR ? wire_body(message, NULL) : NULL;
        if (row->type == WIRE_ERROR)
            replied(context, NULL, json_str_or(body, "error", "no reason given", NULL));
        else
            replied(context, message, NULL);
        json_decref(body);
        return;
    }
    board->conf.passed(board->conf.context, end, from, row, message);
}

void switch_requests_served(struct switchboard *board, enum role role)
{
    struct pending *p;
    TAILQ_FOREACH(p, &board->pending, next)
    {
        if (!p->to && p->row->to == role) ask(p);
    }
}

void switch_requests_lost(struct switch_end *end)
{
    struct switchboard *board = end->board;
    struct pending *p, *after;
    for (p = TAILQ_FIRST(&board->pending); p; p = after) {
        after = TAILQ_NEXT(p, next);
        if (p->from == end) {
            /* its reply, when it comes, counts as late: what it carries is not lost on the observer */
            pending_free(p);
        } else if (p->to == end) {
            p->to = NULL;
        }
    }
    /* asked again of whoever serves now; those that were asked often enough end here */
    for (p = TAILQ_FIRST(&board->pending); p; p = after) {
        after = TAILQ_NEXT(p, next);
        if (p->to || !p->tries || p->row->to != end->role) continue;
        if (p->tries >= TRIES_MAX)
            fail(p, "two workers ended over this request");
        else
            ask(p);
    }
}

void switch_requests_end(struct switchboard *board)
{
    struct pending *p, *after; /* only air's own are left */
    for (p = TAILQ_FIRST(&board->pending); p; p = after) {
        after = TAILQ_NEXT(p, next);
        fail(p, "the station is ending");
    }
}

uint32_t switchboard_request(struct switchboard *board, enum wire_type type, json_t *body,
                             switchboard_replied replied, void *context)
{
    char *text = json_text(body);
    json_decref(body);
    board->depth++;
    struct pending *p = pend(board, wire_find(type), text, strlen(text));
    uint32_t seq = p->seq;
    p->replied = replied;
    p->context = context;
    free(text);
    ask(p);
    board->depth--;
    switch_bury(board);
    return seq;
}

void switchboard_cancel(struct switchboard *board, uint32_t handle)
{
    struct pending *p = find_pending(board, handle);
    if (p) pending_free(p);
}
