#!/usr/bin/env python3
"""voices: how well the analysis tells music with a voice from music without, and the fit of its weights.

    voices.py --dir DIR --beds AUDIO [--beds AUDIO ...] [--build build] [--fit]

Of every second piece (at most --pieces) in the folders of instrumental music, 24 s from a third on are taken; a voice is mixed into the
second half at -3, 0, 3 or 6 dB of the music's own level there. The voices, in turn:

    speech   people: announcements in US English of asterisk-core-sounds-en-g722 (with --fit), or in Mexican Spanish
             of asterisk-core-sounds-es-g722 (without)
    sing     synthesised: sixteen and more harmonics of a gliding note with vibrato through three formants, and noise
    espeak   espeak-ng, English (with --fit) or German

Scored are rows of 0.37 s, those within 1.2 s of a change left out: the area under the curve, and recall and false
alarms at an even chance. With --fit the regression's weights are printed as root/analysis/vocal.c holds them. Those
there were fitted to the first 36 of: the demo music (DEMO-MUSIC.md), and every second of the MIDI pieces of freedink-data,
planetblupi-music-midi and simutrans-data whose key is plain (keys.py), rendered with TimGM6mb and FluidR3.

Needs numpy, ffmpeg, espeak-ng and a C compiler; make the workers first.
"""
import argparse
import glob
import os
import subprocess
import sys

import numpy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import keys  # pylint: disable=wrong-import-position

RATE = 44100
HALF = 12 * RATE
ROW_S = 1024 * 16 / RATE
KINDS = ("speech", "sing", "espeak")
TEXT = ("The quick brown fox jumps over the lazy dog. Oh my love, we are singing all the night long, and nobody knows "
        "where the morning goes. Hold on to the feeling, never let me go. ") * 8
# formants of five vowels, Hz
VOWELS = ((800, 1150, 2900), (400, 1900, 2550), (300, 2250, 3000), (450, 800, 2830), (325, 700, 2700))


def load(path, options=()):
    command = ["ffmpeg", "-v", "fatal", "-nostdin"] + list(options) + ["-i", path, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    return numpy.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, numpy.float32).astype(float)


def speech(files, random):
    parts, length = [], 0
    for _ in range(1000):
        part = load(files[random.integers(len(files))], ("-f", "g722"))
        if len(part) > RATE // 2:
            parts.append(part / (part.std() + 1e-6))
            length += len(part)
        if length >= HALF:
            return numpy.concatenate(parts)[:HALF]
    raise RuntimeError("no speech")


def espeak(voice, random, folder):
    path = os.path.join(folder, "espeak.wav")
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(random.choice([110, 130, 150])), "-p", str(random.integers(30, 80)),
                    "-w", path, TEXT], check=True)
    return numpy.resize(load(path), HALF)


def melody(random, low):
    """Frequency and loudness by sample, and the vowel of each note."""
    scale, base, at = (0, 2, 3, 5, 7, 8, 10, 12), low, 0
    hz, loud, notes, last = numpy.full(HALF, float(base)), numpy.zeros(HALF), [], base
    while at < HALF:
        end = min(HALF, at + int(RATE * random.choice([0.25, 0.35, 0.5, 0.8, 1.2])))
        t, note = numpy.arange(end - at) / RATE, base * 2 ** (random.choice(scale) / 12)
        depth = numpy.clip((t - 0.15) / 0.3, 0, 1) * random.uniform(20, 70) / 1200
        vibrato = 2 ** (numpy.sin(2 * numpy.pi * random.uniform(4.8, 6.5) * t) * depth)
        hz[at:end] = note * (last / note) ** numpy.exp(-t / 0.05) * vibrato
        loud[at:end] = numpy.clip(numpy.minimum(t / 0.04, (t[-1] + 1e-3 - t) / 0.06), 0, 1)
        notes.append((at, end, VOWELS[random.integers(len(VOWELS))]))
        last, at = note, end + (int(RATE * random.uniform(0.1, 0.6)) if random.random() < 0.2 else 0)
    return hz, loud, notes


def sing(random, man):
    hz, loud, notes = melody(random, random.choice([110, 130, 147] if man else [220, 262, 294]))
    phase, out, breath = numpy.cumsum(hz) / RATE, numpy.zeros(HALF), random.normal(0, 0.02, HALF)
    for harmonic in range(1, 40):
        gain = numpy.zeros(HALF)
        for at, end, formants in notes:
            shape = sum(w / (1 + ((hz[at:end] * harmonic - f) / width) ** 2)
                        for f, width, w in zip(formants, (90, 110, 170), (1, 0.6, 0.35)))
            gain[at:end] = shape / numpy.sqrt(harmonic)
        out += gain * numpy.sin(2 * numpy.pi * harmonic * phase) * loud * (hz * harmonic < 12000)
    for at, _, _ in notes:
        length = min(HALF - at, int(0.07 * RATE))
        if random.random() < 0.6:
            breath[at:at + length] += random.normal(0, 0.5, length) * numpy.hanning(length)
    return out / out.std() + numpy.diff(breath, prepend=0)


