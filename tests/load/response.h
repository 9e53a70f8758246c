/* response: the answer to a listener's request, taken apart as it comes: the header, then chunks and metadata
 * taken off so that audio is left. Pure: no sockets. */
#ifndef FOREVER_LOAD_RESPONSE_H
#define FOREVER_LOAD_RESPONSE_H
#include <stddef.h>
#include <stdint.h>

#define LOAD_HEADER_MAX 8192

struct load_head {
    int status;
    unsigned kbps;    /* icy-br; 0 not told */
    int has_position; /* X-Forever-Position */
    uint64_t position;
    int has_range; /* Content-Range: bytes N- */
    uint64_t range;
    int chunked;
    uint32_t metaint;     /* 0: no metadata */
    int64_t length;       /* Content-Length; -1 not told */
    double retry_after_s; /* -1 not told */
    char location[1024];  /* "" not told */
};

/* Reads a header that ends in an empty line. Its length with that line, 0 when it is not whole yet, -1 when
 * it is no answer of HTTP (or of an old ICY server). */
int load_head_parse(const char *text, size_t len, struct load_head *out);

/* What is between the bytes of a body. Zero at its start but for the two values of the header. */
struct load_body {
    int chunked;
    uint32_t metaint;
    uint32_t chunk_left, meta_left; /* bytes of the chunk; of the metadata block */
    uint32_t audio_left;            /* to the next metadata block */
    uint32_t size_digits;
    uint8_t state, ended;
};
void load_body_start(struct load_body *body, const struct load_head *head);
/* Takes from *bytes on until a stretch of audio is found: its length (at *audio), 0 when all is taken, -1
 * when the framing is broken. Moves *bytes and *len on. */
long load_body_next(struct load_body *body, const uint8_t **bytes, size_t *len, const uint8_t **audio);

#endif
