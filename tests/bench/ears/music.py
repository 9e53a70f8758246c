#!/usr/bin/python3
"""music: the recordings by which the ears are measured, and where their beats lie, out of Debian packages.

    music.py DIR [--set test] [--set demo] [--only ID,ID] [--install-tools]

writes DIR/SET/audio/ID.ogg and DIR/SET/truth/ID.beats (the form is in ears.py) for the rows of tracks.tsv. Packages
are downloaded with apt, which checks their signatures, and unpacked into the cache that deploy/demo/fetch uses, never
installed. What is there is kept. Exit status 69 when something could not be had.

How a row of the table (`how`) becomes a recording:
    copy     the file itself
    mix      the two stems of a Frets on Fire song together
    lmms     a project rendered by lmms
    score    a MIDI file, or one in a Doom WAD, played by fluidsynth with timgm6mb-soundfont
    module   a tracker module played by libopenmpt
What is rendered is limited, cut after four minutes, and coded to Vorbis by ffmpeg.

And where its beats are known from (`truth`):
    grid FIRST BPM COUNT METRE [PLACE]    a constant tempo; metre 0: the bars are unknown. Loops are whole numbers of bars
             at a whole tempo (loop-grid), projects state it (lmms-exact), charts were shifted to the onsets
             (fof-tempo-map, to some 10 ms), recordings have a grid fitted to their onsets (fit-grid: tempo within
             0.01 %, times within 5 ms, the level and the offbeat by fit)
    score    tempo and time signatures of the MIDI file; 4/4 where it has none; exact
    rows METRE    every fourth row of the module's patterns, its time read while it plays: exact to 1.5 ms, four rows
             a beat by convention
"""
import argparse
import csv
import ctypes
import math
import os
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import keys  # noqa: E402  pylint: disable=wrong-import-position

TABLE = os.path.join(HERE, "tracks.tsv")
LONGEST_S = 240
ROWS_A_BEAT = 4
BLOCK = 64  # samples between two looks at a module's row
TOOLS = {"mix": "ffmpeg", "lmms": "lmms", "score": "fluidsynth", "module": "libopenmpt0"}


def table(sets=None, only=None):
    with open(TABLE, encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [r for r in rows if (not sets or r["set"] in sets) and (not only or r["id"] in only)]


# --- sound ----------------------------------------------------------------------------------------------------

def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], check=True)


def encode(wav, out):
    ffmpeg("-t", str(LONGEST_S), "-i", wav, "-af", "alimiter=limit=0.97:level=disabled", "-map_metadata", "-1", "-c:a",
           "libvorbis", "-q:a", "5", out)


def render_lmms(project, wav):
    """Some projects crash lmms after the last sample is written: only what it wrote counts."""
    home = wav + ".home"
    os.makedirs(home, exist_ok=True)
    root = ["--allowroot"] if os.getuid() == 0 else []
    subprocess.run(["lmms", *root, "render", project, "-f", "wav", "-s", "44100", "-i", "sincfastest", "-x", "1", "-o", wav],
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                   env=dict(os.environ, QT_QPA_PLATFORM="offscreen", HOME=home))
    shutil.rmtree(home, ignore_errors=True)


def play_module(path, pcm):
    """Stereo samples of 16 bits into the file pcm; (seconds, row of its pattern) of all rows."""
    so = ctypes.CDLL("libopenmpt.so.0")
    so.openmpt_module_create_from_memory2.restype = ctypes.c_void_p
    so.openmpt_module_read_interleaved_stereo.restype = ctypes.c_size_t
    with open(path, "rb") as file:
        data = file.read()
    module = ctypes.c_void_p(so.openmpt_module_create_from_memory2(data, ctypes.c_size_t(len(data)), *[None] * 7))
    if not module:
        raise ValueError("libopenmpt can't read " + path)
    buffer, rows, last, at = (ctypes.c_int16 * (2 * BLOCK))(), [], None, 0
    with open(pcm, "wb") as out:
        while at < LONGEST_S * 44100:
            count = so.openmpt_module_read_interleaved_stereo(module, 44100, ctypes.c_size_t(BLOCK), buffer)
            if not count:
                break
            out.write(bytes(buffer)[:4 * count])
            place = so.openmpt_module_get_current_order(module), so.openmpt_module_get_current_row(module)
            if place != last:
                rows.append((at / 44100, place[1]))
                last = place
            at += count
    so.openmpt_module_destroy(module)
    return rows


