/* challenge: GET /api/relay/challenge?nonce=HEX, by which the root finds out whether the public address leads
 * to this relay: the answer proves that it has the credential, without telling it (docs/PROTOCOL.md, "Calling
 * back"). */
#ifndef FOREVER_RELAY_CHALLENGE_H
#define FOREVER_RELAY_CHALLENGE_H

struct challenge;
struct http_server;

/* The credential is looked up in that state directory, so that one that came meanwhile counts; found (NULL
 * fine) is told when another one was found there than at first. */
struct challenge *challenge_new(struct http_server *http, const char *state, void (*found)(void *context),
                                void *context);
void challenge_free(struct challenge *challenge); /* before the server */

#endif
