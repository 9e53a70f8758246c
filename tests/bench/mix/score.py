"""Scores of a transition: how the beats of its two tracks meet, where it switches, whether the keys go together.

A voice is one of a segment's "plan": source samples [from, to) of a track that sound at `at` of the segment for
`samples`, by the beats of its "map" where it has one. Times here are seconds of the segment."""
import bisect
import csv
import math
import os

RATE = 44100
EXACT = ("loop-grid", "midi-exact", "lmms-exact", "module-rows")  # classes of truth whose times are exact
NEAR_BEATS = 0.25  # a switch this near to a phrase's beginning is on it
PHRASE_BARS = 8


class Truth:
    """Beats [(seconds, place in the bar or 0)] and class by the track's file name without extension."""

    def __init__(self, folders):
        self.beats, self.kind, self.downbeats = {}, {}, {}
        for folder in folders:
            for base, _, names in os.walk(folder):
                for name in names:
                    stem, end = os.path.splitext(name)
                    if end == ".beats":
                        self.beats[stem] = read_beats(os.path.join(base, name))
            table = os.path.join(folder, "manifest.tsv")
            if os.path.exists(table):
                with open(table, encoding="utf-8") as rows:
                    for row in csv.DictReader(rows, delimiter="\t"):
                        self.kind[row["id"]] = row["truth"]
                        self.downbeats[row["id"]] = row["downbeats"] == "Y"

    def of(self, path):
        stem = os.path.splitext(os.path.basename(path))[0]
        return self.beats.get(stem), self.kind.get(stem, "loop-grid"), self.downbeats.get(stem, True)

    def exact(self, path):
        beats, kind, _ = self.of(path)
        return bool(beats) and kind in EXACT


def read_beats(path):
    beats = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split("#", 1)[0].split()
            if words:
                beats.append((float(words[0]), int(float(words[1])) if len(words) > 1 else 0))
    return sorted(beats)


def heard_at(voice, source_s, slack_s=0.0):
    """Second of the segment at which that second of the track sounds; None outside the voice, give or take slack_s."""
    x, slack = source_s * RATE - voice["from"], slack_s * RATE + 1
    if not -slack <= x <= voice["to"] - voice["from"] + slack:
        return None
    points = voice.get("map")
    if points:
        i = min(max(1, bisect.bisect_right(points, x, key=lambda p: p[0])), len(points) - 1)
        (x0, y0), (x1, y1) = points[i - 1], points[i]
        x = y0 + (x - x0) * (y1 - y0) / (x1 - x0)
    return (voice["at"] + x) / RATE


def played(voice, beats):
    """(second of the segment, place in the bar) of each beat that is heard."""
    heard = ((heard_at(voice, at), place) for at, place in beats)
    return [(at, place) for at, place in heard if at is not None]


def median(values):
    return quantile(values, 0.5)


def quantile(values, q):
    values = sorted(v for v in values if v is not None and math.isfinite(v))
    if not values:
        return math.nan
    at = q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def period(beats):
    return median([b[0] - a[0] for a, b in zip(beats, beats[1:])])


def nearest(beats, at):
    i = bisect.bisect_left(beats, (at, 0))
    return min(beats[max(0, i - 1):i + 1], key=lambda b: abs(b[0] - at))


def misses(a, b, begin, end):
    """Milliseconds from each beat of the slower to the nearest of the other within [begin, end] seconds, and for how
    many downbeats of a, of how many, the nearest beat of b is one too."""
    a, b = ([x for x in beats if begin - 0.02 <= x[0] <= end + 0.02] for beats in (a, b))
    if not a or not b:
        return [], 0, 0
    if len(a) > 1 and len(b) > 1 and period(a) < 0.7 * period(b):
        slow, fast = b, a
    else:
        slow, fast = a, b
    errors = [abs(nearest(fast, at)[0] - at) * 1000 for at, _ in slow if within(fast, at)]
    downs = [at for at, place in a if place == 1 and within(b, at)] if any(p == 1 for _, p in b) else []
    return errors, sum(nearest(b, at)[1] == 1 for at in downs), len(downs)


def within(beats, at):
    """Before the first beat of a track that sounds and after the last there is none to meet: a beat that lies some ms
    before the voice begins is not heard, and its partner has none to be compared with. A hole in between counts."""
    reach = 0.5 * period(beats) if len(beats) > 1 else 0.25
    return beats[0][0] - reach <= at <= beats[-1][0] + reach


def switch_s(transition):
    """Where the bass changes hands; None where nothing does."""
    voice = transition["plan"]["voices"][-1]
    fades = voice.get("bass") or voice.get("level")
    return fades[0]["to"] / RATE if fades else None


def overlap(transition):
    """The seconds of the segment in which the beats of both should meet; None where none should."""
    voices, technique = transition["plan"]["voices"], transition["technique"]
    if len(voices) != 2 or technique not in ("blend", "swap"):
        return None
    if technique == "swap":
        at = switch_s(transition)
        return at - 0.1, at + 0.1
    return 0, (transition["end_s"] - transition["start_s"])


def phrases(beats):
    """Seconds of the track where eight bars begin, counted from its first downbeat; None where that can't be known: a
    loop that is no whole number of eights has a shorter phrase somewhere. A loop's end is the beginning of its first
    phrase, although no beat is listed there."""
    downs = [at for at, place in beats if place == 1]
    if not downs or len(downs) % PHRASE_BARS:
        return None
    return downs[::PHRASE_BARS] + [beats[-1][0] + period(beats)]


def on_phrase(voice, beats, at_s):
    """Whether that second of the segment is the beginning of eight bars. A voice that begins or ends with the switch may
    do so some ms to the other side of the beat that the truth has."""
    reach = NEAR_BEATS * period(beats)
    begins = [heard_at(voice, at, reach) for at in phrases(beats)]
    return any(at is not None and abs(at - at_s) <= reach for at in begins)


def clash(a, b):
    """Whether two Camelot keys are neither the same, nor neighbours, nor relatives; None unknown."""
    if not a or not b:
        return None
    hours = abs(int(a[:-1]) - int(b[:-1]))
    hours = min(hours, 12 - hours)
    return not (hours == 0 or hours == 1 and a[-1] == b[-1])