def make_audio(row, out):
    """Writes the recording; the rows of a module, else nothing."""
    source, part, rows = os.path.join(keys.package(row["package"]), row["path"]), out + ".part", None
    if row["how"] == "copy":
        shutil.copy(source, part + ".ogg")
    elif row["how"] == "mix":
        ffmpeg("-i", source + "/song.ogg", "-i", source + "/guitar.ogg", "-filter_complex",
               "amix=inputs=2:normalize=0,alimiter=limit=0.98:level=disabled", "-map_metadata", "-1", "-c:a", "libvorbis",
               "-q:a", "6", part + ".ogg")
    elif row["how"] == "lmms":
        render_lmms(source, part + ".wav")
        encode(part + ".wav", part + ".ogg")
    elif row["how"] == "score":
        keys.render(part, keys.score_of(row["package"], row["path"]), keys.sound_font())
    elif row["how"] == "module":
        rows = play_module(source, part + ".pcm")
        ffmpeg("-f", "s16le", "-ar", "44100", "-ac", "2", "-i", part + ".pcm", part + ".wav")
        encode(part + ".wav", part + ".ogg")
    for end in (".wav", ".pcm"):
        if os.path.exists(part + end):
            os.remove(part + end)
    length = float(subprocess.run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", part + ".ogg"],
                                  stdout=subprocess.PIPE, check=True, text=True).stdout)
    if abs(length - float(row["duration_s"])) > 1.5:
        raise ValueError("%s is %.2f s long, not %s" % (row["id"], length, row["duration_s"]))
    os.rename(part + ".ogg", out)
    return rows


# --- truth ----------------------------------------------------------------------------------------------------

def grid_beats(words):
    """What `grid` says: [(seconds, place in the bar or 0)]."""
    first, bpm, count, metre = float(words[0]), float(words[1]), int(words[2]), int(words[3])
    place = int(words[4]) if len(words) > 4 else 1
    return [(first + 60 * i / bpm, (place - 1 + i) % metre + 1 if metre else 0) for i in range(count)]


def changes(events):
    """(tick, value...) in order; of those at one tick the last, and none that says the same again."""
    out = []
    for event in sorted(events, key=lambda e: e[0]):
        if out and out[-1][0] == event[0]:
            out.pop()
        if not out or out[-1][1:] != event[1:]:
            out.append(event)
    return out


def score_beats(data):
    """Beats of a MIDI file from its first note to its last: denominators of the time signature, three of them in
    compound metres."""
    division = struct.unpack(">H", data[12:14])[0]
    tempos, signatures, first, last = [], [], math.inf, 0
    for _, tick, at, status, length in keys.midi_events(data):
        if status == 0xFF and data[at] == 0x51:
            tempos.append((tick, int.from_bytes(data[at + 2:at + 5], "big")))
        elif status == 0xFF and data[at] == 0x58 and length >= 4:
            signatures.append((tick, data[at + 2], 1 << data[at + 3]))
        elif status & 0xF0 == 0x90 and data[at + 1]:
            first, last = min(first, tick), max(last, tick)
        elif status & 0xF0 in (0x80, 0x90):
            last = max(last, tick)
    tempos, signatures = changes([(-1, 500000)] + tempos), changes([(-1, 4, 4)] + signatures)

    def seconds(tick):
        total = 0.0
        for (start, us), (end, _) in zip(tempos, tempos[1:] + [(math.inf, 0)]):
            total += max(0, min(tick, end) - max(start, 0)) * us / 1e6 / division
        return total

    beats = []
    for (start, top, bottom), (end, _, _) in zip(signatures, signatures[1:] + [(last + 1, 0, 0)]):
        unit, start = division * 4 / bottom, max(start, 0)
        if bottom >= 8 and top > 3 and top % 3 == 0:
            unit, top = 3 * unit, top // 3
        for k in range(max(0, math.ceil((min(end, last + 1) - start - 1e-6) / unit))):
            tick = start + k * unit
            if first - 0.3 * unit <= tick <= last:
                beats.append((seconds(tick), k % top + 1))
    return beats


