#!/usr/bin/python3
"""make_data.py LIBRARY TREE OUT FIRST COUNT: pieces FIRST.. of compose.py, rendered, as OUT/gen-SEED.npz with `mel`
(frames x bands) and `beats` (seconds, place in the bar)."""
import glob, os, sys, tempfile
import numpy as np
from compose import compose
from features import Ears
from render import load_kits, render


def main():
    library, tree, out, first, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    os.makedirs(out, exist_ok=True)
    ears = Ears(library)
    fonts = sorted(glob.glob(tree + '/**/*.sf[23]', recursive=True) + glob.glob('/usr/share/sounds/sf2/FluidR3_GM.sf2'))
    kits = load_kits(tree, os.path.join(tree, 'kits.npz'))
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(first, first + count):
            path = f'{out}/gen-{seed}.npz'
            if os.path.exists(path): continue
            piece = compose(seed)
            mel = ears.mel(render(piece, seed, fonts, kits, scratch))
            np.savez(path + '.part.npz', mel=mel.astype(np.float16), beats=np.array(piece.beats, 'f8'), family=piece.genre)
            os.rename(path + '.part.npz', path)


if __name__ == '__main__': main()
