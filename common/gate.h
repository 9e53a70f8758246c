/* gate: how listeners come in and go out at a node: a seat of the limits for each, and a line of the access
 * log when it has gone. One gate for all mounts of a node; it outlives their fan-outs. */
#ifndef FOREVER_COMMON_GATE_H
#define FOREVER_COMMON_GATE_H
#include "common/access.h"
#include "common/fanout.h"
#include "common/http.h"
#include "common/limits.h"

struct gate;

/* Both borrowed; access may be NULL. */
struct gate *gate_new(struct limits *limits, struct access_log *access);
void gate_free(struct gate *gate);
struct limits *gate_limits(struct gate *gate);

/* What a listener who asks with this request would be told; takes nothing. spare: as limits_judge's. */
enum limits_verdict gate_judge(struct gate *gate, const char *mount, unsigned kbps,
                               const struct http_request *request, unsigned spare);
/* Takes a seat: *tag is for the fan-out's listener (fanout_listener_conf.tag). Before the request is
 * detached. */
enum limits_verdict gate_enter(struct gate *gate, const char *mount, unsigned kbps,
                               const struct http_request *request, unsigned spare, int status, void **tag);
/* The fan-out would not have it. */
void gate_give_up(struct gate *gate, void *tag);
/* For fanout_on_ended; context is the gate. */
void gate_on_ended(void *context, const struct fanout_ended *ended);
/* A listener was turned away: counted, and logged now and then. The status to answer, *retry_s for
 * Retry-After. */
int gate_refuse(struct gate *gate, enum limits_verdict verdict, const char *why, unsigned *retry_s);

#endif
