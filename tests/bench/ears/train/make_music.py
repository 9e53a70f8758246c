#!/usr/bin/python3
"""make_music.py TREE OUT FIRST COUNT: what candidates.c listens to, as OUT/NAME.wav and OUT/NAME.beats: pieces FIRST..
of compose.py, then the modules of real_data.py. NAME begins with the family and "--"."""
import glob
import os
import sys
import tempfile
import wave

import numpy as np

import real_data
from compose import compose
from render import load_kits, render


def save(out, name, sound, beats):
    name = os.path.join(out, name.replace(".", "_").replace(" ", "_"))
    sound = (0.9 * 32767 * sound / np.abs(sound).max()).astype("<i2")
    with wave.open(name + ".wav", "wb") as file:
        file.setparams((1, 2, 44100, len(sound), "NONE", ""))
        file.writeframes(sound.tobytes())
    with open(name + ".beats", "w", encoding="utf-8") as file:
        for t, place in beats:
            file.write("%.5f %d\n" % (t, place))


def main():
    tree, out, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.makedirs(out, exist_ok=True)
    fonts = sorted(glob.glob(tree + "/**/*.sf[23]", recursive=True) + glob.glob("/usr/share/sounds/sf2/FluidR3_GM.sf2"))
    kits = load_kits(tree, os.path.join(tree, "kits.npz"))
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(first, first + count):
            piece = compose(seed)
            save(out, "written--%s--%d" % (piece.genre, seed), render(piece, seed, fonts, kits, scratch), piece.beats)
    for package, names in real_data.MODULES.items():
        for name, rows in names.items():
            sound, beats = real_data.module(glob.glob("%s/%s/**/%s" % (tree, package, name), recursive=True)[0], rows)
            save(out, package + "--" + name, sound, beats)


if __name__ == "__main__":
    main()
