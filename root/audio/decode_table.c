#include "root/audio/decode_table.h"

#include <libavformat/avformat.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define UNKNOWN_S 60 /* of sound that the index does not know: more may come while it is read */

struct run {
    int64_t pos; /* of its first packet; the others follow it without a gap */
    int first;
};

struct decode_table {
    int stream, count, next;
    int64_t pos;    /* of the next packet, unless a run begins with it */
    uint16_t *size; /* of each packet */
    struct run *runs;
    size_t run_count, run_room, run;
};

void decode_table_free(struct decode_table *table)
{
    if (!table) return;
    free(table->size);
    free(table->runs);
    free(table);
}

static void run_add(struct decode_table *t, int first, int64_t pos)
{
    if (t->run_count == t->run_room) {
        t->run_room = t->run_room ? 2 * t->run_room : 1024;
        t->runs = xrealloc(t->runs, t->run_room * sizeof *t->runs);
    }
    t->runs[t->run_count++] = (struct run){pos, first};
}

/* 0, or -1 when the packets from `from` on can't be told in the table. */
static int fill(struct decode_table *t, AVStream *stream, int from)
{
    int64_t follows = -1;
    for (int i = from; i < t->count; i++) {
        const AVIndexEntry *entry = avformat_index_get_entry(stream, i);
        if (!entry || entry->pos < 0 || entry->size <= 0 || entry->size > UINT16_MAX) return -1;
        if (entry->flags & AVINDEX_DISCARD_FRAME) return -1; /* decoded and not heard */
        if (entry->pos != follows) run_add(t, i, entry->pos);
        t->size[i] = (uint16_t)entry->size;
        follows = entry->pos + entry->size;
    }
    return 0;
}

/* Packets come as the index has them, and the index has them all. */
static int is_plain(const AVFormatContext *format, AVStream *stream, int count, unsigned taken, int64_t last)
{
    enum AVCodecID codec = stream->codecpar->codec_id;
    if (strncmp(format->iformat->name, "mov,", 4) != 0) return 0;
    if (codec != AV_CODEC_ID_AAC && codec != AV_CODEC_ID_ALAC) return 0;
    if (count < DECODE_TABLE_LEAST || taken == 0 || taken >= (unsigned)count) return 0;
    const AVIndexEntry *before = avformat_index_get_entry(stream, (int)taken - 1);
    const AVIndexEntry *end = avformat_index_get_entry(stream, count - 1);
    if (!before || before->pos != last || !end) return 0;
    double unknown = (double)(stream->duration - end->timestamp) * av_q2d(stream->time_base);
    return stream->duration == AV_NOPTS_VALUE || unknown < UNKNOWN_S;
}

struct decode_table *decode_table_new(const AVFormatContext *format, int stream, unsigned taken,
                                      int64_t last_pos)
{
    AVStream *of = format->streams[stream];
    int count = avformat_index_get_entries_count(of);
    if (!is_plain(format, of, count, taken, last_pos)) return NULL;
    struct decode_table *t = xcalloc(1, sizeof *t);
    t->stream = stream;
    t->count = count;
    t->next = (int)taken;
    t->size = xcalloc((size_t)count, sizeof *t->size);
    if (fill(t, of, t->next) == 0) return t;
    decode_table_free(t);
    return NULL;
}

int decode_table_read(struct decode_table *t, AVIOContext *io, AVPacket *out)
{
    if (t->next >= t->count) return AVERROR_EOF;
    int packet = t->next++;
    if (t->run < t->run_count && t->runs[t->run].first == packet) t->pos = t->runs[t->run++].pos;
    int64_t pos = t->pos;
    t->pos += t->size[packet];
    if (avio_seek(io, pos, SEEK_SET) != pos) return AVERROR_INVALIDDATA;
    int rc = av_get_packet(io, out, t->size[packet]);
    if (rc < 0) return rc;
    out->stream_index = t->stream;
    out->flags |= AV_PKT_FLAG_KEY;
    return 0;
}
