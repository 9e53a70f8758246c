#include "root/air/switchboard_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define READ_BUDGET 64 /* messages taken from one end before the loop may turn to others */

void switch_bury(struct switchboard *board)
{
    if (board->depth) return;
    struct switch_end *end;
    while ((end = TAILQ_FIRST(&board->removed))) {
        TAILQ_REMOVE(&board->removed, end, next);
        free(end->cause);
        free(end);
    }
}

static void watch_reads(struct switch_end *end)
{
    if (end->lost || end->waits_for)
        event_del(end->readable);
    else
        event_add(end->readable, NULL);
}

/* Everybody who waited for this end's queue to empty may speak again. */
static void release_waiting(struct switch_end *end)
{
    struct switch_end *other;
    TAILQ_FOREACH(other, &end->board->ends, next)
    {
        if (other->waits_for != end) continue;
        other->waits_for = NULL;
        watch_reads(other);
    }
}

/* Sends as far as the socket takes it. 1: something is left in the queue. */
static int push(struct switch_end *end)
{
    int left = msg_flush(end->channel);
    if (left > 0) {
        event_add(end->writable, NULL);
        return 1;
    }
    event_del(end->writable);
    if (left < 0)
        switch_lose(end, NULL);
    else
        release_waiting(end);
    return 0;
}

int switch_put(struct switch_end *end, uint16_t type, uint32_t seq, const void *body, size_t len, int fd)
{
    if (end->lost || !end->channel) return -1;
    if (msg_send(end->channel, type, seq, body, len, fd)) {
        switch_lose(end, errno == ENOBUFS ? "its queue is full" : errno == EPIPE ? NULL : strerror(errno));
        return -1;
    }
    push(end);
    return end->lost ? -1 : 0;
}

void switch_lose(struct switch_end *end, const char *cause)
{
    if (end->lost) return;
    end->lost = 1;
    end->cause = cause ? xstrdup(cause) : NULL;
    event_del(end->readable);
    event_del(end->writable);
    release_waiting(end);
    event_active(end->board->report, EV_TIMEOUT, 1);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct switchboard *board = arg;
    struct switch_end *end;
    board->depth++;
    do {
        TAILQ_FOREACH(end, &board->ends, next)
        {
            if (end->lost && !end->reported) break;
        }
        if (!end) break;
        end->reported = 1;
        board->conf.lost(board->conf.context, end, end->cause);
    } while (1);
    board->depth--;
    switch_bury(board);
}

/* Events */

static int nobody_waits_for(enum role role)
{
    return role == ROLE_SCAN || role == ROLE_ANALYSE;
}

static void take_event(struct switch_end *end, const struct wire_row *row, const struct msg *message)
{
    struct switchboard *board = end->board;
    board->counts.events++;
    char *cause = NULL;
    if (row->to == ROLE_AIR) {
        json_t *body = row->binary ? NULL : wire_body(message, &cause);
        if (!cause) board->conf.to_air(board->conf.context, end, row, message, body, &cause);
        json_decref(body);
        if (cause) {
            board->counts.rule_breaks++;
            switch_lose(end, cause);
        }
        free(cause);
        return;
    }
    struct switch_end *to = board->serving[row->to];
    if (!to || switch_put(to, message->type, 0, message->body, message->len, -1)) {
        board->counts.dropped++;
        to = NULL;
    } else if (nobody_waits_for(end->role) && push(to)) {
        end->waits_for = to;
        watch_reads(end);
    }
    board->conf.passed(board->conf.context, end, to, row, message);
}

static void take(struct switch_end *end, const struct msg *message)
{
    const struct wire_row *row = wire_find(message->type);
    end->heard_ns = clock_boot_ns();
    if (!row || !(row->from & 1u << end->role) || message->len > row->max_len ||
        (message->fd >= 0 && row->kind != WIRE_REPLY)) {
        char text[96];
        snprintf(text, sizeof text, "message %s (type %u, %zu bytes) is not allowed from it",
                 row ? row->name : "?", message->type, message->len);
        end->board->counts.rule_breaks++;
        switch_lose(end, text);
    } else if (row->kind == WIRE_REQUEST) {
        switch_take_request(end, row, message);
    } else if (row->kind == WIRE_REPLY) {
        switch_take_reply(end, row, message);
    } else {
        take_event(end, row, message);
    }
    if (message->fd >= 0) close(message->fd);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct switch_end *end = arg;
    struct switchboard *board = end->board;
    board->depth++;
    for (int i = 0; i < READ_BUDGET && !end->lost && !end->waits_for; i++) {
        struct msg message;
        int got = msg_read(end->channel, &message);
        if (got == 0) break;
        if (got < 0)
            switch_lose(end, NULL);
        else
            take(end, &message);
    }
    board->depth--;
    switch_bury(board);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct switch_end *end = arg;
    struct switchboard *board = end->board;
    board->depth++;
    push(end);
    board->depth--;
    switch_bury(board);
}

