#include "common/mp3_gain.h"

#include "common/mp3.h"

#define HEADER_BYTES   4
#define CRC_BYTES      2
#define GRANULE_BITS   59 /* of one channel, in the side information */
#define GAIN_AT_BIT    21 /* after part2_3_length (12) and big_values (9) */
#define CRC_POLYNOMIAL 0x8005u

/* The 8 bits from bit `at` on. */
static unsigned get8(const uint8_t *side, unsigned at)
{
    unsigned two = (unsigned)side[at / 8] << 8 | side[at / 8 + 1];
    return two >> (8 - at % 8) & 0xff;
}

static void put8(uint8_t *side, unsigned at, unsigned value)
{
    unsigned shift = 8 - at % 8, two = (unsigned)side[at / 8] << 8 | side[at / 8 + 1];
    two = (two & ~(0xffu << shift)) | value << shift;
    side[at / 8] = (uint8_t)(two >> 8);
    side[at / 8 + 1] = (uint8_t)two;
}

static unsigned crc16(unsigned crc, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ CRC_POLYNOMIAL) & 0xffff : crc << 1;
    }
    return crc;
}

int mp3_gain_lower(uint8_t *bytes, size_t len, unsigned first, unsigned second)
{
    struct mp3_header h;
    const unsigned down[2] = {first, second};
    if (len < HEADER_BYTES || mp3_header_parse(bytes, &h) || h.bytes != len) return -1;
    size_t head = HEADER_BYTES + (h.crc ? CRC_BYTES : 0), side_bytes = h.channels == 1 ? 17 : 32;
    if (len < head + side_bytes) return -1;
    uint8_t *side = bytes + head;
    /* main_data_begin 9, private bits 5 or 3, scfsi 4 of each channel */
    unsigned at = 9 + (h.channels == 1 ? 5 : 3) + 4 * h.channels + GAIN_AT_BIT;
    for (unsigned granule = 0; granule < 2; granule++) {
        for (unsigned channel = 0; channel < h.channels; channel++, at += GRANULE_BITS) {
            unsigned gain = get8(side, at);
            put8(side, at, gain > down[granule] ? gain - down[granule] : 0);
        }
    }
    if (h.crc) {
        unsigned crc = crc16(crc16(0xffff, bytes + 2, 2), side, side_bytes);
        bytes[HEADER_BYTES] = (uint8_t)(crc >> 8);
        bytes[HEADER_BYTES + 1] = (uint8_t)crc;
    }
    return 0;
}

unsigned mp3_gain_fade(uint64_t n, uint64_t granules)
{
    return n >= granules ? MP3_GAIN_SILENT : (unsigned)(n * MP3_GAIN_SILENT / granules);
}
