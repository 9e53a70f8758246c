/* Cohorts go by frames, not by time: there are as many cohorts as a flight has frames, and cohort n mod count
 * has its turn when frame n is due. So each turn of a listener finds exactly one flight, whatever the timer's
 * jitter, and no two frames' turns fall together. A new listener gets its burst at once and joins the
 * smallest cohort; its first turn is a shorter flight, every later one a full flight.
 *
 * Sockets are registered once, edge-triggered for everything: the kernel raises EPOLLOUT only after a send
 * that found the buffer full, so watching for it costs nothing until then. */
#include "common/fanout_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/mp3.h"

#define CHUNK_SLOTS     256u
#define EVENTS_PER_WAIT 256
#define WAITS_PER_TURN  8 /* of the loop, so that a storm does not starve other events */
#define READ_PIECE      (64u << 10)
#define READS_PER_EVENT 4

const char *const fanout_end_names[FANOUT_END_COUNT] = {"client", "slow", "error", "shutdown"};

static uint32_t frames_of(double seconds)
{
    return seconds <= 0 ? 0 : (uint32_t)(seconds * MP3_RATE / MP3_FRAME_SAMPLES + 0.999999);
}

uint64_t fanout_air(const struct fanout *f)
{
    uint64_t air = f->conf.air(f->conf.context), head = ring_head(f->ring);
    return air < head ? air : head;
}

uint64_t fanout_start_position(const struct fanout *f, int has_from, uint64_t from)
{
    uint64_t air = fanout_air(f), tail = ring_tail(f->ring);
    uint64_t start = air > f->burst_frames ? air - f->burst_frames : 0;
    if (has_from) start = from < air ? from : air;
    return start > tail ? start : tail;
}

/* Slots and lists */

static struct listener *slot(const struct fanout *f, uint32_t index)
{
    return &f->chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS];
}

static int grow(struct fanout *f)
{
    struct listener *chunk = calloc(CHUNK_SLOTS, sizeof *chunk);
    struct listener **chunks = chunk ? realloc(f->chunks, (f->chunk_count + 1) * sizeof(void *)) : NULL;
    if (!chunks) {
        free(chunk);
        return -1;
    }
    f->chunks = chunks;
    f->chunks[f->chunk_count] = chunk;
    uint32_t base = f->chunk_count++ * CHUNK_SLOTS;
    for (uint32_t i = CHUNK_SLOTS; i-- > 0;) {
        chunk[i].fd = -1;
        chunk[i].next = f->free_slot;
        f->free_slot = base + i;
    }
    return 0;
}

static void join_cohort(struct fanout *f, struct listener *l, uint32_t index)
{
    uint32_t best = 0;
    for (uint32_t c = 1; c < f->cohort_count; c++) {
        if (f->cohort_sizes[c] < f->cohort_sizes[best]) best = c;
    }
    l->cohort = (uint8_t)best;
    l->previous = FANOUT_NONE;
    l->next = f->cohorts[best];
    if (l->next != FANOUT_NONE) slot(f, l->next)->previous = index;
    f->cohorts[best] = index;
    f->cohort_sizes[best]++;
}

static void leave_cohort(struct fanout *f, struct listener *l)
{
    if (l->next != FANOUT_NONE) slot(f, l->next)->previous = l->previous;
    if (l->previous != FANOUT_NONE)
        slot(f, l->previous)->next = l->next;
    else
        f->cohorts[l->cohort] = l->next;
    f->cohort_sizes[l->cohort]--;
}

static void end(struct fanout *f, uint32_t index, enum fanout_end why, int reset)
{
    struct listener *l = slot(f, index);
    double seconds = (double)(clock_boot_ns() - l->opened_ns) / CLOCK_NS_PER_S;
    uint64_t bytes = l->bytes;
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(l->fd); /* also takes it out of the epoll: nobody else holds the file */
    leave_cohort(f, l);
    free(l->pending);
    f->counts.agents[l->agent]--;
    uint32_t generation = l->generation + 1;
    memset(l, 0, sizeof *l);
    l->fd = -1;
    l->generation = generation;
    l->next = f->free_slot;
    f->free_slot = index;
    f->counts.closed++;
    f->counts.ended[why]++;
    f->counts.listening--;
    f->counts.seconds += seconds;
    if (f->counts.listening == 0) event_del(f->tick);
    if (f->conf.ended) f->conf.ended(f->conf.context, why, bytes, seconds);
}

