/* net: where a small trained network hears beats and downbeats.
 *
 * Dilated convolutions with residuals over the mel spectrum and its rise (Davies, Boeck, Temporal
 * convolutional networks for musical audio beat tracking, 2019): NET_LAYERS of them, each twice as wide in
 * time as the one before, see ten seconds to either side. They run as a stream: every layer keeps the frames
 * its taps span, some 100 KB in all, and nothing is allocated on the way but the result.
 * tests/bench/ears/train made the weights (net_weights.c), from music with known beats alone. */
#ifndef FOREVER_ROOT_ANALYSIS_NET_H
#define FOREVER_ROOT_ANALYSIS_NET_H
#include "root/analysis/mel.h"
#include "root/analysis/series.h"

#define NET_RATE MEL_RATE

enum net_output { NET_BEAT, NET_DOWNBEAT, NET_OUTPUTS };

/* Logarithms of the odds that a beat or downbeat lies at each frame: value i belongs to i / NET_RATE. */
struct net_odds {
    struct series of[NET_OUTPUTS];
};

struct net;
struct net *net_new(void);
void net_free(struct net *net);
/* The next frame of mel (mel_new's take; net is a struct net *). */
void net_feed(void *net, const float *bands);
void net_finish(struct net *net);
/* Owned by net; complete after net_finish: as many values as frames were fed. */
const struct net_odds *net_odds(const struct net *net);

#endif
