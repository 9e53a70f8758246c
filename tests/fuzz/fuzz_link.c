/* Any bytes into the link's decoder: it must neither crash nor depend on how they were cut. */
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/json.h"
#include "common/link.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/frames.h"

/* What came out, as one number: every field of every record, and how it ended. */
static uint32_t decode(const uint8_t *bytes, size_t len, uint64_t cuts)
{
    struct link_decoder *decoder = link_decoder_new();
    struct link_record r;
    uint32_t sum = 0;
    int rc = 0;
    for (size_t at = 0; at < len && rc >= 0;) {
        size_t piece = cuts ? 1 + frames_hash(cuts + at) % 97 : LINK_FEED_MAX;
        if (piece > len - at) piece = len - at;
        link_decoder_feed(decoder, bytes + at, piece);
        at += piece;
        while ((rc = link_decoder_next(decoder, &r, NULL)) == 1) {
            uint64_t fields[] = {r.type, r.position, r.branch, r.count, r.ns, r.len};
            sum = crc32c(sum, fields, sizeof fields);
            sum = crc32c(sum, r.kind, strlen(r.kind));
            if (r.len) sum = crc32c(sum, r.bytes, r.len);
            if (!r.body) continue;
            char *text = json_text(r.body);
            sum = crc32c(sum, text, strlen(text));
            free(text);
        }
    }
    link_decoder_free(decoder);
    return sum ^ (uint32_t)rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint32_t whole = decode(bytes, len, 0);
    if (whole != decode(bytes, len, 1 + len)) abort();
    return 0;
}
