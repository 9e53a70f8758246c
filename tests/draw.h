/* Numbers that a seed decides (splitmix64). */
#ifndef FOREVER_TESTS_DRAW_H
#define FOREVER_TESTS_DRAW_H
#include <stdint.h>

/* 64 bits, all as likely; *seed moves on. */
static inline uint64_t draw_bits(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
