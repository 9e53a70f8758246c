/* Coming and going of listeners, and what their sockets say. Turns are in fanout_wheel.c.
 *
 * Sockets are registered once, edge-triggered for everything: the kernel raises EPOLLOUT only after a send
 * that found the buffer full, so watching for it costs nothing until then. */
#include "common/fanout_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/mp3.h"

#define EVENTS_PER_WAIT 256
#define WAITS_PER_TURN  8 /* of the loop, so that a storm does not starve other events */
#define READ_PIECE      (64u << 10)
#define READS_PER_EVENT 4

const char *const fanout_end_names[FANOUT_END_COUNT] = {"client",   "slow", "error",
                                                        "shutdown", "lost", "parted"};

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

uint64_t fanout_start_byte(const struct fanout *f, uint64_t byte)
{
    uint64_t air = fanout_air(f), tail = ring_byte_tail(f->ring);
    if (byte < tail) return tail;
    if (byte > mp3_frame_offset(f->kbps, air + f->ahead_frames)) return mp3_frame_offset(f->kbps, air);
    return byte;
}

/* Slots */

/* Pages of their own: among the short-lived allocations of thousands who join they would pin the heap. */
static int grow(struct fanout *f)
{
    struct listener **chunks = realloc(f->chunks, (f->chunk_count + 1) * sizeof(void *));
    if (!chunks) return -1;
    f->chunks = chunks;
    struct listener *chunk = mmap(NULL, FANOUT_CHUNK_SLOTS * sizeof *chunk, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) return -1;
    f->chunks[f->chunk_count] = chunk;
    uint32_t base = f->chunk_count++ * FANOUT_CHUNK_SLOTS;
    for (uint32_t i = FANOUT_CHUNK_SLOTS; i-- > 0;) {
        chunk[i].fd = -1;
        chunk[i].next = f->free_slot;
        f->free_slot = base + i;
    }
    return 0;
}

uint32_t fanout_of_handle(const struct fanout *f, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    const struct listener *l = fanout_slot(f, index);
    return l->fd < 0 || l->generation != (uint32_t)(handle >> 32) ? FANOUT_NONE : index;
}

