/* pictures: what the store keeps of each track to look at: the cover and the waveform. */
#ifndef FOREVER_ROOT_AIR_PICTURES_H
#define FOREVER_ROOT_AIR_PICTURES_H

struct air;

void pictures_routes(struct air *air);

#endif