def row_beats(rows, metre):
    return [(t, row // ROWS_A_BEAT % metre + 1 if metre else 0) for t, row in rows if row % ROWS_A_BEAT == 0]


def beats_of(row, rows):
    words = row["truth"].split()
    if words[0] == "grid":
        return grid_beats(words[1:])
    if words[0] == "score":
        return [b for b in score_beats(keys.score_of(row["package"], row["path"])) if b[0] < LONGEST_S - 1e-3]
    return row_beats(rows, int(words[1]))


def write_beats(path, beats):
    with open(path + ".part", "w", encoding="utf-8") as out:
        for t, place in beats:
            out.write("%.4f\t%d\n" % (t, place) if place else "%.4f\n" % t)
    os.rename(path + ".part", path)


# --- all of it ------------------------------------------------------------------------------------------------

def paths(folder, row):
    return (os.path.join(folder, row["set"], "audio", row["id"] + ".ogg"),
            os.path.join(folder, row["set"], "truth", row["id"] + ".beats"))


def make(folder, row):
    """One recording with its truth, unless they are there."""
    audio, truth = paths(folder, row)
    if os.path.exists(audio) and os.path.exists(truth):
        return
    for path in (audio, truth):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    write_beats(truth, beats_of(row, make_audio(row, audio)))


def missing_tools(rows):
    found = []
    for how in sorted({r["how"] for r in rows} - {"copy"}):
        if how == "module":
            try:
                ctypes.CDLL("libopenmpt.so.0")
                continue
            except OSError:
                pass
        elif shutil.which(TOOLS[how]):
            continue
        found.append(TOOLS[how])
    return found + ([] if shutil.which("ffmpeg") or "ffmpeg" in found else ["ffmpeg"])


def make_all(folder, rows, install=False):
    """Makes what is not there; names of what could not be had, with the reasons."""
    folder = os.path.abspath(folder)
    rows = [r for r in rows if not all(os.path.exists(p) for p in paths(folder, r))]
    missing = missing_tools(rows) if rows else []
    if missing and install:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)
    elif missing:
        sys.exit("music: missing: %s (apt-get install them, or pass --install-tools)" % " ".join(missing))
    failed, usable = {}, []
    for name in sorted({r["package"] for r in rows} | ({keys.SOUND_FONT[0]} if any(r["how"] == "score" for r in rows) else set())):
        try:
            keys.package(name)
        except (OSError, IndexError, subprocess.SubprocessError) as error:
            failed[name] = str(error)
    usable = [r for r in rows if r["package"] not in failed]

    def one(row):
        try:
            make(folder, row)
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            failed[row["id"]] = str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, usable))
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--set", action="append", choices=("test", "demo"))
    parser.add_argument("--only", metavar="ID,ID")
    parser.add_argument("--install-tools", action="store_true")
    args = parser.parse_args()
    rows = table(args.set, args.only.split(",") if args.only else None)
    failed = make_all(args.folder, rows, args.install_tools)
    for name, reason in failed.items():
        print("music: %s: %s" % (name, reason), file=sys.stderr)
    print("%d of %d recordings in %s" % (sum(all(os.path.exists(p) for p in paths(args.folder, r)) for r in rows), len(rows), args.folder))
    return 69 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
