#include "root/air/switchboard.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define READ_BUDGET 64 /* messages taken from one end before the loop may turn to others */
#define TRIES_MAX   2  /* a request is not asked of a third worker: it may be what kills them */

struct switch_end {
    TAILQ_ENTRY(switch_end) next;
    struct switchboard *board;
    enum role role;
    void *tag;
    struct msg_channel *channel; /* NULL once removed */
    struct event *readable, *writable;
    struct switch_end *waits_for; /* is not read until that one's queue is empty */
    unsigned asking, misses;
    int lost, reported; /* nothing is read or sent any more; the owner was told */
    char *cause;
    int64_t heard_ns;
};

/* Invariant: from is NULL for air's own (replied set) and for requesters that are gone (replied NULL); to is
 * the end that has it, NULL while it waits for its role to be served. */
struct pending {
    TAILQ_ENTRY(pending) next;
    struct switchboard *board;
    uint32_t seq, from_seq;
    struct switch_end *from, *to;
    const struct wire_row *row;
    uint8_t *body;
    size_t len;
    unsigned tries;
    struct event *deadline;
    switchboard_replied replied;
    void *context;
};

struct switchboard {
    struct event_base *base;
    struct switchboard_conf conf;
    struct switchboard_counts counts;
    TAILQ_HEAD(, switch_end) ends, removed; /* removed: memory kept until no callback is under way */
    TAILQ_HEAD(, pending) pending;
    struct switch_end *serving[ROLE_COUNT];
    struct event *report; /* tells the owner about lost ends, from the loop and from nowhere else */
    uint32_t seq;
    unsigned depth;
};

static void lose(struct switch_end *end, const char *cause);

static void bury(struct switchboard *board)
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
        lose(end, NULL);
    else
        release_waiting(end);
    return 0;
}

static int put(struct switch_end *end, uint16_t type, uint32_t seq, const void *body, size_t len, int fd)
{
    if (end->lost || !end->channel) return -1;
    if (msg_send(end->channel, type, seq, body, len, fd)) {
        lose(end, errno == ENOBUFS ? "its queue is full" : errno == EPIPE ? NULL : strerror(errno));
        return -1;
    }
    push(end);
    return end->lost ? -1 : 0;
}

static void put_error(struct switch_end *end, uint32_t seq, const char *text)
{
    json_t *body = json_pack("{s:s}", "error", text);
    char *bytes = json_text(body);
    put(end, WIRE_ERROR, seq, bytes, strlen(bytes), -1);
    free(bytes);
    json_decref(body);
}

static void lose(struct switch_end *end, const char *cause)
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
    bury(board);
}

/* Requests */

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
    put(to, (uint16_t)p->row->type, p->seq, p->body, p->len, -1);
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
    if (to && !to->lost && ++to->misses >= SWITCHBOARD_MISSES) lose(to, "it does not answer");
    board->depth--;
    bury(board);
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

static void take_request(struct switch_end *end, const struct wire_row *row, const struct msg *message)
{
    if (!message->seq) {
        lose(end, "a request without number");
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

static void take_reply(struct switch_end *end, const struct wire_row *row, const struct msg *message)
{
    struct switchboard *board = end->board;
    struct pending *p = find_pending(board, message->seq);
    if (!p || p->to != end) {
        board->counts.late++;
        board->conf.passed(board->conf.context, end, NULL, row, message);
        return;
    }
    if (row->type != WIRE_ERROR && row->type != p->row->reply) {
        lose(end, "a reply of the wrong kind");
        return;
    }
    end->misses = 0;
    struct switch_end *from = p->from;
    switchboard_replied replied = p->replied;
    void *context = p->context;
    uint32_t seq = p->from_seq;
    pending_free(p);
    if (from) {
        if (put(from, message->type, seq, message->body, message->len, message->fd)) from = NULL;
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
            lose(end, cause);
        }
        free(cause);
        return;
    }
    struct switch_end *to = board->serving[row->to];
    if (!to || put(to, message->type, 0, message->body, message->len, -1)) {
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
        lose(end, text);
    } else if (row->kind == WIRE_REQUEST) {
        take_request(end, row, message);
    } else if (row->kind == WIRE_REPLY) {
        take_reply(end, row, message);
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
            lose(end, NULL);
        else
            take(end, &message);
    }
    board->depth--;
    bury(board);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct switch_end *end = arg;
    struct switchboard *board = end->board;
    board->depth++;
    push(end);
    board->depth--;
    bury(board);
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
    struct pending *p, *after; /* only air's own are left */
    for (p = TAILQ_FIRST(&board->pending); p; p = after) {
        after = TAILQ_NEXT(p, next);
        fail(p, "the station is ending");
    }
    board->depth--;
    bury(board);
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
    msg_channel_free(end->channel);
    end->channel = NULL;
    board->depth--;
    bury(board);
}

void switchboard_serve(struct switchboard *board, enum role role, struct switch_end *end)
{
    board->serving[role] = end;
    if (!end) return;
    board->depth++;
    struct pending *p;
    TAILQ_FOREACH(p, &board->pending, next)
    {
        if (!p->to && p->row->to == role && !end->lost) ask(p);
    }
    board->depth--;
    bury(board);
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
    int result = put(end, (uint16_t)type, 0, body, len, fd);
    board->depth--;
    bury(board);
    return result;
}

int switchboard_send(struct switchboard *board, enum role role, enum wire_type type, json_t *body)
{
    struct switch_end *end = board->serving[role];
    if (end && !end->lost) return switchboard_tell(end, type, body);
    json_decref(body);
    return -1;
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
    bury(board);
    return seq;
}

void switchboard_cancel(struct switchboard *board, uint32_t handle)
{
    struct pending *p = find_pending(board, handle);
    if (p) pending_free(p);
}

const struct switchboard_counts *switchboard_counts(const struct switchboard *board)
{
    return &board->counts;
}
