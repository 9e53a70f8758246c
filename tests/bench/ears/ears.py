#!/usr/bin/env python3
"""ears: how well the analysis hears, on music whose beats are known.

    ears.py --truth DIR ANALYSES.jsonl          score what `forever-root analyse --json` printed
    ears.py --truth DIR --audio DIR --program build/forever-work    run the analysis first
    ears.py --selftest

A truth file NAME.beats holds one beat a line, "seconds [place in the bar]"; 1 is a downbeat, without the second
column the bars are unknown, # begins a comment. An analysis belongs to it when its file's name without
extension is NAME. With --table comes a tab-separated table with a header line: `id` is NAME, and its columns `key`
("C minor", - unknown) and `truth` (a class to group by) are used.

Scores follow the definitions of mir_eval.beat (Raffel and others, 2014; Davies, Degara, Plumbley, 2009), beats
before 5 s left out:
    F        hits within 70 ms, one to one: 2 hits / (beats + estimates)
    CMLt     share of beats in correct continuity: place and interval within 17.5 % of a beat
    AMLt     the same, also allowing offbeats, half and double tempo
    Acc1/2   tempo within 4 %; 2: or two or three times, half or a third of it
    barF     F over downbeats, where known
    bpm      median |tempo error| where Acc1 holds; ms: median |beat error| of the hits
    trusted  confidence >= 0.5: how many, and how many of them with AMLt >= 0.9
"""
import argparse
import csv
import json
import math
import os
import subprocess
import sys
from bisect import bisect_left

FIRST_S = 5.0
HIT_S = 0.070
NEAR = 0.175
TRUSTED = 0.5
NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read_truth(path):
    """[(seconds, place in the bar or 0)] in order."""
    beats = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split("#", 1)[0].split()
            if words:
                beats.append((float(words[0]), int(float(words[1])) if len(words) > 1 else 0))
    return sorted(beats)


def late(times):
    return [t for t in times if t >= FIRST_S]


def hits(truth, heard):
    """Pairs within HIT_S, as many as can be: for windows of one width, first come first served is optimal."""
    pairs, k = [], 0
    for t in truth:
        while k < len(heard) and heard[k] < t - HIT_S:
            k += 1
        if k < len(heard) and heard[k] <= t + HIT_S:
            pairs.append((t, heard[k]))
            k += 1
    return pairs


def f_measure(truth, heard):
    if not truth or not heard:
        return 0.0
    return 2.0 * len(hits(truth, heard)) / (len(truth) + len(heard))


def nearest(times, t):
    """Index of the value nearest to t; the earlier of two as near."""
    i = bisect_left(times, t)
    if i == len(times) or (i > 0 and t - times[i - 1] <= times[i] - t):
        return i - 1
    return i


def continuity(truth, heard):
    """Share of correctly continued beats, as if both sequences had the longer one's length."""
    if len(truth) < 2 or len(heard) < 2:
        return 0.0
    used, good = set(), 0
    for n, t in enumerate(heard):
        k = nearest(truth, t)
        if k in used:
            continue
        if n == 0 or k == 0:
            # the first of either has no interval behind it: the one ahead is taken
            truth_step = truth[k + 1] - truth[k] if k + 1 < len(truth) else truth[k] - truth[k - 1]
            heard_step = heard[n + 1] - t if n + 1 < len(heard) else t - heard[n - 1]
        else:
            truth_step, heard_step = truth[k] - truth[k - 1], t - heard[n - 1]
        if truth_step > 0 and abs(t - truth[k]) < NEAR * truth_step and abs(1 - heard_step / truth_step) < NEAR:
            used.add(k)
            good += 1
    return good / max(len(truth), len(heard))


def levels(truth):
    """The truth at the levels a listener might tap."""
    middle = [(a + b) / 2 for a, b in zip(truth, truth[1:])]
    double = sorted(truth + middle)
    return [truth, middle, double, truth[::2], truth[1::2]]


