/* The bytes of one listener: from the ring to the socket, with metadata in between.
 *
 * One sendmsg carries what is pending, audio, at most one metadata block and audio again. How much of it the
 * kernel took is then walked through the same pieces: audio moves the cursor, a block that was cut becomes
 * pending. A block whose first byte did not go out counts as never written: it is made anew, with the title
 * of that moment.
 *
 * Chunked: what one call sends is one chunk, its length before and its line end behind it. A chunk that was
 * cut short goes on with the next call, whatever the bytes then are; its frame's cut ends become pending.
 *
 * Plain sockets are sent to directly; others through their transport. */
#include "common/fanout_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/mp3.h"

#define SEND_MAX_BYTES  (256u << 10) /* of audio in one call: a resume from far back yields to others */
#define SEND_ROUNDS_MAX 16
#define PIECES_MAX      6
#define CHUNK_HEAD_MAX  12
#define SNDBUF_MIN      (64 << 10)
#define SNDBUF_MAX      (128 << 10)
#define DEAD_PEER_MS    30000
#define LOOP_SERIAL     (UINT64_C(1) << 63) /* of no mark */

void fanout_socket_setup(const struct fanout *f, int fd, int resumable)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (resumable) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    /* The kernel keeps what was sent and not acknowledged, and what waits: a burst and a flight fit, but a
     * stalled listener can't pin megabytes. It doubles SO_SNDBUF for its own overhead. */
    uint64_t burst = mp3_frame_offset(f->kbps, f->burst_frames) + FANOUT_FLIGHT_BYTES;
    int size = burst < SNDBUF_MIN ? SNDBUF_MIN : burst > SNDBUF_MAX ? SNDBUF_MAX : (int)burst;
    int on = 1, dead_ms = DEAD_PEER_MS, idle_s = DEAD_PEER_MS / 1000, interval_s = 10, probes = 3;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &size, sizeof size);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void fanout_relocate(struct fanout *f, struct listener *l)
{
    l->aside = 0;
    if (fanout_place_aside(f, l)) return;
    l->cursor = mp3_frame_offset(f->kbps, fanout_start_position(f, 0, 0));
    l->target = mp3_frame_offset(f->kbps, fanout_air(f));
    l->skip_at = FANOUT_NOWHERE;
    l->excused_lag_frames = 0;
}

/* The same where the loop is heard: said once each time. */
static size_t loop_metadata(struct fanout *f, const struct listener *l, const uint8_t **block,
                            uint64_t *serial)
{
    static const uint8_t unchanged[1] = {0};
    const json_t *title = filler_title(f->conf.filler);
    *block = unchanged;
    *serial = LOOP_SERIAL | filler_times(f->conf.filler);
    if (!title || *serial == l->title_serial) return sizeof unchanged;
    if (f->icy.serial != *serial) {
        char *text = fanout_icy_text(title);
        f->icy.len = fanout_icy_block(f->icy.block, text);
        f->icy.serial = *serial;
        free(text);
    }
    *block = f->icy.block;
    return f->icy.len;
}

/* The metadata block at the listener's place in the stream, and the serial of its title. */
static size_t metadata(struct fanout *f, const struct listener *l, uint64_t at, const uint8_t **block,
                       uint64_t *serial)
{
    static const uint8_t unchanged[1] = {0};
    if (l->aside) return loop_metadata(f, l, block, serial);
    const struct ring_mark *mark = ring_mark_at(f->ring, "title", mp3_frame_at(f->kbps, at));
    *block = unchanged;
    *serial = mark ? mark->serial : l->title_serial;
    if (!mark || mark->serial == l->title_serial) return sizeof unchanged;
    if (f->icy.serial != mark->serial) {
        char *text = fanout_icy_text(mark->body);
        f->icy.len = fanout_icy_block(f->icy.block, text);
        f->icy.serial = mark->serial;
        free(text);
    }
    *block = f->icy.block;
    return f->icy.len;
}

