#!/usr/bin/python3
"""real_data.py LIBRARY TREE OUT: tracker modules and played-along recordings of other packages than those the ears
are measured on, as OUT/real-NAME.npz (see make_data.py). TREE: the unpacked packages, README.md lists them."""
import ctypes, glob, os, struct, subprocess, sys
import numpy as np
from features import Ears, RATE

# module: rows to a beat. Those whose rows don't tell (patterns of 48 or 80 rows, changes of tempo) are left out.
MODULES = {
    'bomberclone-data': {'cerror-bobmberclone.xm': 4, 'cerror-bomberclone_numero_2.xm': 4, 'cinderella_clown.mod': 4,
                         'slice_me_nice.xm': 4, 'zb-tnt.xm': 4},
    'circuslinux-data': {'finally.mod': 4, 'hiscore.mod': 4, 'kaupunki.mod': 4, 'klovninarki.mod': 4},
    'criticalmass-data': {'lg-criti.xm': 8},
    'heroes-sound-tracks': {'endscroll.xm': 4, 'heroes01.xm': 8, 'heroes02.xm': 8, 'heroes03.xm': 8, 'heroes04.xm': 8,
                            'heroes05.xm': 8, 'heroes06.xm': 8, 'heroes07.xm': 8, 'heroes08.xm': 8, 'heroes09.xm': 8,
                            'heroes10.xm': 8, 'menu.xm': 8},
    'njam-data': {'dali.xm': 4, 'ritam.s3m': 4, 'satisfy.xm': 4},
    'pingus-data': {'gd-cancn.it': 4, 'gd-ite.it': 4, 'gd-matth.it': 4, 'gd-myla.it': 8, 'pingus-6.it': 4, 'pingus-9.it': 4,
                    'sorcerer.it': 4, 'rough_journey.it': 8},
    'tuxtype-data': {'game2.mod': 8, 'game3.mod': 4},
}
LONGEST_S = 100
BLOCK = 64  # samples between two looks at the row


def module(path, rows):
    """Mono sound and [(seconds, place in the bar)] of a module."""
    so = ctypes.CDLL('libopenmpt.so.0')
    create = so.openmpt_module_create_from_memory2
    create.restype = ctypes.c_void_p
    so.openmpt_module_read_mono.restype = ctypes.c_size_t
    data = open(path, 'rb').read()
    mod = ctypes.c_void_p(create(data, ctypes.c_size_t(len(data)), None, None, None, None, None, None, None))
    if not mod: raise SystemExit('not a module: ' + path)
    buffer, sound, beats, last = (ctypes.c_int16 * BLOCK)(), [], [], None
    for block in range(LONGEST_S * 44100 // BLOCK):
        n = so.openmpt_module_read_mono(mod, 44100, ctypes.c_size_t(BLOCK), buffer)
        if not n: break
        sound.append(bytes(buffer)[:2 * n])
        place = so.openmpt_module_get_current_order(mod), so.openmpt_module_get_current_row(mod)
        if place != last:
            if place[1] % rows == 0: beats.append((block * BLOCK / 44100, place[1] // rows % 4 + 1))
            last = place
    so.openmpt_module_destroy(mod)
    return np.frombuffer(b''.join(sound), np.int16).astype('f') / 32768, beats


def tempo_map(path):
    """[(tick, seconds a quarter)] and ticks a quarter of a MIDI file."""
    data = open(path, 'rb').read()
    ticks, tempos, at = struct.unpack('>H', data[12:14])[0], [], 14
    while at + 8 <= len(data):
        size = struct.unpack('>I', data[at + 4:at + 8])[0]
        p, end, t, status = at + 8, at + 8 + size, 0, 0
        def vlq(p):
            v = 0
            while True:
                v, p = v << 7 | data[p] & 127, p + 1
                if data[p - 1] < 128: return v, p
        while p < end:
            step, p = vlq(p)
            t += step
            if data[p] & 128: status, p = data[p], p + 1
            if status == 0xff:
                kind = data[p]
                n, p = vlq(p + 1)
                if kind == 0x51: tempos.append((t, int.from_bytes(data[p:p + n], 'big') / 1e6))
                p += n
            elif status in (0xf0, 0xf7):
                n, p = vlq(p)
                p += n
            else: p += 1 if status & 0xe0 == 0xc0 else 2
        at = end
    return sorted(tempos), ticks


def played_along(folder):
    """A Frets on Fire song: quarters of its tempo map; the bars are not known for certain, so none are given."""
    raw = subprocess.run(['ffmpeg', '-v', 'error', '-nostdin', '-i', folder + '/song.ogg', '-i', folder + '/guitar.ogg', '-filter_complex',
                          'amix=inputs=2:normalize=0', '-t', str(LONGEST_S), '-f', 'f32le', '-ac', '1', '-ar', '44100', '-'], capture_output=True).stdout
    sound = np.frombuffer(raw, np.float32)
    tempos, ticks = tempo_map(folder + '/notes.mid')
    delay = [float(line.split('=')[1]) / 1000 for line in open(folder + '/song.ini', errors='replace') if line.replace(' ', '').startswith('delay=')]
    times, t, k = [], 0.0, 0
    while t < len(sound) / 44100:
        times.append(t)
        t += [s for tick, s in tempos if tick <= k * ticks][-1]
        k += 1
    return sound, np.array(times) + (delay[0] if delay else 0)


def lag(mel, times):
    """By how much the onsets lie after the times, and how clearly: the chart was made by ear."""
    flux = np.maximum(0, np.diff(mel.astype('f'), axis=0)).sum(1)
    score = [np.mean([flux[int(round((t + s) * RATE)) - 1] for t in times if 1 < (t + s) * RATE < len(flux)]) for s in np.arange(-0.12, 0.12, 0.01)]
    return np.arange(-0.12, 0.12, 0.01)[int(np.argmax(score))], max(score) / np.mean(score)


def main():
    ears, tree, out = Ears(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.makedirs(out, exist_ok=True)
    for package, names in MODULES.items():
        for name, rows in names.items():
            path = glob.glob(f'{tree}/{package}/**/{name}', recursive=True)[0]
            sound, beats = module(path, rows)
            mel = ears.mel(0.9 * sound / np.abs(sound).max())
            print(package, name, lag(mel, [b[0] for b in beats]), round(60 / np.median(np.diff([b[0] for b in beats])), 1))
            np.savez(f'{out}/real-{name}.npz', mel=mel.astype(np.float16), beats=np.array(beats, 'f8'), family=package)
    for folder in sorted(glob.glob(f'{tree}/fretsonfire-songs-muldjord/**/notes.mid', recursive=True)):
        folder = os.path.dirname(folder)
        sound, times = played_along(folder)
        mel = ears.mel(0.9 * sound / np.abs(sound).max())
        shift, clear = lag(mel, times)
        print(folder, shift, clear, round(60 / np.median(np.diff(times)), 1))
        times = times + shift
        np.savez(f'{out}/real-{os.path.basename(folder)}.npz', mel=mel.astype(np.float16), beats=np.stack([times, 0 * times], 1), family='fretsonfire-songs-muldjord')


if __name__ == '__main__': main()
