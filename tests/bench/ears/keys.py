#!/usr/bin/env python3
"""keys: how well the analysis names the key, on pieces whose notes are known, in several transpositions.

    keys.py --dir DIR --make [--install-tools]      fetch the scores, render them
    keys.py --dir DIR [--program build/forever-work] [--every] [--floor-exact X] [--floor-weighted Y]
    keys.py --dir DIR --truth                       what the notes themselves say
    keys.py --selftest

The scores are MIDI files out of two Debian packages, downloaded (apt checks their signatures) and unpacked into the
cache that deploy/demo/fetch uses, never installed. Each is written anew for every shift with all notes but those of the drum channel moved by as many
semitones, played by fluidsynth with a sound font of Debian's, limited and coded to Vorbis by ffmpeg. So 14 pieces
give 70 cases, and neither a tuning nor a range of the ear's own can help by chance.

The key is that of the notes: each counts for its pitch class as long as it sounds (at most 4 s), the sums are
correlated with the profiles of Krumhansl and Kessler (1982) in the 24 keys, and a piece is taken only where the best
key leaves its runner-up 0.06 behind and every key but its relative and its parallel 0.1.

Scores: exact, and weighted as in MIREX (1 the same, .5 a fifth off, .3 the relative, .2 the parallel key).
"""
import argparse
import math
import os
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ears  # pylint: disable=wrong-import-position

SHIFTS = (-5, -3, 0, 2, 4)
LONGEST_S = 240
OPENMSX = "usr/share/games/openttd/baseset/openmsx/"
DOOM = "usr/share/games/doom/"
# name, package, path in it (of a WAD: !lump), key
PIECES = (
    ("be_sharp", "openttd-openmsx", OPENMSX + "be_sharp_bw_redfarn.mid", "C minor"),
    ("boogi_marabi", "openttd-openmsx", OPENMSX + "boogi_marabi_redfarn.mid", "C major"),
    ("careless_perc", "openttd-openmsx", OPENMSX + "careless_perc_redfarn.mid", "C major"),
    ("midnight_snow_run", "openttd-openmsx", OPENMSX + "midnight_snow_run.mid", "E minor"),
    ("no_work_song", "openttd-openmsx", OPENMSX + "no_work_song_redfarn.mid", "C minor"),
    ("ddtbl2", "freedoom", DOOM + "freedoom2.wad!D_DDTBL2", "B minor"),
    ("e1m1", "freedoom", DOOM + "freedoom1.wad!D_E1M1", "D minor"),
    ("e2m1", "freedoom", DOOM + "freedoom1.wad!D_E2M1", "A minor"),
    ("e2m5", "freedoom", DOOM + "freedoom1.wad!D_E2M5", "D minor"),
    ("e3m3", "freedoom", DOOM + "freedoom1.wad!D_E3M3", "D minor"),
    ("e3m6", "freedoom", DOOM + "freedoom1.wad!D_E3M6", "D minor"),
    ("shawn3", "freedoom", DOOM + "freedoom2.wad!D_SHAWN3", "Db minor"),
    ("messag", "freedoom", DOOM + "freedoom2.wad!D_MESSAG", "E minor"),
    ("tense", "freedoom", DOOM + "freedoom2.wad!D_TENSE", "Db minor"),
)
SOUND_FONT = ("timgm6mb-soundfont", "usr/share/sounds/sf2/TimGM6mb.sf2")
TOOLS = ("fluidsynth", "ffmpeg")
NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
DRUMS = 9
# Krumhansl and Kessler 1982, Tracing the dynamic changes in perceived tonal organization
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def key_name(number):
    return NOTE_NAMES[number % 12] + (" minor" if number >= 12 else " major")


def variable(data, at):
    """A number of variable length: (value, what follows)."""
    value = 0
    while True:
        value = value << 7 | data[at] & 127
        at += 1
        if data[at - 1] < 128:
            return value, at


def midi_events(data):
    """(track, tick, place of the first data byte, status, bytes of data) of every event of a Standard MIDI File."""
    at, track = 8 + struct.unpack(">I", data[4:8])[0], 0
    while at + 8 <= len(data):
        kind, end = data[at:at + 4], at + 8 + struct.unpack(">I", data[at + 4:at + 8])[0]
        at += 8
        tick, status = 0, 0
        while kind == b"MTrk" and at < min(end, len(data)):
            delta, at = variable(data, at)
            tick += delta
            if data[at] & 0x80:
                status = data[at]
                at += 1
            if status == 0xFF:
                length, place = variable(data, at + 1)
                yield track, tick, at, status, length + place - at
                at = place + length
                if data[place - 2] == 0x2F and length == 0:
                    break
            elif status >= 0xF0:
                length, place = variable(data, at)
                at = place + length
            else:
                length = 1 if 0xC0 <= status < 0xE0 else 2
                yield track, tick, at, status, length
                at += length
        at = end
        track += kind == b"MTrk"


