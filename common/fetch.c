/* fetch: libcurl's multi interface driven by libevent.
 *
 * curl names the sockets it wants watched and one timer; both become events. Inside curl's callbacks (and so
 * inside on_status and on_bytes) its interface must not be entered again: a fetch started or cancelled there
 * is only noted, and taken up when curl has returned. on_end is called from outside curl. */
#include "common/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define ERROR_BODY_BYTES 4096 /* of an answer other than 200 to a stream */

struct fetch {
    struct fetch *next; /* of the client's */
    struct fetch_client *client;
    struct fetch_conf conf;
    CURL *easy;
    struct curl_slist *headers, *aliases;
    struct event *stall;
    int64_t last_ns; /* when the last byte came */
    int added, cancelled, told_status, status;
    const char *stopped; /* why we ended it ourselves */
    char *body;
    size_t len, limit;
    char error[CURL_ERROR_SIZE];
};

struct fetch_client {
    struct event_base *base;
    CURLM *multi;
    struct event *timer;
    struct fetch *fetches;
    int inside; /* curl, now */
    uint64_t bytes_in, bytes_out;
};

static void client_settle(struct fetch_client *c);

/* A socket of curl's: the event that watches it. */
static void on_socket_event(evutil_socket_t fd, short what, void *context)
{
    struct fetch_client *c = context;
    int running;
    c->inside++;
    curl_multi_socket_action(
        c->multi, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
        &running);
    c->inside--;
    client_settle(c);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct fetch_client *c = context;
    int running;
    (void)fd, (void)what;
    c->inside++;
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    c->inside--;
    client_settle(c);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *watched)
{
    struct fetch_client *c = context;
    struct event *event = watched;
    (void)easy;
    if (event) event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short wanted = EV_PERSIST | (short)(what & CURL_POLL_IN ? EV_READ : 0) |
                       (short)(what & CURL_POLL_OUT ? EV_WRITE : 0);
        event = event_new(c->base, fd, wanted, on_socket_event, c);
        if (!event || event_add(event, NULL)) return -1;
    }
    curl_multi_assign(c->multi, fd, event);
    return 0;
}

static int set_timer(CURLM *multi, long ms, void *context)
{
    struct fetch_client *c = context;
    (void)multi;
    if (ms < 0) return event_del(c->timer);
    struct timeval after = {ms / 1000, ms % 1000 * 1000};
    return event_add(c->timer, &after);
}

/* A field's name and value without the white space around it. */
static void tell_field(struct fetch *f, char *line, size_t len)
{
    char *colon = memchr(line, ':', len), name[64], value[512];
    size_t n = colon ? (size_t)(colon - line) : 0, from = n + 1;
    while (from < len && (line[from] == ' ' || line[from] == '\t'))
        from++;
    while (len > from && (unsigned char)line[len - 1] <= ' ')
        len--;
    if (!n || n >= sizeof name || len - from >= sizeof value) return;
    memcpy(name, line, n);
    name[n] = '\0';
    memcpy(value, line + from, len - from);
    value[len - from] = '\0';
    f->conf.on_field(f->conf.context, name, value);
}

/* In place of curl's own: also tells who is connected to. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct fetch *f = context;
    if (purpose == CURLSOCKTYPE_IPCXN && !f->cancelled) f->conf.on_address(f->conf.context, &address->addr);
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* A whole header line. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct fetch *f = context;
    size_t len = size * count;
    f->client->bytes_in += len;
    f->last_ns = clock_boot_ns();
    if (f->cancelled) return 0;
    if (len > 2 && f->conf.on_field && !f->told_status) tell_field(f, line, len);
    if (len > 2 || f->told_status || (*line != '\r' && *line != '\n')) return len;
    long status = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return len; /* an interim answer */
    if (f->conf.redirects && status / 100 == 3 && status != 304) return len;
    f->told_status = 1;
    f->status = (int)status;
    if (f->conf.on_status && f->conf.on_status(f->conf.context, f->status))
        f->stopped = "stopped by the receiver";
    return f->cancelled || f->stopped ? 0 : len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct fetch *f = context;
    size_t len = size * count;
    f->client->bytes_in += len;
    f->last_ns = clock_boot_ns();
    if (f->cancelled) return 0;
    if (f->conf.on_bytes && f->status == 200) {
        if (f->conf.on_bytes(f->conf.context, bytes, len)) f->stopped = "stopped by the receiver";
        return f->cancelled || f->stopped ? 0 : len;
    }
    if (len > f->limit - f->len) {
        f->stopped = "the answer is too large";
        return 0;
    }
    char *grown = realloc(f->body, f->len + len + 1);
    if (!grown) {
        f->stopped = "out of memory";
        return 0;
    }
    f->body = grown;
    memcpy(f->body + f->len, bytes, len);
    f->len += len;
    f->body[f->len] = '\0';
    return len;
}

