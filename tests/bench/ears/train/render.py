"""render: pieces to sound: notes through fluidsynth or plain oscillators, drums from kits, then a mix as varied as
recordings are."""
import os, random, re, struct, subprocess, sys
import numpy as np
from scipy.signal import lfilter, fftconvolve, butter

RATE = 44100
GM_DRUM = dict(kick=36, snare=38, hat=42, open=46, pedal=44, ride=51, crash=49, tom1=48, tom2=43, rim=37, cowbell=56, perc=63)
KEYWORDS = [('kick', r'kick|kik|(^|_)bd|bassdrum|bass_drum'), ('open', r'open|ohh|hat_op|(^|_)ho_|hh_?o'),
            ('pedal', r'pedal'), ('hat', r'hat|chh|hhclosed|(^|_)hc_|closed|hh'), ('rim', r'rim|stick'),
            ('snare', r'snare|(^|_)sn(_|\d|$)|(^|_)sd(_|\d|$)|(^|_)sr_|_sn_|clap'), ('ride', r'ride|(^|_)rc_'),
            ('crash', r'crash|(^|_)cc_|splash'), ('tom2', r'tom2|tom_?lo|floor|(^|_)t3'), ('tom1', r'tom|(^|_)t[12]_'),
            ('cowbell', r'cowbell|bell'), ('perc', r'conga|bongo|tamb|shaker|marac|djembe|slap')]


def read_pcm(path):
    raw = subprocess.run(['ffmpeg', '-v', 'error', '-nostdin', '-i', path, '-f', 'f32le', '-ac', '1', '-ar', str(RATE), '-'],
                         capture_output=True).stdout
    return np.frombuffer(raw, np.float32)


def load_kits(folder, cache):
    """[{drum: [samples]}] of the drum kits below folder."""
    if os.path.exists(cache): return list(np.load(cache, allow_pickle=True)['kits'])
    kits = []
    for kit, _, files in sorted(os.walk(folder)):
        drums = {}
        for f in sorted(files):
            if not f.endswith(('.flac', '.wav')): continue
            for drum, pattern in KEYWORDS:
                if re.search(pattern, f.lower()):
                    x = read_pcm(os.path.join(kit, f))[:2 * RATE]
                    if len(x) and np.abs(x).max() > 1e-3:
                        on = np.argmax(np.abs(x) > 0.05 * np.abs(x).max())  # the attack is where the note is
                        drums.setdefault(drum, []).append((x[on:] / np.abs(x).max()).astype(np.float16))
                    break
        if 'kick' in drums and 'snare' in drums: kits.append(drums)
    np.savez(cache, kits=np.array(kits, object))
    return kits


def decay(n, t60): return np.exp(-6.9 * np.arange(n) / RATE / t60).astype('f')


def synth_kit(r, chip=False):
    """A drum machine of its own."""
    g = np.random.default_rng(r.randrange(1 << 30))
    noise = lambda s: g.standard_normal(int(s * RATE)).astype('f')
    def high(x, hz):
        b, a = butter(2, hz / (RATE / 2), 'high')
        return lfilter(b, a, x).astype('f')
    def tone(f0, f1, sweep, s):
        n = int(s * RATE)
        f = f1 + (f0 - f1) * np.exp(-np.arange(n) / RATE / sweep)
        w = np.sin(2 * np.pi * np.cumsum(f) / RATE)
        return (np.sign(w) * 0.6 if chip and r.random() < 0.5 else w).astype('f')
    length = r.uniform(0.12, 0.5)
    kick = tone(r.uniform(120, 500), r.uniform(42, 62), r.uniform(0.01, 0.05), length) * decay(int(length * RATE), length)
    kick = np.tanh(kick * r.uniform(1, 4))
    click = high(noise(0.005), 2000) * r.uniform(0, 0.5)
    kick[:len(click)] += click
    s = r.uniform(0.1, 0.3)
    snare = high(noise(s), r.uniform(400, 2000)) * decay(int(s * RATE), s) * 0.5
    body = tone(260, r.uniform(160, 220), 0.01, s) * decay(int(s * RATE), s * 0.7) * r.uniform(0, 0.7)
    snare = snare + body
    if r.random() < 0.35:  # a clap
        snare = high(noise(s), 900) * decay(int(s * RATE), s) * 0.4
        for k in range(3): snare[int(k * 0.01 * RATE):int((k * 0.01 + 0.008) * RATE)] *= 2
    hat = high(noise(0.06), r.uniform(5000, 9000)) * decay(int(0.06 * RATE), r.uniform(0.02, 0.06)) * 0.5
    s = r.uniform(0.1, 0.35)
    opened = high(noise(s), r.uniform(4000, 8000)) * decay(int(s * RATE), s) * 0.5
    crash = high(noise(1.5), 3000) * decay(int(1.5 * RATE), 1.3) * 0.5
    ride = high(noise(0.4), 6000) * decay(int(0.4 * RATE), 0.3) * 0.3
    tom = lambda hz: tone(hz * 1.6, hz, 0.04, 0.3) * decay(int(0.3 * RATE), 0.3)
    hz = r.uniform(300, 1500)
    perc = tone(hz * 1.3, hz, 0.01, 0.12) * decay(int(0.12 * RATE), 0.1)
    return dict(kick=[kick], snare=[snare], hat=[hat], open=[opened], pedal=[hat], crash=[crash], ride=[ride], tom1=[tom(150)],
                tom2=[tom(95)], rim=[perc], cowbell=[perc], perc=[perc])