def transposed(data, shift):
    """The same file with every note moved; what would leave MIDI's range stays in its octave's reach."""
    out = bytearray(data)
    for _, _, at, status, _ in midi_events(data):
        if status & 0xF0 in (0x80, 0x90, 0xA0) and status & 15 != DRUMS:
            note = data[at] + shift
            out[at] = note + 12 if note < 0 else note - 12 if note > 127 else note
    return bytes(out)


def pitch_classes(data):
    """Seconds for which each pitch class sounds."""
    division = struct.unpack(">H", data[12:14])[0]
    events = list(midi_events(data))
    tempo = sorted((tick, int.from_bytes(data[at + 2:at + 5], "big"))
                   for _, tick, at, status, _ in events if status == 0xFF and data[at] == 0x51)
    tempo = [(0, 500000)] + tempo

    def seconds(tick):
        total = 0.0
        for (start, us), (end, _) in zip(tempo, tempo[1:] + [(math.inf, 0)]):
            total += max(0, min(tick, end) - start) * us / 1e6 / division
        return total

    sums, sounding = [0.0] * 12, {}

    def end_note(key, tick):
        begun = sounding[key].pop(0)
        if seconds(begun) < LONGEST_S:
            sums[key[2] % 12] += min(seconds(tick) - seconds(begun), 4.0)

    last = 0
    for track, tick, at, status, _ in events:
        key, last = (track, status & 15, data[at]), max(last, tick)
        if status & 15 == DRUMS or status & 0xF0 not in (0x80, 0x90):
            continue
        if status & 0xF0 == 0x90 and data[at + 1]:
            sounding.setdefault(key, []).append(tick)
        elif sounding.get(key):
            end_note(key, tick)
    for key, begun in sounding.items():
        while begun:
            end_note(key, last)
    return sums


def correlation(a, b):
    ma, mb = sum(a) / 12, sum(b) / 12
    ab = sum((x - ma) * (y - mb) for x, y in zip(a, b))
    return ab / math.sqrt(max(1e-12, sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b)))


def key_of_notes(sums):
    """(key, lead over the runner-up, lead over the best that is neither relative nor parallel)."""
    score = [correlation([sums[(i + k) % 12] for i in range(12)], MINOR if k >= 12 else MAJOR) for k in range(24)]
    best = max(range(24), key=score.__getitem__)
    relative = (best + 9) % 12 + 12 if best < 12 else (best + 3) % 12
    near = {best, relative, (best + 12) % 24}
    return (best, score[best] - max(s for k, s in enumerate(score) if k != best),
            score[best] - max(s for k, s in enumerate(score) if k not in near))


def wad_lump(data, name):
    """A lump of a Doom WAD; the first of that name."""
    count, directory = struct.unpack("<II", data[4:12])
    for i in range(count):
        place, size, lump = struct.unpack("<II8s", data[directory + 16 * i:directory + 16 * i + 16])
        if lump.rstrip(b"\0").decode("latin-1").upper() == name:
            return data[place:place + size]
    raise KeyError(name)


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/root"), ".cache")
    return os.path.join(home, "forever", "packages")


