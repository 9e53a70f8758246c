/* fetch: outgoing HTTP, libcurl's multi interface on the event loop; the only file that knows libcurl.
 * Limits on time and size are mandatory; redirects are not followed unless asked for. */
#ifndef FOREVER_COMMON_FETCH_H
#define FOREVER_COMMON_FETCH_H
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct sockaddr;
struct fetch_client;
struct fetch;

/* Why there was no answer, or not a whole one. */
enum fetch_failure {
    FETCH_FAILED,      /* for none of these reasons */
    FETCH_NO_NAME,     /* the host's name means nothing */
    FETCH_REFUSED,     /* nothing listens there */
    FETCH_UNREACHABLE, /* no way leads there */
    FETCH_NO_CONNECT,  /* no connection in the time there was: packets are dropped */
    FETCH_SILENT,      /* connected, but the answer did not come in time */
    FETCH_CLOSED,      /* connected, and then closed from there */
    FETCH_NOT_HTTP,
    FETCH_NOT_TLS,
    FETCH_CERT_TIME,   /* the certificate has expired, or is not valid yet */
    FETCH_CERT_NAME,   /* it is for another name */
    FETCH_CERT_ISSUER, /* nobody known has signed it */
    FETCH_CERT,        /* something else is wrong with it */
    FETCH_PIN,         /* the server's key is not the one pinned */
};

struct fetch_conf {
    const char *url;
    /* "sha256//BASE64" of the server's key (https only): no other is spoken to, and then neither the name nor
     * who signed its certificate matters; NULL: those do */
    const char *pin;
    const char *ca_file;    /* whose signatures count; NULL: the system's */
    int fresh;              /* over a connection of its own, which is closed after it */
    const char *bearer;     /* token for Authorization; NULL none */
    const char *user_agent; /* NULL: forever/VERSION */
    const void *body;       /* copied; NULL: GET */
    size_t body_len;
    const char *body_type;
    int connect_ms, total_ms; /* total 0: endless (a stream) */
    int stall_ms;             /* gives up when fewer than 1 byte came in that time; 0 never */
    size_t max_bytes;         /* of a collected answer; a stream's bytes go to on_bytes instead */
    const char *header;       /* one more line of the request, "Name: value"; NULL none */
    int redirects;            /* followed at most; their answers are not told of */
    /* Each address that is connected to, whether it answers or not. NULL fine. */
    void (*on_address)(void *context, const struct sockaddr *address);
    /* Each field of the answer's header, before on_status. NULL fine. */
    void (*on_field)(void *context, const char *name, const char *value);
    /* Status line and headers are in; return 0 to go on, -1 to stop. NULL fine. */
    int (*on_status)(void *context, int status);
    /* Bytes of a 200 as they come; return 0 to go on, -1 to stop. NULL: collect. */
    int (*on_bytes)(void *context, const void *bytes, size_t len);
    /* Before on_end, when that tells an error. NULL fine. */
    void (*on_failure)(void *context, enum fetch_failure why);
    /* The end, exactly once unless cancelled: status 0 when there was no answer; error NULL when all was
     * well; body is what was collected. The fetch is gone afterwards. */
    void (*on_end)(void *context, int status, const char *error, const void *body, size_t len);
    void *context;
};

struct fetch_client *fetch_client_new(struct event_base *base);
void fetch_client_free(struct fetch_client *client);
/* NULL with *cause when the URL can't be used. */
struct fetch *fetch_start(struct fetch_client *client, const struct fetch_conf *conf, char **cause);
void fetch_cancel(struct fetch *fetch); /* no callback follows; fine from within one of its callbacks */
const char *fetch_library(void);        /* version of libcurl at run time */
uint64_t fetch_bytes_in(const struct fetch_client *client);
uint64_t fetch_bytes_out(const struct fetch_client *client);

#endif
