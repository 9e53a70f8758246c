/* wire: every message between air and the workers, one table.
 *
 * The workers form a star: each talks to air alone. A message whose row names another role as its
 * destination is passed on by air (never read by it, save where noted), requests with a sequence number of
 * air's own so that the reply finds its way back. A request whose destination is
 * down waits for it; one whose destination dies over it is asked once more of the next. What is not answered
 * within its row's deadline is answered by air with WIRE_ERROR {"error": text}; a late reply is dropped.
 * Bodies are JSON objects unless the row says binary. Air refuses (and logs) a message whose sender, size
 * or kind the table does not allow: a worker that breaks the rules is replaced.
 *
 * Positions are absolute frame numbers, sample positions are absolute station samples (44.1 kHz; sample =
 * frame * 1152), tracks are library ids. */
#ifndef FOREVER_ROOT_WIRE_H
#define FOREVER_ROOT_WIRE_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "common/msg.h"

enum role {
    ROLE_AIR,
    ROLE_STORE,
    ROLE_SCAN,
    ROLE_ANALYSE,
    ROLE_BRAIN,
    ROLE_STUDIO,
    ROLE_CODER,
    ROLE_LIVE,
    ROLE_COUNT
};

enum wire_type {
    /* life of a worker */
    WIRE_READY = 1, /* worker -> air: {"role","version","pid"}: from now on it serves */
    WIRE_CONFIG,    /* air -> worker, first message: {"state","libraries":[...],"bitrate_kbps","lead_s",
                       "seed","target_lufs","max_tempo_change_pct","min_play_pct","history_days",
                       "log_level","generation",
                       "mounts": as common/mount.h writes them, the main one first} */
    WIRE_QUIT,      /* air -> worker: finish the item at hand, then exit 0 */
    WIRE_ERROR,     /* reply: {"error": text} */

    /* scan -> store */
    WIRE_FOUND = 20, /* {"root","generation","files":[{"path","size","mtime_ns"}...]} at most 200 files */
    WIRE_SCANNED, /* {"root","generation","files","error"?}: one walk is complete; what was not found is gone
                   */

    /* analyse <-> store; air notes the track of a JOB_IS passing to a worker, kills one that overruns
       its deadline and reports it lost */
    WIRE_JOB = 40, /* request: {} */
    WIRE_JOB_IS,   /* reply: {"track","path","size","deadline_s","urgent"} + descriptor, or {"none":true};
                      urgent: the station waits for it, so it is not done at low priority */
    WIRE_FEATURES, /* {"track","hash","tags","features"} */
    WIRE_ART,      /* analyse -> store, binary: i64 track (little endian), mime text, NUL, image bytes */
    WIRE_FAILED,   /* {"track","reason"} */
    WIRE_JOB_LOST, /* air -> store: {"track","reason"}: the worker died or hung on it */
    WIRE_WAVE, /* analyse -> store, binary: i64 track (little endian), the waveform as root/analysis/wave.h
                  has it */

    /* store -> air: {"total","analysed","failed","pending","outdated"}, at each change, at most one a second
     */
    WIRE_PROGRESS = 60,

    /* brain <-> store */
    WIRE_POOL = 80,   /* request: {"after": track id or 0}: playable analysed tracks in id order */
    WIRE_POOL_IS,     /* reply: {"tracks":[summary...], "last": bool}; a summary is track_to_json without
                         beats, downbeats, sections and fingerprint */
    WIRE_TRACK_READY, /* store -> brain: one summary, newly analysed or changed */
    WIRE_TRACK_GONE,  /* store -> brain: {"track"} */
    WIRE_HISTORY,     /* request brain|studio -> store: {"limit"}: latest plays first */
    WIRE_HISTORY_IS,  /* reply: {"plays":[{"track","position","wall_s"}...]} */

    WIRE_REPOOL =
        90, /* store -> brain: {}: it began anew, what it told before may be lost: ask for all again */