/* Ends */

struct switchboard *switchboard_new(struct event_base *base, const struct switchboard_conf *conf)
{
    struct switchboard *board = xcalloc(1, sizeof *board);
    board->base = base;
    board->conf = *conf;
    TAILQ_INIT(&board->ends);
    TAILQ_INIT(&board->removed);
    TAILQ_INIT(&board->pending);
    board->report = evtimer_new(base, on_report, board);
    return board;
}

void switchboard_free(struct switchboard *board)
{
    if (!board) return;
    board->depth++;
    struct switch_end *end, *after_end;
    for (end = TAILQ_FIRST(&board->ends); end; end = after_end) {
        after_end = TAILQ_NEXT(end, next);
        switchboard_remove(end);
    }
    switch_requests_end(board);
    board->depth--;
    switch_bury(board);
    event_free(board->report);
    free(board);
}

struct switch_end *switchboard_add(struct switchboard *board, enum role role, int fd, void *tag)
{
    struct switch_end *end = xcalloc(1, sizeof *end);
    end->board = board;
    end->role = role;
    end->tag = tag;
    end->heard_ns = clock_boot_ns();
    end->channel = msg_channel_new(fd);
    end->readable = event_new(board->base, fd, EV_READ | EV_PERSIST, on_readable, end);
    end->writable = event_new(board->base, fd, EV_WRITE | EV_PERSIST, on_writable, end);
    TAILQ_INSERT_TAIL(&board->ends, end, next);
    event_add(end->readable, NULL);
    return end;
}

void switchboard_remove(struct switch_end *end)
{
    struct switchboard *board = end->board;
    board->depth++;
    end->lost = 1;
    if (board->serving[end->role] == end) board->serving[end->role] = NULL;
    release_waiting(end);
    TAILQ_REMOVE(&board->ends, end, next);
    TAILQ_INSERT_TAIL(&board->removed, end, next);
    event_free(end->readable);
    event_free(end->writable);
    switch_requests_lost(end);
    msg_channel_free(end->channel);
    end->channel = NULL;
    board->depth--;
    switch_bury(board);
}

void switchboard_serve(struct switchboard *board, enum role role, struct switch_end *end)
{
    board->serving[role] = end;
    if (!end) return;
    board->depth++;
    switch_requests_served(board, role);
    board->depth--;
    switch_bury(board);
}

struct switch_end *switchboard_serving(const struct switchboard *board, enum role role)
{
    return board->serving[role];
}

void *switch_end_tag(const struct switch_end *end)
{
    return end->tag;
}

int64_t switch_end_heard_ns(const struct switch_end *end)
{
    return end->heard_ns;
}

/* Air's own */

int switchboard_tell(struct switch_end *end, enum wire_type type, json_t *body)
{
    char *text = json_text(body);
    json_decref(body);
    int result = switchboard_hand(end, type, text, strlen(text), -1);
    free(text);
    return result;
}

int switchboard_hand(struct switch_end *end, enum wire_type type, const void *body, size_t len, int fd)
{
    struct switchboard *board = end->board;
    board->depth++;
    int result = switch_put(end, (uint16_t)type, 0, body, len, fd);
    board->depth--;
    switch_bury(board);
    return result;
}

int switchboard_send(struct switchboard *board, enum role role, enum wire_type type, json_t *body)
{
    struct switch_end *end = board->serving[role];
    if (end && !end->lost) return switchboard_tell(end, type, body);
    json_decref(body);
    return -1;
}

const struct switchboard_counts *switchboard_counts(const struct switchboard *board)
{
    return &board->counts;
}
