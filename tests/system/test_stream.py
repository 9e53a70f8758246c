"""The stream as a client sees it: headers, bytes, titles, what other paths say."""
import subprocess
import time

import pytest

import harness
from harness import Listener, request


@pytest.fixture(scope="module")
def minute(station):
    """A listener that stays for 60 s of audio while other tests run."""
    return harness.Recorder(station.url)


def test_headers(station, minute):  # the minute begins with the first test
    with Listener(station.url) as one:
        assert one.status == 200
        assert one.headers["content-type"] == "audio/mpeg"
        assert "chunked" not in one.headers.get("transfer-encoding", "")
        assert "content-length" not in one.headers
        assert "no-store" in one.headers["cache-control"]
        assert one.headers["access-control-allow-origin"] == "*"
        assert one.headers["icy-br"] == "192"
        assert "icy-metaint" not in one.headers
        got = dict(one.headers)
    head = request(station.url, "/stream.mp3", "HEAD")
    assert head.status == 200 and head.body == b""
    differ = {"date", "x-forever-position", "connection"}
    # http.client takes headers for Latin-1
    assert {k.lower(): v.encode("latin-1").decode() for k, v in head.headers.items() if k.lower() not in differ} == \
        {k: v for k, v in got.items() if k not in differ}


def test_burst_comes_at_once(station):
    def burst():
        with Listener(station.url) as one:
            one.read(3 * 24000)  # three of the four seconds a new listener gets at once
            return time.monotonic() - one.begin
    harness.within(1.0, burst, "the burst")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_frames_follow_each_other(station, version):
    with Listener(station.url, version=version) as one:
        first, frames = one.read_frames(192, 150)
    for i, frame in enumerate(frames):
        want = harness.frame_offset(192, first + i + 1) - harness.frame_offset(192, first + i)
        assert len(frame) == want, f"frame {first + i}"
        assert frame[4] == 0 and frame[5] >> 7 == 0, f"frame {first + i} leans on the bit reservoir"


def test_two_listeners_hear_the_same(station):
    with Listener(station.url) as a, Listener(station.url, version="1.0") as b:
        later = (time.monotonic() - a.begin) / harness.FRAME_S
        fa, fb = a.position, b.position
        assert -60 < fb - fa < later + 60, "each begins the same time before the air"
        start = max(fa, fb)
        _, da = a.read_frames(192, start - fa + 150)
        _, db = b.read_frames(192, start - fb + 150)
    assert da[start - fa:] == db[start - fb:]


def test_icy_titles(station):
    with Listener(station.url, headers={"Icy-MetaData": "1"}) as one:
        audio, told = harness.read_titles(one, 192, 6)
    harness.split_frames(audio)  # clean frames once the metadata is out
    body = request(station.url, "/api/segments").json()
    harness.assert_titles(told, body["titles"])
    shown = told[0][1]
    assert any(shown == f"{t['artist']} - {t['title']}" for s in body["segments"] for t in s["tracks"]), shown


def test_titles_that_are_wrong_are_found():
    """What the tests of titles rest on: a change one block early or late, a title told twice or not at all."""
    titles = [{"position": 10, "text": "A - it's"}, {"position": 50, "text": "B"}]
    harness.assert_titles([(30, "A - it\u2019s"), (49, None), (50, "B"), (60, None)], titles)
    for wrong in ([(30, None)], [(30, "B")], [(30, "A - it\u2019s"), (49, "B")], [(30, "A - it\u2019s"), (50, None)],
                  [(30, "A - it\u2019s"), (49, "A - it\u2019s")], [(50, "A - it\u2019s")]):
        with pytest.raises(AssertionError):
            harness.assert_titles(wrong, titles)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-1", "bytes=100000-", "nonsense"])
def test_range_is_answered_safely(station, value):
    with Listener(station.url, headers={"Range": value}) as one:
        assert one.status == 200
        _, frames = one.read_frames(192, 50)
        assert len(frames) == 50


def test_resume_from_a_position(station):
    with Listener(station.url) as one:
        first, frames = one.read_frames(192, 120)
    with Listener(station.url, path=f"/stream.mp3?from={first + 10}") as again:
        assert again.position == first + 10
        _, resumed = again.read_frames(192, 100)
    assert resumed == frames[10:110]


def test_playlists(station):
    m3u = request(station.url, "/stream.m3u")
    assert m3u.status == 200 and f"{station.url}/stream.mp3" in m3u.body.decode()
    pls = request(station.url, "/stream.pls")
    assert pls.body.decode().startswith("[playlist]") and f"File1={station.url}/stream.mp3" in pls.body.decode()


def test_options_and_cors(station):
    answer = request(station.url, "/stream.mp3", "OPTIONS", {"Origin": "http://x.example", "Access-Control-Request-Headers": "icy-metadata"})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "icy-metadata" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_now_and_segments(station):
    now = request(station.url, "/api/now").json()
    assert now["title"] and now["artist"]
    body = request(station.url, "/api/segments").json()
    segments = body["segments"]
    assert segments
    for before, after in zip(segments, segments[1:]):
        assert before["end_sample"] == after["start_sample"]
    assert all("plan" not in s for s in segments)
    assert "play" in {s["technique"] for s in segments}


def test_status_json(station):
    icestats = request(station.url, "/status-json.xsl").json()["icestats"]
    source = icestats["source"]
    assert source["listenurl"].endswith("/stream.mp3") and source["bitrate"] == 192
    assert isinstance(source["listeners"], int) and source["title"]


def test_metrics_pass_promtool(station, station_relay):
    for program in (station, station_relay):
        metrics = request(program.url, "/metrics")
        assert metrics.status == 200
        done = subprocess.run(["promtool", "check", "metrics"], input=metrics.body, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=harness.HANG_S)
        assert done.returncode == 0, done.stdout.decode()
        assert b"forever_listeners" in metrics.body


def test_unknown_paths_and_methods(station):
    assert request(station.url, "/nothing").status == 404
    answer = request(station.url, "/stream.mp3", "DELETE")
    assert answer.status == 405 and "GET" in answer.headers["Allow"]


def test_a_minute_taken_live_is_clean(minute, station, scratch):
    size = int(60 * 24000)
    harness.wait_for(lambda: len(minute.data) >= size or minute.ended, "60 s of audio", 75)
    data = minute.finish()
    path = f"{scratch}/minute.mp3"
    with open(path, "wb") as f:
        f.write(b"".join(harness.split_frames(data)))
    harness.assert_clean_audio(path)
    # the clock: what came beyond the burst took as long as it plays
    status, said = harness.ffmpeg("-nostdin", "-i", path, "-af", "ebur128=peak=true", "-f", "null", "-")
    level = float(said.rsplit("I:", 1)[1].split()[0])
    assert -19 < level < -13, f"integrated loudness {level} LUFS"


def test_stats_are_documented_json(station):
    stats = request(station.url, "/api/stats").json()
    with open(f"{harness.TOP}/docs/API.md", encoding="utf-8") as f:
        text = f.read()
    for key in stats:
        assert f"`{key}`" in text or f'"{key}"' in text, f"/api/stats gives {key!r}, docs/API.md does not name it"
