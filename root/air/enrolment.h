/* enrolment: how a relay becomes one of the list, over HTTP at the link listener (docs/PROTOCOL.md,
 * "Enrolment"): its token for a credential, once; then a call back to its public address. */
#ifndef FOREVER_ROOT_AIR_ENROLMENT_H
#define FOREVER_ROOT_AIR_ENROLMENT_H

struct enrolment;
struct fleet;
struct http_request;
struct http_server;

struct enrolment *enrolment_new(struct fleet *fleet);
/* After the server's requests have ended. */
void enrolment_free(struct enrolment *enrolment);
void enrolment_routes(struct enrolment *enrolment, struct http_server *door);

/* A line of the log about who was not let in, once for an address now and then. */
void enrolment_warn(struct enrolment *enrolment, const struct http_request *request, const char *why);

#endif
