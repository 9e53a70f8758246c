#include "common/crc32c.h"

#define POLYNOMIAL 0x82f63b78u /* reflected */

/* table[k][b]: the CRC of byte b followed by k zero bytes */
static uint32_t table[8][256];

static void fill(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int i = 0; i < 8; i++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++)
            table[k][b] = table[0][table[k - 1][b] & 0xff] ^ table[k - 1][b] >> 8;
    }
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    if (!table[0][1]) fill();
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^
              table[4][crc >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    while (len--)
        crc = table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
    return ~crc;
}
