/* replay FILE...: runs files through a harness where there is no libFuzzer. With --noise SEED COUNT in front,
 * each file also with COUNT random changes (a poor fuzzer, but one that every compiler has). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/frames.h"

#define FILE_MAX (4u << 20)

static void once(const uint8_t *bytes, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1); /* so that a sanitizer sees what is read beyond */
    if (!exact) abort();
    if (len) memcpy(exact, bytes, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

/* One to four changed bytes, and now and then a cut or a piece that comes twice. */
static size_t disturb(uint8_t *bytes, size_t len, uint64_t x)
{
    if (len == 0) return 0;
    for (unsigned i = 0; i <= (x >> 8) % 4; i++) {
        uint64_t y = frames_hash(x + i);
        bytes[(y >> 16) % (y & 1 && len > 64 ? 64 : len)] = (uint8_t)(y >> 8);
    }
    if (x % 5 == 0) return (x >> 20) % len;
    if (x % 5 == 1) {
        size_t from = (x >> 20) % len, piece = (x >> 40) % (len - from) + 1;
        memmove(bytes + from + piece, bytes + from, len - from); /* there is room for twice the file */
        return len + piece;
    }
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t file[FILE_MAX], copy[2 * FILE_MAX];
    uint64_t seed = 0, count = 0;
    int first = 1;
    if (argc > 3 && strcmp(argv[1], "--noise") == 0) {
        seed = strtoull(argv[2], NULL, 0);
        count = strtoull(argv[3], NULL, 0);
        first = 4;
    }
    for (int i = first; i < argc; i++) {
        FILE *in = fopen(argv[i], "rb");
        if (!in) {
            perror(argv[i]);
            return 1;
        }
        size_t len = fread(file, 1, sizeof file, in);
        fclose(in);
        once(file, len);
        for (uint64_t k = 0; k < count; k++) {
            memcpy(copy, file, len);
            once(copy, disturb(copy, len, frames_hash(seed + k)));
        }
        printf("%s: %zu bytes, %" PRIu64 " variants\n", argv[i], len, count);
    }
    return 0;
}
