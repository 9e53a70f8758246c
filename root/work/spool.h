/* spool: the PCM of the lead on disk, so that a mount that wakes is encoded from what was rendered already.
 *
 * Rendering can't be entered anywhere within a second (a stretched passage is rendered whole), so what the
 * studio has rendered stays here until it has aired: blocks as a press takes them, after the limiter, in full
 * precision. Block k lies in slot k modulo their number, with its number and a checksum. Plain reads and
 * writes: nothing of it counts as anybody's memory but the page cache's.
 *
 * One process writes, the studio, and a block before the frames that are made of it; another reads, and only
 * what frames on air's side vouch for. So nobody has to be told what is valid: a block with the right number
 * and checksum below the programme's head is the block, whoever wrote it. One torn by a reader that came too
 * early, or by a crash of the machine, is a block that is not there. */
#ifndef FOREVER_ROOT_WORK_SPOOL_H
#define FOREVER_ROOT_WORK_SPOOL_H
#include <stdint.h>

struct spool;

/* Held behind the air: the longest burst of a mount that wakes, and its priming. */
#define SPOOL_PAST_S 40.0

/* The spool of a state directory for a lead of so many seconds. As the writer, makes it, with all its room;
 * else it must be there. 0, or -1 with *cause. */
int spool_open(struct spool **out, const char *state, double lead_s, int writer, char **cause);
void spool_close(struct spool *spool);
/* Takes away the file. */
void spool_remove(const char *state);
/* One block of 1152 stereo samples. 0, or -1 with *cause. */
int spool_put(struct spool *spool, uint64_t block, const float *pcm, char **cause);
/* 0, or -1 when it is not there. */
int spool_get(struct spool *spool, uint64_t block, float *pcm);

#endif
