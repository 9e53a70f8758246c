"""What the studio, and where they matter the other workers, take in cases that are long, large or many.

Each case starts a station of its own and looks at VmHWM once the case's work is done. The music is synthesised; files of
hours are minutes of it repeated without decoding (ffmpeg), and their analyses are those of the minutes, told to be as long,
where nobody looks at what analysing takes.
"""
import glob
import json
import os
import shutil
import sqlite3
import subprocess
import time

import harness
import longest
import usage

HOURS = 3
KINDS = {  # suffix: (what codes the minutes, how many hours)
    "m4a": (("-c:a", "aac", "-b:a", "128k"), HOURS), "flac": (("-c:a", "flac", "-compression_level", "0"), HOURS),
    "opus": (("-c:a", "libopus", "-b:a", "96k"), HOURS), "mp3": (("-c:a", "libmp3lame", "-q:a", "4"), HOURS),
    "wav": (("-c:a", "pcm_s16le", "-ac", "1", "-ar", "22050"), 2 * HOURS)}
COVER_BYTES = 10_000_000
LIBRARY = 10_000  # tracks
MINUTES = 5
LOOP_S = 120


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)


def minutes(count=2):
    """So many files of synthesised music."""
    folder = harness.make_crate(os.path.join(harness.BUILD, "bench-minutes"), 3, 60 * MINUTES, seed=5)
    return sorted(glob.glob(os.path.join(folder, "*.wav")))[:count]


