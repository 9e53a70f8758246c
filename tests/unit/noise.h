/* White noise, the same each time. */
#ifndef FOREVER_TESTS_UNIT_NOISE_H
#define FOREVER_TESTS_UNIT_NOISE_H
#include <stdint.h>

static uint32_t noise_state; /* set it, and the same follows */

/* -1 to 1 */
static inline double noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (int32_t)noise_state / 2147483648.0;
}

#endif
