/* front: the listening side of a node put together, the same for root and relay: addresses, certificates,
 * trusted proxies, limits, the access log. What can be set is one table's part, FRONT_OPTIONS. */
#ifndef FOREVER_COMMON_FRONT_H
#define FOREVER_COMMON_FRONT_H
#include "common/conf.h"
#include "common/gate.h"
#include "common/http.h"

struct evbuffer;
struct event_base;
struct front;

struct front_options {
    struct conf_list listen, tls_listen, tls_certs, tls_keys, trusted_proxies, mount_limits;
    char *tls_dir, *access_log, *access_addresses;
    long access_log_mb, access_log_keep, address_listeners, address_bits4, address_bits6;
    double uplink_mbps, joins_per_s, address_joins_per_min;
};

/* Rows of the table of a program whose options are a struct `of`, in which `part` is a struct front_options.
 */
#define FRONT_OPTIONS(of, part, listen_default)                                                              \
    {.name = "listen",                                                                                       \
     .type = CONF_COMMAS,                                                                                    \
     .offset = offsetof(of, part.listen),                                                                    \
     .def = listen_default,                                                                                  \
     .unit = "ADDR:PORT",                                                                                    \
     .check = front_check_listen,                                                                            \
     .help = "where to serve; :PORT means every address of this machine, IPv6 and IPv4, [::1]:PORT one of "  \
             "IPv6"},                                                                                        \
        {.name = "tls-listen",                                                                               \
         .type = CONF_COMMAS,                                                                                \
         .offset = offsetof(of, part.tls_listen),                                                            \
         .unit = "ADDR:PORT",                                                                                \
         .check = front_check_listen,                                                                        \
         .help = "where to serve with TLS; needs --tls-cert or --tls-dir"},                                  \
        {.name = "tls-cert",                                                                                 \
         .type = CONF_LIST,                                                                                  \
         .offset = offsetof(of, part.tls_certs),                                                             \
         .unit = "FILE",                                                                                     \
         .help = "certificate with its chain (PEM); of several, the one that fits the name asked for is "    \
                 "shown, else "                                                                              \
                 "the first"},                                                                               \
        {.name = "tls-key",                                                                                  \
         .type = CONF_LIST,                                                                                  \
         .offset = offsetof(of, part.tls_keys),                                                              \
         .unit = "FILE",                                                                                     \
         .help = "private key (PEM) of the certificate in the same place; without any, keys are in the "     \
                 "certificates' "                                                                            \
                 "files"},                                                                                   \
        {.name = "tls-dir",                                                                                  \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(of, part.tls_dir),                                                               \
         .unit = "DIR",                                                                                      \
         .help = "folder of certificates: NAME.crt or NAME.pem with NAME.key, and folders with "             \
                 "fullchain.pem and "                                                                        \
                 "privkey.pem"},                                                                             \
        {.name = "trusted-proxy",                                                                            \
         .type = CONF_COMMAS,                                                                                \
         .offset = offsetof(of, part.trusted_proxies),                                                       \
         .def = "127.0.0.0/8,::1",                                                                           \
         .unit = "CIDR",                                                                                     \
         .check = front_check_proxy,                                                                         \
         .help = "proxies whose PROXY header, X-Forwarded-For and X-Forwarded-Proto are believed; none for " \
                 "nobody"},                                                                                  \
        {.name = "uplink",                                                                                   \
         .type = CONF_REAL,                                                                                  \
         .offset = offsetof(of, part.uplink_mbps),                                                           \
         .def = "0",                                                                                         \
         .min = 0,                                                                                           \
         .max = 1000000,                                                                                     \
         .unit = "MBITS",                                                                                    \
         .help =                                                                                             \
             "Mbit/s that listeners may take together, counted by their streams' rates; 0 for no limit"},    \
        {.name = "mount-limit",                                                                              \
         .type = CONF_COMMAS,                                                                                \
         .offset = offsetof(of, part.mount_limits),                                                          \
         .unit = "MOUNT=N",                                                                                  \
         .check = front_check_mount_limit,                                                                   \
         .help = "listeners of one mount at most"},                                                          \
        {.name = "join-rate",                                                                                \
         .type = CONF_REAL,                                                                                  \
         .offset = offsetof(of, part.joins_per_s),                                                           \
         .def = "0",                                                                                         \
         .min = 0,                                                                                           \
         .max = 1000000,                                                                                     \
         .unit = "N",                                                                                        \
         .help =                                                                                             \
             "listeners let in a second at most, after a burst of three seconds' worth; 0 for no limit"},    \
        {.name = "address-limit",                                                                            \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(of, part.address_listeners),                                                     \
         .def = "0",                                                                                         \
         .min = 0,                                                                                           \
         .max = 1000000,                                                                                     \
         .unit = "N",                                                                                        \
         .help = "listeners from one address (or network, see address-bits) at a time; 0 for no limit"},     \
        {.name = "address-join-rate",                                                                        \
         .type = CONF_REAL,                                                                                  \
         .offset = offsetof(of, part.address_joins_per_min),                                                 \
         .def = "0",                                                                                         \
         .min = 0,                                                                                           \
         .max = 1000000,                                                                                     \
         .unit = "N",                                                                                        \
         .help = "joins from one address in a minute; 0 for no limit"},                                      \
        {.name = "address-bits4",                                                                            \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(of, part.address_bits4),                                                         \
         .def = "32",                                                                                        \
         .min = 8,                                                                                           \
         .max = 32,                                                                                          \
         .unit = "N",                                                                                        \
         .help = "leading bits of an IPv4 address that count as one address"},                               \
        {.name = "address-bits6",                                                                            \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(of, part.address_bits6),                                                         \
         .def = "64",                                                                                        \
         .min = 16,                                                                                          \
         .max = 128,                                                                                         \
         .unit = "N",                                                                                        \
         .help = "leading bits of an IPv6 address that count as one address"},                               \
        {.name = "access-log",                                                                               \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(of, part.access_log),                                                            \
         .unit = "FILE",                                                                                     \
         .help = "a line for each request and each listener that has gone (combined format, and more); "     \
                 "opened again "                                                                             \
                 "on SIGHUP"},                                                                               \
        {.name = "access-addresses",                                                                         \
         .type = CONF_CHOICE,                                                                                \
         .offset = offsetof(of, part.access_addresses),                                                      \
         .def = "network",                                                                                   \
         .choices = "network|hash|whole",                                                                    \
         .help = "how addresses stand in the access log: cut to /24 and /48, hashed with a key that "        \
                 "changes with "                                                                             \
                 "each start, or whole"},                                                                    \
        {.name = "access-log-size",                                                                          \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(of, part.access_log_mb),                                                         \
         .def = "64",                                                                                        \
         .min = 0,                                                                                           \
         .max = 1000000,                                                                                     \
         .unit = "MB",                                                                                       \
         .help = "size at which the access log is moved to FILE.1 and begun anew; 0 leaves that to others"}, \
    {                                                                                                        \
        .name = "access-log-keep", .type = CONF_INT, .offset = offsetof(of, part.access_log_keep),           \
        .def = "4", .min = 0, .max = 100, .unit = "N", .help = "access logs kept that were moved so"         \
    }

