"""compose: pieces with exact beats.

A piece is notes and drum hits at beats, a clock that says when beats are, and the beats themselves. compose(seed)
always writes the same piece."""
import random
from patterns import GENRES, PROGRESSIONS, SCALES, SOUNDS


class Piece:
    def __init__(self):
        self.notes = []  # (beat, length in beats, pitch, velocity 0..1, part)
        self.hits = []   # (beat, drum, velocity 0..1)


LATER = 5000


def weights(seed):
    return [n for n, g in GENRES.items() for _ in range(g['weight']) if g.get('later', 0) == (seed >= LATER)]


class Clock:
    """Beat to seconds: a tempo that is constant, wanders, or changes with a part; swing bends the places inside."""
    def __init__(self, r, bpm, beats, feel, feel16, loose, metre, changes):
        self.feel, self.feel16 = feel, feel16
        times, t, drift, factor = [], r.choice([0, 0, r.uniform(0, 1.5)]), 0.0, 1.0
        for b in range(beats + 8):
            times.append(t)
            if loose:
                drift = 0.9 * drift + r.gauss(0, loose)
            if changes and b and b % (8 * metre) == 0 and r.random() < 0.3:
                factor = r.uniform(0.85, 1.2)
            t += 60 / (bpm * factor) * (1 + drift)
        self.times = times

    def bend(self, f):
        half, g = (0, f) if f < 0.5 else (1, f - 0.5)
        g = g / 0.25 * self.feel16 / 2 if g < 0.25 else self.feel16 / 2 + (g - 0.25) / 0.25 * (1 - self.feel16) / 2
        f = half * 0.5 + g
        return f / 0.5 * self.feel if f < 0.5 else self.feel + (f - 0.5) / 0.5 * (1 - self.feel)

    def at(self, beat):
        i = max(0, min(int(beat), len(self.times) - 2))
        f = beat - i
        if 0 < f < 1:
            f = self.bend(f)
        return self.times[i] + f * (self.times[i + 1] - self.times[i])


