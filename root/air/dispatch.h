/* dispatch: air's side of its workers: what each is told at its start, which parts hear that it came or went,
 * and to which of them what it says is handed. Private to root/air. */
#ifndef FOREVER_ROOT_AIR_DISPATCH_H
#define FOREVER_ROOT_AIR_DISPATCH_H

struct air;

/* Starts them, all parts being there: air->workers. When they have ended, the event loop ends. */
void dispatch_begin(struct air *air);
/* Four times a second: a studio that could send and has said nothing for long is replaced. */
void dispatch_tick(struct air *air);

#endif
