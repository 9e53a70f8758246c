/* enrol_command: `forever-relay enrol`: the token that the root printed for a credential, which is kept in
 * the state directory; then the root calls the public address, and what it says is printed. While no relay
 * runs with that state directory, this program answers that call itself, at the addresses that the relay will
 * listen at.
 *
 * Exit codes: 0 enrolled and reached; 1 enrolled, but not reached at the public address; 64 the command line;
 * 65 the token is damaged; 66 a file can't be read; 69 the root can't be reached, or an address can't be
 * listened at; 73 the state directory can't be written; 75 the root says to try again later; 76 the root's
 * key is not the one in the token, or its answer makes no sense; 77 the root does not take the token. */
#ifndef FOREVER_RELAY_ENROL_COMMAND_H
#define FOREVER_RELAY_ENROL_COMMAND_H

/* argv[0] is "enrol". */
int enrol_command_main(int argc, char **argv);

#endif
