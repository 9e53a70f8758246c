#include "root/wire.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define R(role) (1u << ROLE_##role)
#define WORKERS (R(STORE) | R(SCAN) | R(ANALYSE) | R(BRAIN) | R(STUDIO) | R(CODER) | R(LIVE))
#define KB(n)   ((size_t)(n) << 10)
#define MB(n)   ((size_t)(n) << 20)

#define EVENT(t, from, to, max)                                                                              \
    {                                                                                                        \
        WIRE_##t, #t, from, ROLE_##to, WIRE_EVENT, 0, max, 0, 0                                              \
    }
#define BINARY(t, from, to, max)                                                                             \
    {                                                                                                        \
        WIRE_##t, #t, from, ROLE_##to, WIRE_EVENT, 0, max, 0, 1                                              \
    }
#define REQUEST(t, from, to, answer, ms)                                                                     \
    {                                                                                                        \
        WIRE_##t, #t, from, ROLE_##to, WIRE_REQUEST, WIRE_##answer, KB(64), ms, 0                            \
    }
#define REPLY(t, from, max, binary)                                                                          \
    {                                                                                                        \
        WIRE_##t, #t, from, ROLE_AIR, WIRE_REPLY, 0, max, 0, binary                                          \
    }

static const struct wire_row rows[] = {
    EVENT(READY, WORKERS, AIR, KB(1)),
    /* the destination of air's own messages is whichever worker it addresses */
    EVENT(CONFIG, R(AIR), AIR, KB(64)),
    EVENT(QUIT, R(AIR), AIR, KB(1)),
    REPLY(ERROR, WORKERS | R(AIR), KB(4), 0),
    EVENT(FOUND, R(SCAN), STORE, MB(1)),
    EVENT(SCANNED, R(SCAN), STORE, KB(8)),
    REQUEST(JOB, R(ANALYSE), STORE, JOB_IS, 10000),
    REPLY(JOB_IS, R(STORE), KB(8), 0),
    EVENT(FEATURES, R(ANALYSE), STORE, MB(8)),
    BINARY(ART, R(ANALYSE), STORE, MB(4)),
    BINARY(WAVE, R(ANALYSE), STORE, KB(128)),
    EVENT(FAILED, R(ANALYSE), STORE, KB(4)),
    EVENT(JOB_LOST, R(AIR), STORE, KB(4)),
    EVENT(PROGRESS, R(STORE), AIR, KB(4)),
    REQUEST(POOL, R(BRAIN), STORE, POOL_IS, 10000),
    REPLY(POOL_IS, R(STORE), MB(8), 0),
    EVENT(TRACK_READY, R(STORE), BRAIN, KB(64)),
    EVENT(TRACK_GONE, R(STORE), BRAIN, KB(1)),
    EVENT(REPOOL, R(STORE), BRAIN, KB(1)),
    REQUEST(HISTORY, R(BRAIN) | R(STUDIO), STORE, HISTORY_IS, 5000),
    REPLY(HISTORY_IS, R(STORE), MB(4), 0),
    REQUEST(NEXT, R(STUDIO), BRAIN, NEXT_IS, 5000),
    REPLY(NEXT_IS, R(BRAIN), KB(64), 0),
    REQUEST(TRACK, R(STUDIO), STORE, TRACK_IS, 5000),
    REPLY(TRACK_IS, R(STORE), MB(8), 0),
    EVENT(UNPLAYABLE, R(STUDIO), STORE, KB(4)),
    EVENT(START, R(AIR), STUDIO, MB(8)),
    EVENT(CREDIT, R(AIR), STUDIO, KB(1)),
    EVENT(RETRACT, R(AIR), STUDIO, KB(1)),
    BINARY(FRAMES, R(STUDIO), AIR, WIRE_FRAMES_HEAD + (size_t)WIRE_FRAMES_MAX * 1045),
    EVENT(MARK, R(STUDIO), AIR, KB(256)),
    EVENT(ENCODE, R(AIR), CODER, KB(1)),
    EVENT(LACKS, R(CODER), AIR, KB(1)),
    BINARY(ENCODED, R(CODER), AIR, WIRE_ENCODED_HEAD + (size_t)WIRE_FRAMES_MAX * 1045),
    EVENT(FORK, R(STUDIO), AIR, KB(1)),
    EVENT(ALIVE, R(STUDIO), AIR, KB(1)),
    EVENT(LOOP, R(STUDIO), AIR, KB(1)),
    EVENT(AIRED, R(AIR), STORE, KB(256)),
    REQUEST(ART_GET, R(AIR), STORE, ART_IS, 5000),
    REPLY(ART_IS, R(STORE), MB(4), 1),
    REQUEST(WAVE_GET, R(AIR), STORE, WAVE_IS, 5000),
    REPLY(WAVE_IS, R(STORE), KB(128), 1),
    EVENT(PLANNED, R(AIR), BRAIN, KB(1)),
    BINARY(LIVE_SOURCE, R(AIR), LIVE, KB(256)),
    EVENT(LIVE_PCM, R(AIR), AIR, KB(4)),
    EVENT(LIVE_TITLE, R(AIR) | R(LIVE), STUDIO, KB(4)),
    EVENT(LIVE_ENDED, R(LIVE), AIR, KB(4)),
    EVENT(LIVE_READY, R(STUDIO), AIR, KB(1)),
    EVENT(LIVE_STOP, R(AIR), STUDIO, KB(1)),
    EVENT(LIVE_OVER, R(STUDIO), AIR, KB(1)),
    BINARY(SERIES, R(AIR), STORE, MB(1)),
    REQUEST(SERIES_GET, R(AIR), STORE, SERIES_IS, 3000),
    REPLY(SERIES_IS, R(STORE), MB(8), 0),
    REQUEST(LEDGER_GET, R(AIR), STORE, LEDGER_IS, 5000),
    EVENT(LEDGER_DROP, R(AIR), STORE, KB(1)),
    REPLY(LEDGER_IS, R(STORE), MB(1), 0),
    EVENT(LEARNED, R(AIR), STORE, MB(1)),
    REQUEST(LEARNED_GET, R(AIR), STORE, LEARNED_IS, 5000),
    REPLY(LEARNED_IS, R(STORE), MB(1), 0),
};

