#include "relay/challenge.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "relay/enrolment.h"

#define LOOK_EVERY_NS (CLOCK_NS_PER_S / 2) /* a file is not read for everybody who asks */

struct challenge {
    struct http_server *http;
    char *state, name[ENROL_NAME_MAX + 1];
    unsigned char hash[ENROL_HASH_BYTES];
    int enrolled;
    int64_t looked_ns;
    void (*found)(void *context);
    void *context;
};

static void look(struct challenge *c)
{
    struct enrolment e;
    char *cause = NULL;
    int64_t now_ns = clock_boot_ns();
    if (c->looked_ns && now_ns - c->looked_ns < LOOK_EVERY_NS) return;
    int first = !c->looked_ns, found = enrolment_load(c->state, &e, &cause);
    c->looked_ns = now_ns;
    c->enrolled = found == 1;
    unsigned char before[ENROL_HASH_BYTES];
    memcpy(before, c->hash, sizeof before);
    if (found == 1) {
        memcpy(c->name, e.name, sizeof c->name);
        enrol_secret_hash(e.credential, c->hash);
    }
    if (found < 0 && first) log_error("challenge", "%s", cause);
    OPENSSL_cleanse(&e, sizeof e);
    free(cause);
    if (c->found && !enrol_same(before, c->hash, sizeof before)) c->found(c->context);
}

static void on_challenge(void *context, struct http_request *request)
{
    struct challenge *c = context;
    char nonce[ENROL_NONCE_MAX + 2], proof[ENROL_PROOF_TEXT];
    json_t *answer = json_pack("{s:s}", "forever", "relay");
    int status = 200;
    look(c);
    if (!http_query_get(request, "nonce", nonce, sizeof nonce) || !enrol_nonce_is_sound(nonce)) {
        status = 400;
        json_object_set_new(answer, "error", json_string("nonce must be 16 to 64 digits of 0-9a-f"));
    } else if (!c->enrolled) {
        status = 404;
        json_object_set_new(answer, "error", json_string("it has no credential"));
    } else {
        enrol_proof(c->hash, c->name, nonce, proof);
        json_object_set_new(answer, "name", json_string(c->name));
        json_object_set_new(answer, "version", json_string(FOREVER_VERSION));
        json_object_set_new(answer, "proof", json_string(proof));
        json_object_set_new(answer, "clock", json_real((double)clock_wall_ns() / 1e9));
    }
    char *text = json_text(answer);
    http_add_header(request, "Cache-Control", "no-store");
    http_reply(request, status, "application/json", text, strlen(text));
    free(text);
    json_decref(answer);
}

static const struct http_route routes[] = {{HTTP_GET | HTTP_RESERVED, "/api/relay/challenge", on_challenge, 0,
                                            "by which the root finds this relay (docs/PROTOCOL.md)"}};

struct challenge *challenge_new(struct http_server *http, const char *state, void (*found)(void *context),
                                void *context)
{
    struct challenge *c = xcalloc(1, sizeof *c);
    c->http = http;
    c->state = xstrdup(state);
    c->found = found;
    c->context = context;
    http_server_routes(http, routes, 1, c);
    return c;
}

void challenge_free(struct challenge *c)
{
    if (!c) return;
    http_server_unroute(c->http, routes, c);
    OPENSSL_cleanse(c->hash, sizeof c->hash);
    free(c->state);
    free(c);
}
