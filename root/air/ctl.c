#include "root/air/ctl.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/air/air.h"
#include "root/air/link_listen.h"
#include "root/air/live.h"
#include "root/air/relay_ctl.h"

#define LINE_MAX_BYTES  4096
#define CONNECTIONS_MAX 16
#define IDLE_S          5
#define SOCKET_NAME     "ctl.sock"

struct talk {
    LIST_ENTRY(talk) next;
    struct ctl_server *server;
    struct bufferevent *io;
};

struct ctl_server {
    struct air *air;
    struct evconnlistener *listener;
    LIST_HEAD(, talk) talks;
    unsigned count;
    char *path;
};

/* Verbs */

static json_t *failure(char *cause)
{
    json_t *answer = json_pack("{s:b,s:s}", "ok", 0, "error", cause ? cause : "it failed");
    free(cause);
    return answer;
}

static json_t *do_skip(struct air *air)
{
    uint64_t position;
    char *cause = NULL;
    if (air_skip(air, &position, &cause)) return failure(cause);
    double in_s = (double)mp3_frame_to_ns(position - air_position(air)) / 1e9;
    return json_pack("{s:b,s:I,s:f}", "ok", 1, "position", (json_int_t)position, "in_s", in_s);
}

static json_t *do_swap(struct air *air, const char *name)
{
    int role = role_parse(name);
    char *cause = NULL;
    if (role <= ROLE_AIR) {
        cause_set(&cause, "\"%s\" is no worker", name);
        return failure(cause);
    }
    if (workers_swap(air->workers, (enum role)role, &cause)) return failure(cause);
    return json_pack("{s:b}", "ok", 1);
}

static json_t *answer_to(struct air *air, const char *line, size_t len)
{
    char *cause = NULL;
    json_t *ask = json_parse(line, len, LINE_MAX_BYTES, &cause), *answer;
    if (!ask) return failure(cause);
    const char *verb = json_str_or(ask, "verb", "", NULL);
    if (!strcmp(verb, "status")) {
        answer = json_pack("{s:b,s:o,s:o,s:o}", "ok", 1, "now", api_now(air), "stats", api_stats(air), "link",
                           link_listen_json(air));
    } else if (!strcmp(verb, "skip")) {
        answer = do_skip(air);
    } else if (!strcmp(verb, "relay")) {
        answer = relay_ctl_answer(air, ask);
    } else if (!strcmp(verb, "swap")) {
        answer = do_swap(air, json_str_or(ask, "role", "", NULL));
    } else if (!strcmp(verb, "live") && !strcmp(json_str_or(ask, "role", "", NULL), "stop")) {
        answer = live_stop(air->live, &cause) ? failure(cause) : json_pack("{s:b}", "ok", 1);
    } else if (!strcmp(verb, "reload")) {
        answer = air_reload(air, &cause) ? failure(cause) : json_pack("{s:b}", "ok", 1);
    } else {
        cause_set(&cause, "\"%s\" is no verb", verb);
        answer = failure(cause);
    }
    if (strcmp(verb, "status") != 0 && strcmp(verb, "relay") != 0)
        log_info("ctl", "%s %s", verb, json_str_or(ask, "role", "", NULL));
    json_decref(ask);
    return answer;
}

/* Connections */

static void talk_free(struct talk *talk)
{
    LIST_REMOVE(talk, next);
    talk->server->count--;
    bufferevent_free(talk->io);
    free(talk);
}

static void on_ctl_event(struct bufferevent *io, short what, void *arg)
{
    (void)io, (void)what;
    talk_free(arg); /* gone, failed or idle */
}

static void on_ctl_read(struct bufferevent *io, void *arg)
{
    struct talk *talk = arg;
    struct evbuffer *in = bufferevent_get_input(io);
    size_t len;
    char *line;
    while ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF))) {
        json_t *answer = answer_to(talk->server->air, line, len);
        char *text = json_text(answer);
        evbuffer_add_printf(bufferevent_get_output(io), "%s\n", text);
        free(text);
        json_decref(answer);
        free(line);
    }
    if (evbuffer_get_length(in) > LINE_MAX_BYTES) talk_free(talk);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                      void *arg)
{
    (void)address, (void)len;
    struct ctl_server *server = arg;
    struct bufferevent *io = NULL;
    if (server->count < CONNECTIONS_MAX)
        io = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!io) {
        close(fd);
        return;
    }
    struct talk *talk = xcalloc(1, sizeof *talk);
    talk->server = server;
    talk->io = io;
    LIST_INSERT_HEAD(&server->talks, talk, next);
    server->count++;
    bufferevent_setcb(io, on_ctl_read, NULL, on_ctl_event, talk);
    bufferevent_set_timeouts(io, &(struct timeval){IDLE_S, 0}, &(struct timeval){IDLE_S, 0});
    bufferevent_enable(io, EV_READ | EV_WRITE);
}

/* A socket's address holds 107 bytes and a state directory may be deeper than that: the way leads through a
 * descriptor of the directory. Returns that descriptor, -1 with errno. */
static int socket_address(const char *dir, struct sockaddr_un *out)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", fd, SOCKET_NAME);
    return fd;
}

struct ctl_server *ctl_server_new(struct air *air, char **cause)
{
    const char *dir = air->options->state;
    struct sockaddr_un address;
    char *path = xasprintf("%s/%s", dir, SOCKET_NAME);
    int place = socket_address(dir, &address),
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* the state is locked: what is left there is of a dead root */
    unlink(path);
    mode_t mask = umask(0177);
    int failed =
        place < 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8);
    int why = errno;
    umask(mask);
    if (place >= 0) close(place);
    if (failed) {
        if (fd >= 0) close(fd);
        cause_set(cause, "%s: %s", path, strerror(why));
        free(path);
        return NULL;
    }
    struct ctl_server *server = xcalloc(1, sizeof *server);
    server->air = air;
    server->path = path;
    LIST_INIT(&server->talks);
    server->listener = evconnlistener_new(air->base, on_accept, server,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    return server;
}

void ctl_server_free(struct ctl_server *server)
{
    if (!server) return;
    struct talk *talk, *after;
    for (talk = LIST_FIRST(&server->talks); talk; talk = after) {
        after = LIST_NEXT(talk, next);
        talk_free(talk);
    }
    evconnlistener_free(server->listener);
    unlink(server->path);
    free(server->path);
    free(server);
}

int ctl_connect(const char *dir, char **cause)
{
    struct sockaddr_un address;
    int place = socket_address(dir, &address), fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = place < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address), why = errno;
    if (place >= 0) close(place);
    if (!failed) return fd;
    if (fd >= 0) close(fd);
    if (why == EACCES || why == EPERM)
        return cause_set(cause, "%s: this user may not control the station there", dir);
    return cause_set(cause, "no station runs with the state directory %s", dir);
}