static const char *const role_names[ROLE_COUNT] = {"air",   "store",  "scan",  "analyse",
                                                   "brain", "studio", "coder", "live"};

const struct wire_row *wire_find(unsigned type)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].type == type) return &rows[i];
    }
    return NULL;
}

const char *role_name(enum role role)
{
    return (unsigned)role < ROLE_COUNT ? role_names[role] : "none";
}

int role_parse(const char *name)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (!strcmp(name, role_names[i])) return i;
    }
    return -1;
}

int wire_send(struct msg_channel *channel, enum wire_type type, uint32_t seq, json_t *body, int fd)
{
    char *text = json_text(body);
    json_decref(body);
    int result = msg_send(channel, (uint16_t)type, seq, text, strlen(text), fd);
    free(text);
    return result;
}

json_t *wire_body(const struct msg *message, char **cause)
{
    const struct wire_row *row = wire_find(message->type);
    if (!row || row->binary) {
        cause_set(cause, "message %u has no JSON body", message->type);
        return NULL;
    }
    json_t *body = json_parse(message->body, message->len, row->max_len, cause);
    if (body && !json_is_object(body)) {
        json_decref(body);
        cause_set(cause, "the body of %s is no object", row->name);
        return NULL;
    }
    return body;
}

static void put_le(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

void wire_frames_encode(uint8_t head[WIRE_FRAMES_HEAD], uint64_t position, uint32_t branch, uint32_t count)
{
    put_le(head, position, 8);
    put_le(head + 8, branch, 4);
    put_le(head + 12, count, 4);
}

/* Both heads begin alike. */
static int frames_decode(const struct msg *message, size_t head, uint64_t *position, uint32_t *branch,
                         uint32_t *count, const uint8_t **bytes, size_t *len)
{
    if (message->len < head) return -1;
    *position = get_le(message->body, 8);
    *branch = (uint32_t)get_le(message->body + 8, 4);
    *count = (uint32_t)get_le(message->body + 12, 4);
    *bytes = message->body + head;
    *len = message->len - head;
    return *count >= 1 && *count <= WIRE_FRAMES_MAX ? 0 : -1;
}

int wire_frames_decode(const struct msg *message, uint64_t *position, uint32_t *branch, uint32_t *count,
                       const uint8_t **bytes, size_t *len)
{
    return frames_decode(message, WIRE_FRAMES_HEAD, position, branch, count, bytes, len);
}

void wire_encoded_encode(uint8_t head[WIRE_ENCODED_HEAD], uint64_t position, uint32_t branch, uint32_t count,
                         uint32_t mount, uint32_t wake)
{
    wire_frames_encode(head, position, branch, count);
    put_le(head + WIRE_FRAMES_HEAD, mount, 4);
    put_le(head + WIRE_FRAMES_HEAD + 4, wake, 4);
}

int wire_encoded_decode(const struct msg *message, uint64_t *position, uint32_t *branch, uint32_t *count,
                        uint32_t *mount, uint32_t *wake, const uint8_t **bytes, size_t *len)
{
    if (frames_decode(message, WIRE_ENCODED_HEAD, position, branch, count, bytes, len)) return -1;
    *mount = (uint32_t)get_le(message->body + WIRE_FRAMES_HEAD, 4);
    *wake = (uint32_t)get_le(message->body + WIRE_FRAMES_HEAD + 4, 4);
    return 0;
}