    /* studio <-> brain, store, air */
    WIRE_NEXT = 100, /* request to brain: {"after": track or null, "planned":[track...] oldest first,
                        "avoid":[track...] (could not be opened)} */
    WIRE_NEXT_IS,    /* reply: {"track", "why":{...}} or {"none":true} while there is nothing to play */
    WIRE_TRACK,      /* request to store: {"track"} */
    WIRE_TRACK_IS,   /* reply: track_to_json, whole, + descriptor of the file, read-only; or WIRE_ERROR */
    WIRE_UNPLAYABLE, /* studio -> store: {"track","reason"}: it could not be decoded when it was needed */
    WIRE_START,      /* air -> studio, after CONFIG and READY: {"branch","next": position, "air": position,
                        "segments":[segment
                        marks whose end lies at or after the air (or `next` if less) less 10 s, whole also where
                        the next one cuts them short, oldest first]}: go on from there, with the very bytes an
                        undisturbed studio would send */
    WIRE_CREDIT,     /* air -> studio: {"branch","until": position}: frames below it may be sent */
    WIRE_RETRACT,    /* air -> studio: {"branch": new one, "position","skip": bool,"live"?: session}: all from
                        position on is void; make something else from there, as a skip out of what plays
                        there; with "live", what a source sends */
    WIRE_FRAMES,     /* studio -> air, binary: struct wire_frames head, then the frames */
    WIRE_MARK,       /* studio -> air: {"branch","position","kind","body":{...}}; sent before the frames it
                        points at */
    WIRE_FORK,  /* studio -> air: {"branch","position"}: what was announced can't be played on from there (a
                   file failed, a live source has ended). Air answers with RETRACT, skip false, at position or,
                   where that has come too near, at the first place that may still change; not when branch is
                   an old one */
    WIRE_ALIVE, /* studio -> air: {}: it is busy for longer than usual, and well */
    WIRE_LOOP,  /* studio -> air: {"mount": index}: its loop (common/loop) in the state directory is new */
    /* air -> store: the segment on air (its mark) with "wall_s": goes to the history */
    WIRE_AIRED = 120,
    WIRE_ART_GET,  /* request air -> store: {"track"} */
    WIRE_ART_IS,   /* reply, binary: mime text, NUL, image bytes; or WIRE_ERROR */
    WIRE_PLANNED,  /* air -> brain: {"track"}: a track entered the plan (from a segment mark) */
    WIRE_WAVE_GET, /* request air -> store: {"track"} */
    WIRE_WAVE_IS,  /* reply, binary: the waveform, or WIRE_ERROR */

    /* coder: the mounts beside the main one, encoded from the studio's spool (root/work/spool.h) */
    WIRE_ENCODE = 140, /* air -> coder: {"mount": index, "wake","branch","next": position, "until": position}:
                          frames below `until`, which lies before the main mount's head, are wanted; with
                          another wake or branch than before from `next` on, else from where it stands; until
                          0: none any more */
    WIRE_LACKS,   /* coder -> air: {"mount","block"}: it waits for that block, which is not in the spool; each
                     second while it does */
    WIRE_ENCODED, /* coder -> air, binary: struct wire_frames head, then the frames */

    /* live input: `session` counts the sources that were let in */
    WIRE_LIVE_SOURCE = 160, /* air -> live, binary: JSON {"session","type": content type,"chunked","length"
                               (-1: to the end),"answer": one is due at the end}, NUL, the bytes of the body
                               that came with the header; + the source's socket */
    WIRE_LIVE_PCM,   /* air -> live: {"session"} + where the PCM goes; air -> studio: {"session","title"} +
                        where it comes from: pcm.h's format, as it is in memory, to the end of the pipe */
    WIRE_LIVE_TITLE, /* air or live -> studio: {"session","title"} */
    WIRE_LIVE_ENDED, /* live -> air: {"session","reason"}: all that could be decoded is in the pipe */
    WIRE_LIVE_READY, /* studio -> air: {"session"}: enough is held to go on air: RETRACT with "live" follows
                      */
    WIRE_LIVE_STOP,  /* air -> studio: {"session"}: the mix comes back now */
    WIRE_LIVE_OVER,  /* studio -> air: {"session","reason"}: nothing of it is wanted any more */