def midi_file(piece, path, drums, r):
    ticks = lambda t: int(round(max(0, t) * 960))  # 480 a beat at 120: a tick is 1.04 ms
    events = []
    channel = dict(bass=0, chords=1, lead=2)
    for part, program in piece.programs.items(): events.append((0, 0, bytes([0xC0 | channel[part], program])))
    events.append((0, 0, bytes([0xC3, 47])))
    events.append((0, 0, bytes([0xC9, r.choice([0, 0, 8, 16, 24, 25, 32, 40])])))
    def note(c, key, velocity, t, length):
        events.append((ticks(t), 1, bytes([0x90 | c, key, velocity])))
        events.append((ticks(t + length), 0, bytes([0x80 | c, key, 0])))
    for beat, length, pitch, velocity, part in piece.notes:
        t = piece.clock.at(beat)
        s = piece.clock.at(beat + length) - t
        note(channel[part], min(108, max(24, pitch)), min(127, max(1, int(127 * velocity * piece.gain[part] * r.uniform(0.85, 1.05)))),
             t + r.gauss(0, piece.jitter_s), max(0.05, s))
    for beat, drum, velocity in piece.hits:
        t = piece.clock.at(beat) + r.gauss(0, piece.jitter_s / 2)
        if drum == 'timpani': note(3, 43, int(110 * velocity), t, 0.5)
        elif drums: note(9, GM_DRUM[drum], min(127, max(1, int(120 * velocity * piece.gain['drums'] * r.uniform(0.85, 1.05)))), t, 0.1)
    events.sort(key=lambda e: (e[0], e[1]))
    def vlq(v):
        out = [v & 127]
        while v > 127:
            v >>= 7
            out.append(v & 127 | 128)
        return bytes(out[::-1])
    track, last = b'', 0
    for t, _, e in events:
        track += vlq(t - last) + e
        last = t
    track += b'\x00\xff\x2f\x00'
    with open(path, 'wb') as f:
        f.write(b'MThd' + struct.pack('>IHHH', 6, 0, 1, 480) + b'MTrk' + struct.pack('>I', len(track)) + track)


