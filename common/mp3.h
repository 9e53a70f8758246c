/* mp3: MPEG-1 Layer III frames as a station uses them (ISO/IEC 11172-3).
 *
 * The programme is constant bit rate at 44.1 kHz without a bit reservoir, so that a frame stands for itself
 * and its place in the byte stream is a formula of its number: an encoder that starts at frame 0 pads a
 * frame whenever the fractional lag of 144*bitrate/44100 runs out, which repeats every 49 frames. */
#ifndef FOREVER_COMMON_MP3_H
#define FOREVER_COMMON_MP3_H
#include <stddef.h>
#include <stdint.h>

#define MP3_RATE            44100
#define MP3_FRAME_SAMPLES   1152
#define MP3_PERIOD_FRAMES   49   /* the padding pattern repeats; also the priming of an encoder session */
#define MP3_FRAME_MAX_BYTES 1045 /* 320 kbit/s with padding */
#define MP3_KBPS_MIN        64
#define MP3_KBPS_MAX        320

struct mp3_header {
    unsigned kbps, rate, channels, mode; /* mode: 0 stereo, 1 joint, 2 dual, 3 mono */
    unsigned padding, crc;
    size_t bytes; /* of the whole frame */
};

/* 1 when the rate is one of MPEG-1 Layer III's between 64 and 320 kbit/s. */
int mp3_kbps_valid(unsigned kbps);
/* Reads a MPEG-1 Layer III header of 4 bytes; 0, or -1 when it is none. */
int mp3_header_parse(const uint8_t *bytes, struct mp3_header *out);
/* main_data_begin of the frame at bytes (len >= 6, or 8 with CRC); -1 when len is too small. 0 = needs no
 * reservoir. */
int mp3_main_data_begin(const uint8_t *bytes, size_t len);

/* Byte at which frame number `frame` starts in a stream that began with frame 0. */
uint64_t mp3_frame_offset(unsigned kbps, uint64_t frame);
/* Number of the frame that holds byte `offset`. */
uint64_t mp3_frame_at(unsigned kbps, uint64_t offset);
size_t mp3_frame_bytes(unsigned kbps, uint64_t frame);

/* Checks that `len` bytes are exactly the frames [frame, frame+count) of such a stream: header, rate,
 * padding, length and no reservoir. 0, or -1 with an owned *cause. */
int mp3_frames_check(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len,
                     char **cause);
/* The same of another encoder's frames, which may use the reservoir. */
int mp3_frames_check_foreign(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len,
                             char **cause);

/* Time of a frame's start from the station's first frame, and back (floor). */
int64_t mp3_frame_to_ns(uint64_t frame);
uint64_t mp3_ns_to_frame(int64_t ns);

#endif
