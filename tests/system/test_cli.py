"""The command lines: help, errors that say what and where, the offline tools."""
import glob
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from harness import RELAY, ROOT


def run(*command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=harness.HANG_S,
                          env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", [ROOT, RELAY])
def test_help_and_version(program):
    status, out, _ = run(program, "--help")
    assert status == 0 and "--listen" in out and "--state" in out and "--config" in out
    status, out, _ = run(program, "--version")
    assert status == 0 and out.split()[0] == os.path.basename(program)


@pytest.mark.parametrize("arguments, status, words", [
    (["--bitrate", "500"], 64, ["--bitrate", "500", "64", "320"]),
    (["--bitrate", "191"], 64, ["--bitrate", "191", "192"]),
    (["--bitrat", "128"], 64, ["--bitrat", "--bitrate"]),
    (["--max-tempo-change", "8.5"], 64, ["--max-tempo-change", "8.5", "0 to 8"]),
    (["--min-play", "96"], 64, ["--min-play", "95"]),
    (["--lead", "x"], 64, ["--lead", "x"]),
    (["--listen", "127.0.0.1:99999"], 64, ["--listen", "99999", "65535"]),
    (["--library", "/no/such/folder"], 66, ["/no/such/folder"]),
    (["--config", "/no/such/file"], 66, ["/no/such/file"]),
    (["stray"], 64, ["stray"]),
])
def test_bad_options_get_one_clear_line(scratch, crate, arguments, status, words):
    got, _, err = run(ROOT, "--library", crate, "--state", f"{scratch}/cli", *arguments)
    assert got == status, err
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err, (word, err)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def test_config_file(scratch, crate):
    good = write(f"{scratch}/good.conf", f"[root]\nlibrary = {crate}\nbitrate = 320\nrelay-limit = 7\n")
    status, out, err = run(ROOT, "--config", good, "--check-config")
    assert status == 0, err
    status, out, _ = run(ROOT, "--config", good, "--print-config", env={"FOREVER_BITRATE": "256"})
    assert "256" in out and "relay-limit" in out  # the environment comes before the file
    status, out, _ = run(ROOT, "--config", good, "--print-config", "--bitrate", "64", env={"FOREVER_BITRATE": "256"})
    assert "= 64" in out or " 64" in out
    status, _, err = run(ROOT, "--config", good, "--check-config", "--library", "/no/such/folder")
    assert status == 66 and "/no/such/folder" in err, err
    bad = write(f"{scratch}/bad.conf", "[root]\nbitrate = 128\nrelay-limmit = 7\n")
    status, _, err = run(ROOT, "--config", bad, "--check-config")
    assert status == 78 and f"{bad}:3" in err and "relay-limmit" in err and "relay-limit" in err, err
    bad = write(f"{scratch}/range.conf", "[root]\nlead = 99999\n")
    status, _, err = run(ROOT, "--config", bad, "--check-config")
    assert status == 78 and f"{bad}:2" in err and "lead" in err, err
    status, _, err = run(ROOT, "--check-config", env={"FOREVER_RELAY_LIMIT": "many"})
    assert status == 78 and "FOREVER_RELAY_LIMIT" in err, err


def test_analyse_says_what_is_wrong_and_goes_on(crate, scratch):
    bad = write(f"{scratch}/noise.mp3", "no music")
    good = sorted(glob.glob(f"{crate}/*.wav"))[0]
    status, out, _ = run(ROOT, "analyse", "--json", bad, good)
    assert status == 65
    first, second = map(json.loads, out.splitlines())
    assert first["file"] == bad and first["error"]
    assert second["file"] == good and second["tempo_bpm"] > 0


def test_analysis_finds_the_grid(crate):
    """Tempo within 0.02 BPM and beats within 10 ms of the truth that the crate's maker wrote down."""
    files = sorted(glob.glob(f"{crate}/*.wav"))[:4]
    status, out, err = run(ROOT, "analyse", "--json", *files)
    assert status == 0, err
    for line in out.splitlines():
        r = json.loads(line)
        truth = [float(t.split()[0]) for t in open(r["file"][:-4] + ".beats")]
        period = (truth[-1] - truth[0]) / (len(truth) - 1)
        assert r["tempo_confidence"] >= 0.5, r["file"]
        assert abs(r["tempo_bpm"] - 60 / period) < 0.02, (r["file"], r["tempo_bpm"], 60 / period)
        phases = [abs((b - truth[0] + period / 2) % period - period / 2) for b in r["beats_s"]]
        assert sorted(phases)[int(len(phases) * 0.95)] < 0.010, (r["file"], sorted(phases)[-5:])


def loudness_of(path):
    """(LUFS, dBTP) and what they were read from."""
    _, said = harness.ffmpeg("-nostdin", "-i", path, "-af", "ebur128=peak=true", "-f", "null", "-")
    summary = said.rsplit("Summary:", 1)[1]
    return float(summary.split("I:")[1].split()[0]), float(summary.rsplit("Peak:", 1)[1].split()[0]), summary


@pytest.fixture(scope="module")
def renders(crate, analysed, scratch):
    """Name: what is to come, of (path, timeline). Two are made at a time: while the longest takes one processor, the
    others and what is measured of it have another."""
    def render(name, minutes, seed):
        state, out, timeline = (f"{scratch}/{kind}-{name}" for kind in ("state", "render", "timeline"))
        shutil.copytree(analysed, state)
        status, _, err = run(ROOT, "render", "--library", crate, "--state", state, "--minutes", minutes, "--seed", seed,
                             "--out", out, "--timeline", timeline)
        assert status == 0, err
        with open(timeline, encoding="utf-8") as f:
            return out, json.load(f)

    with ThreadPoolExecutor(2) as pool:
        made = {name: pool.submit(render, name, minutes, seed)
                for name, minutes, seed in (("ten.mp3", "10", "3"), ("one.wav", "1.5", "5"), ("two.wav", "1.5", "5"))}
        made["loudness"] = pool.submit(lambda: loudness_of(made["ten.mp3"].result()[0]))
        yield made


@pytest.fixture(scope="module")
def rendered(renders):
    return renders["ten.mp3"].result()


def test_ten_rendered_minutes_are_clean(rendered):
    path, _ = rendered
    harness.assert_clean_audio(path)
    with open(path, "rb") as f:
        info, *frames = harness.split_frames(f.read())
    assert b"Info" in info, "the length is told in front"
    assert abs(len(frames) * harness.FRAME_S - 600) < 0.1
    # as a file on disk too: no player has to guess
    status, said = harness.ffmpeg("-nostdin", "-v", "warning", "-xerror", "-i", path, "-f", "null", "-")
    assert status == 0 and not said.strip(), said
    first = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "packet=size", "-read_intervals", "%+#1", "-of", "csv=p=0", path],
                           stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(first.split(",")[0]) == len(frames[0])


