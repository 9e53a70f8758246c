/* msg: typed, length-checked messages between air and a worker.
 *
 * The channel is a SOCK_SEQPACKET socketpair: a read gives one whole message and the descriptor that came
 * with it, so there is no resynchronising and no partial header. A body too large for a packet travels in a
 * sealed memfd beside the header and is mapped by the receiver. What can't be sent at once waits in a
 * bounded queue; a peer that lets it fill up has failed and is treated as dead.
 *
 * Air drives a channel by its event loop (non-blocking); workers call msg_wait. */
#ifndef FOREVER_COMMON_MSG_H
#define FOREVER_COMMON_MSG_H
#include <stddef.h>
#include <stdint.h>

#define MSG_INLINE_MAX (64u << 10)
#define MSG_BODY_MAX   (16u << 20)
#define MSG_QUEUE_MAX  (32u << 20) /* bytes waiting per channel */

struct msg {
    uint16_t type;
    uint32_t seq;        /* joins a reply to its request; 0 for events */
    const uint8_t *body; /* valid until the next msg_read or msg_wait on the channel */
    size_t len;
    int fd; /* a descriptor sent along, owned by the receiver; -1 when none */
};

struct msg_channel;

/* Both ends of a fresh channel: [0] for air (non-blocking), [1] for the child. 0, or -1 with errno. */
int msg_pair(int fds[2]);
/* Takes over fd. */
struct msg_channel *msg_channel_new(int fd);
void msg_channel_free(struct msg_channel *channel); /* closes; NULL is fine */
int msg_channel_fd(const struct msg_channel *channel);

/* Sends or queues. fd is duplicated where needed, the caller keeps its own; -1 for none. Returns 0; -1 with
 * errno when the channel is dead (EPIPE), the body is too large (EMSGSIZE) or the queue is full (ENOBUFS). */
int msg_send(struct msg_channel *channel, uint16_t type, uint32_t seq, const void *body, size_t len, int fd);
/* Tries to write what waits; 1 while something is left, 0 when all is out, -1 when the channel is dead. */
int msg_flush(struct msg_channel *channel);
/* 1 with a message, 0 when none is there now, -1 when the channel is closed or broke the rules. */
int msg_read(struct msg_channel *channel, struct msg *out);
/* The same, waiting up to timeout_ms (-1: for ever); flushes while it waits. */
int msg_wait(struct msg_channel *channel, struct msg *out, int timeout_ms);

#endif
