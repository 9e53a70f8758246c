#!/usr/bin/python3
"""train.py OUT.npz DATA... [--hold REGEX] [--epochs N] [--seed N] [--test DATA...]

Trains the network of root/analysis/net.c on the .npz pieces in the folders DATA, leaving out the families that REGEX
matches, and writes its weights. Then it scores what was left out (or the folders after --test), by family, with
peaks alone: no tempo model helps here."""
import argparse, glob, re, sys, time
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BANDS, RATE = 40, 50
CHANNELS, LAYERS, TAPS, IN_TAPS = 24, 8, 5, 3
GAMMA = 1000.0
CROP = 1500


class Net(nn.Module):
    """Dilated convolutions with residuals (Davies, Boeck, Temporal convolutional networks for musical audio beat
    tracking, 2019), both ways in time: 10 s are seen to either side."""
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2 * BANDS, CHANNELS, IN_TAPS, padding=IN_TAPS // 2)
        self.wide = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, TAPS, padding=TAPS // 2 << l, dilation=1 << l) for l in range(LAYERS))
        self.mix = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 1) for _ in range(LAYERS))
        self.last = nn.Conv1d(CHANNELS, 2, 1)
        self.drop = nn.Dropout(0.1)
        nn.init.constant_(self.last.bias, -3.0)

    def forward(self, x):
        x = F.relu(self.first(x))
        for wide, mix in zip(self.wide, self.mix):
            x = x + mix(self.drop(F.relu(wide(x))))
        return self.last(F.relu(x))


def inputs(mel):
    """mel and how much each band has risen since the frame before; [frames, 2 bands]"""
    rise = np.zeros_like(mel)
    rise[1:] = np.maximum(0, mel[1:] - mel[:-1])
    return np.concatenate([mel, rise], 1)


def targets(beats, frames):
    """Beat and downbeat, a triangle three frames wide; the third column: are the bars known?"""
    y = np.zeros((frames, 3), 'f')
    y[:, 2] = float((beats[:, 1] > 0).any()) if len(beats) else 0
    for t, place in beats:
        for i in range(int(t * RATE) - 1, int(t * RATE) + 3):
            if 0 <= i < frames:
                v = max(0.0, 1 - abs(i - t * RATE) / 1.5)
                y[i, 0] = max(y[i, 0], v)
                if place == 1: y[i, 1] = max(y[i, 1], v)
    return y


def augment(mel, beats, g):
    """Another loudness, equaliser, noise, speed and pitch."""
    speed = float(g.uniform(0.9, 1.1))
    n = len(mel)
    at = np.arange(0, n - 1, speed)
    low = at.astype(int)
    f = (at - low)[:, None].astype('f')
    mel = mel[low] * (1 - f) + mel[low + 1] * f
    amplitude = np.expm1(mel) / GAMMA
    eq = np.interp(np.arange(BANDS), np.linspace(0, BANDS - 1, 5), g.normal(0, 4, 5)) + g.uniform(-14, 8)
    amplitude = amplitude * (10 ** (eq / 20)).astype('f')
    if g.random() < 0.3: amplitude = amplitude + abs(g.normal(0, 1)) * 10 ** g.uniform(-4, -2.3) * (0.7 + 0.6 * g.random(amplitude.shape, 'f'))
    mel = np.log1p(GAMMA * amplitude)
    if g.random() < 0.4:
        s = int(g.integers(-2, 3))
        mel = np.roll(mel, s, 1)
        if s > 0: mel[:, :s] = mel[:, s:s + 1]
        if s < 0: mel[:, s:] = mel[:, s - 1:s]
    if g.random() < 0.3:
        b = int(g.integers(0, BANDS - 8))
        mel[:, b:b + int(g.integers(2, 9))] = 0
    beats = beats.copy()
    beats[:, 0] /= speed
    return mel.astype('f'), beats


def load(folders):
    pieces = []
    for folder in folders:
        for path in sorted(glob.glob(folder + '/*.npz')):
            if path.endswith('.part.npz'): continue
            z = np.load(path)
            if z['mel'].astype('f').mean() > 0.05: pieces.append((path, str(z['family']), z['mel'], z['beats']))
    return pieces