    /* statistics over time and the traffic ledger (root/sample.h) */
    WIRE_SERIES = 180, /* air -> store, binary: a batch of samples and of the ledger's days; those of one
                          moment are written together, with the last of them */
    WIRE_SERIES_GET,  /* request air -> store: {"names":[...],"from","to","step"}, times in seconds since 1970
                       */
    WIRE_SERIES_IS,   /* reply: {"from","to","step","series":{name: columns}} */
    WIRE_LEDGER_GET,  /* request air -> store: {"after": 0 or as told,"from_day","to_day"} */
    WIRE_LEDGER_DROP, /* air -> store: {"name"}: the relay is no more */
    WIRE_LEDGER_IS,   /* reply: {"relays":[{"name","days":[day, bytes, ...]}...],"after","last": bool} */
    WIRE_LEARNED,     /* air -> store: {"nodes":[{"name","values":{...}}...]}: what is to be known after a
                         restart (root/air/recall.h); what was told of a node before is replaced */
    WIRE_LEARNED_GET, /* request air -> store: {"after": 0 or as told} */
    WIRE_LEARNED_IS,  /* reply: {"nodes": as told,"after","last": bool} */
};

#define WIRE_ENCODED_HEAD 24 /* as WIRE_FRAMES, then u32 mount, u32 wake */

/* Head of WIRE_FRAMES, little endian, followed by exactly `count` frames from `position` on. */
#define WIRE_FRAMES_HEAD 16 /* u64 position, u32 branch, u32 count */
#define WIRE_FRAMES_MAX  64 /* frames in one message: an item, at most 1045 bytes each */

enum wire_kind { WIRE_EVENT, WIRE_REQUEST, WIRE_REPLY };

struct wire_row {
    enum wire_type type;
    const char *name;
    unsigned from; /* bit set of roles, 1u << role */
    enum role to;  /* destination of events and requests; replies go where the request came from */
    enum wire_kind kind;
    enum wire_type reply; /* of a request */
    size_t max_len;
    int deadline_ms; /* of a request */
    int binary;
};

/* NULL when the type is none of ours. */
const struct wire_row *wire_find(unsigned type);
const char *role_name(enum role role);
int role_parse(const char *name); /* -1 when none */

/* Sends a JSON body; consumes the reference. Result as msg_send. */
int wire_send(struct msg_channel *channel, enum wire_type type, uint32_t seq, json_t *body, int fd);
/* Parses a message's JSON body, which must be an object within its row's limit; NULL with *cause. */
json_t *wire_body(const struct msg *message, char **cause);

void wire_frames_encode(uint8_t head[WIRE_FRAMES_HEAD], uint64_t position, uint32_t branch, uint32_t count);
/* Splits a WIRE_FRAMES body; -1 when it is too short or counts more than WIRE_FRAMES_MAX frames. */
int wire_frames_decode(const struct msg *message, uint64_t *position, uint32_t *branch, uint32_t *count,
                       const uint8_t **bytes, size_t *len);

void wire_encoded_encode(uint8_t head[WIRE_ENCODED_HEAD], uint64_t position, uint32_t branch, uint32_t count,
                         uint32_t mount, uint32_t wake);
int wire_encoded_decode(const struct msg *message, uint64_t *position, uint32_t *branch, uint32_t *count,
                        uint32_t *mount, uint32_t *wake, const uint8_t **bytes, size_t *len);

/* Marks ("kind" of WIRE_MARK, and of the ring and the link)
 *
 * "title"    {"title","artist","text": "Artist - Title"}: what players show from this position on.
 * "segment"  one stretch of the programme; the body is both the public description (/api/segments shows all
 *            but "plan") and, with "plan", all that is needed to render it again:
 *   {"id","technique": play|blend|swap|cut|echo|fade|live, "start_sample","end_sample",
 *    "tracks":[{"track","hash","title","artist","album","duration_s","tempo_bpm","camelot","gain_db",
 *               "from_s","to_s"}]   one, or two in a transition (out first),
 *    "tempo_change_pct" (transitions), "why":{...} (why this next track), "plan":{...} (root/mix only)}
 */
#endif