enum piece_kind { PIECE_PENDING, PIECE_AUDIO, PIECE_META, PIECE_HEAD, PIECE_TAIL };

struct flight {
    struct iovec iov[PIECES_MAX];
    enum piece_kind kind[PIECES_MAX];
    int count;
    size_t bytes;
    uint64_t title_serial; /* of the metadata in it */
    uint32_t chunk_bytes;  /* of the chunk begun in it */
    char chunk_head[CHUNK_HEAD_MAX];
};

static const char line_end[] = {'\r', '\n'};

static void put(struct flight *flight, enum piece_kind kind, const void *bytes, size_t len)
{
    flight->kind[flight->count] = kind;
    flight->iov[flight->count++] = (struct iovec){(void *)(uintptr_t)bytes, len};
    flight->bytes += len;
}

static int put_audio(const struct fanout *f, const struct listener *l, struct flight *flight, uint64_t from,
                     uint64_t to)
{
    const struct ring *ring = fanout_ring_of(f, l);
    const uint8_t *bytes = ring ? ring_bytes(ring, from, to) : NULL;
    if (!bytes) return -1;
    put(flight, PIECE_AUDIO, bytes, (size_t)(to - from));
    return 0;
}

/* What is left of the open chunk, then a new one for the rest. */
static int load_chunks(const struct fanout *f, const struct listener *l, uint64_t to, struct flight *flight)
{
    uint64_t at = l->cursor;
    if (l->chunk_open) {
        uint64_t end = at + l->chunk_left < to ? at + l->chunk_left : to;
        if (end > at && put_audio(f, l, flight, at, end)) return -1;
        if (end < at + l->chunk_left) return 0;
        put(flight, PIECE_TAIL, line_end, sizeof line_end);
        at = end;
    }
    if (at >= to) return 0;
    flight->chunk_bytes = (uint32_t)(to - at);
    int len = snprintf(flight->chunk_head, CHUNK_HEAD_MAX, "%x\r\n", flight->chunk_bytes);
    put(flight, PIECE_HEAD, flight->chunk_head, (size_t)len);
    if (put_audio(f, l, flight, at, to)) return -1;
    put(flight, PIECE_TAIL, line_end, sizeof line_end);
    return 0;
}

/* 0, or -1 when the ring does not hold what comes next. */
static int load(struct fanout *f, const struct listener *l, uint64_t to, struct flight *flight)
{
    uint64_t at = l->cursor;
    uint32_t left = l->icy_left;
    int told = 0;
    flight->count = 0;
    flight->bytes = 0;
    if (l->pending) put(flight, PIECE_PENDING, l->pending + l->pending_at, l->pending_len - l->pending_at);
    if (to - at > SEND_MAX_BYTES) to = at + SEND_MAX_BYTES;
    if (l->chunked) return load_chunks(f, l, to, flight);
    if (!l->icy) return at < to ? put_audio(f, l, flight, at, to) : 0;
    while (at < to && flight->count < PIECES_MAX) {
        if (left == 0) {
            if (told++) break;
            const uint8_t *block;
            size_t len = metadata(f, l, at, &block, &flight->title_serial);
            put(flight, PIECE_META, block, len);
            left = FANOUT_ICY_METAINT;
            continue;
        }
        uint64_t len = to - at < left ? to - at : left;
        if (put_audio(f, l, flight, at, at + len)) return -1;
        at += len;
        left -= (uint32_t)len;
    }
    return 0;
}

static void pending_done(struct listener *l)
{
    free(l->pending);
    l->pending = NULL;
    l->pending_at = l->pending_len = 0;
    l->pending_uncounted = 0;
}

/* The rest of a piece that is not in the ring. 0, or -1 with ENOMEM. */
static int keep(struct listener *l, const struct iovec *piece, size_t taken, int uncounted)
{
    if (taken == piece->iov_len) return 0;
    l->pending = malloc(piece->iov_len - taken);
    if (!l->pending) return -1;
    memcpy(l->pending, (const uint8_t *)piece->iov_base + taken, piece->iov_len - taken);
    l->pending_len = (uint32_t)(piece->iov_len - taken);
    l->pending_uncounted = uncounted != 0;
    return 0;
}

