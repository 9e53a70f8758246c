/* rehearse: plans a transition, renders it, listens to it, and plans again until it sounds as it should.
 *
 * The best way to join is rendered and measured; the entering track is then moved by up to 5 ms to meet the
 * other's kicks, the fades are set for how alike both sound, and a step of loudness is ridden out by up to
 * 2 dB. What still breaks a rule of certificate.h gives way to the next best way, at most JOIN_TRIES of them,
 * then to the safe fade; where that breaks one too, the least evil of all airs. Deterministic: the result
 * depends on the two tracks and files, nothing else. */
#ifndef FOREVER_ROOT_MIX_REHEARSE_H
#define FOREVER_ROOT_MIX_REHEARSE_H
#include "root/mix/certificate.h"
#include "root/mix/plan.h"
#include "root/mix/render.h"

/* As plan_transition; segments[1] carries its "certificate" (also in *out unless NULL). 0; -1 with *cause and
 * *bad_track when a file fails: then nothing is planned and the cursor stays. */
int rehearse_transition(const struct track *from, const struct track *to, const struct plan_conf *conf,
                        programme_open_track open, void *context, struct plan_cursor *cursor, json_t *why,
                        json_t *segments[2], struct certificate *out, int64_t *bad_track, char **cause);

#endif