def long_files(kind, count=2):
    """Folder with files of hours, and the minutes that they repeat beside it."""
    coding, hours = KINDS[kind]

    def make(out):
        os.mkdir(os.path.join(out, "short"))
        os.mkdir(os.path.join(out, "long"))
        for i, source in enumerate(minutes(count)):
            short, long = (os.path.join(out, part, f"{part}-{i}.{kind}") for part in ("short", "long"))
            run_ffmpeg("-i", source, *coding, short)
            run_ffmpeg("-stream_loop", str(hours * 60 // MINUTES - 1), "-i", short, "-c", "copy", long)
    return harness.once(os.path.join(harness.BUILD, f"bench-long-{kind}"), make)


def told_long(folder, state):
    """A state that knows the long files by the analyses of the short ones."""
    harness.analyse(os.path.join(folder, "short"), state)
    with sqlite3.connect(os.path.join(state, "library.db")) as db:
        for number, path in db.execute("SELECT id, path FROM tracks").fetchall():
            long = path.replace("short", "long")
            st = os.stat(long)
            length = float(subprocess.run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", long],
                                          stdout=subprocess.PIPE, check=True, text=True).stdout)
            db.execute("UPDATE tracks SET path = ?, root = ?, size = ?, mtime_ns = ? WHERE id = ?",
                       (long, os.path.join(folder, "long"), st.st_size, st.st_mtime_ns, number))
            for table, column in (("wholes", "features"), ("features", "summary")):
                text = json.loads(db.execute(f"SELECT {column} FROM {table} WHERE track = ?", (number,)).fetchone()[0])
                text.update(duration_s=length, music_end_s=length - 1)
                db.execute(f"UPDATE {table} SET {column} = ? WHERE track = ?", (json.dumps(text), number))
    db.close()


def cover(path, size=COVER_BYTES):
    """A picture of so many bytes, of noise, which does not get smaller."""
    rows = round((size / 3 / 1.05) ** 0.5)
    noise = os.path.join(os.path.dirname(path), "noise.rgb")
    with open(noise, "wb") as f:
        f.write(os.urandom(3 * rows * rows))
    run_ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{rows}x{rows}", "-i", noise, path)
    os.unlink(noise)


def covered():
    """Files with a large cover, of each container that keeps one as it is."""
    def make(out):
        picture, music = os.path.join(out, "cover.png"), os.path.join(out, "music")
        os.mkdir(music)
        cover(picture)
        for kind in ("m4a", "flac", "mp3"):
            for i, source in enumerate(minutes()):
                run_ffmpeg("-i", source, "-i", picture, "-map", "0:a", "-map", "1:v", *KINDS[kind][0], "-c:v", "copy",
                           "-disposition:v", "attached_pic", os.path.join(music, f"{kind}-{i}.{kind}"))
    return os.path.join(harness.once(os.path.join(harness.BUILD, "bench-covers"), make), "music")


def many(state):
    """A library of LIBRARY tracks in the state: the same few files under many names, each with an analysis."""
    few = harness.make_crate(os.path.join(harness.BUILD, "bench-few"), 6, 60, seed=3)
    library = state + "-library"
    os.makedirs(library)
    harness.analyse(few, state)
    with sqlite3.connect(os.path.join(state, "library.db")) as db:
        rows = db.execute("SELECT t.id, t.path, t.size, t.mtime_ns, f.version, f.tags, f.summary, w.features FROM tracks t "
                          "JOIN features f ON f.track = t.id JOIN wholes w ON w.track = t.id").fetchall()
        db.execute("DELETE FROM tracks")
        for table in ("features", "wholes", "art", "waves"):
            db.execute(f"DELETE FROM {table}")
        for number in range(1, LIBRARY + 1):
            _, path, size, mtime, version, tags, summary, whole = rows[number % len(rows)]
            named = os.path.join(library, f"{number:05}.wav")
            os.link(path, named)
            tags = json.dumps(dict(json.loads(tags), title=f"Title {number}", artist=f"Artist {number % 900}"))
            db.execute("INSERT INTO tracks(id, path, root, size, mtime_ns, state, hash) VALUES (?, ?, ?, ?, ?, 1, ?)",
                       (number, named, library, size, mtime, f"{number:064x}"))
            db.execute("INSERT INTO features VALUES (?, ?, ?, ?)", (number, version, tags, summary))
            db.execute("INSERT INTO wholes VALUES (?, ?)", (number, whole))
    db.close()
    return library


class Station:
    """A root over a library whose workers' memory is looked at."""

    def __init__(self, library, state, bitrate=320, lead=240, **options):
        self.root = harness.Root(library, state, bitrate=bitrate, wait=False, lead=lead, **options)
        self.lead = lead

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.root.stop()

    def music(self):
        self.root.wait_music(300)
        self.studio = self.root.worker("studio")[0]

    def full(self, limit_s=600):
        harness.wait_for(lambda: self.root.stats().get("lead_s", 0) > self.lead - 5, "the lead is made", limit_s)

    def segments(self):
        return harness.request(self.root.url, "/api/segments").json()["segments"]

    def skip(self):
        branch = self.root.stats()["branch"]
        harness.wait_for(lambda: self.root.ctl("skip").returncode == 0, "a skip is taken", 60)
        harness.wait_for(lambda: self.root.stats()["branch"] > branch, "the skip is heard of", 60)

    def mb(self, role="studio"):
        """The most that any of the role's processes took; the studio has to be the one it was at first."""
        pids = self.root.worker(role)
        assert role != "studio" or pids == [self.studio], "the studio has been started again"
        return max(longest.high_water(pid) for pid in pids) / 1e6


def longest_blends(folder, with_loop=False):
    """Tracks that leave the planner no choice but the longest blends; with a loop of LOOP_S made meanwhile."""
    library, state = longest.make(os.path.join(harness.BUILD, "long-tracks")), os.path.join(folder, f"longest-{with_loop}")
    longest.prepare(library, state)
    options = {"fallback": loop_file(folder)} if with_loop else {}
    with Station(library, state, **options) as station:
        station.music()
        harness.wait_for(lambda: len(longest.blends(station.segments())) >= 2, "two blends are made", 600)
        if with_loop:
            harness.wait_for(lambda: "the fallback loop is made" in station.root.log(), "the loop is made", 600)
        station.full()
        return station.mb()


def plain(library, state):
    with Station(library, state) as station:
        station.music()
        station.full()
        return station.mb()


def mounts(folder):
    """Four bit rates beside the main one, always encoded. (The coder's as well.)"""
    few = harness.make_crate(os.path.join(harness.BUILD, "bench-few"), 6, 60, seed=3)
    state = os.path.join(folder, "mounts")
    harness.analyse(few, state)
    with Station(few, state, mounts=",".join(f"m{k}:{k}:always" for k in (64, 96, 128, 192))) as station:
        station.music()
        station.full()
        return station.mb(), station.mb("coder")


def loop_file(folder):
    path = os.path.join(folder, "loop.wav")
    run_ffmpeg("-i", minutes(1)[0], "-t", str(LOOP_S + 20), path)
    return path


def loop(folder):
    """The longest loop there may be, made while on the air, for three bit rates."""
    few = harness.make_crate(os.path.join(harness.BUILD, "bench-few"), 6, 60, seed=3)
    state = os.path.join(folder, "loop")
    harness.analyse(few, state)
    with Station(few, state, fallback=loop_file(folder), mounts="low:64,mid:128") as station:
        station.music()
        harness.wait_for(lambda: "the fallback loop is made" in station.root.log(), "the loop is made", 600)
        station.full()
        return station.mb()


def hours(kind, folder, skips=3):
    """Tracks of hours; a skip puts a second one beside the first."""
    files, state = long_files(kind), os.path.join(folder, f"hours-{kind}")
    told_long(files, state)
    with Station(os.path.join(files, "long"), state, lead=60) as station:
        station.music()
        station.full()
        for _ in range(skips):
            station.skip()
            station.full()
        return station.mb()


def transition_of_hours(kind, folder):
    """From one track of hours to another, at their ends: as the studio rehearses and renders it, in a process of its own."""
    files, state = long_files(kind), os.path.join(folder, f"ends-{kind}")
    told_long(files, state)
    out = os.path.join(folder, "out.mp3")
    used = usage.of([harness.ROOT, "audition", *sorted(glob.glob(os.path.join(files, "long", "*"))), "--state", state, "--out", out])
    assert used.code == 0
    return used.high_kb * 1024 / 1e6


def analysis(kind):
    """Of one file of hours."""
    used = usage.of([harness.ROOT, "analyse", "--json", glob.glob(os.path.join(long_files(kind), "long", "*"))[0]])
    assert used.code == 0
    return used.high_kb * 1024 / 1e6


def covers(folder):
    """(studio, analyser, store), the analysis made by the station itself."""
    state = os.path.join(folder, "covers")
    with Station(covered(), state, lead=60) as station:
        station.music()
        analysers = {}

        def done():
            for pid in station.root.worker("analyse"):
                analysers[pid] = max(analysers.get(pid, 0), longest.high_water(pid))
            progress = station.root.stats().get("analysis", {})
            return progress.get("total", 0) > 0 and progress.get("pending", 1) == 0
        harness.wait_for(done, "the music is analysed", 600)
        station.full()
        for _ in range(6):
            station.skip()
            station.full()
        return station.mb(), max(analysers.values()) / 1e6, station.mb("store")


def live(folder, seconds=30):
    """A live source over the mix and back."""
    few = harness.make_crate(os.path.join(harness.BUILD, "bench-few"), 6, 60, seed=3)
    state, password = os.path.join(folder, "live"), os.path.join(folder, "password")
    harness.analyse(few, state)
    with open(password, "w", encoding="ascii") as f:
        f.write("hackme-in-a-bench")
    os.chmod(password, 0o600)
    with Station(few, state, live_password_file=password) as station:
        station.music()
        station.full()
        for _ in range(2):
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-re", "-i", minutes(1)[0], "-t", str(seconds), "-c:a", "libmp3lame",
                            "-b:a", "192k", "-content_type", "audio/mpeg", "-f", "mp3",
                            f"icecast://source:hackme-in-a-bench@127.0.0.1:{station.root.port}/live"], check=True)
            harness.wait_for(lambda: station.root.stats()["live"]["state"] == "none", "the show has ended", 60)
        assert station.root.stats()["live"]["sessions"] == 2
        station.full()
        return station.mb()