def batch(pieces, chosen, g):
    xs, ys = [], []
    for i in chosen:
        _, _, mel, beats = pieces[i]
        from_ = int(g.integers(0, max(1, len(mel) - int(CROP * 1.12))))
        part = mel[from_:from_ + int(CROP * 1.12)].astype('f')
        near = beats[(beats[:, 0] > from_ / RATE - 1) & (beats[:, 0] < (from_ + len(part)) / RATE + 1)] - [from_ / RATE, 0]
        part, near = augment(part, near, g)
        y = targets(near, len(part))
        if len(part) < CROP: part, y = np.pad(part, ((0, CROP - len(part)), (0, 0))), np.pad(y, ((0, CROP - len(y)), (0, 0)))
        xs.append(inputs(part[:CROP]).T)
        ys.append(y[:CROP].T)
    return torch.from_numpy(np.stack(xs)), torch.from_numpy(np.stack(ys))


def peaks(p, threshold, apart):
    at = [i for i in range(1, len(p) - 1) if p[i] > threshold and p[i] >= p[i - 1] and p[i] > p[i + 1] and p[i] == p[max(0, i - apart):i + apart + 1].max()]
    return np.array(at) / RATE


def f_measure(truth, found):
    if not len(truth): return None
    used, hits = set(), 0
    for t in found:
        j = int(np.argmin(np.abs(truth - t)))
        if abs(truth[j] - t) <= 0.07 and j not in used:
            used.add(j)
            hits += 1
    return 2 * hits / (len(truth) + len(found))


def score(net, pieces):
    net.eval()
    rows = {}
    with torch.no_grad():
        for path, family, mel, beats in pieces:
            p = torch.sigmoid(net(torch.from_numpy(inputs(mel.astype('f')).T[None])))[0].numpy()
            b = f_measure(beats[:, 0], peaks(p[0], 0.2, 6))
            d = f_measure(beats[beats[:, 1] == 1, 0], peaks(p[1], 0.12, 20)) if beats[:, 1].any() else None
            rows.setdefault(family, []).append((b, d))
    mean = lambda v: float(np.mean([x for x in v if x is not None])) if any(x is not None for x in v) else float('nan')
    for family, v in sorted(rows.items()):
        print(f'{family:28s} {len(v):4d}  beat F {mean([x[0] for x in v]):.3f}  downbeat F {mean([x[1] for x in v]):.3f}')
    every = [x for v in rows.values() for x in v]
    print(f'{"all":28s} {len(every):4d}  beat F {mean([x[0] for x in every]):.3f}  downbeat F {mean([x[1] for x in every]):.3f}', flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument('out')
    a.add_argument('data', nargs='+')
    a.add_argument('--hold', default='$^')
    a.add_argument('--epochs', type=int, default=20)
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--real', type=int, default=3, help='how often an epoch takes each real piece')
    a = a.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    g = np.random.default_rng(a.seed)
    pieces = load(a.data)
    held = [p for p in pieces if re.search(a.hold, p[1])]
    train = [p for p in pieces if not re.search(a.hold, p[1])]
    index = [i for i, p in enumerate(train) for _ in range(a.real if 'real-' in p[0] else 1)]
    net = Net()
    print(len(train), 'pieces to train on,', len(held), 'held out,', sum(p.numel() for p in net.parameters()), 'weights', flush=True)
    size = 8
    steps = a.epochs * (len(index) // size)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps + 1, pct_start=0.15)
    step, started = 0, time.time()
    for epoch in range(a.epochs):
        net.train()
        g.shuffle(index)
        total = np.zeros(2)
        for k in range(0, len(index) - size + 1, size):
            x, y = batch(train, index[k:k + size], g)
            z = net(x)
            beat = F.binary_cross_entropy_with_logits(z[:, 0], y[:, 0])
            bar = (F.binary_cross_entropy_with_logits(z[:, 1], y[:, 1], reduction='none') * y[:, 2]).mean()
            optimiser.zero_grad()
            (beat + 2 * bar).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            plan.step()
            step += 1
            total += [beat.item(), bar.item()]
        print(f'epoch {epoch} beat {total[0] * size / len(index):.4f} bar {total[1] * size / len(index):.4f} {time.time() - started:.0f} s', flush=True)
        np.savez(a.out, **{k: v.numpy() for k, v in net.state_dict().items()})
    score(net, held or train[:40])


if __name__ == '__main__': main()
