#!/usr/bin/python3
"""regress.py LINES --truth DIR... [--table TSV...]

Weighs the features of root/analysis/level.c and root/analysis/downbeat.c: conditional logistic regressions over the
candidates of each piece (McFadden, 1974), with a ridge, every package counting by the square root of its pieces. LINES:
what candidates printed. Families are the packages of the tables (columns id, package), else what stands before "--" in
a name. Prints how often the right candidate wins when its own package has been left out, and the weights."""
import argparse
import collections
import csv
import os
import sys

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ears

LEVEL = "HARMONY BACKBEAT ODDS BAR SALIENCE FOUND TEMPO BARE".split()
LEVEL_BY_HAND = 1  # the last: slow pieces are too few to learn it from
MARKS = "KICK BASS SNARE HAT HARMONY BASS_NOTE HARMONY_LONG TEXTURE SECTION".split()
RIDGE = 3.0
RIGHT_F = 0.85


def fit(pieces):
    """pieces: [(family, candidates x features, right or not)]"""
    pieces = [p for p in pieces if p[2].any()]
    count = collections.Counter(p[0] for p in pieces)
    share = np.array([count[p[0]] ** -0.5 for p in pieces])
    share /= share.mean()
    scale = np.concatenate([p[1] for p in pieces]).std(0) + 1e-6

    def loss(w):
        total, slope = RIDGE * (w @ w), 2 * RIDGE * w
        for (_, x, right), s in zip(pieces, share):
            z = x / scale
            e = np.exp(z @ w - (z @ w).max())
            total -= s * np.log(e[right].sum() / e.sum() + 1e-300)
            slope += s * z.T @ (e / e.sum() - e * right / (e[right].sum() + 1e-300))
        return total, slope

    return minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B").x / scale


def report(what, pieces):
    families = sorted({p[0] for p in pieces})
    hits = collections.defaultdict(list)
    for family in families:
        w = fit([p for p in pieces if p[0] != family])
        hits[family] = [float(right[np.argmax(x @ w)]) for f, x, right in pieces if f == family]
    for family in families:
        print("%s, without %-28s %3d pieces, right %.3f" % (what, family, len(hits[family]), np.mean(hits[family])))
    print("%s, all: %.3f" % (what, np.mean(sum(hits.values(), []))))
    return fit(pieces)


def level_pieces(lines, truths, family):
    rows = collections.defaultdict(list)
    for words in lines:
        if words[0] == "level":
            rows[words[1]].append([float(x) for x in words[2:]])
    pieces = []
    for name, candidates in rows.items():
        known = ears.late([t for t, _ in truths[name]])
        right = []
        for first, period, end, *_ in candidates:
            times = ears.late(list(np.arange(first, min(end, truths[name][-1][0] + 0.1), period)))
            right.append(ears.f_measure(known, times) >= RIGHT_F)
        x = np.array(candidates)[:, 3:]
        pieces.append((family(name), x[:, :-LEVEL_BY_HAND], np.array(right)))
    return pieces


def bar_pieces(lines, family):
    pieces = []
    for words in lines:
        if words[0] != "bar":
            continue
        metre = int(words[2])
        place = np.array([float(x) for x in words[3:]]).reshape(len(MARKS), metre)
        x = []
        for first in range(metre):
            turned = np.roll(place, -first, axis=1)
            if metre != 4:  # only the first place of such a bar has weights
                turned = np.concatenate([turned[:, :1], np.zeros((len(MARKS), 3))], 1)
            x.append(turned[:, :4].ravel())
        pieces.append((family(words[1]), np.array(x), np.arange(metre) == 0))
    return pieces


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines")
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--table", nargs="*", default=[])
    args = parser.parse_args()
    package = {}
    for path in args.table:
        with open(path, encoding="utf-8") as table:
            package.update({r["id"]: r["package"] for r in csv.DictReader(table, delimiter="\t")})
    truths = {f[:-6]: ears.read_truth(os.path.join(d, f)) for d in args.truth for f in os.listdir(d) if f.endswith(".beats")}
    with open(args.lines, encoding="utf-8") as lines:
        lines = [line.split() for line in lines]

    def family(name):
        return package.get(name, name.split("--")[0])

    weight = report("level", level_pieces(lines, truths, family))
    for name, w in zip(LEVEL, weight):
        print("        [LEVEL_%s] = %.2f," % (name, w))
    weight = report("bar", bar_pieces(lines, family)).reshape(-1, 4)
    for name, w in zip(MARKS, weight):
        print("        [MARK_%s] = {%s}," % (name, ", ".join("%.2f" % x for x in w)))


if __name__ == "__main__":
    main()
