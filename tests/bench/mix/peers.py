"""What others would have made of the same two tracks: plans for the station's renderer, and liquidsoap run for real."""
import base64
import math
import os
import shutil
import subprocess
import wave

from score import RATE, median

AROUND_S = 20  # of each track before and after
FADE_S, FOREVER_S = 8.0, 30.0
BAR_BYTES = 30
LIQUIDSOAP_S = 40.0  # of each track that liquidsoap is given


def voice(track, gain_db, begin, end, at, **more):
    return {"track": track["track"], "gain_db": gain_db, "from": begin, "to": end, "at": at, "samples": end - begin, **more}


def segment(start, voices, length):
    return {"id": f"bench-{start}", "technique": "play" if len(voices) == 1 else "fade", "start_sample": start,
            "end_sample": start + length, "tracks": [],
            "plan": {"version": 1, "bass_hz": 180, "treble_hz": 2500, "voices": voices}}


def fade(way, length, curve="linear"):
    return [{"curve": curve, "way": way, "from": 0, "to": length}]


def row(a, b, gains, a_at, b_to, middle, length):
    """What plays before, the transition, and what plays after."""
    lead = min(a_at, AROUND_S * RATE)
    rest = min(AROUND_S * RATE, int(b["features"]["duration_s"] * RATE) - b_to)
    parts = [segment(0, [voice(a, gains[0], a_at - lead, a_at, 0)], lead), segment(lead, middle, length)]
    if rest > 0:
        parts.append(segment(lead + length, [voice(b, gains[1], b_to, b_to + rest, 0)], rest))
    return parts


def crossfade(a, b, gains):
    """Eight seconds, linear, the end of one and the beginning of the other: what a player does."""
    end = int(a["features"]["duration_s"] * RATE)
    length = int(min(FADE_S * RATE, end // 3, int(b["features"]["duration_s"] * RATE) // 3))
    return row(a, b, gains, end - length, length,
               [voice(a, gains[0], end - length, end, 0, level=fade("out", length)),
                voice(b, gains[1], 0, length, 0, level=fade("in", length))], length)


def beat_timbre(track):
    """What stands for the timbre of each beat: chroma and band levels of its bar."""
    f = track["features"]
    packed = base64.b64decode(f.get("bars", ""))
    bars = [bar_vector(packed[i:i + BAR_BYTES]) for i in range(0, len(packed), BAR_BYTES)]
    beats, downs, out, k = f.get("beats_s", []), f.get("downbeats_s", []), [], 0
    for at in beats:
        while k + 1 < len(downs) and downs[k + 1] <= at + 0.01:
            k += 1
        out.append(bars[k] if k < len(bars) else [0.0] * 15)
    return beats, out


def bar_vector(bar):
    """Chroma, and the levels of three bands in steps of 12 dB (docs/API.md)."""
    return [c / 255 for c in bar[:12]] + [level / 48 for level in bar[25:28]]


def forever(a, b, gains):
    """The rule of the original forever.fm: thirty seconds of beats of the end of a; the place in the first part of b
    whose beats sound most like them; beat k on beat k whatever its place in the bar, the length of a beat gliding
    linearly from a's to b's; octaves of the tempo folded, no other limit. None where there are too few beats."""
    (a_beats, a_timbre), (b_beats, b_timbre) = beat_timbre(a), beat_timbre(b)
    if len(a_beats) < 16 or len(b_beats) < 16:
        return None
    pa, pb = (median([y - x for x, y in zip(beats, beats[1:])]) for beats in (a_beats, b_beats))
    octave = math.log2(pa / pb)
    if octave < -0.5:
        b_beats, b_timbre = split(b_beats), [t for t in b_timbre for _ in range(2)]
    elif octave > 0.5:
        a_beats, a_timbre = split(a_beats), [t for t in a_timbre for _ in range(2)]
    count = next((k for k in range(1, len(a_beats)) if a_beats[-1] - a_beats[-1 - k] >= FOREVER_S), len(a_beats) // 3)
    count = min(count, len(b_beats) // 2)
    first = len(a_beats) - 1 - count
    room = max(1, min(len(b_beats) - count - 1, count * 2))

    def unlike(offset):
        return sum((x - y) ** 2 for k in range(count) for x, y in zip(a_timbre[first + k], b_timbre[offset + k]))
    offset = min(range(room), key=unlike)
    ia = [int(t * RATE) for t in a_beats[first:first + count + 1]]
    ib = [int(t * RATE) for t in b_beats[offset:offset + count + 1]]
    out = [0]
    for k in range(count):
        c = 1 - (k + 1) / (count + 1)
        out.append(out[-1] + int(c * (ia[k + 1] - ia[k]) + (1 - c) * (ib[k + 1] - ib[k])))
    length = out[-1]
    made = []
    for track, gain, beats, way in ((a, gains[0], ia, "out"), (b, gains[1], ib, "in")):
        one = voice(track, gain, beats[0], beats[-1], 0, level=fade(way, length),
                    map=[[x - beats[0], y] for x, y in zip(beats, out)])
        one["samples"] = length
        made.append(one)
    parts = row(a, b, gains, ia[0], ib[-1], made, length)
    parts[1]["bars"] = max(1, count // 4)
    return parts


def split(beats):
    return [t for x, y in zip(beats, beats[1:]) for t in (x, (x + y) / 2)] + beats[-1:]


def liquidsoap(a, b, gains, folder):
    """Debian's liquidsoap with its smart crossfade, faster than real time, given our gains: what plays before, the
    transition and what plays after, of its file; and the voices, for where the beats lie. None when it failed."""
    ends = [int(t["features"]["duration_s"] * RATE) for t in (a, b)]
    part = int(min(LIQUIDSOAP_S * RATE, *ends))
    starts = (ends[0] - part, 0)
    for name, track, gain, start in zip("ab", (a, b), gains, starts):
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", track["path"], "-ar", str(RATE), "-ac", "2", "-af",
                        f"atrim=start_sample={start}:end_sample={start + part},volume={gain}dB,alimiter=limit=0.84:level=0",
                        os.path.join(folder, name + ".wav")], check=True)
    script, out = os.path.join(folder, "peer.liq"), os.path.join(folder, "liquidsoap.wav")
    with open(script, "w", encoding="utf-8") as f:
        f.write(f"""settings.init.allow_root.set(true)
settings.log.file.set(false)
settings.log.stdout.set(true)
s = crossfade(smart=true, sequence([once(single("{folder}/a.wav")), once(single("{folder}/b.wav"))]))
clock.assign_new(sync="none", [s])
output.file(%wav, fallible=true, on_stop=shutdown, "{out}", s)
""")
    if os.path.exists(out):
        os.unlink(out)
    subprocess.run([shutil.which("liquidsoap"), script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=120, check=False)
    try:
        with wave.open(out) as file:
            whole = file.getnframes()
    except (OSError, EOFError, wave.Error):
        return None
    crossed = max(0, 2 * part - whole)
    # without an overlap the change itself stands for the transition
    length = max(crossed, RATE // 10)
    at = part - length
    lead, rest = min(at, AROUND_S * RATE), min(AROUND_S * RATE, whole - part)
    mix = {"track": 1000}

    def piece(start, begin, samples):
        return segment(start, [voice(mix, 0, begin, begin + samples, 0)], samples)
    parts = [piece(0, at - lead, lead), piece(lead, at, length), piece(lead + length, part, rest)]
    b_at = part - crossed - at
    voices = [voice(a, 0, starts[0] + at, starts[0] + part, 0), voice(b, 0, 0, max(1, crossed), b_at)]
    return parts, {"1000": out}, voices, crossed / RATE