/* Turns */

static void judge_lag(struct fanout *f, uint32_t index, uint64_t frame)
{
    struct listener *l = slot(f, index);
    uint64_t at = mp3_frame_at(f->kbps, l->cursor), lag = frame > at ? frame - at : 0;
    if (lag <= (uint64_t)f->limit_frames + l->excused_lag_frames) return;
    if (l->skipped) {
        end(f, index, FANOUT_SLOW, 1);
        return;
    }
    l->skipped = 1;
    l->excused_lag_frames = (uint32_t)lag; /* time to let go of the frame under way */
    if (l->cursor < ring_byte_tail(f->ring)) {
        fanout_relocate(f, l);
    } else {
        uint64_t boundary = mp3_frame_offset(f->kbps, at);
        l->skip_at = boundary == l->cursor ? l->cursor : mp3_frame_offset(f->kbps, at + 1);
    }
    f->counts.skips++;
}

/* A reset is how many players leave; what the network or the system did is an error. */
static enum fanout_end reason(int error)
{
    return error == 0 || error == ECONNRESET || error == EPIPE ? FANOUT_CLIENT : FANOUT_ERROR;
}

static void send_or_end(struct fanout *f, uint32_t index)
{
    if (fanout_send(f, slot(f, index)) == FANOUT_FAILED) end(f, index, reason(errno), 1);
}

static void take_turn(struct fanout *f, uint32_t index, uint64_t frame)
{
    struct listener *l = slot(f, index);
    uint64_t to = mp3_frame_offset(f->kbps, frame);
    if (l->broken) {
        end(f, index, FANOUT_CLIENT, 1);
        return;
    }
    /* further on than the air: the ring began anew at an earlier place */
    if (l->cursor > mp3_frame_offset(f->kbps, frame + MP3_PERIOD_FRAMES)) {
        f->counts.skips++;
        fanout_relocate(f, l);
    }
    if (to > l->target) l->target = to;
    if (l->blocked)
        judge_lag(f, index, frame);
    else
        send_or_end(f, index);
}

