/* fuzz: the entry every harness has. With clang it is driven by libFuzzer, elsewhere by replay.c. */
#ifndef FOREVER_TESTS_FUZZ_FUZZ_H
#define FOREVER_TESTS_FUZZ_FUZZ_H
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#endif