def package(name, limit_s=600):
    """The unpacked tree of a Debian package; as deploy/demo/fetch does it, and in the same place."""
    tree = os.path.join(cache(), "tree", name)
    if os.path.isdir(tree):
        return tree
    folder = "%s.%d" % (tree, os.getpid())
    os.makedirs(folder + "/deb")
    try:
        user = subprocess.run(["id", "-un"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        patience = ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30"]
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=" + user, *patience, "download", "-qq", name], cwd=folder + "/deb",
                       check=True, timeout=limit_s, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deb = os.path.join(folder, "deb", os.listdir(folder + "/deb")[0])
        subprocess.run(["dpkg-deb", "-x", deb, folder + "/tree"], check=True)
        if not os.path.isdir(tree):
            os.rename(folder + "/tree", tree)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tree


def score_of(name, path):
    """A MIDI file out of a package; of a WAD: !lump."""
    file, _, lump = path.partition("!")
    with open(os.path.join(package(name), file), "rb") as source:
        data = source.read()
    return wad_lump(data, lump) if lump else data


def sound_font():
    return os.path.join(package(SOUND_FONT[0]), SOUND_FONT[1])


def render(out, midi, font):
    """MIDI bytes to `out`.ogg; nothing when it is there."""
    if os.path.exists(out + ".ogg"):
        return
    with open(out + ".mid", "wb") as file:
        file.write(midi)
    try:
        subprocess.run(["fluidsynth", "-ni", "-q", "-F", out + ".wav", "-r", "44100", "-g", "0.6", "-o", "synth.chorus.active=0",
                        font, out + ".mid"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-t", str(LONGEST_S), "-i", out + ".wav", "-af",
                        "alimiter=limit=0.97:level=disabled", "-c:a", "libvorbis", "-q:a", "5", out + ".part.ogg"], check=True)
        os.rename(out + ".part.ogg", out + ".ogg")
    finally:
        for end in (".mid", ".wav"):
            if os.path.exists(out + end):
                os.remove(out + end)


def make(root, install):
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing and install:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends"] + missing, check=True)
    elif missing:
        sys.exit("keys.py: missing: %s (apt-get install them, or pass --install-tools)" % " ".join(missing))
    audio = os.path.join(root, "audio")
    os.makedirs(audio, exist_ok=True)
    font = sound_font()
    jobs = [(os.path.join(audio, "%s%+d" % (name, shift)), transposed(score_of(source, path), shift), font)
            for name, source, path, _ in PIECES for shift in SHIFTS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: render(*job), jobs))
    print("%d renderings in %s" % (len(jobs), audio))


def truths():
    keys = {}
    for name, _, _, key in PIECES:
        for shift in SHIFTS:
            number = ears.key_number(key)
            keys["%s%+d" % (name, shift)] = (number + shift) % 12 + number // 12 * 12
    return keys


def evaluate(root, program, every):
    keys = truths()
    analyses = ears.run_program(program, os.path.join(root, "audio"), set(keys))
    scores = {name: ears.key_score(key, ears.key_number(analyses.get(name, {}).get("key"))) for name, key in keys.items()}
    for name, score in scores.items() if every else ():
        if score < 1:
            print("%-22s %-9s heard as %-9s %.1f" % (name, key_name(keys[name]), analyses.get(name, {}).get("key"), score))
    for shift in SHIFTS:
        group = [s for name, s in scores.items() if name.endswith("%+d" % shift)]
        print("shift %+d: exact %.3f, weighted %.3f" % (shift, sum(s == 1 for s in group) / len(group), ears.mean(group)))
    exact, weighted = sum(s == 1 for s in scores.values()) / len(scores), ears.mean(list(scores.values()))
    print("key, %d cases: exact %.3f, weighted %.3f" % (len(scores), exact, weighted))
    return exact, weighted


def selftest():
    # two tracks, a running status, notes on a melodic and on the drum channel
    def track(events):
        return b"MTrk" + struct.pack(">I", len(events)) + events
    notes = b"\x00\x90\x3c\x40\x60\x3c\x00" + b"\x00\x99\x24\x40\x60\x89\x24\x40" + b"\x00\xff\x2f\x00"
    data = b"MThd" + struct.pack(">IHHH", 6, 1, 2, 96) + track(b"\x00\xff\x51\x03\x0f\x42\x40\x00\xff\x2f\x00") + track(notes)
    failures = []
    if [round(s, 6) for s in pitch_classes(data)] != [1.0] + [0] * 11:
        failures.append("notes: %r" % pitch_classes(data))
    up = transposed(data, 2)
    if pitch_classes(up)[2] != 1.0 or up.count(b"\x24") != data.count(b"\x24") or len(up) != len(data):
        failures.append("transposition: %r" % up)
    for key in range(24):
        profile = MINOR if key >= 12 else MAJOR
        if key_of_notes([profile[(i - key) % 12] for i in range(12)])[0] != key:
            failures.append("key %d" % key)
    if truths()["tense-3"] != ears.key_number("Bb minor"):
        failures.append("truth of a transposition")
    print("\n".join(failures) if failures else "selftest passed")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", metavar="DIR", help="where packages and renderings are kept")
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--install-tools", action="store_true")
    parser.add_argument("--truth", action="store_true", help="the keys that the notes say, beside those of the table")
    parser.add_argument("--program", default="./build/forever-work")
    parser.add_argument("--every", action="store_true", help="a line for every mistake")
    parser.add_argument("--floor-exact", type=float, default=0.0, help="fail when fewer are exact")
    parser.add_argument("--floor-weighted", type=float, default=0.0)
    parser.add_argument("--selftest", action="store_true")
    args = parser.parse_args()
    if args.selftest:
        return selftest()
    if not args.dir:
        parser.error("--dir is needed")
    root = os.path.abspath(args.dir)
    if args.make:
        make(root, args.install_tools)
        return 0
    if args.truth:
        for name, source, path, key in PIECES:
            heard, lead, far = key_of_notes(pitch_classes(score_of(source, path)))
            print("%-20s %-9s notes %-9s lead %.2f, over far keys %.2f" % (name, key, key_name(heard), lead, far))
        return 0
    exact, weighted = evaluate(root, args.program, args.every)
    return 0 if exact >= args.floor_exact and weighted >= args.floor_weighted else 1


if __name__ == "__main__":
    sys.exit(main())
