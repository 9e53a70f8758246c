/* icecast_frame: single frames of a foreign stream, where it is joined (ISO/IEC 11172-3, 2.4.1 and 2.4.3.1).
 * Pure. */
#ifndef FOREVER_RELAY_ICECAST_FRAME_H
#define FOREVER_RELAY_ICECAST_FRAME_H
#include <stddef.h>
#include <stdint.h>

/* A silent frame of len bytes after the manner of another one's header. */
void icecast_frame_silent(uint8_t *out, const uint8_t *like, size_t len, unsigned kbps);
/* Silences the frame when its main data begins further back than the `reservoir` bytes before it that are
 * there. How many bytes of main data it holds for those after it. */
unsigned icecast_frame_mend(uint8_t *frame, size_t len, unsigned reservoir);

#endif
