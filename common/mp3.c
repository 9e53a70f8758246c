#include "common/mp3.h"

#include <inttypes.h>

#include "common/mem.h"

static const unsigned kbps_table[15] = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
static const unsigned rate_table[3] = {44100, 48000, 32000};

int mp3_kbps_valid(unsigned kbps)
{
    for (int i = 1; i < 15; i++) {
        if (kbps_table[i] == kbps) return kbps >= MP3_KBPS_MIN;
    }
    return 0;
}

int mp3_header_parse(const uint8_t *b, struct mp3_header *out)
{
    if (b[0] != 0xff || (b[1] & 0xfe) != 0xfa) return -1; /* sync, MPEG-1, Layer III */
    unsigned kbps = b[2] >> 4, rate = (b[2] >> 2) & 3;
    if (kbps == 0 || kbps == 15 || rate == 3 || (b[3] & 3) == 2) return -1;
    out->kbps = kbps_table[kbps];
    out->rate = rate_table[rate];
    out->padding = (b[2] >> 1) & 1;
    out->crc = !(b[1] & 1);
    out->mode = b[3] >> 6;
    out->channels = out->mode == 3 ? 1 : 2;
    out->bytes = 144000u * out->kbps / out->rate + out->padding;
    return 0;
}

int mp3_main_data_begin(const uint8_t *b, size_t len)
{
    size_t side = b[1] & 1 ? 4 : 6;
    if (len < side + 2) return -1;
    return b[side] << 1 | b[side + 1] >> 7;
}

/* Numerator of the fraction of a byte that each frame leaves over, in 1/44100. */
static uint64_t fraction(unsigned kbps)
{
    return (uint64_t)144000 * kbps % MP3_RATE;
}

/* Frame n is padded when its lag falls below zero, with lag starting at one fraction: frames 0..n-1 hold
 * ceil((n-1)*fraction/rate) padding bytes. */
uint64_t mp3_frame_offset(unsigned kbps, uint64_t frame)
{
    if (frame == 0) return 0;
    uint64_t whole = (uint64_t)144000 * kbps / MP3_RATE, f = fraction(kbps);
    /* by whole periods first, so that the product can't overflow */
    uint64_t period = MP3_PERIOD_FRAMES * whole + MP3_PERIOD_FRAMES * f / MP3_RATE;
    uint64_t n = frame % MP3_PERIOD_FRAMES, base = frame / MP3_PERIOD_FRAMES * period;
    if (n == 0) return base;
    return base + n * whole + ((n - 1) * f + MP3_RATE - 1) / MP3_RATE;
}

uint64_t mp3_frame_at(unsigned kbps, uint64_t offset)
{
    uint64_t period = mp3_frame_offset(kbps, MP3_PERIOD_FRAMES);
    uint64_t frame = offset / period * MP3_PERIOD_FRAMES + offset % period * MP3_PERIOD_FRAMES / period;
    while (mp3_frame_offset(kbps, frame + 1) <= offset)
        frame++;
    while (mp3_frame_offset(kbps, frame) > offset)
        frame--;
    return frame;
}

size_t mp3_frame_bytes(unsigned kbps, uint64_t frame)
{
    return (size_t)(mp3_frame_offset(kbps, frame + 1) - mp3_frame_offset(kbps, frame));
}

static int check(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len, int foreign,
                 char **cause)
{
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        struct mp3_header h;
        size_t want = mp3_frame_bytes(kbps, frame + i);
        if (len - at < want)
            return cause_set(cause, "frame %" PRIu64 ": %zu bytes left of %zu", frame + i, len - at, want);
        if (mp3_header_parse(bytes + at, &h) || h.kbps != kbps || h.rate != MP3_RATE || h.bytes != want)
            return cause_set(cause, "frame %" PRIu64 ": not a frame of %u kbit/s and %zu bytes", frame + i,
                             kbps, want);
        if (!foreign && mp3_main_data_begin(bytes + at, want) != 0)
            return cause_set(cause, "frame %" PRIu64 ": uses the bit reservoir", frame + i);
        at += want;
    }
    if (at != len) return cause_set(cause, "%zu bytes after the last of %u frames", len - at, count);
    return 0;
}

int mp3_frames_check(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len,
                     char **cause)
{
    return check(kbps, frame, count, bytes, len, 0, cause);
}

int mp3_frames_check_foreign(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len,
                             char **cause)
{
    return check(kbps, frame, count, bytes, len, 1, cause);
}

int64_t mp3_frame_to_ns(uint64_t frame)
{
    return (int64_t)((__int128)frame * MP3_FRAME_SAMPLES * 1000000000 / MP3_RATE);
}

uint64_t mp3_ns_to_frame(int64_t ns)
{
    if (ns <= 0) return 0;
    uint64_t frame = (uint64_t)((__int128)ns * MP3_RATE / ((__int128)MP3_FRAME_SAMPLES * 1000000000));
    /* the division above floors the same quantity that mp3_frame_to_ns floors: step over its rounding */
    while (mp3_frame_to_ns(frame + 1) <= ns)
        frame++;
    return frame;
}
