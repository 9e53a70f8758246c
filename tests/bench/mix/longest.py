"""The longest blends that the planner allows: three tracks that leave it no better choice.

Each is one bar over and over, near 87 BPM, so that 16 bars last close to the 44 s that no transition exceeds. Their
analyses are real, then told otherwise where the planner would rather have a shorter blend: exact beats, an outro of 16
bars, and voices that clash in any other overlap.
"""
import array
import base64
import json
import math
import os
import sqlite3
import subprocess
import wave

import harness

BARS = 56
BLEND = 16
BAR_S = (2.748, 2.722, 2.697)  # both tracks of any pair are stretched, not resampled
RATES = (44100, 48000, 44100)
BAR_BYTES = 30  # struct bar of root/track.h
VOCAL = 28
LEAST_S = 43


def bar_pcm(bar_s, rate):
    """Kicks, hats, a bass between them and a chord, all of which come again with each beat."""
    samples, beat = round(bar_s * rate), bar_s / 4
    out = array.array("h")
    for n in range(samples):
        t = n / rate % beat
        x = 0.5 * math.exp(-t * 20) * math.sin(2 * math.pi * 55 * t) + 0.2 * math.exp(-t * 300) * math.sin(2 * math.pi * 3000 * t)
        x += 0.1 * math.sin(2 * math.pi * 220 * t) + 0.1 * math.sin(2 * math.pi * 277.2 * t)
        if t > beat / 2:
            x += 0.15 * math.exp(-(t - beat / 2) * 8) * math.sin(2 * math.pi * 110 * t)
        value = round(16000 * x)
        out.extend((value, value * 9 // 10))
    return out.tobytes()


def make(folder, count=len(BAR_S)):
    """The first tracks as files, once for all who ask."""
    def write(out):
        for i, (bar_s, rate) in enumerate(zip(BAR_S[:count], RATES)):
            with wave.open(os.path.join(out, f"long-{i}.wav"), "wb") as file:
                file.setnchannels(2)
                file.setsampwidth(2)
                file.setframerate(rate)
                file.writeframes(bar_pcm(bar_s, rate) * BARS)
    return harness.once(folder, write)


def vocal_bars():
    """Bars with a voice: of two tracks that overlap by 16 bars no two of them are heard at once, of any 8 they are."""
    last = BARS - BLEND
    return set(range(8)) | {11, 12} | {last + 3, last + 4} | set(range(last + 8, BARS))


def told(features, bar_s, rate):
    bar = round(bar_s * rate) / rate
    beats = [k * bar / 4 for k in range(4 * BARS)]
    first = bytearray(base64.b64decode(features["bars"])[:BAR_BYTES])
    bars = b""
    for k in range(BARS):
        first[VOCAL] = 255 if k in vocal_bars() else 0
        bars += bytes(first)
    end = BARS * bar
    features.update(beats_s=beats, downbeats_s=beats[::4], metre=4, tempo_bpm=240 / bar, tempo_confidence=1, phrase_bar=0,
                    phrase_confidence=1, bars=base64.b64encode(bars).decode(), duration_s=end, music_start_s=0, music_end_s=end,
                    sections=[{"start_s": 0, "end_s": end - BLEND * bar, "label": "main"},
                              {"start_s": end - BLEND * bar, "end_s": end, "label": "outro"}])
    for key in ("steady_from_s", "steady_to_s", "regions", "fade_in_s", "fade_out_s", "phrase16_bar"):
        features.pop(key, None)
    return features


def prepare(library, state):
    """Analyses the library into the state folder, and tells what is wanted of it."""
    os.makedirs(state, exist_ok=True)
    subprocess.run([harness.ROOT, "render", "--library", library, "--state", state, "--minutes", "0.05", "--out",
                    os.path.join(state, "short.wav")], check=True, stderr=subprocess.DEVNULL)
    with sqlite3.connect(os.path.join(state, "library.db")) as db:
        rows = db.execute("SELECT t.id, t.path, w.features FROM tracks t JOIN wholes w ON w.track = t.id").fetchall()
        for number, path, text in rows:
            i = int(os.path.splitext(path)[0][-1])
            whole = told(json.loads(text), BAR_S[i], RATES[i])
            db.execute("UPDATE wholes SET features = ? WHERE track = ?", (json.dumps(whole), number))
            summary = json.loads(db.execute("SELECT summary FROM features WHERE track = ?", (number,)).fetchone()[0])
            summary.update({key: whole[key] for key in summary if key in whole})
            db.execute("UPDATE features SET summary = ? WHERE track = ?", (json.dumps(summary), number))
    db.close()


def blends(segments):
    """Seconds of those blends that are as long as they get."""
    lengths = [(s["end_sample"] - s["start_sample"]) / 44100 for s in segments if s["technique"] == "blend"]
    return [s for s in lengths if s > LEAST_S]


def high_water(pid):
    """VmHWM in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