def build_cues(build, folder):
    here = os.path.dirname(os.path.abspath(__file__))
    top = os.path.join(here, "..", "..", "..")
    program = os.path.join(folder, "voice_cues")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-I" + top, "-o", program, os.path.join(here, "voice_cues.c"),
                    os.path.join(build, "libwork.a"), os.path.join(build, "libcommon.a"), "-ljansson", "-lm"], check=True)
    return program


def rows_of(program, samples):
    """(likelihoods, cues, is a voice there) of the rows that are well within a half."""
    stereo = numpy.repeat(samples, 2).astype(numpy.float32).tobytes()
    text = subprocess.run([program], input=stereo, stdout=subprocess.PIPE, check=True).stdout
    table = numpy.array([line.split() for line in text.decode().splitlines()], float)
    time = (numpy.arange(len(table)) + 0.5) * ROW_S
    inner = (time > 1.2) & (time < 22.8) & (abs(time - 12) > 1.2)
    return table[inner, 0] / 255, table[inner, 1:], time[inner] > 12


def area(score, truth):
    rank = numpy.empty(len(score))
    rank[numpy.argsort(score)] = numpy.arange(len(score))
    ones = truth.sum()
    return (rank[truth].sum() - ones * (ones - 1) / 2) / (ones * (len(truth) - ones))


def fit(cues, truth):
    """Centre, scale and weights of a logistic regression (Newton's method, a ridge of 1)."""
    centre, scale = cues.mean(0), cues.std(0)
    a = numpy.c_[(cues - centre) / scale, numpy.ones(len(cues))]
    weight = numpy.zeros(a.shape[1])
    for _ in range(50):
        p = 1 / (1 + numpy.exp(-a @ weight))
        weight += numpy.linalg.solve((a * (p * (1 - p))[:, None]).T @ a + numpy.eye(len(weight)), a.T @ (truth - p) - weight)
    return centre, scale, weight


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True, metavar="DIR", help="where packages are kept")
    parser.add_argument("--beds", required=True, metavar="AUDIO", action="append")
    parser.add_argument("--build", default="build")
    parser.add_argument("--pieces", type=int, default=36)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--floor-area", type=float, default=0.0, help="fail when the area is smaller")
    args = parser.parse_args()
    root = os.path.abspath(args.dir)
    random, program = numpy.random.default_rng(3), None
    files = sorted(glob.glob(keys.package("asterisk-core-sounds-%s-g722" % ("en" if args.fit else "es")) + "/**/*.g722",
                             recursive=True))
    program = build_cues(args.build, root)
    beds = sorted(f for folder in args.beds for f in glob.glob(os.path.join(folder, "*.*")))[::2][:args.pieces]
    parts = []
    for number, bed in enumerate(beds):
        music = load(bed)
        music = music[len(music) // 3:][:2 * HALF].copy()
        if len(music) < 2 * HALF:
            continue
        kind = KINDS[number % 3]
        voice = (speech(files, random) if kind == "speech" else sing(random, number % 2) if kind == "sing" else
                 espeak("en-us" if args.fit else "de+f3", random, root))
        level = music[HALF:].std() * 10 ** (random.choice([-3, 0, 3, 6]) / 20) + 1e-4
        music[HALF:] += voice / (voice.std() + 1e-9) * level
        parts.append((kind,) + rows_of(program, music * min(1, 0.95 / abs(music).max())))
    for kind in KINDS + (None,):
        some = [p for p in parts if kind in (None, p[0])]
        score, truth = numpy.concatenate([p[1] for p in some]), numpy.concatenate([p[3] for p in some])
        print("%-7s %3d pieces: area %.3f, recall %.2f, false alarms %.2f" % (
            kind or "all", len(some), area(score, truth), (score[truth] > 0.5).mean(), (score[~truth] > 0.5).mean()))
    whole = area(score, truth)
    if args.fit:
        for name, values in zip(("centre", "scale", "weight"), fit(numpy.concatenate([p[2] for p in parts]), truth)):
            print("%-6s {%s}" % (name, ", ".join("%.4g" % v for v in values)))
    return 0 if whole >= args.floor_area else 1


if __name__ == "__main__":
    sys.exit(main())
