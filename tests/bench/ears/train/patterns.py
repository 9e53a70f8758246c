"""patterns: what the genres play, as tables.

A drum row is one bar in steps of a quarter of a beat (an x is a hit, an o a soft one); several rows of one drum are
alternatives. `feel` is where the offbeat eighth lies in its beat (0.5 straight, 0.67 triplets), `feel16` the same
for sixteenths in their eighth."""

FOUR = 'x...x...x...x...'
BACK = '....x.......x...'
EIGHTHS = ['x.x.x.x.x.x.x.x.', 'x.o.x.o.x.o.x.o.', 'o.x.o.x.o.x.o.x.']
SIXTEENTHS = ['xoxoxoxoxoxoxoxo', 'xxxxxxxxxxxxxxxx', 'xooxxooxxooxxoox', 'oxxxoxxxoxxxoxxx']
OFFBEATS = ['..x...x...x...x.']

# name: tempo range, drums, and how bass, chords and melody move (compose.py); weight: how many of them
GENRES = {
    'house': dict(weight=5, bpm=(116, 130), kit='electro', pump=0.6, feel16=(0.5, 0.58), drums=dict(
        kick=[FOUR], snare=[BACK, None, BACK], open=OFFBEATS + [None], hat=SIXTEENTHS + EIGHTHS + [None],
        perc=['x..x..x...x..x..', '..xx...x..x...x.', None, None]),
        bass=['offbeat', 'syncopated', 'octaves', 'root16'], chords=['stabs', 'pad', 'pushed', 'offbeat'],
        lead=['arp16', 'melody', 'none', 'three16']),
    'trance': dict(weight=6, bpm=(130, 145), kit='electro', pump=0.7, drums=dict(
        kick=[FOUR], snare=[BACK, None], open=OFFBEATS, hat=SIXTEENTHS + [None]),
        bass=['offbeat', 'rolling', 'offbeat', 'root16', 'octaves'], chords=['pad', 'pad', 'stabs', 'offbeat'],
        lead=['arp16', 'arp16', 'melody', 'three16', 'melodyoff']),
    'techno': dict(weight=4, bpm=(122, 150), kit='electro', pump=0.5, drums=dict(
        kick=[FOUR], snare=[None, BACK, '......x.........'], open=OFFBEATS + [None], hat=SIXTEENTHS + EIGHTHS,
        perc=['x..x..x..x..x..x', '...x..x....x..x.', 'x.....x.....x...', None]),
        bass=['rolling', 'syncopated', 'root16', 'offbeat'], chords=['stabs', 'none', 'three16', 'pad'],
        lead=['none', 'three16', 'arp16']),
    'hardcore': dict(weight=3, bpm=(150, 200), kit='electro', pump=0.4, drums=dict(
        kick=[FOUR, FOUR, 'x...x...x...x.x.'], snare=[None, BACK, '..x...x...x...x.'], open=OFFBEATS + [None],
        hat=EIGHTHS + [None]),
        bass=['offbeat', 'root8', 'rolling'], chords=['stabs', 'pad', 'offbeat'], lead=['melody', 'arp16', 'melodyoff']),
    'drum and bass': dict(weight=5, bpm=(158, 180), kit='any', drums=dict(
        kick=['x.........x.....', 'x.x.......x.....', 'x.....x...x.....', 'x.........xx....', 'x..x......x..x..'],
        snare=[BACK, '....x..o.o..x..o', '....x..o.o..x...', BACK],
        hat=EIGHTHS + SIXTEENTHS, open=[None, '..............x.']),
        bass=['long', 'syncopated', 'pushed', 'wobble'], chords=['pad', 'pad', 'stabs', 'none'],
        lead=['none', 'melody', 'arp8', 'three16']),
    'breakbeat': dict(weight=4, bpm=(110, 150), kit='any', feel16=(0.5, 0.56), drums=dict(
        kick=['x..x......x.....', 'x.x...x...x.....', 'x......x..xx....', 'x.........x..x..', 'x..x..x...x..x..'],
        snare=[BACK, '....x..o.o..x...', '....x..x.o..x..o'], hat=EIGHTHS + SIXTEENTHS + OFFBEATS,
        open=[None, '......x.......x.', None]),
        bass=['syncopated', 'root16', 'root8', 'pushed'], chords=['stabs', 'pad', 'pushed', 'three16'],
        lead=['melody', 'none', 'arp16']),
    'half time': dict(weight=2, bpm=(132, 150), kit='electro', drums=dict(
        kick=['x...............', 'x..........x....', 'x.....x.........', 'x..x...........x'], snare=['........x.......'],
        hat=['x.x.x.x.x.x.x.x.', 'x.xxx.x.x.xxx.x.', 'xoxoxoxoxoxoxoxo'], open=[None, '......x.......x.']),
        bass=['wobble', 'long', 'root8'], chords=['pad', 'none', 'stabs'], lead=['melody', 'none', 'arp8']),
    'hip-hop': dict(weight=5, bpm=(68, 104), kit='any', feel16=(0.5, 0.66), drums=dict(
        kick=['x.....x...x.....', 'x..x..x...x.....', 'x......x..x.....', 'x.x.......xx....', 'x..x.....x.x....',
              'x.......x.......'],
        snare=[BACK, BACK, '....x.......x..o', '....x..o.o..x...'], hat=EIGHTHS + SIXTEENTHS, open=[None, '..............x.']),
        bass=['syncopated', 'long', 'pushed', 'root8'], chords=['pad', 'stabs', 'pushed', 'broken'],
        lead=['none', 'melody', 'arp16']),
    'rock': dict(weight=7, bpm=(84, 185), kit='acoustic', drums=dict(
        kick=['x.......x.......', 'x.......x.x.....', 'x.x.....x.x.....', 'x.....x.x.......', 'x..x....x.......',
              'x...x...x...x...', 'x.x.x.x.x.x.x.x.', 'x.......x.....x.'],
        snare=[BACK, BACK, BACK, '....x.......x.o.', 'x...x...x...x...'], hat=EIGHTHS + ['x...x...x...x...', None],
        ride=[None, 'x.x.x.x.x.x.x.x.', 'x...x...x...x...']),
        bass=['root8', 'root8', 'syncopated', 'long', 'pushed'], chords=['strum', 'power8', 'pushed', 'pad', 'broken'],
        lead=['melody', 'none', 'melodyoff']),
    'metal': dict(weight=3, bpm=(100, 210), kit='acoustic', drums=dict(
        kick=['xxxxxxxxxxxxxxxx', 'x.xxx.xxx.xxx.xx', 'x.x.x.x.x.x.x.x.', 'x..xx..xx..xx..x', 'xx.x..x.xx.x..x.'],
        snare=[BACK, BACK, '........x.......', '..x...x...x...x.'], hat=['x...x...x...x...', 'x.x.x.x.x.x.x.x.'],
        crash=[None, 'x...............', 'x...x...x...x...']),
        bass=['root16', 'root8', 'gallop'], chords=['power8', 'gallop', 'three16', 'power16'], lead=['none', 'melody']),
    'punk': dict(weight=2, bpm=(150, 210), kit='acoustic', drums=dict(
        kick=['x.......x.x.....', 'x...x...x...x...', 'x.....x.x.......'], snare=[BACK, BACK, '..x...x...x...x.'],
        hat=EIGHTHS, crash=[None, 'x...x...x...x...']),
        bass=['root8'], chords=['power8', 'strum', 'pushed'], lead=['none', 'melody']),
    'funk': dict(weight=4, bpm=(84, 124), kit='any', feel16=(0.5, 0.6), drums=dict(
        kick=['x..x......x..x..', 'x.x.......x..x..', 'x.x....x..x.....', 'x......x..x..x..', 'xx........xx....'],
        snare=['....x..o.o..x..o', '....x..o.o.ox..o', BACK], hat=SIXTEENTHS + EIGHTHS, open=[None, '......x.........']),
        bass=['syncopated', 'funk', 'octaves'], chords=['scratch', 'stabs', 'pushed', 'three16'], lead=['melodyoff', 'none', 'melody']),
    'disco': dict(weight=3, bpm=(104, 132), kit='any', drums=dict(
        kick=[FOUR], snare=[BACK], open=OFFBEATS, hat=SIXTEENTHS + [None]),
        bass=['octaves', 'syncopated', 'offbeat'], chords=['scratch', 'pushed', 'stabs', 'pad'], lead=['melody', 'melodyoff', 'none']),
    'pop': dict(weight=5, bpm=(70, 134), kit='any', feel=(0.5, 0.52), drums=dict(
        kick=['x.......x.......', 'x.....x.x.......', 'x.......x.x.....', 'x..x..x.x.......', FOUR],
        snare=[BACK], hat=EIGHTHS + SIXTEENTHS, perc=['..x...x...x...x.', None, 'xoxoxoxoxoxoxoxo']),
        bass=['long', 'root8', 'syncopated', 'pushed'], chords=['broken', 'strum', 'pad', 'pushed', 'onbeat'],
        lead=['melody', 'melody', 'melodyoff', 'arp8']),
    'reggae': dict(weight=3, bpm=(62, 94), kit='acoustic', feel=(0.5, 0.6), drums=dict(
        kick=['........x.......', FOUR, 'x.......x.......'], snare=['........x.......', BACK],
        hat=['..x...x...x...x.', 'x.x.x.x.x.x.x.x.', 'o.x.o.x.o.x.o.x.']),
        bass=['reggae', 'syncopated', 'long'], chords=['offbeat', 'offbeat', 'skank'], lead=['melody', 'none']),
    'ska': dict(weight=3, bpm=(110, 175), kit='acoustic', feel=(0.5, 0.6), drums=dict(
        kick=['x.......x.......', FOUR, 'x.......x.x.....'], snare=[BACK], hat=['..x...x...x...x.', 'x.x.x.x.x.x.x.x.']),
        bass=['walking', 'root8', 'quarters'], chords=['offbeat'], lead=['melody', 'melodyoff', 'none']),
    'polka': dict(weight=3, bpm=(96, 140), kit='acoustic', drums=dict(
        kick=[FOUR], snare=['..x...x...x...x.', '..x...x...x.o.x.'], hat=[None, '..x...x...x...x.']),
        bass=['alternating'], chords=['offbeat'], lead=['melody', 'arp16']),
    'march': dict(weight=2, bpm=(90, 130), kit='acoustic', drums=dict(
        kick=['x.......x.......', FOUR], snare=['x.ooxoooxoooxxxx', 'x.oox.oox.ooxxoo', '..x...x...x.xxx.'],
        crash=['x.......x.......', None]),
        bass=['alternating', 'quarters'], chords=['offbeat', 'onbeat'], lead=['melody', 'melody']),
    'stride': dict(weight=3, bpm=(120, 220), kit='none', feel=(0.5, 0.62), drums=dict(
        kick=[None], snare=[None, BACK], hat=[None, BACK]),
        bass=['onethree'], chords=['twofour'], lead=['melodyoff', 'melody', 'arp8']),
    'swing': dict(weight=4, bpm=(100, 230), kit='acoustic', feel=(0.6, 0.68), drums=dict(
        kick=['x...............', 'o...o...o...o...', None], snare=[None, '..o...........o.', BACK],
        ride=['x...x.x.x...x.x.', 'x...x.x.x...x.x.', 'x...x...x...x...'], pedal=[BACK, BACK, None]),
        bass=['walking', 'walking', 'onethree'], chords=['charleston', 'pushed', 'twofour', 'onbeat'],
        lead=['melodyoff', 'melody', 'none']),
    'shuffle': dict(weight=3, bpm=(76, 150), kit='acoustic', feel=(0.63, 0.68), drums=dict(
        kick=['x.......x.......', FOUR, 'x.....x.x.....x.'], snare=[BACK], hat=['x.x.x.x.x.x.x.x.', 'x...x...x...x...'],
        ride=[None, 'x.x.x.x.x.x.x.x.']),
        bass=['root8', 'walking', 'quarters'], chords=['power8', 'charleston', 'onbeat', 'strum'], lead=['melody', 'none']),
    'bossa': dict(weight=3, bpm=(90, 170), kit='acoustic', drums=dict(
        kick=['x..xx..xx..xx..x', 'x.......x.......', 'x.....x.x.....x.'], rim=['x..x..x...x..x..', '..x..x..x..x..x.', 'x..x...x..x..x..'],
        hat=EIGHTHS, perc=['x.xxx.xxx.xxx.xx', None]),
        bass=['bossa', 'onethree'], chords=['bossa', 'pushed', 'charleston'], lead=['melodyoff', 'melody']),
    'latin': dict(weight=3, bpm=(84, 130), kit='any', drums=dict(
        kick=[FOUR, 'x.......x.......', 'x..x..x.x..x..x.', None], snare=['...x..x....x..x.', None, '...x..x....x..x.'],
        cowbell=['x...x.x.x...x.x.', 'x.x.x.x.x.x.x.x.', None], perc=['..xx..xx..xx..xx', 'x.oxx.oxx.oxx.xx'], hat=[None] + SIXTEENTHS),
        bass=['tumbao', 'syncopated', 'pushed', 'onethree'], chords=['montuno', 'pushed', 'offbeat', 'stabs'],
        lead=['melodyoff', 'none', 'melody']),
    'chiptune': dict(weight=4, bpm=(96, 190), kit='chip', drums=dict(
        kick=[FOUR, 'x.......x.......', 'x.....x.x.......', 'x..x..x...x.....'], snare=[BACK, BACK, '..x...x...x...x.'],
        hat=EIGHTHS + OFFBEATS + [None]),
        bass=['root8', 'octaves', 'rolling', 'root16', 'alternating'], chords=['chiparp', 'none', 'offbeat', 'broken'],
        lead=['melody', 'arp16', 'melodyoff', 'arp8']),
    'orchestra': dict(weight=6, bpm=(58, 170), kit='none', loose=1, drums=dict(
        kick=[None], timpani=['x...............', 'x.......x.......', None, 'x...x...x...x...'],
        snare=[None, None, 'x.oox.oox.ooxxoo'], crash=[None, None, 'x...............']),
        bass=['long', 'quarters', 'onethree', 'root8'], chords=['pad', 'onbeat', 'power8', 'broken', 'none'],
        lead=['melody', 'melody', 'arp8', 'arp16']),
    'piano': dict(weight=4, bpm=(60, 150), kit='none', loose=1, drums=dict(kick=[None]),
        bass=['long', 'onethree', 'none', 'quarters'], chords=['broken', 'alberti', 'onbeat', 'offbeat', 'arpwide'],
        lead=['melody', 'melodyoff', 'none']),
    'ambient': dict(weight=2, bpm=(60, 130), kit='electro', drums=dict(
        kick=[None, None, 'x.......x.......'], hat=[None, '..x...x...x...x.', 'x.x.x.x.x.x.x.x.'], snare=[None, '........x.......']),
        bass=['long', 'none'], chords=['pad', 'pad', 'broken'], lead=['arp8', 'arp16', 'three16', 'melody']),
    # slower electronic music, and songs whose eighths or sixteenths run through (seeds from compose.LATER on)
    'synthwave': dict(weight=5, later=1, bpm=(78, 122), kit='electro', pump=0.4, drums=dict(
        kick=[FOUR, FOUR, 'x.......x.......', 'x.......x.x.....'], snare=[BACK], hat=SIXTEENTHS + EIGHTHS + [None], open=OFFBEATS + [None, None],
        perc=[None, None, 'x..x..x...x..x..']),
        bass=['root8', 'root16', 'octaves', 'root8', 'gallop'], chords=['pad', 'stabs', 'onbeat', 'pushed'], lead=['arp16', 'arp16', 'melody', 'arp8', 'none']),
    'downtempo': dict(weight=4, later=1, bpm=(72, 116), kit='any', feel16=(0.5, 0.58), drums=dict(
        kick=[FOUR, 'x.....x...x.....', 'x.........x.....', 'x..x..x...x.....'], snare=[BACK, BACK, '....x..o....x...', None], hat=SIXTEENTHS + EIGHTHS + OFFBEATS,
        perc=[None, '..x..x....x..x..', 'xoxoxoxoxoxoxoxo']),
        bass=['long', 'syncopated', 'root8', 'offbeat'], chords=['pad', 'pad', 'broken', 'stabs'], lead=['arp16', 'arp8', 'melody', 'none', 'three16']),
    'slow club': dict(weight=4, later=1, bpm=(88, 120), kit='electro', pump=0.6, feel16=(0.5, 0.6), drums=dict(
        kick=[FOUR, FOUR, FOUR, 'x.....x.x.....x.', 'x..x..x.x..x..x.'], snare=[BACK, BACK, '...x..x....x..x.', None], hat=SIXTEENTHS + [None], open=OFFBEATS + [None]),
        bass=['offbeat', 'syncopated', 'root16', 'octaves', 'rolling'], chords=['stabs', 'pad', 'offbeat', 'three16'], lead=['melody', 'arp16', 'none', 'three16']),
    'driving song': dict(weight=4, later=1, bpm=(76, 118), kit='acoustic', drums=dict(
        kick=['x.x.....x.x.....', 'x......xx.......', 'x.xx....x.xx....', 'xx......xx......', 'x.......x.......'], snare=[BACK], hat=SIXTEENTHS + EIGHTHS,
        ride=[None, 'x.x.x.x.x.x.x.x.'], crash=[None, 'x...............']),
        bass=['root16', 'root8', 'gallop', 'syncopated'], chords=['power16', 'gallop', 'power8', 'strum', 'broken'], lead=['melody', 'none', 'arp16']),
    'sixteen piano': dict(weight=2, later=1, bpm=(60, 112), kit='none', loose=1, drums=dict(kick=[None]),
        bass=['long', 'root8', 'quarters'], chords=['alberti', 'broken', 'pad', 'onbeat'], lead=['arp16', 'melody', 'arp8']),
    'offbeat trance': dict(weight=4, later=1, bpm=(126, 160), kit='electro', pump=0.8, drums=dict(
        kick=[FOUR], snare=[None, BACK], open=OFFBEATS, hat=[None, 'ooxoooxoooxoooxo']),
        bass=['offbeat', 'offbeat', 'rolling'], chords=['offbeat', 'pad', 'stabs'], lead=['arp16', 'melodyoff', 'three16', 'none']),
    # other metres: rows are built by compose.py from the beats of the bar
    'waltz': dict(weight=5, bpm=(84, 205), kit='any', metre=3, drums=dict(
        kick=['x...........', 'x.......x...', None], snare=['....x...x...', '....o...o...', None, '........x...'],
        hat=['x...x...x...', 'x.x.x.x.x.x.', '....x...x...', None], ride=[None, 'x...x.x.x...']),
        bass=['long', 'root8', 'onebass'], chords=['oompah', 'oompah', 'pad', 'broken', 'strum', 'onbeat'],
        lead=['melody', 'none', 'arp8', 'arp16']),
    'three': dict(weight=3, bpm=(90, 170), kit='any', metre=3, drums=dict(
        kick=['x.......x...', 'x.....x.....', 'x..x........', 'x...x...x...'], snare=['........x...', '....x...x...', '......x.....'],
        hat=['x.x.x.x.x.x.', 'xoxoxoxoxoxo', 'x...x...x...']),
        bass=['long', 'root8', 'syncopated'], chords=['broken', 'power8', 'pad', 'strum'], lead=['melody', 'arp16', 'none']),
    'compound': dict(weight=4, bpm=(48, 100), kit='any', triplets=1, metres=[2, 4, 4, 4], drums=dict(
        kick=['x.....x.....', 'x....xx.....', 'x...........', 'x..x..x..x..'], snare=['...x.....x..', '......x.....', '...x.....x..'],
        hat=['xxxxxxxxxxxx', 'xooxooxooxoo', 'x.xx.xx.xx.x']),
        bass=['long', 'root8', 'quarters'], chords=['broken', 'pad', 'strum', 'onbeat'], lead=['melody', 'arp8', 'none']),
    'odd': dict(weight=4, bpm=(88, 180), kit='any', metres=[5, 5, 7, 6], drums=None,
        bass=['root8', 'long', 'syncopated', 'quarters'], chords=['power8', 'broken', 'pad', 'strum'], lead=['melody', 'none', 'arp8']),
}

