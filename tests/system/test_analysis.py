"""The analysis as a station runs it: renewed when its algorithm is, several tracks at a time, files that take it down."""
import contextlib
import glob
import os
import shutil
import signal
import sqlite3
import wave

import harness
import usage
from harness import ROOT, Listener, request


def rows(root, query, *values):
    """What the library's database answers; nothing before there is one."""
    found = glob.glob(root.state + "/library*.db")
    if not found:
        return []
    with contextlib.closing(sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True)) as db:
        try:
            return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:  # in the making
            return []


def analysers(root):
    return [w for w in root.stats()["workers"] if w["role"] == "analyse"]


def test_an_older_analysis_serves_until_it_is_renewed(start, fresh_state):
    state = fresh_state()
    with contextlib.closing(sqlite3.connect(glob.glob(f"{state}/library*.db")[0])) as db, db:
        now = db.execute("SELECT max(version) FROM features").fetchone()[0]
        ids = [row[0] for row in db.execute("SELECT track FROM features ORDER BY track")]
        old = {ids[1]: now - 1, ids[4]: now - 1, ids[6]: now - 2}  # the last one is the oldest
        for track, version in old.items():
            db.execute("UPDATE features SET version = ?, summary = json_set(summary, '$.version', ?, '$.tempo_bpm', 77.5)"
                       " WHERE track = ?", (version, version, track))
            db.execute("UPDATE wholes SET features = json_remove(json_set(features, '$.version', ?, '$.tempo_bpm', 77.5),"
                       " '$.bars', '$.regions', '$.loudness_curve') WHERE track = ?", (version, track))
            db.execute("DELETE FROM waves WHERE track = ?", (track,))
    root = start.root(state=state)
    with Listener(root.url) as one:
        assert len(one.read(20000)) == 20000
    seen = root.stats()["analysis"]
    assert (seen["total"], seen["analysed"], seen["pending"]) == (8, 8, 0), "all of them serve at once"

    def renewed():
        new = [track for track, version in rows(root, "SELECT track, version FROM features") if track in old and version == now]
        assert not new or ids[6] in new, "the oldest is the first"
        harness.hurry(root)
        counts = root.stats()["analysis"]
        assert counts["analysed"] == 8 and counts["pending"] == 0, counts
        return counts["outdated"] == 0 and len(new) == 3
    harness.wait_for(renewed, "the older ones are analysed again", 60)
    for track in old:
        assert rows(root, "SELECT json_extract(summary, '$.tempo_bpm') FROM features WHERE track = ?", track)[0][0] != 77.5
        assert rows(root, "SELECT json_extract(features, '$.loudness_curve') FROM wholes WHERE track = ?", track)[0][0]
        assert request(root.url, f"/api/tracks/{track}/waveform").status == 200
    assert "8 tracks: 8 analysed, 0 failed, 0 to go" in root.ctl("status").stdout
    assert root.stats()["starvations"] == 0


def test_as_many_at_a_time_as_configured_at_low_priority(crate, start, scratch):
    root = start.root(state=os.path.join(scratch, "many"), wait=False, analysers=3)
    root.wait_up()

    def busy():
        jobs = [w["job"] for w in analysers(root) if w.get("job")]
        assert len(jobs) == len(set(jobs)) <= 3, "nothing is analysed twice"
        return len(jobs) == 3
    harness.wait_for(busy, "three tracks under analysis", 20)
    # the first tracks are waited for; whoever takes a later one is nice from then on
    harness.wait_for(lambda: any(os.getpriority(os.PRIO_PROCESS, w["pid"]) >= 15 for w in analysers(root)), "low priority", 30)


def long_wav(path, crate):
    """All of the crate in a row: its analysis takes some seconds."""
    with wave.open(path, "wb") as out:
        for i, name in enumerate(sorted(glob.glob(f"{crate}/*.wav"))):
            with wave.open(name) as one:
                if not i:
                    out.setparams(one.getparams())
                out.writeframes(one.readframes(one.getnframes()))


def test_a_file_that_kills_the_analysis_is_skipped_until_it_changes(crate, start, scratch):
    folder = os.path.join(scratch, "deadly")
    os.makedirs(folder)
    long_wav(f"{folder}/deadly.wav", crate)
    with open(f"{folder}/broken.mp3", "wb") as f:
        f.write(b"no music" * 1000)
    root = start.root(library=folder, state=os.path.join(scratch, "deadly-state"), wait=False)
    root.wait_up()
    killed = set()

    def gone_twice():
        harness.hurry(root)
        track = rows(root, "SELECT id FROM tracks WHERE path LIKE '%deadly.wav'")
        for one in analysers(root):
            if track and one.get("job") == track[0][0] and one["pid"] not in killed and len(killed) < 2:
                os.kill(one["pid"], signal.SIGKILL)
                killed.add(one["pid"])
        return root.stats()["analysis"]["failed"] == 2
    harness.wait_for(gone_twice, "both files are given up", 40)
    assert len(killed) == 2, "a first loss may be chance"
    reasons = dict(rows(root, "SELECT path, reason FROM tracks"))
    assert any("died" in reason for path, reason in reasons.items() if path.endswith("deadly.wav")), reasons
    assert all(reasons.values()), reasons

    # they come in one piece and are heard again
    for i, name in enumerate(["deadly.wav", "broken.mp3"]):
        shutil.copy(sorted(glob.glob(f"{crate}/*.wav"))[i], f"{folder}/{name}.part")
        os.rename(f"{folder}/{name}.part", f"{folder}/{name}")

    def healed():
        harness.hurry(root)
        counts = root.stats()["analysis"]
        return counts["analysed"] == 2 and counts["failed"] == 0
    harness.wait_for(healed, lambda: f"both are analysed: {root.stats()['analysis']}", 40)
    root.wait_music(20)


def test_memory_stays_within_bounds(crate, scratch):
    """VmHWM of the process that analyses ten minutes; tests/bench/ears has the three hours."""
    path = os.path.join(scratch, "ten-minutes.wav")
    long_wav(path, crate)
    with open(path, "rb") as f:
        assert os.fstat(f.fileno()).st_size > 480 * 44100 * 4
    used = usage.of([ROOT, "analyse", "--json", path], limit_s=harness.HANG_S)
    assert used.code == 0
    assert used.high_kb <= 64 * 1024 * (10 if harness.is_sanitized() else 1), f"{used.high_kb} KiB"
    os.unlink(path)
