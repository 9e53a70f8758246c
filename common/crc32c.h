/* crc32c: the Castagnoli CRC (RFC 3720, appendix B.4), in software, eight bytes a step. */
#ifndef FOREVER_COMMON_CRC32C_H
#define FOREVER_COMMON_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 at the start) over len bytes; the result of pieces is that of the whole. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