int front_check_listen(const char *text, char **cause);
int front_check_proxy(const char *text, char **cause);
int front_check_mount_limit(const char *text, char **cause);
/* Judges them together, and whether the certificates can be read. 0, or -1 with *exit_code and *cause. */
int front_options_check(const struct front_options *options, int *exit_code, char **cause);

/* max_listeners: of the node. The options stay the caller's and must outlive it. NULL with *cause. */
struct front *front_new(struct event_base *base, const struct front_options *options, unsigned max_listeners,
                        char **cause);
/* After the HTTP server and all fan-outs. NULL is fine. */
void front_free(struct front *front);
/* The node's HTTP server, with its limits and trust; the caller frees it. */
struct http_server *front_server(struct front *front, const char *name);
/* Listens on all addresses. *port: of the first one without TLS, *tls_port of the first with (0: none). 0, or
 * -1 with *cause. */
int front_listen(struct front *front, struct http_server *server, int *port, int *tls_port, char **cause);
struct gate *front_gate(struct front *front);
/* Certificates are read again and the access log is opened again. 0, or -1 with *cause: then the old
 * certificates stay. Both are logged. */
int front_reload(struct front *front, char **cause);
/* Series for /metrics. */
void front_metrics(const struct front *front, struct evbuffer *out);

#endif