void fanout_end_listener(struct fanout *f, uint32_t index, enum fanout_end why, int reset)
{
    struct listener *l = fanout_slot(f, index);
    const struct fanout_ended ended = {.why = why,
                                       .bytes = l->bytes,
                                       .seconds = (double)(clock_boot_ns() - l->opened_ns) / CLOCK_NS_PER_S,
                                       .client = l->client,
                                       .tag = l->tag};
    if (reset && !l->resumable) { /* those have it already */
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (l->transport) l->transport->free(l->transport_self, reset || l->resumable);
    close(l->fd); /* also takes it out of the epoll: nobody else holds the file */
    fanout_wheel_leave(f, index);
    if (l->client) fanout_clients_remove(f, index);
    free(l->pending);
    if (l->carrier) {
        f->counts.carriers--;
    } else if (!fanout_twin_leave(f, index)) {
        f->counts.agents[l->agent]--;
        f->counts.closed++;
        f->counts.ended[why]++;
        f->counts.lengths[fanout_length(ended.seconds)]++;
        f->counts.listening--;
        f->counts.seconds += ended.seconds;
    }
    uint32_t generation = l->generation + 1;
    memset(l, 0, sizeof *l);
    l->fd = -1;
    l->generation = generation;
    l->next = f->free_slot;
    f->free_slot = index;
    if (f->ended) f->ended(f->ended_context, &ended);
}

/* A reset is how many players leave; what the network or the system did is an error. */
static enum fanout_end reason(int error)
{
    return error == 0 || error == ECONNRESET || error == EPIPE ? FANOUT_CLIENT : FANOUT_ERROR;
}

void fanout_send_or_end(struct fanout *f, uint32_t index)
{
    enum fanout_sent sent = fanout_send(f, fanout_slot(f, index));
    if (sent == FANOUT_FAILED) fanout_end_listener(f, index, reason(errno), 1);
    if (sent == FANOUT_GONE) fanout_end_listener(f, index, FANOUT_LOST, 1);
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
    uint32_t index = fanout_of_handle(f, e->data.u64);
    if (index == FANOUT_NONE) return;
    struct listener *l = fanout_slot(f, index);
    /* a player that closes only its sending half and listens on is not known: this is an end */
    if ((e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ||
        ((e->events & EPOLLIN) &&
         (l->transport ? l->transport->drain(l->transport_self, l->fd) : drain(l->fd)))) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        fanout_end_listener(f, index, reason(error), 0);
        return;
    }
    if ((e->events & EPOLLOUT) && l->blocked) {
        l->blocked = 0;
        fanout_send_or_end(f, index);
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
    f->ahead_frames = (uint32_t)mp3_ns_to_frame(FANOUT_AHEAD_NS);
    f->cohort_count = (uint32_t)mp3_frame_at(f->kbps, FANOUT_FLIGHT_BYTES);
    if (f->cohort_count > FANOUT_FLIGHT_FRAMES) f->cohort_count = FANOUT_FLIGHT_FRAMES;
    f->free_slot = FANOUT_NONE;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->ready = f->epoll < 0 ? NULL : event_new(base, f->epoll, EV_READ | EV_PERSIST, on_ready, f);
    if (!f->ready || fanout_wheel_init(f) || event_add(f->ready, NULL)) abort(); /* at a program's start */
    return f;
}

void fanout_on_ended(struct fanout *f, void (*ended)(void *context, const struct fanout_ended *ended),
                     void *context)
{
    f->ended = ended;
    f->ended_context = context;
}

void fanout_free(struct fanout *f, int abort_sockets)
{
    if (!f) return;
    for (uint32_t c = 0; c < f->cohort_count; c++) {
        while (f->cohorts[c] != FANOUT_NONE)
            fanout_end_listener(f, f->cohorts[c], FANOUT_SHUTDOWN, abort_sockets);
    }
    for (uint32_t i = 0; i < f->chunk_count; i++)
        munmap(f->chunks[i], FANOUT_CHUNK_SLOTS * sizeof(struct listener));
    free(f->chunks);
    free(f->clients);
    event_free(f->ready);
    fanout_wheel_free(f);
    close(f->epoll);
    free(f);
}

static int refuse(int fd, const struct fanout_listener_conf *conf, uint8_t *header)
{
    int saved = errno;
    free(header);
    if (conf->transport) conf->transport->free(conf->transport_self, 1);
    close(fd);
    errno = saved;
    return -1;
}

/* Where it begins, and the first flight of what lies between there and the air. */
static void place(struct fanout *f, struct listener *l, const struct fanout_listener_conf *conf)
{
    if (!conf->has_byte && fanout_place_aside(f, l)) {
        uint64_t flight = l->cursor + FANOUT_FLIGHT_BYTES;
        l->first = l->asked = l->cursor;
        l->bursting = l->target > flight;
        if (l->bursting) l->target = flight;
        return;
    }
    uint64_t air = fanout_air(f), start = fanout_start_position(f, conf->has_from, conf->from);
    uint64_t first = mp3_frame_offset(f->kbps, start), due = mp3_frame_offset(f->kbps, air);
    if (conf->has_byte) {
        first = fanout_start_byte(f, conf->byte);
        start = mp3_frame_at(f->kbps, first);
    }
    uint64_t flight = conf->header_len < FANOUT_FLIGHT_BYTES ? FANOUT_FLIGHT_BYTES - conf->header_len : 0;
    l->first = l->cursor = first;
    l->asked = conf->has_byte ? conf->byte : first;
    l->target = due > first + flight ? first + flight : due > first ? due : first;
    l->bursting = l->target < due;
    l->skip_at = FANOUT_NOWHERE;
    l->excused_lag_frames = air > start ? (uint32_t)(air - start) : 0;
}

static void fill_in(struct listener *l, int fd, const struct fanout_listener_conf *conf, uint8_t *header)
{
    if (conf->header_len) memcpy(header, conf->header, conf->header_len);
    l->fd = fd;
    l->opened_ns = clock_boot_ns();
    l->pending = header;
    l->pending_len = (uint32_t)conf->header_len;
    l->pending_uncounted = conf->header_len > 0;
    l->resumable = conf->resumable != 0;
    l->carrier = conf->carrier != 0;
    l->chunked = conf->chunked != 0;
    l->icy = conf->icy && !l->resumable && !l->chunked;
    l->icy_left = FANOUT_ICY_METAINT;
    l->agent = (uint8_t)fanout_agent_classify(conf->user_agent);
    l->client = conf->client;
    l->tag = conf->tag;
    l->transport = conf->transport;
    l->transport_self = conf->transport_self;
}

int fanout_add(struct fanout *f, int fd, const struct fanout_listener_conf *conf)
{
    uint8_t *header = conf->header_len ? malloc(conf->header_len) : NULL;
    if ((conf->header_len && !header) || (f->free_slot == FANOUT_NONE && grow(f)) ||
        (conf->client && fanout_clients_room(f))) {
        errno = ENOMEM;
        return refuse(fd, conf, header);
    }
    uint32_t index = f->free_slot;
    struct listener *l = fanout_slot(f, index);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                            .data.u64 = fanout_handle(f, index)};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &e)) return refuse(fd, conf, header);
    f->free_slot = l->next;
    fill_in(l, fd, conf, header);
    place(f, l, conf);
    fanout_socket_setup(f, fd, l->resumable);
    if (l->carrier) {
        f->counts.carriers++;
    } else if (!fanout_twin_join(f, index, conf->twin_s)) {
        f->counts.opened++;
        f->counts.agents[l->agent]++;
        f->counts.listening++;
    }
    if (l->client) fanout_clients_add(f, index);
    fanout_wheel_join(f, index);
    /* a socket that is dead already is reported from the loop */
    enum fanout_sent sent = fanout_send(f, l);
    if (sent == FANOUT_FAILED || sent == FANOUT_GONE) l->broken = 1;
    if (l->bursting) fanout_wheel_burst(f, index);
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
