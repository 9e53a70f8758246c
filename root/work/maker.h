/* maker: what made a sound, in words: the program, the libraries that the sound depends on, and the machine's
 * type. As long as these are the same, the same plans of the same files give the same bytes. */
#ifndef FOREVER_ROOT_WORK_MAKER_H
#define FOREVER_ROOT_WORK_MAKER_H

char *maker_text(void); /* owned by the caller */

#endif
