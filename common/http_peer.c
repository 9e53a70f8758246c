/* Who asks: the peer of the connection, or whom it asks for when it is trusted to say so. */
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/http_internal.h"
#include "common/proxy.h"

void http_request_set_peer(struct http_request *r)
{
    const struct http_conn *c = r->conn;
    const struct http_head *head = r->head;
    r->peer = c->peer;
    r->loopback = c->loopback;
    r->secure = c->tls != NULL;
    if (!c->trusted) return;
    int more = 1, forwarded = 0;
    for (size_t i = head->field_count; i-- > 0 && more;) {
        if (strcasecmp(head->fields[i].name, "X-Forwarded-For")) continue;
        struct net_addr client;
        int found = proxy_forwarded_for(head->fields[i].value, c->server->trusted, &client);
        forwarded = 1;
        more = found == 0;
        if (found >= 0) r->peer = client;
    }
    if (forwarded) r->loopback = 0;
    const char *proto = http_header(r, "X-Forwarded-Proto");
    if (proto) r->secure = !strcasecmp(proto, "https");
}

const char *http_peer(const struct http_request *request)
{
    struct http_request *r = (struct http_request *)(uintptr_t)request; /* a cache, no state */
    return *r->peer_text ? r->peer_text : net_addr_text(&r->peer, r->peer_text);
}

const struct net_addr *http_peer_addr(const struct http_request *r)
{
    return &r->peer;
}

int http_peer_is_loopback(const struct http_request *r)
{
    return r->loopback;
}

int http_secure(const struct http_request *r)
{
    return r->secure;
}

void http_access_line(const struct http_request *r, struct access_line *line)
{
    *line = (struct access_line){.peer = r->peer,
                                 .method = r->head->method,
                                 .target = r->target,
                                 .query = r->query,
                                 .minor = r->head->minor,
                                 .seconds = (double)(clock_boot_ns() - r->began_ns) / CLOCK_NS_PER_S,
                                 .referer = http_header(r, "Referer"),
                                 .agent = http_header(r, "User-Agent")};
}
