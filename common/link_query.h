/* link_query: what a request for a link says (docs/PROTOCOL.md, "The link"). */
#ifndef FOREVER_COMMON_LINK_QUERY_H
#define FOREVER_COMMON_LINK_QUERY_H
#include "common/http.h"
#include "common/link.h"

#define LINK_VERSION  1
#define LINK_NODE_MAX 17 /* a node's id: up to 16 of 0-9 a-f, and NUL */

struct link_query {
    struct link_ask ask; /* its texts are this struct's */
    char mount[64];
    char station[33];
    char node[LINK_NODE_MAX]; /* who asks; "" when it does not say */
};

/* 0; else the status to refuse it with, and *why. */
int link_query_read(const struct http_request *request, struct link_query *out, const char **why);

/* What a request for another pace says (POST /link/pace?link=ID&fill=1): 0 or -1. */
int link_query_pace(const struct http_request *request, char id[LINK_ID_MAX], double *times);

#endif