static void turn(struct fanout *f, uint64_t frame)
{
    for (uint32_t i = f->cohorts[frame % f->cohort_count], next; i != FANOUT_NONE; i = next) {
        next = slot(f, i)->next;
        take_turn(f, i, frame);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct fanout *f = context;
    uint64_t air = fanout_air(f), from = f->aired + 1;
    if (air == f->aired) return;
    /* after a pause of the loop, or a ring that began anew, every cohort has one turn */
    if (air < f->aired || air - f->aired > f->cohort_count)
        from = air >= f->cohort_count ? air - f->cohort_count + 1 : 0;
    for (uint64_t frame = from; frame <= air; frame++)
        turn(f, frame);
    f->aired = air;
}

/* Events of the sockets */

/* What a listener sends is thrown away. 1 when it has ended. */
static int drain(int fd)
{
    for (int i = 0; i < READS_PER_EVENT; i++) {
        ssize_t n = recv(fd, NULL, READ_PIECE, MSG_TRUNC | MSG_DONTWAIT);
        if (n == 0) return 1;
        if (n < 0) return errno != EAGAIN && errno != EINTR;
    }
    return 0;
}

static void on_socket(struct fanout *f, const struct epoll_event *e)
{
    uint32_t index = (uint32_t)e->data.u64;
    struct listener *l = slot(f, index);
    if (l->fd < 0 || l->generation != (uint32_t)(e->data.u64 >> 32)) return;
    /* a player that closes only its sending half and listens on is not known: this is an end */
    if ((e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) || ((e->events & EPOLLIN) && drain(l->fd))) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        end(f, index, reason(error), 0);
        return;
    }
    if ((e->events & EPOLLOUT) && l->blocked) {
        l->blocked = 0;
        send_or_end(f, index);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct fanout *f = context;
    struct epoll_event events[EVENTS_PER_WAIT];
    for (int round = 0; round < WAITS_PER_TURN; round++) {
        int n = epoll_wait(fd, events, EVENTS_PER_WAIT, 0);
        for (int i = 0; i < n; i++)
            on_socket(f, &events[i]);
        if (n < EVENTS_PER_WAIT) return;
    }
}

/* Coming and going */

struct fanout *fanout_new(struct event_base *base, struct ring *ring, const struct fanout_conf *conf)
{
    struct fanout *f = xcalloc(1, sizeof *f);
    f->base = base;
    f->ring = ring;
    f->conf = *conf;
    f->kbps = ring_kbps(ring);
    f->burst_frames = frames_of(conf->burst_s);
    f->limit_frames = frames_of(conf->lag_limit_s);
    f->cohort_count = (uint32_t)mp3_frame_at(f->kbps, FANOUT_FLIGHT_BYTES);
    if (f->cohort_count > FANOUT_FLIGHT_FRAMES) f->cohort_count = FANOUT_FLIGHT_FRAMES;
    for (uint32_t c = 0; c < FANOUT_FLIGHT_FRAMES; c++)
        f->cohorts[c] = FANOUT_NONE;
    f->free_slot = FANOUT_NONE;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->ready = f->epoll < 0 ? NULL : event_new(base, f->epoll, EV_READ | EV_PERSIST, on_ready, f);
    f->tick = event_new(base, -1, EV_PERSIST, on_tick, f);
    if (!f->ready || !f->tick || event_add(f->ready, NULL)) abort(); /* at the start of a program */
    return f;
}

void fanout_free(struct fanout *f, int abort_sockets)
{
    if (!f) return;
    for (uint32_t c = 0; c < f->cohort_count; c++) {
        while (f->cohorts[c] != FANOUT_NONE)
            end(f, f->cohorts[c], FANOUT_SHUTDOWN, abort_sockets);
    }
    for (uint32_t i = 0; i < f->chunk_count; i++)
        free(f->chunks[i]);
    free(f->chunks);
    event_free(f->ready);
    event_free(f->tick);
    close(f->epoll);
    free(f);
}

static void start_ticking(struct fanout *f)
{
    const struct timeval frame = {0, (suseconds_t)(MP3_FRAME_SAMPLES * INT64_C(1000000) / MP3_RATE)};
    f->aired = fanout_air(f);
    event_add(f->tick, &frame);
}

static int refuse(int fd, uint8_t *header)
{
    int saved = errno;
    free(header);
    close(fd);
    errno = saved;
    return -1;
}

int fanout_add(struct fanout *f, int fd, const struct fanout_listener_conf *conf)
{
    uint8_t *header = conf->header_len ? malloc(conf->header_len) : NULL;
    if ((conf->header_len && !header) || (f->free_slot == FANOUT_NONE && grow(f))) {
        errno = ENOMEM;
        return refuse(fd, header);
    }
    uint32_t index = f->free_slot;
    struct listener *l = slot(f, index);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                            .data.u64 = (uint64_t)l->generation << 32 | index};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &e)) return refuse(fd, header);
    fanout_socket_setup(f, fd);
    f->free_slot = l->next;
    if (conf->header_len) memcpy(header, conf->header, conf->header_len);
    uint64_t air = fanout_air(f), start = fanout_start_position(f, conf->has_from, conf->from);
    l->fd = fd;
    l->opened_ns = clock_boot_ns();
    l->cursor = mp3_frame_offset(f->kbps, start);
    l->target = mp3_frame_offset(f->kbps, air);
    l->skip_at = FANOUT_NOWHERE;
    l->excused_lag_frames = air > start ? (uint32_t)(air - start) : 0;
    l->pending = header;
    l->pending_len = (uint32_t)conf->header_len;
    l->pending_is_header = conf->header_len > 0;
    l->icy = conf->icy != 0;
    l->icy_left = FANOUT_ICY_METAINT;
    l->agent = (uint8_t)fanout_agent_classify(conf->user_agent);
    join_cohort(f, l, index);
    f->counts.opened++;
    f->counts.agents[l->agent]++;
    if (f->counts.listening++ == 0) start_ticking(f);
    /* a socket that is dead already is reported from the loop */
    if (fanout_send(f, l) == FANOUT_FAILED) l->broken = 1;
    return 0;
}

const struct fanout_counts *fanout_counts(const struct fanout *f)
{
    return &f->counts;
}

size_t fanout_bytes_per_listener(void)
{
    return sizeof(struct listener);
}