def large_library(folder):
    """(studio, brain, store) with 10,000 tracks."""
    state = os.path.join(folder, "many")
    library = many(state)
    try:
        with Station(library, state) as station:
            station.music()
            station.full()
            return station.mb(), station.mb("brain"), station.mb("store")
    finally:
        shutil.rmtree(library)


def night(folder, segments=200, limit_s=1500):
    """(VmHWM in MB, growth of RSS per 100 segments in MB, segments, points): skipped as fast as the lead is made. The first quarter
    does not count: caches fill."""
    few = harness.make_crate(os.path.join(harness.BUILD, "bench-few"), 6, 60, seed=3)
    state = os.path.join(folder, "night")
    harness.analyse(few, state)
    seen, points, begin = set(), [], time.monotonic()
    with Station(few, state, lead=60) as station:
        station.music()
        while len(seen) < segments and time.monotonic() - begin < limit_s:
            station.full()
            seen |= {s["start_sample"] for s in station.segments()}
            points.append((len(seen), resident(station.studio) / 1e6))
            station.skip()
        kept = points[len(points) // 4:]
        n = len(kept)
        mx, my = sum(x for x, _ in kept) / n, sum(y for _, y in kept) / n
        slope = sum((x - mx) * (y - my) for x, y in kept) / max(1e-9, sum((x - mx) ** 2 for x, _ in kept))
        return station.mb(), 100 * slope, len(seen), points
