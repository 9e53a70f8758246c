"""Libraries as people have them: every format, hostile files, a thousand tracks, none at all."""
import glob
import json
import os
import shutil
import struct
import subprocess

import pytest

import harness
from harness import ROOT, Listener, request

FORMATS = {
    "a.mp3": ["-c:a", "libmp3lame", "-b:a", "192k"], "b.flac": ["-c:a", "flac"], "c.ogg": ["-c:a", "libvorbis"],
    "d.opus": ["-c:a", "libopus"], "e.m4a": ["-c:a", "aac"], "f.wav": ["-c:a", "pcm_s24le", "-ar", "96000"],
    "g.aiff": ["-c:a", "pcm_s16be", "-ar", "22050", "-ac", "1"], "h.aac": ["-c:a", "aac", "-f", "adts"],
    "i 5.1.flac": ["-c:a", "flac", "-ac", "6", "-ar", "48000"], "j.mp3": ["-c:a", "libmp3lame", "-ar", "16000", "-ac", "1"],
}


@pytest.fixture(scope="module")
def formats(crate, scratch):
    folder = os.path.join(scratch, "formats")
    os.makedirs(folder)
    source = sorted(glob.glob(f"{crate}/*.wav"))[0]
    for name, codec in FORMATS.items():
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-t", "15", "-i", source, "-metadata", f"title=Title of {name}",
                        "-metadata", "artist=Ärtist", *codec, os.path.join(folder, name)], check=True)
    return folder


def test_every_format_is_read(formats):
    files = sorted(glob.glob(f"{formats}/*"))
    done = subprocess.run([ROOT, "analyse", "--json", *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.HANG_S)
    assert done.returncode == 0, done.stderr.decode()
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["file"] for r in results] == files
    for r in results:
        assert abs(r["duration_s"] - 15) < 0.15, r["file"]
        assert -30 < r["loudness_lufs"] < -5, r["file"]
        assert "tempo_bpm" in r and "key" in r and r["true_peak_dbtp"] < 3, r["file"]
    tempi = [r["tempo_bpm"] for r in results]
    assert max(tempi) - min(tempi) < 0.1, "one music, one tempo, whatever carries it"


def hostile(folder, crate):
    os.makedirs(folder)
    source = sorted(glob.glob(f"{crate}/*.wav"))
    with open(source[0], "rb") as f:
        wav = f.read(1 << 20)
    files = {
        "empty.mp3": b"", "text.mp3": b"this is no music\n" * 500, "zeros.flac": bytes(100000),
        "cut.wav": wav[:30], "playlist.m3u8.mp3": b"#EXTM3U\nfile:///etc/passwd\nhttp://127.0.0.1:1/x.mp3\n",
        "concat.mp3": b"ffconcat version 1.0\nfile /etc/passwd\n", "random.ogg": os.urandom(65536),
        "lies.wav": wav[:40] + b"\xff\xff\xff\xff" + wav[44:200],
        "jingle.wav": wav[:40000],
    }
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    os.symlink(".", os.path.join(folder, "loop"))  # a link to a folder is followed, round in circles it is not
    os.mkfifo(os.path.join(folder, "pipe.mp3"))
    with open(os.path.join(os.fsencode(folder), b"bad\xff\xfename.mp3"), "wb") as f:
        f.write(b"x" * 1000)
    return len(files) + 1  # the fifo is no file


def test_hostile_files_are_skipped_with_a_reason(crate, scratch, start):
    folder = os.path.join(scratch, "hostile")
    bad = hostile(folder, crate)
    os.makedirs(f"{folder}/good")
    for path in sorted(glob.glob(f"{crate}/*.wav"))[:2]:
        os.link(path, f"{folder}/good/{os.path.basename(path)}")
    root = start.root(library=folder, state=os.path.join(scratch, "hostile-state"))

    def settled():
        harness.hurry(root)
        a = root.stats()["analysis"]
        return a["pending"] == 0 and a["analysed"] == 2 and a
    counts = harness.wait_for(settled, lambda: f"all files judged: {root.stats()['analysis']}", 40)
    assert counts["failed"] == bad, counts
    import sqlite3
    database = glob.glob(f"{root.state}/library*.db")[0]
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        reasons = db.execute("SELECT path, reason FROM tracks WHERE reason IS NOT NULL").fetchall()
    assert len(reasons) == bad and all(reasons), reasons
    with Listener(root.url) as one:
        assert len(one.read(50000)) == 50000


