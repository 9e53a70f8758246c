/* WAV files of 16-bit samples, interleaved. */
#ifndef FOREVER_TESTS_UNIT_WAV_H
#define FOREVER_TESTS_UNIT_WAV_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAV_HEAD_BYTES 44

static inline void wav_put(int fd, const int16_t *pcm, size_t samples, unsigned channels, unsigned rate)
{
    uint32_t frame = channels * 2, bytes = (uint32_t)samples * frame;
    const uint32_t head[WAV_HEAD_BYTES / 4] = {0x46464952,               /* "RIFF" */
                                               36 + bytes,   0x45564157, /* "WAVE" */
                                               0x20746d66,               /* "fmt " */
                                               16,           1 | channels << 16, rate,
                                               rate * frame, frame | 16u << 16,  0x61746164, /* "data" */
                                               bytes};
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
    assert_int_equal(write(fd, pcm, bytes), bytes);
}

/* A file in memory. */
static inline int wav_memory(const int16_t *pcm, size_t samples, unsigned channels, unsigned rate)
{
    int fd = memfd_create("track", MFD_CLOEXEC);
    wav_put(fd, pcm, samples, channels, rate);
    return fd;
}

static inline void wav_file(const char *path, const int16_t *pcm, size_t samples, unsigned channels,
                            unsigned rate)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    wav_put(fd, pcm, samples, channels, rate);
    close(fd);
}

#endif
