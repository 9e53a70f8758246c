/* icecast_meta: titles within a stream: after every icy-metaint bytes of audio one byte n, then n * 16 bytes
 * of text, StreamTitle='...';StreamUrl='...'; padded with NUL. */
#ifndef FOREVER_RELAY_ICECAST_META_H
#define FOREVER_RELAY_ICECAST_META_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct icecast_meta;
struct icecast_meta *icecast_meta_new(void);
void icecast_meta_free(struct icecast_meta *meta);
/* 0, as at the start: there are none. */
void icecast_meta_interval(struct icecast_meta *meta, size_t bytes);
/* Copies audio to out, at most room bytes of it, and tells each title once its block is whole and differs
 * from the one before: after how many of these bytes, and its text (the callee's). How many of len bytes it
 * has used. */
size_t icecast_meta_split(struct icecast_meta *meta, const uint8_t *bytes, size_t len, uint8_t *out,
                          size_t room, size_t *audio, void (*title)(void *context, size_t audio, char *text),
                          void *context);

/* UTF-8 of what is UTF-8 or else Latin-1, in fresh memory, without control characters. */
char *icecast_meta_text(const char *bytes, size_t len);
/* {"title","artist","text"} of "Artist - Title". */
json_t *icecast_meta_title(const char *text);

#endif
