"""Mounts: one mix at several bit rates. The ones that nobody hears sleep, and wake with the bytes they would have had;
whatever happens to the main mount (a skip, a dead studio, a dead root) happens to all, at the same place."""
import contextlib
import os
import shutil
import signal
import time

import pytest

import harness
from harness import Listener, Recorder, wait_for, within

RATES = {"stream": 192, "low": 64, "mid": 128, "high": 320, "twin": 192, "always": 128}
MOUNTS = "low:64, mid:128, high:320, twin:192, always:128:always"


def mount_of(program, name):
    return next(m for m in program.stats()["mounts"] if m["name"] == name)


@pytest.fixture(scope="module")
def choir(crate, analysed, scratch, token):
    """A root whose mounts are all asleep but two."""
    state = os.path.join(scratch, "choir")
    shutil.copytree(analysed, state)
    root = harness.Root(crate, state, bitrate=192, relay_token_file=token, lead=30, mounts=MOUNTS, mount_linger=2)
    wait_for(lambda: root.stats()["position"] > 400, "some seconds have aired", 20)
    yield root
    assert root.alive(), root.log()[-3000:]
    assert root.stop() == 0


def held_at(url, name, first, count):
    """`count` frames of a mount from a position that is held."""
    with Listener(url, path=f"/{name}.mp3?from={first}&nearest=1", version="1.0") as one:
        assert one.position == first
        return one.read_frames(RATES[name], count)[1]


def heard(recorder, name):
    """Its first position and all frames, after a check that none is missing."""
    first, frames = recorder.listener.position, harness.split_frames(recorder.finish())
    for i, frame in enumerate(frames):
        assert len(frame) == harness.frame_offset(RATES[name], first + i + 1) - harness.frame_offset(
            RATES[name], first + i), f"frame {first + i} of {name} is missing or repeated"
    return first, frames


def reaches(recorder, seconds, what, limit):
    size = int(seconds * RATES[recorder.name_of_mount] * 125)
    wait_for(lambda: len(recorder.data) >= size or recorder.ended, what, limit)
    assert not recorder.ended, what


def record(url, name):
    recorder = Recorder(url, path=f"/{name}.mp3", version="1.0")
    recorder.name_of_mount = name
    return recorder


def same(a, b):
    """Two recordings of one bit rate agree where both were heard."""
    (first_a, a), (first_b, b) = a, b
    start, end = max(first_a, first_b), min(first_a + len(a), first_b + len(b))
    assert end - start > 150, (first_a, len(a), first_b, len(b))
    return a[start - first_a:end - first_a] == b[start - first_b:end - first_b]


def test_a_sleeping_mount_wakes_within_a_second(choir):
    for name in ("low", "mid", "high"):
        def wake():
            wait_for(lambda: not mount_of(choir, name)["awake"], f"{name} sleeps", 8)
            wakes, begin = mount_of(choir, name)["wakes"], time.monotonic()
            with Listener(choir.url, path=f"/{name}.mp3") as one:
                assert one.status == 200 and one.headers["icy-br"] == str(RATES[name])
                head = one.read(1000)
                took = time.monotonic() - begin
                assert len(harness.split_frames(head + one.read(40000))) > 30
                state = mount_of(choir, name)
                assert state["awake"] and state["wakes"] == wakes + 1
            return took
        within(1.0, wake, f"{name}: the first byte")


def test_what_nobody_hears_goes_back_to_sleep(choir):
    ring = os.path.join(choir.state, "mount-high.ring")
    with Listener(choir.url, path="/high.mp3") as one:
        one.read(10000)
        wait_for(lambda: os.stat(ring).st_blocks * 512 > 1 << 20, "its lead is there")
    wait_for(lambda: not mount_of(choir, "high")["awake"], "the linger is over", 8)
    wait_for(lambda: os.stat(ring).st_blocks * 512 < 1 << 17, "its room is given back")
    assert mount_of(choir, "always")["awake"], "this one never sleeps"
    frames = mount_of(choir, "high")["frames"]
    with Listener(choir.url, path="/high.mp3") as one:
        assert len(one.read(20000)) == 20000
    assert mount_of(choir, "high")["frames"] > frames


def test_the_woken_have_the_bytes_of_those_that_never_slept(choir):
    """twin wakes in the middle of the programme; the main mount has its bit rate and never stopped. The same with mid
    and the mount that is on always."""
    for name, never in (("twin", "stream"), ("mid", "always")):
        with Listener(choir.url, path=f"/{name}.mp3?burst=10", version="1.0") as one:
            assert choir.stats()["position"] - one.position > 10 / harness.FRAME_S, "as long a burst as was asked for"
            first, woken = one.read_frames(RATES[name], 300)
        assert woken == held_at(choir.url, never, first, 300), f"{name} differs from {never}"