# chord progressions: degrees of the scale by bar
PROGRESSIONS = [
    [0, 5, 3, 4], [0, 4, 5, 3], [5, 3, 0, 4], [0, 3, 4, 4], [0, 0, 3, 4], [0, 3, 0, 4], [0, 6, 5, 6], [0, 5, 2, 6],
    [0, 2, 3, 4], [1, 4, 0, 0], [0, 5, 1, 4], [0, 0, 5, 5], [0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4], [0, 0, 0, 0],
    [0, 1, 0, 1], [0, 6, 0, 6], [3, 4, 2, 5], [0, 0, 6, 6, 5, 5, 4, 4],
]
SCALES = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10], [0, 2, 3, 5, 7, 9, 10], [0, 2, 4, 5, 7, 9, 10], [0, 2, 3, 5, 7, 8, 11]]

# General MIDI programs by part and family of sounds
SOUNDS = {
    'electro': dict(bass=[38, 39, 87, 81, 36], chords=[80, 81, 90, 89, 88, 62, 63, 4, 16, 50], lead=[80, 81, 82, 84, 86, 5, 98]),
    'acoustic': dict(bass=[32, 33, 34, 35, 36], chords=[0, 1, 4, 16, 18, 24, 25, 26, 27, 29, 30, 61], lead=[56, 65, 66, 73, 71, 26, 29, 30, 0, 11, 22, 40]),
    'none': dict(bass=[42, 43, 48, 0, 32, 58], chords=[0, 1, 48, 49, 46, 45, 6, 24, 52, 60, 19], lead=[40, 73, 68, 71, 0, 48, 60, 56, 8, 11, 75]),
    'chip': dict(bass=[80, 81, 38], chords=[80, 82, 81], lead=[80, 81, 79]),
}
