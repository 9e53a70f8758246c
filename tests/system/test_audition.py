"""Listening to what one configures: `forever-root audition` makes one transition, with stems and a picture."""
import array
import contextlib
import glob
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from harness import ROOT


def run(*arguments):
    done = subprocess.run([ROOT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=harness.HANG_S, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def floats(path):
    with open(path, "rb") as f:
        head, data = f.read(44), f.read()
    assert head[:4] == b"RIFF" and head[20:24] == b"\x03\0\2\0" and head[34] == 32, "stereo, 32-bit floats"
    return array.array("f", data)


@pytest.fixture(scope="module")
def two(crate):
    """Two tracks of one tempo family: the crate's maker gives neighbours like tempi."""
    return sorted(glob.glob(f"{crate}/*.wav"))[:2]


@pytest.fixture(scope="module")
def auditioned(two, analysed, scratch):
    folder = os.path.join(scratch, "audition")
    os.makedirs(folder)
    status, out, err = run("audition", *two, "--out", f"{folder}/x.wav", "--stems", f"{folder}/stems", "--draw", f"{folder}/x.svg",
                           "--around", "6", "--state", analysed)
    assert status == 0, err
    return folder, json.loads(out), err


def test_the_certificate_is_told(auditioned, two):
    folder, told, err = auditioned
    assert told["technique"] in ("blend", "swap", "cut", "echo", "fade")
    assert [told["from"]["path"], told["to"]["path"]] == two
    certificate = told["certificate"]
    assert isinstance(certificate["passed"], bool) and certificate["passed"] == (certificate["failed"] == [])
    assert certificate["technique"] == told["technique"] and "hole_lu" in certificate
    assert "certificate" in err and told["technique"] in err, err
    assert 5.9 < told["start_s"] < 6.1 and told["end_s"] > told["start_s"]
    assert abs(told["duration_s"] - told["end_s"] - 6) < 0.1, "as much before as after"
    size = os.path.getsize(f"{folder}/x.wav")
    assert abs((size - 44) / 4 / 44100 - told["duration_s"]) < 1e-6


def test_the_stems_add_up_to_the_mix(auditioned):
    folder, told, _ = auditioned
    a, b, mix = (floats(f"{folder}/stems/{name}.wav") for name in ("A", "B", "mix"))
    assert len(a) == len(b) == len(mix) == round(told["duration_s"] * 44100) * 2
    assert max(abs(x + y - z) for x, y, z in zip(a, b, mix)) < 1e-6
    assert max(map(abs, a)) > 0.1 and max(map(abs, b)) > 0.1
    start, end = (round(told[k] * 44100) * 2 for k in ("start_s", "end_s"))
    assert not any(b[:start - 4]) and not any(a[end + 4:]), "each is silent where the other plays alone"
    assert max(map(abs, a[:start])) > 0.1 and max(map(abs, b[end:])) > 0.1


def test_the_picture(auditioned):
    folder, told, _ = auditioned
    path = f"{folder}/x.svg"
    assert 10_000 < os.path.getsize(path) < 150_000
    text = "".join(xml.parse(path).getroot().itertext())
    assert told["from"]["title"] in text and told["to"]["title"] in text and told["technique"] in text
    assert "around the switch" in text


def test_the_same_without_a_station(auditioned, two, scratch):
    """Heard afresh rather than looked up; as MP3, options first."""
    _, told, _ = auditioned
    out = f"{scratch}/afresh.mp3"
    status, said, err = run("audition", "--around", "2", "--out", out, *two)
    assert status == 0, err
    again = json.loads(said)
    assert again["certificate"] == told["certificate"] and again["from"]["hash"] == told["from"]["hash"]
    harness.assert_clean_audio(out)


def test_what_is_configured_is_heard(auditioned, two, analysed, scratch):
    status, out, err = run("audition", *two, "--out", f"{scratch}/y.wav", "--state", analysed, "--max-tempo-change", "0",
                           "--target-lufs", "-20")
    assert status == 0, err
    told, before = json.loads(out), auditioned[1]
    assert abs(told["from"]["gain_db"] - before["from"]["gain_db"] + 4) < 0.02
    if before["tempo_change_pct"] != 0:
        assert told["technique"] != "blend", told


@pytest.mark.parametrize("arguments, status, words", [
    (["--out", "x.wav"], 64, ["two files"]),
    (["A", "B", "C", "--out", "x.wav"], 64, ["two files"]),
    (["A", "B"], 64, ["--out"]),
    (["A", "B", "--out", "x.ogg"], 64, ["--out", "x.ogg", ".wav"]),
    (["A", "B", "--out", "x.wav", "--max-tempo-change", "9"], 64, ["--max-tempo-change", "8"]),
    (["A", "B", "--out", "x.wav", "--stem", "d"], 64, ["--stem", "--stems"]),
    (["A", "/no/such.mp3", "--out", "x.wav", "--state", "STATE"], 66, ["/no/such.mp3"]),
    (["A", "NOISE", "--out", "x.wav", "--state", "STATE"], 65, ["noise.mp3"]),
    (["A", "B", "--out", "/no/such/x.wav", "--state", "STATE"], 73, ["/no/such/x.wav"]),
    (["A", "B", "--out", "x.wav", "--from", "4000", "--state", "STATE"], 64, ["--from"]),
])
def test_errors_name_what_is_wrong(two, analysed, scratch, arguments, status, words):
    noise = f"{scratch}/noise.mp3"
    with open(noise, "w") as f:
        f.write("no music")
    names = {"A": two[0], "B": two[1], "C": two[1], "STATE": analysed, "NOISE": noise, "x.wav": f"{scratch}/x.wav"}
    got, out, err = run("audition", *[names.get(a, a) for a in arguments])
    assert got == status and out == "", (got, err)
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err, (word, err)


def again(root, position, minutes, out, *more):
    return run("render", "--from-history", position, "--minutes", minutes, "--state", root.state, "--bitrate", root.bitrate,
               "--out", out, *more)


def moved(state, crate, folder):
    """Tells a state that its library is somewhere else."""
    with contextlib.closing(sqlite3.connect(f"{state}/library.db")) as db, db:
        crate = os.path.realpath(crate)
        assert db.execute("UPDATE tracks SET path = ? || substr(path, ?), root = ? WHERE root = ?",
                          (folder, len(crate) + 1, folder, crate)).rowcount == 8
    return state


@pytest.fixture(scope="module", autouse=True)
def aired(stages, crate, scratch):
    """What is to come, of (station, its music, first frame heard, bytes heard, the skip, metrics after that). The station
    is recorded until a skip has aired: seconds that pass while transitions are made."""
    stage, folder = stages(), f"{scratch}/music"
    shutil.copytree(crate, folder)
    root = stage.root(library=folder, state=moved(stage.state(), crate, folder), wait=False, lead=15)

    def record():
        root.wait_music()
        recorder = harness.Recorder(root.url)
        harness.wait_for(lambda: root.stats()["position"] > 60, "it is on air", 15)
        assert root.ctl("skip").returncode == 0

        def skipped():
            answer = harness.request(root.url, "/api/segments").json()
            fades = [s for s in answer["segments"] if s.get("skip")]
            return fades and answer["position"] > fades[0]["position"] + 120 and fades[0]
        fade = harness.wait_for(skipped, "the skip has aired", 20)
        metrics = harness.request(root.url, "/metrics").body.decode()  # before another transition airs
        first = recorder.listener.position
        size = harness.frame_offset(root.bitrate, fade["position"] + 100) - harness.frame_offset(root.bitrate, first)
        harness.wait_for(lambda: len(recorder.data) >= size, "it is heard")
        return root, folder, first, recorder.finish(), fade, metrics

    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(record)
        finally:
            stage.end()


def test_what_aired_is_rendered_again(aired, scratch):
    """A stretch with a skip in it, recorded off the air, then made anew from the history: the same bytes; and
    refused by name where a file has changed since."""
    root, folder, first, data, fade, metrics = aired.result()
    assert fade["technique"] == "fade" and fade["branch"] == 1
    assert 'forever_transitions_total{technique="fade"} 1\n' in metrics, "the skip's"
    assert 'forever_certificates_total{result="passed"} 0\n' in metrics, "which nobody had listened to"
    heard = harness.split_frames(data)
    assert first + len(heard) > fade["position"] + 80
    position, count = first + 20, fade["position"] + 80 - first - 20
    out, timeline = f"{scratch}/again.mp3", f"{scratch}/again.json"
    status, _, err = again(root, position, count * harness.FRAME_S / 60, out, "--timeline", timeline)
    assert status == 0 and not err, err  # the same program
    with open(timeline, encoding="utf-8") as f:
        told = json.load(f)
    assert told["position"] == position and abs(told["duration_s"] - count * harness.FRAME_S) < 1e-3
    before, after, *_ = told["segments"]
    assert before["start_s"] < 0 < before["end_s"] == after["start_s"], "the skip cut it short"
    assert abs(after["start_s"] / harness.FRAME_S - (fade["position"] - position)) < 2
    assert os.path.dirname(after["tracks"][-1]["path"]) == folder
    with open(out, "rb") as f:
        info, *made = harness.split_frames(f.read())
    assert b"Info" in info and len(made) == count
    same = [a == b for a, b in zip(made, heard[20:])]
    assert len(same) == count > 150
    assert all(same), f"frames differ: {[position + i for i, s in enumerate(same) if not s][:20]}, the skip is at {fade['position']}"

    status, _, err = again(root, 10_000_000, 0.1, out)
    assert status == 66 and "10000000" in err, err
    status, _, err = again(root, "soon", 0.1, out)
    assert status == 64 and "--from-history" in err, err

    # the track that was skipped: moved, it is found by its name and content; changed or gone, it is named
    path = next(p for p in sorted(glob.glob(f"{folder}/*.wav")) if sha256(p) == fade["tracks"][0]["hash"])
    elsewhere = f"{scratch}/elsewhere/deeper"
    os.makedirs(elsewhere)
    shutil.move(path, elsewhere)
    status, _, err = again(root, position, 0.05, out, "--library", f"{scratch}/elsewhere")
    assert status == 0, err
    status, _, err = again(root, position, 0.05, out)
    assert status == 65 and f"{path} is missing" in err and fade["tracks"][0]["hash"] in err, err
    with open(path, "w") as f:
        f.write("other music")
    status, _, err = again(root, position, 0.05, out)
    assert status == 65 and f"{path} has changed" in err and fade["tracks"][0]["hash"] in err and sha256(path) in err, err


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()
