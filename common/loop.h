/* loop: what a node plays when it has nothing else: some frames that begin anew at their end, without a
 * click.
 *
 * Made ahead of time where there is a codec, of PCM that wraps (root/work/loop_make); here it is bytes. The
 * number of frames is a multiple of MP3_PERIOD_FRAMES, so that frame n of an endless run has the length that
 * any frame of number n has in the stream. Its version is a hash of the bytes: equal names are equal loops.
 */
#ifndef FOREVER_COMMON_LOOP_H
#define FOREVER_COMMON_LOOP_H
#include <stddef.h>
#include <stdint.h>

struct loop;

#define LOOP_SECONDS_MAX 120
#define LOOP_BYTES_MAX   (LOOP_SECONDS_MAX * 40000u) /* 320 kbit/s */
#define LOOP_NAME_BYTES  33                          /* of a version: 32 hex digits and NUL */

/* Of bytes (copied), which must be nothing but such frames, of 1 to LOOP_SECONDS_MAX seconds. NULL with
 * *cause. */
struct loop *loop_new(unsigned kbps, const uint8_t *bytes, size_t len, char **cause);
void loop_free(struct loop *loop);
unsigned loop_kbps(const struct loop *loop);
const char *loop_version(const struct loop *loop);
uint64_t loop_frames(const struct loop *loop);
const uint8_t *loop_bytes(const struct loop *loop, size_t *len);
/* Frame n of the endless run, of mp3_frame_bytes(kbps, n) bytes. */
const uint8_t *loop_frame(const struct loop *loop, uint64_t n);

/* Where a node keeps the loop of a mount: fresh memory. */
char *loop_path(const char *state, const char *mount);
/* NULL with *cause when there is none, or none of that bit rate. */
struct loop *loop_load(const char *state, const char *mount, unsigned kbps, char **cause);
/* 0, or -1 with *cause. */
int loop_save(const struct loop *loop, const char *state, const char *mount, char **cause);

#endif
