"""Live input: real programs send, and what a listener hears is decoded: the mix, the source over it, the mix again,
without a pause and without a missing frame, however the source ends.

The music is noise and the sources send tones, so that each can be told from the other and nothing of either is
silent by itself."""
import base64
import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import subprocess

import pytest

import harness
from harness import Recorder, request, wait_for

PASSWORD = "open-the-booth"
RATE = 128
BEFORE_S, FADE_S = 2.0, 2.0


@pytest.fixture(scope="module")
def noise(shared):
    """Three tracks that are never silent, and a state in which they are analysed."""
    def make(folder):
        os.makedirs(os.path.join(folder, "music"))
        for i, colour in enumerate(("pink", "brown", "pink")):
            status, said = harness.ffmpeg(
                "-v", "error", "-f", "lavfi", "-i", f"anoisesrc=d=20:c={colour}:a=0.5:r=44100:s={i + 1}", "-ac", "2",
                "-metadata", f"title=Noise {i}", "-metadata", "artist=Test", os.path.join(folder, "music", f"{i}.flac"))
            assert status == 0, said
        harness.analyse(os.path.join(folder, "music"), os.path.join(folder, "state"))
        root = harness.Root(os.path.join(folder, "music"), os.path.join(folder, "state"), wait=False)
        root.wait_up()
        wait_for(lambda: root.stats()["analysis"]["analysed"] == 3, "what is analysed is known")
        # no password here: no live input
        assert request(root.url, "/live", "PUT", {"Authorization": authorization(PASSWORD)}, b"x").status == 403
        assert live_of(root)["state"] == "off" and root.stop() == 0
        os.remove(os.path.join(folder, "state", "main.ring"))
    return harness.once(os.path.join(shared, "noise"), make)


@pytest.fixture(scope="module")
def booths(noise, scratch):
    """Three stations, since a session takes its time: what the tests wait for goes by in all at once."""
    path = os.path.join(scratch, "live.password")
    with open(path, "w") as f:
        f.write(PASSWORD + "\n")
    states = [os.path.join(scratch, f"booth-{i}") for i in range(3)]
    for state in states:
        shutil.copytree(os.path.join(noise, "state"), state)
    roots = [harness.Root(os.path.join(noise, "music"), states[i], bitrate=RATE, lead=20, live_password_file=path,
                          wait=False, **({"mounts": "low:64"} if i == 0 else {})) for i in range(3)]
    try:
        for root in roots:
            root.wait_music(30)
            wait_for(lambda: root.stats()["position"] > 160, "four seconds have aired", 30)
        yield roots
    finally:
        ends = []
        for root in roots:
            with contextlib.suppress(AssertionError):
                ends.append(root.stop())
    assert ends == [0, 0, 0]


