#!/usr/bin/python3
"""export.py WEIGHTS.npz OUT.c REFERENCE.h: the trained weights as root/analysis/net_weights.c, matrices as 8-bit
integers with a scale for each output; and what the network as trained says to a piece of noise, for
tests/unit/net_reference.h."""
import sys
import numpy as np
import torch
from train import BANDS, Net, inputs

HEAD = '/* Made by tests/bench/ears/train/export.py; do not edit. */\n#include "root/analysis/net_weights.h"\n'


def quantise(w):
    """w: outputs x inputs x taps"""
    matrix = w.transpose(2, 1, 0).reshape(-1, w.shape[0])
    scale = np.abs(matrix).max(0) / 127 + 1e-12
    return np.round(matrix / scale).astype(int), scale.astype('f')


def lines(values, form):
    text, out = [form(v) for v in values], []
    row = ''
    for t in text:
        if len(row) + len(t) + 2 > 110:
            out.append(row.rstrip())
            row = ''
        row += t + ', '
    return '\n    '.join(out + [row.rstrip(', ')])


def number(v):
    text = f'{v:.7g}'
    return text + ('f' if '.' in text or 'e' in text else '.0f')


def table(kind, name, shape, arrays):
    form = str if kind == 'int8_t' else number
    parts = [lines(np.asarray(x).ravel(), form) for x in arrays]
    body = ',\n    '.join('{' + p + '}' for p in parts) if len(parts) > 1 else parts[0]
    return f'\nconst {kind} {name}{shape} = {{\n    {body},\n}};\n'


REFERENCE_FRAMES, REFERENCE_STEP = 1200, 24


def reference_mel():
    """Noise that beats every 24 frames; tests/unit/test_net.c makes the same."""
    state, mel = 1, np.zeros((REFERENCE_FRAMES, BANDS), 'f')
    for i in range(REFERENCE_FRAMES):
        for b in range(BANDS):
            state = (state * 1664525 + 1013904223) & 0xffffffff
            mel[i, b] = np.float32(state >> 16) / np.float32(65536) * np.float32(4 if i % REFERENCE_STEP < 3 else 1)
    return mel


def reference(z):
    net = Net()
    net.load_state_dict({k: torch.from_numpy(z[k]) for k in z.files})
    net.eval()
    with torch.no_grad():
        odds = net(torch.from_numpy(inputs(reference_mel()).T[None]))[0].numpy()
    chosen = odds[:, ::REFERENCE_STEP // 3]
    text = '/* net_reference: made by tests/bench/ears/train/export.py; do not edit. */\n/* clang-format off */\n'
    text += f'#define REFERENCE_FRAMES {REFERENCE_FRAMES}\n#define REFERENCE_BEAT   {REFERENCE_STEP} /* frames */\n'
    text += f'#define REFERENCE_EVERY  {REFERENCE_STEP // 3} /* the frames whose odds are told */\n'
    text += 'static const float reference_odds[2][REFERENCE_FRAMES / REFERENCE_EVERY] = {\n    '
    return text + ',\n    '.join('{' + lines(row, lambda v: number(round(float(v), 3))) + '}' for row in chosen) + ',\n};\n'


def main():
    z = np.load(sys.argv[1])
    open(sys.argv[3], 'w').write(reference(z))
    layers = sorted(int(k.split('.')[1]) for k in z.files if k.startswith('wide') and k.endswith('weight'))
    first, wide, mix = quantise(z['first.weight']), [quantise(z[f'wide.{l}.weight']) for l in layers], [quantise(z[f'mix.{l}.weight']) for l in layers]
    text = HEAD + '\n/* clang-format off */\n'
    text += table('int8_t', 'net_first', '[NET_FIRST_TAPS * NET_INPUTS * NET_CHANNELS]', [first[0]])
    text += table('float', 'net_first_scale', '[NET_CHANNELS]', [first[1]])
    text += table('float', 'net_first_bias', '[NET_CHANNELS]', [z['first.bias']])
    text += table('int8_t', 'net_wide', '[NET_LAYERS][NET_WIDE_TAPS * NET_CHANNELS * NET_CHANNELS]', [w[0] for w in wide])
    text += table('float', 'net_wide_scale', '[NET_LAYERS][NET_CHANNELS]', [w[1] for w in wide])
    text += table('float', 'net_wide_bias', '[NET_LAYERS][NET_CHANNELS]', [z[f'wide.{l}.bias'] for l in layers])
    text += table('int8_t', 'net_mix', '[NET_LAYERS][NET_CHANNELS * NET_CHANNELS]', [w[0] for w in mix])
    text += table('float', 'net_mix_scale', '[NET_LAYERS][NET_CHANNELS]', [w[1] for w in mix])
    text += table('float', 'net_mix_bias', '[NET_LAYERS][NET_CHANNELS]', [z[f'mix.{l}.bias'] for l in layers])
    text += table('float', 'net_last', '[2][NET_CHANNELS]', [z['last.weight'][o, :, 0] for o in (0, 1)])
    text += table('float', 'net_last_bias', '[2]', [z['last.bias']])
    open(sys.argv[2], 'w').write(text)


if __name__ == '__main__': main()