def fluidsynth(font, midi, r):
    out = midi + '.raw'
    subprocess.run(['fluidsynth', '-ni', '-q', '-F', out, '-T', 'raw', '-O', 's16', '-r', str(RATE), '-g', '0.5', '-R', str(r.choice([0, 1, 1])),
                    '-C', '0', '-o', 'synth.dynamic-sample-loading=1', font, midi], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    x = np.fromfile(out, np.int16).reshape(-1, 2).astype('f').mean(1) / 32768
    os.unlink(out)
    return x


def oscillators(piece, n, r):
    """The notes on plain oscillators, as trackers and soft synths play them."""
    x, cache = np.zeros(n + 4 * RATE, 'f'), {}
    shape = {p: (r.choice(['saw', 'square', 'pulse', 'sine' if p == 'bass' else 'saw']), r.choice([1, 1, 2, 3]), r.choice([0.003, 0.003, 0.02, 0.08]) if p == 'chords' else 0.003,
                 r.uniform(0.15, 2.0), r.uniform(800, 8000) if p != 'bass' else r.uniform(200, 2000)) for p in ('bass', 'chords', 'lead')}
    for beat, length, pitch, velocity, part in piece.notes:
        t = piece.clock.at(beat)
        s = round(piece.clock.at(beat + length) - t, 2)
        key = (pitch, s, part)
        if key not in cache:
            wave, voices, attack, fall, cut = shape[part]
            m = max(64, int(s * RATE))
            y = np.zeros(m, 'f')
            for v in range(voices):
                hz = 440 * 2 ** ((pitch - 69 + 0.12 * (v - (voices - 1) / 2)) / 12)
                ph = (np.arange(m) * (hz / RATE) + 0.37 * v) % 1
                y += {'saw': 2 * ph - 1, 'square': np.sign(ph - 0.5), 'pulse': np.sign(ph - 0.2), 'sine': np.sin(2 * np.pi * ph)}[wave].astype('f')
            a = np.exp(-2 * np.pi * cut / RATE)
            y = lfilter([1 - a], [1, -a], y).astype('f') * decay(m, fall) * np.minimum(1, np.arange(m) / RATE / attack).astype('f') / voices
            y[-min(200, m):] *= np.linspace(1, 0, min(200, m), dtype='f')
            cache[key] = y
        y, at = cache[key], int(t * RATE)
        x[at:at + len(y)] += 0.2 * velocity * piece.gain[part] * y[:max(0, len(x) - at)]
    return x


def drum_track(piece, kit, n, r):
    x, chosen = np.zeros(n + 3 * RATE, 'f'), {}
    for beat, drum, velocity in piece.hits:
        options = kit.get(drum) or kit.get({'open': 'hat', 'pedal': 'hat', 'ride': 'hat', 'tom2': 'tom1', 'rim': 'snare', 'cowbell': 'perc'}.get(drum, ''))
        if not options: continue
        y = chosen.setdefault(drum, r.choice(options)).astype('f')
        at = int(max(0, piece.clock.at(beat) + r.gauss(0, piece.jitter_s / 2)) * RATE)
        if at < n: x[at:at + len(y)] += (velocity * piece.level.setdefault(drum, r.uniform(0.35, 1)) * r.uniform(0.9, 1)) * y[:len(x) - at]
    return x


def pump(piece, n, depth):
    """The gain of a compressor that the kick drives."""
    gain, fall = np.ones(n, 'f'), int(0.3 * RATE)
    shape = 1 - depth * np.exp(-np.arange(fall) / (0.1 * RATE)).astype('f')
    for beat, drum, _ in piece.hits:
        at = int(piece.clock.at(beat) * RATE)
        if drum == 'kick' and at < n: gain[at:at + fall] = np.minimum(gain[at:at + fall], shape[:n - at])
    return gain


def master(x, r):
    g = np.random.default_rng(r.randrange(1 << 30))
    if r.random() < 0.25:  # a room
        s = r.uniform(0.3, 1.5)
        ir = g.standard_normal(int(s * RATE)).astype('f') * decay(int(s * RATE), s)
        wet = fftconvolve(x, ir / np.sqrt((ir ** 2).sum()))[:len(x)].astype('f')
        x = x + r.uniform(0.1, 0.5) * wet
    if r.random() < 0.5:  # a tilt
        a, hz = r.uniform(-0.6, 1.5), r.uniform(300, 3000)
        c = np.exp(-2 * np.pi * hz / RATE)
        low = lfilter([1 - c], [1, -c], x).astype('f')
        x = x + a * (x - low) if r.random() < 0.5 else x + a * low
    if r.random() < 0.15:
        b, a = butter(4, r.uniform(6000, 15000) / (RATE / 2))
        x = lfilter(b, a, x).astype('f')
    if r.random() < 0.1:
        b, a = butter(2, r.uniform(60, 200) / (RATE / 2), 'high')
        x = lfilter(b, a, x).astype('f')
    x = x / (np.abs(x).max() + 1e-9)
    if r.random() < 0.6:  # loud
        d = r.uniform(1.5, 6)
        x = np.tanh(d * x) / np.tanh(d)
    if r.random() < 0.2: x = x + 10 ** r.uniform(-4, -2) * g.standard_normal(len(x)).astype('f')
    return (x * 10 ** r.uniform(-0.6, 0)).astype('f')


def render(piece, seed, fonts, kits, scratch):
    r = random.Random(seed ^ 0x5eed)
    n = int((piece.end_s + 0.5) * RATE)
    piece.gain = dict(bass=r.uniform(0.5, 1), chords=r.uniform(0.3, 1), lead=r.uniform(0.4, 1), drums=r.uniform(0.5, 1))
    piece.level = dict(kick=r.uniform(0.7, 1), snare=r.uniform(0.5, 1), hat=r.uniform(0.1, 0.5), open=r.uniform(0.1, 0.6))
    midi_drums = piece.kit in ('acoustic', 'none') and r.random() < 0.5
    midi = os.path.join(scratch, f'{os.getpid()}.mid')
    if piece.kit in ('electro', 'chip') and r.random() < 0.6: x = oscillators(piece, n, r)[:n]
    else:
        midi_file(piece, midi, midi_drums, r)
        x = fluidsynth(r.choice(fonts), midi, r)
        x = np.pad(x, (0, max(0, n - len(x))))[:n]
        os.unlink(midi)
    if piece.pump: x = x * pump(piece, n, min(0.95, piece.pump))
    if piece.hits and not midi_drums:
        kit = synth_kit(r, piece.kit == 'chip') if piece.kit == 'chip' or (piece.kit == 'electro' and r.random() < 0.55) else r.choice(kits)
        d = drum_track(piece, kit, n, r)[:n]
        level = lambda y: np.sqrt((y ** 2).mean()) + 1e-9
        x = x / level(x) + d / level(d) * 10 ** r.uniform(-0.35, 0.45)
    return master(x.astype('f'), r)
