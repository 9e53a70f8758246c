/* net_weights: the network's size and its trained weights; net_weights.c is made by
 * tests/bench/ears/train/export.py. */
#ifndef FOREVER_ROOT_ANALYSIS_NET_WEIGHTS_H
#define FOREVER_ROOT_ANALYSIS_NET_WEIGHTS_H
#include <stdint.h>

#define NET_INPUTS     80 /* mel bands, then their rises */
#define NET_CHANNELS   24
#define NET_LAYERS     8
#define NET_FIRST_TAPS 3
#define NET_WIDE_TAPS  5

/* A matrix [inputs * taps][outputs]: weight * scale[output]. Row of input i at tap k: k * inputs + i. */
extern const int8_t net_first[NET_FIRST_TAPS * NET_INPUTS * NET_CHANNELS];
extern const float net_first_scale[NET_CHANNELS], net_first_bias[NET_CHANNELS];
extern const int8_t net_wide[NET_LAYERS][NET_WIDE_TAPS * NET_CHANNELS * NET_CHANNELS];
extern const float net_wide_scale[NET_LAYERS][NET_CHANNELS], net_wide_bias[NET_LAYERS][NET_CHANNELS];
extern const int8_t net_mix[NET_LAYERS][NET_CHANNELS * NET_CHANNELS];
extern const float net_mix_scale[NET_LAYERS][NET_CHANNELS], net_mix_bias[NET_LAYERS][NET_CHANNELS];
extern const float net_last[2][NET_CHANNELS], net_last_bias[2];

#endif