def authorization(password, user="source"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def live_of(root):
    return root.stats()["live"]


def send(root, kind, tone=1000, password=PASSWORD, seconds=None):
    """ffmpeg as a source in real time."""
    coding = {"mp3": ["-c:a", "libmp3lame", "-b:a", "128k", "-content_type", "audio/mpeg", "-f", "mp3"],
              "ogg": ["-c:a", "libvorbis", "-content_type", "application/ogg", "-metadata", "title=Tone in Ogg",
                      "-f", "ogg"]}[kind]
    length = ["-t", str(seconds)] if seconds else []
    return subprocess.Popen(
        ["ffmpeg", "-v", "warning", "-nostdin", "-re", "-f", "lavfi", "-i", f"sine={tone}:r=44100,volume=8dB", "-ac", "2",
         *length, *coding, "-ice_name", "Evening Show", f"icecast://source:{password}@127.0.0.1:{root.port}/live"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def is_state(root, *states, deadline_s=25):
    wait_for(lambda: live_of(root)["state"] in states, lambda: f"live input is {states}: {live_of(root)}", deadline_s)


def stretches(path, filters, noise, least):
    """[(start, end)] of what is louder than `noise`, pauses under `least` seconds not counted."""
    status, said = harness.ffmpeg("-nostdin", "-i", path, "-af", f"{filters}silencedetect=n={noise}:d={least}",
                                  "-f", "null", "-")
    assert status == 0, said
    total = [float(h) * 3600 + float(m) * 60 + float(s) for h, m, s in re.findall(r"time=(\d+):(\d+):([\d.]+)", said)][-1]
    loud, at = [], 0.0
    for word, value in re.findall(r"silence_(start|end): (-?[\d.]+)", said):
        value = max(0.0, float(value))
        if word == "start" and value > at:
            loud.append((at, value))
        at = value if word == "end" else total
    return loud + ([(at, total)] if at < total else []), total


def heard(recorder, name, scratch, tone=1000):
    """What one listener heard: frames without a gap, never silent, music before and after the tone; when the tone
    sounded, in seconds of the recording."""
    first, data = recorder.listener.position, recorder.finish()
    frames = harness.split_frames(data)
    for i, frame in enumerate(frames):
        assert len(frame) == harness.frame_offset(RATE, first + i + 1) - harness.frame_offset(RATE, first + i), \
            f"frame {first + i} is missing or repeated"
    path = os.path.join(scratch, name + ".mp3")
    with open(path, "wb") as f:
        f.write(data)
    loud, total = stretches(path, "", "-60dB", 0.05)
    assert len(loud) == 1, f"silence between {loud} in {path}"
    tones, _ = stretches(path, f"bandpass=f={tone}:width_type=h:w=20,bandpass=f={tone}:width_type=h:w=20,", "-26dB", 0.3)
    assert len(tones) == 1, f"the tone sounds at {tones} in {path}"
    start, end = tones[0]
    assert start > BEFORE_S and total - end > FADE_S, f"the tone sounds from {start} to {end} of {total} s"
    return start, end, total


@pytest.fixture(scope="module")
def shows(booths, scratch):
    """Three sessions at a time, and all that is done to them: what was seen, by name."""
    seen, watch = {}, harness.Watch()
    recorders = [Recorder(root.url, path="/stream.mp3", version="1.0") for root in booths]
    low = Recorder(booths[0].url, path="/low.mp3", version="1.0")
    mp3, ogg, put = booths
    tone = os.path.join(scratch, "tone.mp3")
    status, said = harness.ffmpeg("-v", "error", "-f", "lavfi", "-i", "sine=1000:r=48000:d=60,volume=8dB", tone)
    assert status == 0, said
    sources = [send(mp3, "mp3"), send(ogg, "ogg"),
               subprocess.Popen(["curl", "-sS", "--limit-rate", "16k", "-u", f"source:{PASSWORD}", "-T", tone,
                                 "-H", "Content-Type: audio/mpeg", "-H", "Ice-Name: A file", put.url + "/live.mp3"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)]
    try:
        is_state(mp3, "coming", "on air")
        seen["titled"] = request(mp3.url, "/admin/metadata?mount=/live&mode=updinfo&song=Someone%20-%20A%20Song",
                                 headers={"Authorization": authorization(PASSWORD)}).status
        for root in booths:
            is_state(root, "on air")
        seen["on_air_s"] = watch.seconds
        seen["now"] = [request(root.url, "/api/now").json() for root in booths]
        seen["stats"] = [root.stats() for root in booths]
        seen["metrics"] = request(mp3.url, "/metrics").body.decode()
        seen["status"] = mp3.ctl("status").stdout
        second = send(mp3, "mp3", tone=500)
        seen["second"] = (second.communicate(timeout=harness.HANG_S)[1].decode(), second.returncode, live_of(mp3))
        sources[0].send_signal(signal.SIGTERM)
        os.kill(ogg.worker("live")[0], signal.SIGKILL)
        seen["stop"] = put.ctl("live", "stop")
        for root in booths:
            is_state(root, "none")
        ends = [root.stats()["position"] + 120 for root in booths]  # the lead that was live
        for root, end in zip(booths, ends):
            wait_for(lambda: root.stats()["position"] > end + 170, "some seconds of the mix have aired", 20)
        seen["titles"] = [[t["text"] for t in request(root.url, "/api/segments").json()["titles"]] for root in booths]
        seen["after"] = [root.stats() for root in booths]
        seen["curl"] = sources[2].wait(harness.HANG_S)
    finally:
        for source in sources:
            source.kill()
            source.communicate()
    seen["heard"] = [heard(r, f"live-{i}", scratch) for i, r in enumerate(recorders)]
    seen["low"] = low.finish()
    return seen


def test_who_may_not_send_changes_nothing(booths):
    root = booths[0]
    before = root.stats()
    for headers in ({}, {"Authorization": authorization("wrong-password")}, {"Authorization": authorization(PASSWORD, "me")},
                    {"Authorization": authorization(PASSWORD + "x")}, {"Authorization": "Bearer " + PASSWORD}):
        answer = request(root.url, "/live", "PUT", {**headers, "Content-Type": "audio/mpeg"}, b"x" * 100)
        assert answer.status == 401 and "Basic" in answer.headers["WWW-Authenticate"]
    source = send(root, "mp3", password="wrong-password")
    said = source.communicate(timeout=harness.HANG_S)[1].decode()
    assert source.returncode != 0 and "401" in said, said
    right = {"Authorization": authorization(PASSWORD)}
    assert request(root.url, "/live", "PUT", {**right, "Content-Type": "text/html"}, b"x").status == 415
    assert request(root.url, "/live").status == 405
    assert request(root.url, "/admin/metadata?mode=updinfo&song=x").status == 401
    assert request(root.url, "/admin/metadata?mode=updinfo&song=x", headers=right).status == 404
    after = root.stats()
    assert after["branch"] == before["branch"] and after["live"]["sessions"] == 0
    assert after["live"]["refused"] >= 7 and after["live"]["state"] == "none"


def test_who_guesses_is_slowed_down(booths):
    root = booths[1]

    def put(password, address, path="/live", method="PUT"):
        connection = http.client.HTTPConnection("127.0.0.1", root.port, timeout=harness.HANG_S, source_address=(address, 0))
        try:  # of a type that is not taken: nobody goes on air
            connection.request(method, path, b"x", {"Authorization": authorization(password), "Content-Type": "text/html"})
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"]
        finally:
            connection.close()
    assert [put(f"guess {i}", "127.0.0.9")[0] for i in range(10)] == [401] * 10
    for path, method in (("/live", "PUT"), ("/admin/metadata?mode=updinfo&song=x", "GET")):
        status, after = put(PASSWORD, "127.0.0.9", path, method)
        assert status == 429 and 1 <= int(after) <= 6, "nor is it told that it was right"
    for _ in range(30):
        assert put(PASSWORD, "127.0.0.10")[0] == 415, "who knows it is not counted"
    assert root.log().count("127.0.0.9 has not the password") == 1, "one line is enough"


def test_sources_are_heard_within_moments_and_told(shows):
    for now, stats in zip(shows["now"], shows["stats"]):
        assert now["live"]["since_s"] >= 0 and now["segment"]["technique"] == "live" and stats["lead_s"] < 6
        assert stats["lead_target_s"] == 3 and stats["live"]["sessions"] == 1
    # the first one's title changes after a moment
    assert [now["title"] for now in shows["now"]] in [[first, "Tone in Ogg", "A file"] for first in ("Evening Show", "A Song")]
    assert shows["on_air_s"] < 16 * harness.SLOW
    assert re.search(r"^forever_live 1", shows["metrics"], re.M)
    assert "on air: Evening Show" in shows["status"]


def test_a_second_source_is_refused(shows):
    said, status, live = shows["second"]
    assert status != 0 and "403" in said, said
    assert live["state"] == "on air" and live["sessions"] == 1


def test_a_listener_hears_no_seam(shows):
    for start, end, total in shows["heard"]:
        assert end - start > 2, f"the tone was there from {start} to {end} s"
    first = harness.split_frames(shows["low"])
    assert len(first) * harness.FRAME_S > 15


def test_the_mix_is_back_whatever_ends_a_source(shows):
    ends = [stats["live"]["ended"] for stats in shows["after"]]
    assert [{k: v for k, v in e.items() if v} for e in ends] == [{"closed": 1}, {"decoder": 1}, {"stopped": 1}]
    assert shows["stop"].returncode == 0, shows["stop"].stdout
    for stats in shows["after"]:
        assert stats["lead_target_s"] == 20 and stats["starvations"] == 0
        assert [w["restarts"] for w in stats["workers"] if w["role"] in ("studio", "live")] == [0, 0]
    shown = shows["titles"][0]
    assert shows["titled"] == 200 and "Evening Show" in shown[:shown.index("Someone - A Song")], shown
    assert [titles[-1].startswith("Test - Noise") for titles in shows["titles"]] == [True] * 3


def test_garbage_and_silence_are_no_shows(booths, shows):
    root = booths[0]
    branch = root.stats()["branch"]
    noise = random.Random(7).randbytes(40000)
    answer = request(root.url, "/live", "PUT", {"Authorization": authorization(PASSWORD)}, noise, timeout=30)
    assert answer.status == 415
    is_state(root, "none")
    assert live_of(root)["ended"]["garbage"] == 1 and root.stats()["branch"] == branch
