/* station_ask: what a request for the stream asks for. Pure.
 *
 * A URL with ?from=FRAME names the position of its byte 0: byte N of that body is byte
 * mp3_frame_offset(FRAME) + N of the endless stream, at every node and for ever. So a player whose connection
 * broke asks the same address with `Range: bytes=N-` and gets exactly what it lacks, from whichever node
 * answers, which needs to remember nothing. Without from= there is nothing to go on with: every answer is a
 * new beginning. */
#ifndef FOREVER_COMMON_STATION_ASK_H
#define FOREVER_COMMON_STATION_ASK_H
#include <stddef.h>
#include <stdint.h>

/* The end that an answer to a range names: a stream has none, but players want one (2^40 - 1). */
#define STATION_RANGE_END   UINT64_C(1099511627775)
#define STATION_BURST_MAX_S 30.0
#define STATION_CLIENT_MAX  64

struct station_ask {
    int has_from;
    uint64_t from;   /* position of byte 0 */
    uint64_t offset; /* first byte wanted: 0, unless it resumes (only with from) */
    double burst_s;  /* how far behind the air it begins, without from; how far it did, with; -1: not said */
    uint64_t client; /* the id it gave itself, hashed; 0: none */
};

/* As sent, NULL when absent: ?from=, ?burst=, ?client=, the Range header. What can't be read counts as not
 * there, since a stream that plays serves better than an error. */
void station_ask_read(struct station_ask *ask, const char *from, const char *burst, const char *client,
                      const char *range);
/* A listener's name as a number, never 0. */
uint64_t station_client_hash(const char *text);
/* The byte of the endless stream that it wants first; only with from. */
uint64_t station_ask_byte(const struct station_ask *ask, unsigned kbps);

/* A raw query with every `name` taken out and name=value put at its end (value NULL: only taken out). Fresh
 * memory. The value is not encoded. */
char *station_query_set(const char *query, const char *name, const char *value);

#endif