def test_the_timeline_tells_the_mix(rendered):
    _, timeline = rendered
    assert timeline["segments"] and len(timeline["transitions"]) >= 8
    for t in timeline["transitions"]:
        assert t["technique"] in ("blend", "swap", "cut", "echo", "fade")
        assert t["end_s"] > t["start_s"] and t["from"] and t["to"]
        assert abs(t["tempo_change_pct"]) <= 8
    techniques = [t["technique"] for t in timeline["transitions"]]
    assert sum(t in ("blend", "swap") for t in techniques) >= 0.8 * len(techniques), "like tempi are beatmatched"
    assert "blend" in techniques
    assert all(t["certificate"]["passed"] for t in timeline["transitions"]), "each keeps every rule"
    artists = [s["tracks"][0]["artist"] for s in timeline["segments"] if s["technique"] == "play"]
    assert all(a != b for a, b in zip(artists, artists[1:])), artists


def test_loudness_is_even_and_peaks_are_held(renders):
    integrated, peak, summary = renders["loudness"].result()
    assert abs(integrated + 16) < 1.5, summary
    assert peak <= -1.0, summary


def test_same_seed_same_bytes(renders):
    (one, one_timeline), (two, two_timeline) = (renders[name].result() for name in ("one.wav", "two.wav"))
    with open(one, "rb") as a, open(two, "rb") as b:
        assert a.read() == b.read()
    assert os.path.getsize(one) == 44 + 90 // harness.FRAME_S * 1152 * 4
    assert one_timeline == two_timeline


def test_render_says_what_is_wrong(scratch):
    status, _, err = run(ROOT, "render", "--library", "/no/such", "--minutes", "1", "--seed", "1", "--out", f"{scratch}/x.wav",
                         "--timeline", f"{scratch}/x.json")
    assert status == 66 and "/no/such" in err
    status, _, err = run(ROOT, "render", "--library", scratch, "--minutes", "-1", "--seed", "1", "--out", f"{scratch}/x.wav",
                         "--timeline", f"{scratch}/x.json")
    assert status == 64 and "--minutes" in err
    status, _, err = run(ROOT, "render", "--library", scratch, "--minutes", "1", "--seed", "1", "--out", f"{scratch}/x.wav",
                         "--timeline", "/no/such/x.json")
    assert status == 73 and "--timeline" in err and "/no/such" in err
