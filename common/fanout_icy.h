/* fanout_icy: the metadata blocks between the audio of players that ask for them (Icy-MetaData: 1).
 *
 * After every FANOUT_ICY_METAINT bytes of audio comes one byte with the length of a block in units of 16,
 * and the block: StreamTitle='...'; padded with zeros. Nothing escapes a quote in there, so quotes of a title
 * become typographic ones; the text is UTF-8, cut at a character where it would not fit. */
#ifndef FOREVER_COMMON_FANOUT_ICY_H
#define FOREVER_COMMON_FANOUT_ICY_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define FANOUT_ICY_BLOCK_MAX (1 + 255 * 16)

struct fanout_icy {
    uint64_t serial; /* of the mark the block was made for; 0 none yet */
    size_t len;
    uint8_t block[FANOUT_ICY_BLOCK_MAX];
};

/* Writes length byte and block to out (FANOUT_ICY_BLOCK_MAX bytes); the length of both. */
size_t fanout_icy_block(uint8_t *out, const char *title);
/* "Artist - Title" of a title mark, in fresh memory. */
char *fanout_icy_text(const json_t *title);

#endif