def test_players_see_every_mount_alike(choir):
    sources = harness.request(choir.url, "/status-json.xsl").json()["icestats"]["source"]
    assert [s["listenurl"].rsplit("/", 1)[1] for s in sources] == [f"{name}.mp3" for name in RATES]
    assert [s["bitrate"] for s in sources] == list(RATES.values())
    assert len({s["title"] for s in sources}) == 1
    assert f"{choir.url}/low.mp3" in harness.request(choir.url, "/low.m3u").body.decode()
    assert harness.request(choir.url, "/none.mp3").status == 404
    for name in ("stream", "low"):
        with Listener(choir.url, path=f"/{name}.mp3", headers={"Icy-MetaData": "1"}) as one:
            _, told = harness.read_titles(one, RATES[name], 2)
        harness.assert_titles(told, harness.request(choir.url, "/api/segments").json()["titles"])
    metrics = harness.request(choir.url, "/metrics").body.decode()
    assert 'forever_mount_awake{mount="always"} 1' in metrics


def test_a_skip_and_dead_workers_are_the_same_at_all_mounts(choir):
    """The main mount and its twin are recorded over a skip, a killed coder and a killed studio: not one byte differs,
    and no frame is missing."""
    both = [record(choir.url, name) for name in ("stream", "twin")]
    wait_for(lambda: both[1].data, "twin is awake", 5)
    assert choir.ctl("skip").returncode == 0  # while its lead is filled: the fork lies ahead of what it has
    for role in ("coder", "studio"):
        wait_for(lambda: choir.stats()["lead_s"] > 20, "enough to live on without a studio", 20)
        (pid,) = choir.worker(role)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: choir.worker(role) not in ([], [pid]), f"another {role}", 10)
    for one in both:
        reaches(one, 12, "they play on past the skip", 25)
    stats = choir.stats()
    assert stats["branch"] >= 1 and stats["starvations"] == 0
    assert same(heard(both[0], "stream"), heard(both[1], "twin"))


def test_a_relay_pulls_the_mounts_that_are_heard(choir, scratch, token):
    relay = harness.Relay(choir, os.path.join(scratch, "choir-relay"), token, idle_linger=2)
    try:
        wait_for(lambda: harness.request(relay.url, "/low.m3u").status == 200, "the root told its mounts", 5)
        assert harness.request(relay.url, "/none.mp3").status == 404

        def wake():
            wait_for(lambda: not mount_of(choir, "low")["awake"], "nobody hears low", 8)
            begin = time.monotonic()
            with Listener(relay.url, path="/low.mp3") as one:
                one.read(1)
                return time.monotonic() - begin
        within(1.0, wake, "the first byte at the relay")
        low = record(relay.url, "low")
        assert {m["name"]: m["links"] for m in choir.stats()["mounts"]} == dict.fromkeys(RATES, 0) | {"low": 1}
        at_root = record(choir.url, "low")
        wait_for(lambda: any(m["name"] == "low" and m["listeners"] == 1 and m["pulling"]
                             for r in choir.stats()["relays"] for m in r.get("mounts", [])), "the report", 6)
        for one in (low, at_root):
            reaches(one, 8, "eight seconds", 15)
        assert same(heard(low, "low"), heard(at_root, "low"))
        wait_for(lambda: mount_of(choir, "low")["links"] == 0, "the pull ends after the linger", 8)
        assert relay.stop() == 0
        relay = harness.Relay(choir, relay.state, token, port=relay.port)
        assert harness.request(relay.url, "/low.m3u").status == 200, "known from before, without a word of the root"
    finally:
        with contextlib.suppress(AssertionError):
            relay.stop()


def test_a_root_that_was_killed_goes_on_at_all_mounts(start, fresh_state, token):
    state = fresh_state()
    options = {"lead": 30, "bitrate": 192, "mounts": "low:64,twin:192", "relay_token_file": token}
    root = start.root(state=state, **options)
    relay = start.relay(root)
    wait_for(lambda: harness.request(relay.url, "/twin.m3u").status == 200, "the relay knows twin", 6)
    both = [record(relay.url, name) for name in ("stream", "twin")]
    wait_for(lambda: mount_of(root, "twin")["lead_s"] > 12, "twin has some lead", 15)
    reaches(both[1], 8, "the relay holds some of it", 15)
    root.kill()
    library = [a for i, a in enumerate(root.process.args) if root.process.args[i - 1] == "--library"]
    back = harness.Root(library, state, port=root.port, **options)
    start.running.append(back)
    wait_for(lambda: all(m["links"] == 1 for m in back.stats()["mounts"] if m["name"] != "low"), "joined again", 20)
    for one in both:
        reaches(one, 15, "they play on", 30)
    assert same(heard(both[0], "stream"), heard(both[1], "twin"))
    assert mount_of(back, "twin")["awake"] and not mount_of(back, "low")["awake"]
