"""Mounts: one mix at several bit rates; the ones that nobody hears sleep, and wake with the bytes they would have had."""
import os
import shutil
import time

import pytest

import harness
from harness import Listener, Recorder

RATES = {"stream": 192, "low": 64, "mid": 128, "high": 320}
MOUNTS = "low:64, mid:128, high:320, twin:192, always:128:always"


def mount_of(program, name):
    return next(m for m in program.stats()["mounts"] if m["name"] == name)


@pytest.fixture(scope="module")
def choir(crate, analysed, scratch, token):
    """A root whose mounts are all asleep but two."""
    state = os.path.join(scratch, "choir")
    shutil.copytree(analysed, state)
    root = harness.Root(crate, state, bitrate=192, relay_token_file=token, lead=30, mounts=MOUNTS)
    harness.wait_for(lambda: root.stats()["position"] > 300, "some seconds have aired", 15)
    yield root
    assert root.alive(), root.log()[-3000:]
    assert root.stop() == 0


def frames_at(url, name, kbps, first, count):
    with Listener(url, path=f"/{name}.mp3?from={first}") as one:
        return one.read_frames(kbps, count)


def test_a_sleeping_mount_wakes_within_a_second(choir):
    for name in ("low", "mid", "high"):
        assert not mount_of(choir, name)["awake"]
        begin = time.monotonic()
        with Listener(choir.url, path=f"/{name}.mp3") as one:
            assert one.status == 200 and one.headers["icy-br"] == str(RATES[name])
            head = one.read(1000)
            took = time.monotonic() - begin
            assert len(harness.split_frames(head + one.read(40000))) > 30
        assert took <= 1.0 * harness.SLOW, f"{name}: first byte after {took:.3f} s"
        print(f"{name}: first byte after {took:.3f} s")
        state = mount_of(choir, name)
        assert state["awake"] and state["wakes"] == 1
    assert choir.worker("coder"), "one coder serves them all"


def test_the_woken_have_the_bytes_of_those_that_never_slept(choir):
    """twin wakes now, in the middle of the programme; the main mount has its bit rate and never stopped. The same
    with mid and the mount that is on always."""
    for name, kbps, never in (("twin", 192, "stream"), ("mid", 128, "always")):
        with Listener(choir.url, path=f"/{name}.mp3") as one:
            first, woken = one.read_frames(kbps, 300)
        at, others = frames_at(choir.url, never, kbps, first, 300)
        assert at == first
        assert woken == others, f"{name} differs from {never}"
