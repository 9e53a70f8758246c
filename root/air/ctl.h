/* ctl: talking to the running root over a socket in its state directory (mode 0600).
 *
 * One JSON object a line in, one a line out: {"verb": "status"}, {"verb": "skip"}, {"verb": "reload"},
 * {"verb": "swap", "role": ROLE}, and what relay_ctl.h says; the answer holds "ok", and "error" when it is
 * false. `forever-root ctl` is the client. */
#ifndef FOREVER_ROOT_AIR_CTL_H
#define FOREVER_ROOT_AIR_CTL_H

struct air;
struct ctl_server;

/* NULL with *cause. */
struct ctl_server *ctl_server_new(struct air *air, char **cause);
void ctl_server_free(struct ctl_server *server); /* NULL is fine */

/* The socket of the station with that state directory; -1 with *cause. */
int ctl_connect(const char *dir, char **cause);
/* The client: argv[0] is "ctl". An exit code (sysexits). Blocks for at most some seconds. */
int ctl_main(int argc, char **argv);

#endif