static void fetch_free(struct fetch *f)
{
    struct fetch_client *c = f->client;
    if (f->added) {
        long head = 0;
        curl_off_t sent = 0;
        curl_easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &head);
        curl_easy_getinfo(f->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
        c->bytes_out += (uint64_t)head + (uint64_t)sent;
        curl_multi_remove_handle(c->multi, f->easy);
    }
    struct fetch **at = &c->fetches;
    while (*at && *at != f)
        at = &(*at)->next;
    if (*at) *at = f->next;
    if (f->stall) event_free(f->stall);
    curl_easy_cleanup(f->easy);
    curl_slist_free_all(f->headers);
    curl_slist_free_all(f->aliases);
    free(f->body);
    free(f);
}

static enum fetch_failure certificate_failure(CURL *easy)
{
    long verdict = 0;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    switch (verdict) {
    case X509_V_OK: /* OpenSSL said nothing, so it is curl that is not content: with the name */
    case X509_V_ERR_UNSPECIFIED:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return FETCH_CERT_NAME;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return FETCH_CERT_TIME;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return FETCH_CERT_ISSUER;
    default:
        return FETCH_CERT;
    }
}

static enum fetch_failure failure_of(CURL *easy, CURLcode code)
{
    long number = 0;
    curl_off_t connected = 0, looked_up = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return FETCH_NO_NAME;
    case CURLE_COULDNT_CONNECT:
        return number == ECONNREFUSED ? FETCH_REFUSED
               : number == ETIMEDOUT  ? FETCH_NO_CONNECT
                                      : FETCH_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return connected ? FETCH_SILENT : looked_up ? FETCH_NO_CONNECT : FETCH_NO_NAME;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        return FETCH_CLOSED;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
        return FETCH_NOT_HTTP;
    case CURLE_SSL_CONNECT_ERROR:
        return FETCH_NOT_TLS;
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate_failure(easy);
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return FETCH_PIN;
    default:
        return FETCH_FAILED;
    }
}

/* Tells the end and frees. */
static void fetch_finish(struct fetch *f, const char *error, enum fetch_failure why)
{
    const struct fetch_conf conf = f->conf;
    struct fetch *kept = f;
    char *body = f->body;
    size_t len = f->len;
    int status = f->status, cancelled = f->cancelled;
    char text[CURL_ERROR_SIZE];
    if (error) {
        size_t n = strnlen(error, sizeof text - 1);
        memcpy(text, error, n);
        text[n] = '\0';
    }
    f->body = NULL;
    fetch_free(kept); /* first, so that on_end may start another one on the same connection */
    if (error && !cancelled && conf.on_failure) conf.on_failure(conf.context, why);
    if (!cancelled && conf.on_end)
        conf.on_end(conf.context, status, error ? text : NULL, body ? body : "", len);
    free(body);
}

static void fetch_add(struct fetch *f)
{
    struct fetch_client *c = f->client;
    c->inside++;
    curl_multi_add_handle(c->multi, f->easy);
    c->inside--;
    f->added = 1;
}

/* Outside curl: takes up what was noted inside, and tells ends. */
static void client_settle(struct fetch_client *c)
{
    if (c->inside) return;
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        if (m->msg != CURLMSG_DONE) continue;
        struct fetch *f = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        const char *error = f->stopped ? f->stopped : *f->error ? f->error : curl_easy_strerror(code);
        fetch_finish(f, code == CURLE_OK ? NULL : error, failure_of(m->easy_handle, code));
    }
    struct fetch *f = c->fetches, *next;
    for (; f; f = next) {
        next = f->next;
        if (f->cancelled)
            fetch_free(f);
        else if (!f->added)
            fetch_add(f);
    }
}

static void on_stall(evutil_socket_t fd, short what, void *context)
{
    struct fetch *f = context;
    (void)fd, (void)what;
    int64_t left_ms = f->conf.stall_ms - (clock_boot_ns() - f->last_ns) / 1000000;
    if (left_ms <= 0) {
        fetch_finish(f, "nothing came for too long", FETCH_SILENT);
        return;
    }
    struct timeval after = {left_ms / 1000, left_ms % 1000 * 1000};
    event_add(f->stall, &after);
}

struct fetch_client *fetch_client_new(struct event_base *base)
{
    struct fetch_client *c = xcalloc(1, sizeof *c);
    c->base = base;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(c->multi = curl_multi_init()) ||
        !(c->timer = evtimer_new(base, on_timer, c)))
        abort(); /* only for want of memory, before there is anybody to serve */
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 4L);
    return c;
}