class Harmony:
    def __init__(self, r, bars):
        self.root, self.scale = r.randrange(12), r.choice(SCALES)
        self.rows, self.per_bar = r.choice(PROGRESSIONS), r.choice([1, 1, 1, 1, 0.5, 0.5, 2])
        self.other = r.choice(PROGRESSIONS)
        self.seventh = r.random() < 0.3

    def chord(self, bar, part=0):
        row = self.other if part == 1 else self.rows
        d = row[int(bar * self.per_bar) % len(row)]
        steps = [d, d + 2, d + 4] + ([d + 6] if self.seventh else [])
        return [self.pitch(s) for s in steps]

    def pitch(self, step):
        return self.root + self.scale[step % 7] + 12 * (step // 7)


def near(pitch, centre):
    return pitch + 12 * round((centre - pitch) / 12)


def bass_line(r, kind, bar_at, metre, chord, following, tri):
    """[(beat, length, pitch)] of one bar."""
    root = near(chord[0], 36 if chord[0] % 12 < 8 else 34)
    fifth, low = root + 7, root
    out, E = [], (1 / 3 if tri else 0.5)
    per = 3 if tri else 2
    rng = lambda n, step, f: [(i * step, step * 0.8, f(i)) for i in range(n)]
    if kind == 'none': return []
    if kind == 'long': out = [(0, metre * 0.95, root)]
    elif kind == 'onebass': out = [(0, 1, root)]
    elif kind == 'root8': out = rng(metre * per, E, lambda i: low)
    elif kind == 'root16': out = rng(metre * 4, 0.25, lambda i: low + 12 * (i % 4 == 3 and root % 2))
    elif kind == 'rolling': out = [(b + k / 4, 0.2, root) for b in range(metre) for k in (1, 2, 3)]
    elif kind == 'offbeat': out = [(b + 0.5, 0.4, root) for b in range(metre)]
    elif kind == 'octaves': out = rng(metre * 2, 0.5, lambda i: root + 12 * (i % 2))
    elif kind == 'gallop': out = [(b + k, 0.2, root) for b in range(metre) for k in (0, 0.5, 0.75)]
    elif kind == 'quarters': out = rng(metre, 1, lambda i: low)
    elif kind == 'onethree': out = [(b, 0.9, root if b % 4 == 0 else fifth - 12) for b in range(0, metre, 2)]
    elif kind == 'alternating': out = [(b, 0.45, root if b % 2 == 0 else fifth - 12) for b in range(metre)]
    elif kind == 'walking':
        steps = [root, near(chord[1], root + 2), fifth, near(following[0], root) + r.choice([-1, 1, 2])]
        out = [(b, 0.9, steps[b % 4]) for b in range(metre)]
    elif kind == 'bossa': out = [(b + k, l, p) for b in range(0, metre, 2) for k, l, p in ((0, 1.4, root if b % 4 == 0 else fifth - 12), (1.5, 0.5, fifth - 12 if b % 4 == 0 else root))]
    elif kind == 'tumbao': out = [(1.5, 1, fifth - 12), (3, 1, near(following[0], root))] if metre == 4 else [(0, 1, root)]
    elif kind == 'reggae': out = [(0, 0.9, root), (1.5, 0.4, root), (2, 0.9, fifth - 12), (3.5, 0.4, root)][:metre]
    elif kind == 'pushed': out = [(0, 1.4, root), (1.5, metre - 2, root), (metre - 0.5, 0.5, near(following[0], root))]
    elif kind == 'wobble': out = [(i * 2 / 3 if r.random() < 0.3 else i * 0.5, 0.4, root) for i in range(int(metre * 1.5)) if i == 0 or r.random() < 0.7]
    else:  # syncopated, funk: drawn once a piece by the seeded places
        out = None
    return out


def places(r, metre, syncopation, density):
    """Sixteenths of a bar that are played, the first nearly always."""
    out = []
    for s in range(metre * 4):
        strong = 1.0 if s % 4 == 0 else 0.75 if s % 2 == 0 else 0.4
        p = density * (strong * (1 - syncopation) + (1.15 - strong) * syncopation)
        if s == 0: p = max(p, 0.85)
        if r.random() < p: out.append(s / 4)
    return out or [0]


def chord_hits(r, kind, metre, tri, drawn):
    """[(beat, length, how)] of one bar; how: 0 whole chord, 1.. single notes."""
    E = 1 / 3 if tri else 0.5
    per = 3 if tri else 2
    if kind == 'pad': return [(0, metre, 0)]
    if kind == 'onbeat': return [(b, 0.8, 0) for b in range(metre)]
    if kind == 'offbeat': return [(b + 0.5, 0.3, 0) for b in range(metre)]
    if kind == 'skank': return [(b + k, 0.2, 0) for b in range(metre) for k in (0.5, 0.75)]
    if kind == 'twofour': return [(b, 0.6, 0) for b in range(1, metre, 2)]
    if kind == 'oompah': return [(b, 0.7, 0) for b in range(1, metre)]
    if kind in ('power8', 'strum'): return [(i * E, E * 0.9, 0) for i in range(metre * per) if kind == 'power8' or i in (0, 2, 3, 5, 6, 7, 9, 10, 11)]
    if kind == 'power16': return [(i / 4, 0.2, 0) for i in range(metre * 4)]
    if kind == 'gallop': return [(b + k, 0.2, 0) for b in range(metre) for k in (0, 0.5, 0.75)]
    if kind == 'charleston': return [(0, 0.6, 0), (1.5, 0.4, 0)] if metre >= 3 else [(0, 1, 0)]
    if kind == 'pushed': return [(0, 1.3, 0), (1.5, metre - 2.1, 0), (metre - 0.5, 0.5, -1)]
    if kind == 'bossa': return [(0, 0.5, 0), (1, 0.3, 0), (1.5, 0.8, 0), (3, 0.3, 0), (3.5, 0.5, -1)][:metre + 1]
    if kind == 'montuno': return [(i * 0.5, 0.4, 1 + i) for i in range(metre * 2) if i not in (1,)]
    if kind == 'three16': return [(i * 0.75, 0.4, 0) for i in range(int(metre / 0.75))]
    if kind == 'scratch': return [(s, 0.12, 0) for s in drawn]
    if kind == 'stabs': return [(s, 0.3, 0) for s in drawn]
    if kind in ('broken', 'alberti'): return [(i * E, E, 1 + ([0, 2, 1, 2][i % 4] if kind == 'alberti' else i)) for i in range(metre * per)]
    if kind == 'arpwide': return [(i * E, 1, 1 + i) for i in range(metre * per)]
    if kind == 'chiparp': return [(i / 8, 0.12, 1 + i % 3) for i in range(metre * 8)]
    return []


def odd_drums(r, metre):
    """A kit's rows in groups of two and three beats."""
    groups, left = [], metre
    while left > 0:
        g = r.choice([2, 3]) if left > 4 else (left if left <= 3 else 2)
        groups.append(g)
        left -= g
    kick, snare = ['.'] * (4 * metre), ['.'] * (4 * metre)
    at = 0
    for g in groups:
        kick[4 * at] = 'x'
        snare[4 * (at + g - 1)] = 'x'
        if r.random() < 0.4: kick[4 * at + r.choice([2, 3, 6])] = 'x'
        at += g
    hat = r.choice(['x.', 'xo', 'x...', 'x.o.'])
    return dict(kick=[''.join(kick)], snare=[''.join(snare), None], hat=[(hat * 4 * metre)[:4 * metre], None],
                ride=[None, None, ('x...' * metre)])


def fit_row(row, steps):
    return None if row is None else (row * (steps // len(row) + 1))[:steps]


def fill(r, piece, bar, metre, tri):
    span = r.choice([0.5, 1, 1, 2])
    step = r.choice([0.25, 0.25, 0.5, 1 / 3])
    t = metre - min(span, metre)
    kinds = ['snare', 'snare', 'tom1', 'tom2']
    while t < metre - 0.01:
        if r.random() < 0.85:
            piece.hits.append((bar * metre + t, r.choice(kinds), r.uniform(0.5, 1)))
        t += step


def compose(seed, length_s=50):
    r = random.Random(seed)
    name = r.choice(weights(seed))
    g = GENRES[name]
    piece = Piece()
    piece.genre, piece.kit = name, g['kit'] if g['kit'] != 'any' else r.choice(['electro', 'acoustic'])
    metre = g.get('metre') or (r.choice(g['metres']) if 'metres' in g else 4)
    tri = g.get('triplets', 0)
    lo, hi = g['bpm']
    bpm = lo * (hi / lo) ** r.random()
    if r.random() < 0.5: bpm = float(round(bpm))
    bars = max(8, round(length_s * bpm / 60 / metre / 4) * 4)
    loose = g.get('loose', 0) and r.choice([0, 0.004, 0.01]) or (piece.kit == 'acoustic' and r.choice([0, 0, 0.002, 0.004]) or 0)
    clock = Clock(r, bpm, bars * metre, r.uniform(*g.get('feel', (0.5, 0.5))), r.uniform(*g.get('feel16', (0.5, 0.5))),
                  loose, metre, r.random() < 0.06)
    harmony = Harmony(r, bars)
    steps, per = metre * (3 if tri else 4), 3 if tri else 4
    table = g['drums'] or odd_drums(r, metre)
    rows = {}
    for part in (0, 1):  # two sections play differently
        rows[part] = {d: fit_row(r.choice(alternatives), steps) for d, alternatives in table.items()}
    parts = {p: r.choice(g[p]) for p in ('bass', 'chords', 'lead')}
    parts2 = {p: r.choice(g[p] + [parts[p]]) for p in ('bass', 'chords', 'lead')}
    sync = r.random() * 0.8
    drawn = {0: places(r, metre, sync, 0.45), 1: places(r, metre, r.random(), 0.35)}
    bass_drawn = {0: places(r, metre, sync * 0.7, 0.5), 1: places(r, metre, r.random() * 0.7, 0.5)}
    motif = [[(s, r.randrange(-4, 8)) for s in places(r, metre, 0.15 + 0.3 * r.random(), r.uniform(0.2, 0.5))] for _ in range(4)]
    motif_off = [[(s, r.randrange(-4, 8)) for s in places(r, metre, 0.5 + 0.4 * r.random(), r.uniform(0.25, 0.5))] for _ in range(4)]
    form = r.choice([[0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
    section = r.choice([4, 8, 8, 8, 16])
    # which layers a section has; EDM takes its drums away and gives them back
    layers = []
    for s in range(bars // section + 1):
        have = {'drums', 'bass', 'chords', 'lead', 'hat', 'kick'}
        x = r.random()
        if x < 0.12: have -= {'drums'}
        elif x < 0.22: have -= {'kick'}
        elif x < 0.32: have -= {'hat'}
        if r.random() < 0.2: have -= {'bass'}
        if r.random() < 0.25: have -= {'chords'}
        if r.random() < 0.4: have -= {'lead'}
        if len(have & {'bass', 'chords', 'lead'}) == 0 and 'drums' not in have: have |= {'chords', 'bass'}
        layers.append(have)
    arp_shape = [r.randrange(0, 7) for _ in range(r.choice([4, 8, 3, 6, 16]))]
    arp_mode = r.choice(['bar', 'bar', 'free'])
    fills, crash = r.random() < 0.7, r.random() < 0.7
    ghost = r.random() * 0.06 if piece.kit != 'electro' else r.random() * 0.02
    for bar in range(bars):
        s = bar // section
        part, have, at = form[s % 4] and 1, layers[s], bar * metre
        use = parts2 if part else parts
        chord, following = harmony.chord(bar, part), harmony.chord(bar + 1, part)
        if 'drums' in have:
            for drum, row in rows[part].items():
                if row is None or (drum == 'kick' and 'kick' not in have) or (drum in ('hat', 'open') and 'hat' not in have): continue
                for i, c in enumerate(row):
                    if c == 'x' and r.random() < 0.985: piece.hits.append((at + i / per, drum, 1.0 - 0.25 * (drum == 'hat' and i % per)))
                    elif c == 'o': piece.hits.append((at + i / per, drum, r.uniform(0.25, 0.5)))
                    elif drum in ('kick', 'snare', 'hat') and r.random() < ghost: piece.hits.append((at + i / per, drum, r.uniform(0.3, 0.8)))
            if fills and (bar + 1) % section == 0 and r.random() < 0.6: fill(r, piece, bar, metre, tri)
            elif fills and (bar + 1) % 4 == 0 and r.random() < 0.25: fill(r, piece, bar, metre, tri)
            if crash and bar % section == 0: piece.hits.append((at, 'crash', 0.9))
        if 'bass' in have:
            line = bass_line(r, use['bass'], at, metre, chord, following, tri)
            if line is None:
                root = near(chord[0], 36)
                line = [(b, 0.3, root + (12 if use['bass'] == 'funk' and b % 1 else 0) + (7 if i % 3 == 2 else 0)) for i, b in enumerate(bass_drawn[part])]
            for b, length, p in line:
                piece.notes.append((at + b, length, p, 0.85, 'bass'))
        if 'chords' in have:
            for b, length, how in chord_hits(r, use['chords'], metre, tri, drawn[part]):
                tones = following if how == -1 else chord
                tones = [near(p, 60) for p in tones]
                if how > 0: tones = [tones[(how - 1) % len(tones)] + 12 * ((how - 1) // len(tones) % 2)]
                for p in tones:
                    piece.notes.append((at + b, max(0.1, length), p, 0.7, 'chords'))
        if 'lead' in have and use['lead'] != 'none':
            kind = use['lead']
            if kind in ('melody', 'melodyoff'):
                for b, step in (motif_off if kind == 'melodyoff' else motif)[[0, 1, 0, 2, 0, 1, 0, 3][bar % 8]]:
                    if tri: b = round(b * 3) / 3
                    p = near(chord[step % len(chord)], 72) if b % 1 == 0 else near(harmony.pitch(step + 7), 72)
                    piece.notes.append((at + b, r.choice([0.3, 0.5, 0.9]), p, 0.8, 'lead'))
            else:
                step = {'arp16': 0.25, 'arp8': 0.5, 'three16': 0.75}[kind]
                if tri: step = 1 / 3
                n = int(metre / step)
                for i in range(n):
                    k = i if arp_mode == 'bar' else bar * n + i
                    p = near(chord[arp_shape[k % len(arp_shape)] % len(chord)], 72) + 12 * (arp_shape[k % len(arp_shape)] > 4)
                    piece.notes.append((at + i * step, step * 0.9, p, 0.85 if i * step % 1 == 0 else 0.7, 'lead'))
    piece.clock, piece.metre, piece.bars, piece.bpm = clock, metre, bars, bpm
    piece.jitter_s = 0 if piece.kit in ('electro', 'chip') else r.choice([0, 0.003, 0.006, 0.01])
    piece.pump = g.get('pump', 0) * r.choice([0, 1, 1, r.random()])
    sounds = SOUNDS[piece.kit]
    if name == 'metal' or (name in ('punk', 'rock') and r.random() < 0.5): piece.programs = dict(bass=r.choice([33, 34]), chords=r.choice([29, 30]), lead=r.choice([29, 30, 27]))
    elif name == 'piano' or (name == 'stride' and r.random() < 0.7): piece.programs = dict.fromkeys(('bass', 'chords', 'lead'), r.choice([0, 1, 2, 3, 6]))
    else: piece.programs = {p: r.choice(sounds[p]) for p in ('bass', 'chords', 'lead')}
    end = bars * metre
    piece.beats = [(clock.at(b), b % metre + 1) for b in range(end)]
    piece.end_s = clock.at(end)
    return piece
