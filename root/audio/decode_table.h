/* decode_table: where the packets of a long MP4 file lie, in 2 bytes a packet rather than libavformat's 24.
 *
 * libavformat indexes an MP4 file as a whole: three hours of AAC take 11 MB for as long as they are open, and
 * the studio has several tracks open at once. Once the first packets have come the index can be written down
 * small, the demuxer closed, and the rest read by this: the same packets, of the same bytes, with the same
 * flags. */
#ifndef FOREVER_ROOT_AUDIO_DECODE_TABLE_H
#define FOREVER_ROOT_AUDIO_DECODE_TABLE_H
#include <stdint.h>

#define DECODE_TABLE_LEAST 20000 /* packets; with fewer the demuxer's index is small enough */

struct decode_table;
struct AVFormatContext;
struct AVIOContext;
struct AVPacket;

/* The packets of a stream of which `taken` were read, the last of them at `last_pos`. NULL where there are
 * few, or where the demuxer does more than to read them one after the other (kinds that it parses, an
 * index that is not complete). */
struct decode_table *decode_table_new(const struct AVFormatContext *format, int stream, unsigned taken,
                                      int64_t last_pos);
void decode_table_free(struct decode_table *table);
/* The next packet: 0, AVERROR_EOF, or what is wrong with this one. As av_read_frame. */
int decode_table_read(struct decode_table *table, struct AVIOContext *io, struct AVPacket *out);

#endif