def median(values):
    values = sorted(values)
    n = len(values)
    return math.nan if not n else (values[n // 2] + values[(n - 1) // 2]) / 2


def tempo_of(times):
    """Beats a minute: the mean of the intervals near their median."""
    steps = [b - a for a, b in zip(times, times[1:])]
    middle = median(steps)
    steps = [s for s in steps if abs(s - middle) <= 0.1 * middle]
    return 60 * len(steps) / sum(steps) if steps and sum(steps) > 0 else math.nan


def score(truth, analysis):
    """truth: [(s, place)]; analysis: an object of analyse --json, or {} when there is none."""
    times, heard = [t for t, _ in truth], analysis.get("beats_s", [])
    known, found = late(times), late(heard)
    pairs = hits(known, found)
    bpm, true_bpm = analysis.get("tempo_bpm", math.nan), tempo_of(times)
    within = [m for m in (1, 2, 3, 1 / 2, 1 / 3) if abs(bpm - m * true_bpm) <= 0.04 * m * true_bpm]
    bars = [t for t, place in truth if place == 1]
    return {
        "F": f_measure(known, found),
        "CMLt": continuity(known, found),
        "AMLt": max(continuity(level, found) for level in levels(known)) if known else 0.0,
        "Acc1": float(1 in within),
        "Acc2": float(bool(within)),
        "barF": f_measure(late(bars), late(analysis.get("downbeats_s", []))) if bars else math.nan,
        "bpm": abs(bpm - true_bpm) if 1 in within else math.nan,
        "ms": median([1000 * abs(a - b) for a, b in pairs]),
        "confidence": analysis.get("tempo_confidence", 0.0),
    }


def key_number(name):
    """0..11 major, 12..23 minor; None for none."""
    words = (name or "").split()
    if len(words) != 2 or words[0][0] not in NOTES:
        return None
    note = NOTES[words[0][0]] + words[0].count("#") - words[0][1:].count("b")
    return note % 12 + (12 if words[1] == "minor" else 0)


def key_score(truth, heard):
    """MIREX: 1 the same, .5 a fifth off, .3 the relative, .2 the parallel key."""
    if heard is None:
        return 0.0
    if truth == heard:
        return 1.0
    same_mode, step = truth // 12 == heard // 12, (heard - truth) % 12
    if same_mode:
        return 0.5 if step in (5, 7) else 0.0
    if step == (9 if truth < 12 else 3):
        return 0.3
    return 0.2 if step == 0 else 0.0


def mean(values):
    values = [v for v in values if not math.isnan(v)]
    return sum(values) / len(values) if values else math.nan


COLUMNS = ("F", "CMLt", "AMLt", "Acc1", "Acc2", "barF")


def row(name, scores, width):
    cells = ["%6.3f" % mean([s[c] for s in scores]) for c in COLUMNS]
    cells.append("%8.4f" % median([s["bpm"] for s in scores if not math.isnan(s["bpm"])]))
    cells.append("%6.1f" % median([s["ms"] for s in scores if not math.isnan(s["ms"])]))
    trusted = [s for s in scores if s["confidence"] >= TRUSTED]
    right = sum(s["AMLt"] >= 0.9 for s in trusted)
    cells.append("%d/%d" % (right, len(trusted)))
    print("%-*s %3d %s" % (width, name, len(scores), " ".join(cells)))


def report(scored, table, every):
    width = max([24] + [len(n) for n in scored] if every else [24])
    head = ["%6s" % c for c in COLUMNS] + ["%8s" % "bpm", "%6s" % "ms", "trusted right/all"]
    print("%-*s %3s %s" % (width, "", "n", " ".join(head)))
    for name in sorted(scored) if every else []:
        row(name, [scored[name]], width)
    classes = sorted({table[n]["truth"] for n in scored if "truth" in table.get(n, {})})
    for kind in classes:
        row(kind, [s for n, s in scored.items() if table.get(n, {}).get("truth") == kind], width)
    row("all", list(scored.values()), width)


def report_keys(analyses, table):
    rows = [(key_number(table[n].get("key")), key_number(a.get("key"))) for n, a in analyses.items() if n in table]
    rows = [(t, h) for t, h in rows if t is not None]
    if rows:
        exact = sum(t == h for t, h in rows) / len(rows)
        print("key, %d tracks: exact %.3f, weighted %.3f" % (len(rows), exact, mean([key_score(t, h) for t, h in rows])))


def load_analyses(lines):
    found = {}
    for line in lines:
        if line.strip():
            analysis = json.loads(line)
            found[os.path.splitext(os.path.basename(analysis["file"]))[0]] = analysis
    return found


def run_program(program, audio, names):
    files = [os.path.join(audio, f) for f in sorted(os.listdir(audio)) if os.path.splitext(f)[0] in names]
    command = [program] + (["tool"] if os.path.basename(program) == "forever-work" else []) + ["analyse", "--json"]
    before = os.times()
    output = subprocess.run(command + files, stdout=subprocess.PIPE, check=False, text=True).stdout
    after = os.times()
    analyses = load_analyses(output.splitlines())
    music_s = sum(a.get("duration_s", 0) for a in analyses.values())
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    print("%d files, %.0f min of music, %.0f times real time on one core" % (len(analyses), music_s / 60, music_s / max(cpu_s, 1e-9)))
    return analyses


def selftest():
    failures = []

    def expect(what, got, want):
        if not abs(got - want) < 1e-9:
            failures.append("%s: %r, not %r" % (what, got, want))

    def heard(times, bpm=120.0, bars=()):
        return {"beats_s": list(times), "tempo_bpm": bpm, "downbeats_s": list(bars), "tempo_confidence": 1.0}

    grid = [5 + 0.5 * i for i in range(40)]
    truth = [(t, i % 4 + 1) for i, t in enumerate(grid)]
    s = score(truth, heard(grid, bars=grid[::4]))
    for column in COLUMNS:
        expect("perfect " + column, s[column], 1)
    s = score(truth, {})
    for column in ("F", "CMLt", "AMLt", "Acc1", "Acc2", "barF"):
        expect("nothing " + column, s[column], 0)
    # 60 ms late is a hit, 80 ms is not, but both go on well (0.16 of a beat)
    s = score(truth, heard([t + 0.06 for t in grid]))
    expect("late F", s["F"], 1)
    expect("late ms", round(s["ms"], 6), 60)
    s = score(truth, heard([t + 0.08 for t in grid]))
    expect("later F", s["F"], 0)
    expect("later CMLt", s["CMLt"], 1)
    # offbeats: 39 of them lie between 40 beats
    s = score(truth, heard([t + 0.25 for t in grid]))
    expect("offbeat CMLt", s["CMLt"], 0)
    expect("offbeat AMLt", s["AMLt"], 39 / 40)
    # double: 79 estimates, 40 hits
    double = [5 + 0.25 * i for i in range(79)]
    s = score(truth, heard(double, 240.0))
    expect("double F", s["F"], 80 / 119)
    expect("double CMLt", s["CMLt"], 0)
    expect("double AMLt", s["AMLt"], 1)
    expect("double Acc1", s["Acc1"], 0)
    expect("double Acc2", s["Acc2"], 1)
    for first in (0, 1):
        s = score(truth, heard(grid[first::2], 60.0))
        expect("half AMLt", s["AMLt"], 1)
        expect("half F", s["F"], 40 / 60)
    # a missing beat breaks its own and the next one's interval
    s = score(truth, heard(grid[:20] + grid[21:]))
    expect("gap F", s["F"], 2 * 39 / 79)
    expect("gap CMLt", s["CMLt"], 38 / 40)
    # a bar off by a beat: beats right, bars wrong
    expect("bar off", score(truth, heard(grid, bars=grid[1::4]))["barF"], 0)
    expect("Acc edge in", score(truth, heard(grid, 124.8))["Acc1"], 1)
    expect("Acc edge out", score(truth, heard(grid, 124.9))["Acc1"], 0)
    expect("bpm", score(truth, heard(grid, 120.5))["bpm"], 0.5)
    expect("before 5 s", len(late([4.999, 5.0, 6.0])), 2)
    expect("one to one", len(hits([5.0, 5.1], [5.05, 5.16])), 2)
    # keys
    for name, want in (("C major", 0), ("Db major", 1), ("C# minor", 13), ("B minor", 23), ("Cb major", 11)):
        expect(name, key_number(name), want)
    a_minor, c_major = key_number("A minor"), key_number("C major")
    expect("relative", key_score(a_minor, c_major), 0.3)
    expect("relative back", key_score(c_major, a_minor), 0.3)
    expect("fifth", key_score(c_major, key_number("G major")), 0.5)
    expect("parallel", key_score(c_major, key_number("C minor")), 0.2)
    expect("none", key_score(c_major, None), 0)
    print("\n".join(failures) if failures else "selftest passed")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", metavar="DIR")
    parser.add_argument("--audio", metavar="DIR")
    parser.add_argument("--program", default="./build/forever-work")
    parser.add_argument("--table", metavar="TSV")
    parser.add_argument("--every", action="store_true", help="a line for every track")
    parser.add_argument("--floor", type=float, default=0.0, help="fail when the mean F is below")
    parser.add_argument("--selftest", action="store_true")
    parser.add_argument("analyses", nargs="?", help="lines of analyse --json; - for standard input")
    args = parser.parse_args()
    if args.selftest:
        return selftest()
    if not args.truth or not (args.audio or args.analyses):
        parser.error("--truth and either analyses or --audio are needed")
    truths = {f[:-6]: read_truth(os.path.join(args.truth, f)) for f in os.listdir(args.truth) if f.endswith(".beats")}
    if not truths:
        parser.error("%s holds no .beats" % args.truth)
    if args.audio:
        analyses = run_program(args.program, args.audio, set(truths))
    elif args.analyses == "-":
        analyses = load_analyses(sys.stdin)
    else:
        with open(args.analyses, encoding="utf-8") as lines:
            analyses = load_analyses(lines)
    table = {}
    if args.table:
        with open(args.table, encoding="utf-8") as lines:
            table = {r["id"]: r for r in csv.DictReader(lines, delimiter="\t")}
    scored = {name: score(truth, analyses.get(name, {})) for name, truth in truths.items()}
    report(scored, table, args.every)
    report_keys(analyses, table)
    return 0 if mean([s["F"] for s in scored.values()]) >= args.floor else 1


if __name__ == "__main__":
    sys.exit(main())