void fetch_client_free(struct fetch_client *c)
{
    if (!c) return;
    for (struct fetch *f = c->fetches, *next; f; f = next) {
        next = f->next;
        fetch_free(f);
    }
    curl_multi_cleanup(c->multi);
    event_free(c->timer);
    curl_global_cleanup();
    free(c);
}

/* What an URL must have; whether it names this machine (then no proxy of the environment is used). */
static int check_url(const char *url, int *local, char **cause)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL;
    int result = 0;
    if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
        (strcmp(scheme, "http") && strcmp(scheme, "https")))
        result = cause_set(cause, "\"%s\" is no http:// or https:// URL", url);
    else
        *local = !strcasecmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return result;
}

static void add_header(struct fetch *f, const char *name, const char *value)
{
    char *line = xasprintf("%s:%s%s", name, *value ? " " : "", value);
    struct curl_slist *list = curl_slist_append(f->headers, line);
    if (list) f->headers = list;
    free(line);
}

static void set_options(struct fetch *f, int local)
{
    const struct fetch_conf *conf = &f->conf;
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_URL, conf->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_USERAGENT, conf->user_agent ? conf->user_agent : "forever/" FOREVER_VERSION);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(conf->connect_ms ? conf->connect_ms : 5000));
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)conf->total_ms);
    if (local) curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (conf->on_address) {
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, f);
    }
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    if (conf->pin) {
        curl_easy_setopt(e, CURLOPT_PINNEDPUBLICKEY, conf->pin);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https"); /* a pin is of no use without */
    }
    if (conf->ca_file) curl_easy_setopt(e, CURLOPT_CAINFO, conf->ca_file);
    if (conf->fresh) {
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    }
    if (conf->redirects) {
        curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)conf->redirects);
        curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    }
    if (conf->header) {
        struct curl_slist *list = curl_slist_append(f->headers, conf->header);
        if (list) f->headers = list;
        /* SHOUTcast's way to say HTTP/1.0 200 */
        f->aliases = curl_slist_append(NULL, "ICY 200 OK");
        curl_easy_setopt(e, CURLOPT_HTTP200ALIASES, f->aliases);
    }
    if (conf->bearer) {
        char *value = xasprintf("Bearer %s", conf->bearer);
        add_header(f, "Authorization", value);
        free(value);
    }
    if (conf->body) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)conf->body_len);
        curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, conf->body);
        add_header(f, "Content-Type", conf->body_type ? conf->body_type : "application/octet-stream");
        add_header(f, "Expect", ""); /* none: no round trip before the body */
    }
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers);
}

struct fetch *fetch_start(struct fetch_client *c, const struct fetch_conf *conf, char **cause)
{
    int local = 0;
    if (check_url(conf->url, &local, cause)) return NULL;
    if (conf->bearer && strcspn(conf->bearer, "\r\n") != strlen(conf->bearer)) {
        cause_set(cause, "the token holds a line break");
        return NULL;
    }
    struct fetch *f = xcalloc(1, sizeof *f);
    f->client = c;
    f->conf = *conf;
    f->easy = curl_easy_init();
    if (conf->stall_ms > 0) f->stall = evtimer_new(c->base, on_stall, f);
    if (!f->easy || (conf->stall_ms > 0 && !f->stall)) {
        cause_set(cause, "out of memory");
        curl_easy_cleanup(f->easy);
        free(f);
        return NULL;
    }
    f->limit = conf->on_bytes && conf->max_bytes == 0 ? ERROR_BODY_BYTES : conf->max_bytes;
    f->last_ns = clock_boot_ns();
    set_options(f, local);
    /* what set_options copied must not be used again */
    f->conf.url = f->conf.bearer = f->conf.user_agent = f->conf.body_type = f->conf.header = NULL;
    f->conf.pin = f->conf.ca_file = NULL;
    f->conf.body = NULL;
    f->next = c->fetches;
    c->fetches = f;
    if (f->stall) {
        struct timeval after = {conf->stall_ms / 1000, conf->stall_ms % 1000 * 1000};
        event_add(f->stall, &after);
    }
    if (!c->inside) fetch_add(f);
    return f;
}

void fetch_cancel(struct fetch *f)
{
    if (!f) return;
    f->cancelled = 1;
    if (!f->client->inside) fetch_free(f);
}

const char *fetch_library(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

uint64_t fetch_bytes_in(const struct fetch_client *c)
{
    return c->bytes_in;
}

uint64_t fetch_bytes_out(const struct fetch_client *c)
{
    return c->bytes_out;
}
