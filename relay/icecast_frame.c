#include "relay/icecast_frame.h"

#include <string.h>

#include "common/mp3.h"

#define CRC_POLYNOMIAL 0x8005u

static size_t side_bytes(const struct mp3_header *h)
{
    return h->channels == 1 ? 17 : 32;
}

/* Of the last 16 bits of the header and the side information. */
static void put_crc(uint8_t *frame, size_t side)
{
    unsigned crc = 0xffff;
    for (size_t i = 2; i < 6 + side; i++) {
        if (i == 4) i = 6; /* over the CRC itself */
        crc ^= (unsigned)frame[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1 ^ (crc & 0x8000 ? CRC_POLYNOMIAL : 0)) & 0xffff;
    }
    frame[4] = (uint8_t)(crc >> 8);
    frame[5] = (uint8_t)crc;
}

void icecast_frame_silent(uint8_t *out, const uint8_t *like, size_t len, unsigned kbps)
{
    memset(out, 0, len);
    memcpy(out, like, 4);
    out[1] |= 1; /* no CRC */
    out[2] &= (uint8_t)~2u;
    if (len > 144000u * kbps / MP3_RATE) out[2] |= 2;
}

unsigned icecast_frame_mend(uint8_t *frame, size_t len, unsigned reservoir)
{
    struct mp3_header h;
    if (mp3_header_parse(frame, &h)) return 0;
    size_t head = h.crc ? 6 : 4, side = side_bytes(&h);
    if (len < head + side) return 0;
    if (mp3_main_data_begin(frame, len) > (int)reservoir) {
        /* with all lengths 0 nothing is decoded of it, and its bytes stay there for the next ones */
        memset(frame + head, 0, side);
        if (h.crc) put_crc(frame, side);
    }
    return (unsigned)(len - head - side);
}
