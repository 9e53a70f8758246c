#include "root/work/render_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/work/output.h"

#define FRAME       1152
#define AT_ONCE     32 /* frames read in one go */
#define WAV_HEAD    44
#define WAV_MINUTES 400 /* 32-bit sizes hold this much at 16 bits */

static int ends_in(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && !strcasecmp(path + n - m, suffix);
}

int render_file_check(const char *path, double minutes, unsigned kbps, char **cause)
{
    if (ends_in(path, ".wav")) {
        if (minutes <= WAV_MINUTES) return 0;
        return cause_set(cause, "\"%s\": a .wav holds at most %d minutes; use .mp3", path, WAV_MINUTES);
    }
    if (!ends_in(path, ".mp3")) return cause_set(cause, "\"%s\" must end in .wav or .mp3", path);
    struct encoder *encoder = encoder_new(kbps, 0, cause);
    if (!encoder) return -1;
    encoder_free(encoder);
    return 0;
}

static void put_le(uint8_t *out, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static int cause_unwritten(const char *path, char **cause)
{
    return cause_set(cause, "%s can't be written: %s", path, strerror(errno));
}

/* bits: 16 whole ones, or 32 of a float. */
static int write_wav_head(FILE *out, uint64_t samples, unsigned bits)
{
    uint8_t head[WAV_HEAD] = "RIFF....WAVEfmt ....................data";
    uint32_t bytes = PCM_CHANNELS * bits / 8, data = (uint32_t)(samples * bytes);
    put_le(head + 4, WAV_HEAD - 8 + data, 4);
    put_le(head + 16, 16, 4);
    put_le(head + 20, bits == 32 ? 3 : 1, 2);
    put_le(head + 22, PCM_CHANNELS, 2);
    put_le(head + 24, PCM_RATE, 4);
    put_le(head + 28, PCM_RATE * bytes, 4);
    put_le(head + 32, bytes, 2);
    put_le(head + 34, bits, 2);
    put_le(head + 40, data, 4);
    return fwrite(head, sizeof head, 1, out) == 1 ? 0 : -1;
}

/* xorshift64*: uniform in 0..1. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

/* To 16 bits with triangular dither of two steps' width, so that quiet music does not become distortion. */
static void to_16_bits(const float *in, uint8_t *out, size_t values, uint64_t *state)
{
    for (size_t i = 0; i < values; i++) {
        double x = (double)in[i] * 32768 + uniform(state) - uniform(state);
        long value = lrint(fmax(-32768, fmin(32767, x)));
        put_le(out + 2 * i, (uint32_t)value & 0xffff, 2);
    }
}

/* All that is read for `count` more frames. */
static int reach(const struct render_file *file, uint64_t done, size_t count, int64_t *bad_track,
                 char **cause)
{
    if (!file->reach) return 0;
    return file->reach(file->context, output_needs(file->first + done + count), bad_track, cause);
}

static int write_wav(const struct render_file *file, struct programme *programme, FILE *out,
                     int64_t *bad_track, char **cause)
{
    struct master *master = master_new(programme, OUTPUT_CEILING_DBTP, file->first * FRAME, 1);
    float *pcm = xmalloc(AT_ONCE * FRAME * PCM_CHANNELS * sizeof *pcm);
    uint8_t *bytes = xmalloc(AT_ONCE * FRAME * PCM_CHANNELS * 2);
    uint64_t dither = file->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    int result = write_wav_head(out, file->frames * FRAME, 16);
    for (uint64_t done = 0; done < file->frames && result == 0;) {
        size_t count = file->frames - done < AT_ONCE ? (size_t)(file->frames - done) : AT_ONCE;
        size_t values = count * FRAME * PCM_CHANNELS;
        if (reach(file, done, count, bad_track, cause) < 0 ||
            master_read(master, pcm, count * FRAME, bad_track, cause) < 0) {
            result = -1;
            break;
        }
        to_16_bits(pcm, bytes, values, &dither);
        if (fwrite(bytes, 2, values, out) != values) result = cause_unwritten(file->path, cause);
        done += count;
        if (master_position(master) > LIMIT_AHEAD)
            programme_release(programme, master_position(master) - LIMIT_AHEAD);
        if (file->progress) file->progress(file->context, done);
    }
    free(bytes);
    free(pcm);
    master_free(master);
    return result;
}

static void put_be32(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* An "Info" frame in front says how many frames follow, so that players know the file's length and guess at
 * nothing. It has the head of the first real frame and no sound, and players leave it out (Xing's header;
 * without LAME's extension, since no sample is to be cut off). */
static int write_mp3_info(const struct render_file *file, const uint8_t *first_frame, FILE *out)
{
    enum {
        HEAD = 4,
        SIDE = 32,
        PADDED = 2,
        FRAMES_ONLY = 1
    }; /* a byte count makes readers of pipes complain */
    uint8_t info[MP3_FRAME_MAX_BYTES] = {0}, *tag = info + HEAD + SIDE;
    size_t len = mp3_frame_bytes(file->kbps, 0); /* frame 0 has no padding */
    memcpy(info, first_frame, HEAD);
    info[2] &= (uint8_t)~PADDED;
    memcpy(tag, "Info", 4);
    put_be32(tag + 4, FRAMES_ONLY);
    put_be32(tag + 8, file->frames);
    return fwrite(info, 1, len, out) == len ? 0 : -1;
}

static int write_mp3(const struct render_file *file, struct programme *programme, FILE *out,
                     int64_t *bad_track, char **cause)
{
    struct output *output = output_new(programme, file->kbps, OUTPUT_CEILING_DBTP, file->first, 1, cause);
    if (!output) return -1;
    uint8_t *bytes = xmalloc(AT_ONCE * MP3_FRAME_MAX_BYTES);
    int result = 0;
    for (uint64_t done = 0; done < file->frames && result == 0;) {
        unsigned count = file->frames - done < AT_ONCE ? (unsigned)(file->frames - done) : AT_ONCE;
        size_t len = 0;
        if (reach(file, done, count, bad_track, cause) < 0 ||
            output_frames(output, count, bytes, &len, bad_track, cause) < 0) {
            result = -1;
            break;
        }
        if (done == 0) result = write_mp3_info(file, bytes, out);
        if (fwrite(bytes, 1, len, out) != len) result = cause_unwritten(file->path, cause);
        done += count;
        /* all before the next frame's samples has been read */
        programme_release(programme, output_next(output) * FRAME);
        if (file->progress) file->progress(file->context, done);
    }
    free(bytes);
    output_free(output);
    return result;
}

int render_file_write(const struct render_file *file, struct programme *programme, int64_t *bad_track,
                      char **cause)
{
    char *part = xasprintf("%s.part", file->path), *reason = NULL;
    *bad_track = 0;
    FILE *out = fopen(part, "wb");
    int result = out ? 0 : -1;
    if (out) {
        result = ends_in(file->path, ".wav") ? write_wav(file, programme, out, bad_track, &reason)
                                             : write_mp3(file, programme, out, bad_track, &reason);
        if (fclose(out) != 0 && !reason) result = cause_unwritten(file->path, &reason);
    }
    if (result == 0) result = rename(part, file->path);
    if (result < 0) {
        if (reason) {
            cause_set(cause, "%s", reason);
        } else {
            cause_set(cause, "%s can't be written: %s", file->path, strerror(errno));
        }
        unlink(part);
    }
    free(reason);
    free(part);
    return result;
}

int render_file_floats(const char *path, const float *pcm, size_t samples, char **cause)
{
    FILE *out = fopen(path, "wb");
    if (!out) return cause_unwritten(path, cause);
    /* little endian, as all machines are that we run on */
    int result = write_wav_head(out, samples, 32);
    if (result == 0 && fwrite(pcm, PCM_CHANNELS * sizeof *pcm, samples, out) != samples) result = -1;
    if (fclose(out)) result = -1;
    return result ? cause_unwritten(path, cause) : 0;
}