def test_a_thousand_files_first_music_in_ten_seconds(crate, scratch, start):
    folder = os.path.join(scratch, "thousand")
    os.makedirs(folder)
    # whole ones, then beginnings cut off as broken downloads are; four bytes make each a recording of its own
    source = sorted(glob.glob(f"{crate}/*.wav"))
    for i in range(1000):
        with open(source[i % len(source)], "rb") as f:
            data = f.read() if i < 24 else f.read(2 << 20)
        with open(f"{folder}/{i:04d}.wav", "wb") as f:
            f.write(data + i.to_bytes(4, "little"))
    watch = harness.Watch()
    root = start.root(library=folder, state=os.path.join(scratch, "thousand-state"), wait=False)
    root.wait_up()
    with Listener(root.url, timeout=60) as one:
        assert one.status == 200
        one.read(4000)
        took = watch.seconds
    assert took <= 10 * harness.SLOW, f"first music after {took:.1f} s"
    counts = root.stats()["analysis"]
    assert counts["total"] == 1000 and counts["pending"] > 0, counts
    assert "analys" in root.log()
    root.stop()
    shutil.rmtree(folder)


def test_an_empty_library_waits_and_takes_up_what_comes(crate, scratch, start):
    folder = os.path.join(scratch, "empty")
    os.makedirs(folder)
    root = start.root(library=folder, state=os.path.join(scratch, "empty-state"), wait=False)
    root.wait_up()
    assert request(root.url, "/health").status == 503
    for path in sorted(glob.glob(f"{crate}/*.wav"))[:3]:
        shutil.copy(path, folder)
    root.wait_music(20)
    with Listener(root.url) as one:
        assert one.status == 200 and len(one.read(20000)) == 20000


def test_cover_art_is_served(crate, scratch, start):
    folder = os.path.join(scratch, "covers")
    os.makedirs(folder)
    picture = os.path.join(scratch, "cover.jpg")
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=c=red:s=64x64", "-frames:v", "1", picture], check=True)
    for i, path in enumerate(sorted(glob.glob(f"{crate}/*.wav"))[:2]):
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-i", picture, "-map", "0:a", "-map", "1:v", "-c:a", "libmp3lame",
                        "-c:v", "copy", "-id3v2_version", "3", "-metadata:s:v", "comment=Cover (front)", "-metadata", f"title=T{i}",
                        "-metadata", f"artist=A{i}", f"{folder}/{i}.mp3"], check=True)
    done = subprocess.run([ROOT, "analyse", "--json", f"{folder}/0.mp3"], stdout=subprocess.PIPE, timeout=harness.HANG_S, check=True)
    colours = json.loads(done.stdout)["colours"]
    assert len(colours) == 1 and int(colours[0][1:3], 16) > 240 and int(colours[0][3:], 16) < 0x1010, colours
    root = start.root(library=folder, state=os.path.join(scratch, "covers-state"))
    now = request(root.url, "/api/now").json()
    art = request(root.url, now["art"])
    assert art.status == 200 and art.headers["Content-Type"] == "image/jpeg"
    with open(picture, "rb") as f:
        assert art.body == f.read()
    wave = request(root.url, f"/api/tracks/{now['track']}/waveform")
    assert wave.status == 200 and wave.headers["Content-Type"] == "application/octet-stream"
    assert "max-age" in wave.headers["Cache-Control"]
    magic, version, bands, samples, columns = struct.unpack("<4sBBxxII", wave.body[:16])
    assert (magic, version, bands, samples) == (b"wave", 1, 3, 2205) and len(wave.body) == 16 + 3 * columns
    assert abs(columns * samples / 44100 - now["segment"]["tracks"][0]["duration_s"]) < 0.1
    assert max(wave.body[16:]) > 100, "it is no flat line"
    assert request(root.url, "/api/tracks/999999/waveform").status == 404
    assert request(root.url, "/api/tracks/999999/waveform?quiet=1").status == 204
    for wrong in ("/api/tracks/1", "/api/tracks/x/waveform", "/api/tracks/-1/waveform", "/api/tracks/1/waveforms"):
        assert request(root.url, wrong).status == 404, wrong