/* Books n accepted bytes of the flight. 0, or -1 without memory for the rest of a piece. */
static int book(struct fanout *f, struct listener *l, const struct flight *flight, size_t n)
{
    for (int i = 0; i < flight->count && n; i++) {
        const struct iovec *piece = &flight->iov[i];
        enum piece_kind kind = flight->kind[i];
        size_t taken = n < piece->iov_len ? n : piece->iov_len;
        n -= taken;
        if (kind == PIECE_AUDIO || kind == PIECE_META || (kind == PIECE_PENDING && !l->pending_uncounted)) {
            l->bytes += taken;
            *(l->carrier ? &f->counts.carrier_bytes : &f->counts.bytes) += taken;
        }
        if (kind == PIECE_AUDIO) {
            l->cursor += taken;
            if (l->icy) l->icy_left -= (uint32_t)taken;
            if (l->chunked) l->chunk_left -= (uint32_t)taken;
        } else if (kind == PIECE_PENDING) {
            l->pending_at += (uint32_t)taken;
            if (l->pending_at == l->pending_len) pending_done(l);
        } else if (kind == PIECE_META) {
            l->icy_left = FANOUT_ICY_METAINT;
            l->title_serial = flight->title_serial;
            if (keep(l, piece, taken, 0)) return -1;
        } else {
            l->chunk_open = kind == PIECE_HEAD;
            if (kind == PIECE_HEAD) l->chunk_left = flight->chunk_bytes;
            if (keep(l, piece, taken, 1)) return -1;
        }
    }
    return 0;
}

/* Bytes taken, or -1 with errno; *full when the socket takes no more for now. */
static ssize_t push(struct fanout *f, struct listener *l, struct flight *flight, int *full)
{
    ssize_t n;
    *full = 0;
    f->counts.writes++;
    if (l->transport) {
        n = l->transport->write(l->transport_self, l->fd, flight->iov, flight->count, full);
        l->held = *full != 0;
        return n;
    }
    do {
        if (flight->count == 1) {
            n = send(l->fd, flight->iov[0].iov_base, flight->iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct msghdr m = {.msg_iov = flight->iov, .msg_iovlen = (size_t)flight->count};
            n = sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (n < 0 && errno == EINTR);
    *full = n < (ssize_t)flight->bytes;
    return n;
}

enum fanout_sent fanout_send(struct fanout *f, struct listener *l)
{
    for (int round = 0; round < SEND_ROUNDS_MAX; round++) {
        if (l->cursor == l->skip_at) fanout_relocate(f, l);
        fanout_cross(f, l);
        uint64_t to = l->target < l->skip_at ? l->target : l->skip_at, crossing = fanout_crossing(f, l);
        if (to > crossing) to = crossing;
        if (to < l->cursor) to = l->cursor;
        int chunk_end = l->chunk_open && l->chunk_left == 0;
        if (to == l->cursor && !l->pending && !chunk_end && !l->held) {
            if (l->cursor == l->target && !l->bursting) l->excused_lag_frames = 0;
            return FANOUT_SENT;
        }
        struct flight flight;
        if (load(f, l, to, &flight)) {
            if (l->resumable) return FANOUT_GONE;
            /* the ring went on, or began anew: no fault of a listener that keeps up */
            f->counts.skips++;
            fanout_relocate(f, l);
            continue;
        }
        int full;
        ssize_t n = push(f, l, &flight, &full);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return FANOUT_FAILED;
        if (n > 0 && book(f, l, &flight, (size_t)n)) return FANOUT_FAILED;
        if (full) {
            f->counts.short_writes++;
            l->blocked = 1;
            return FANOUT_BLOCKED;
        }
    }
    return FANOUT_SENT;
}
