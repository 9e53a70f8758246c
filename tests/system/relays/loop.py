"""Listeners hear the loop when there is no programme for longer than the lead."""
import os

import harness
from harness import Listener, Recorder, metrics_of, wait_for
from relays import together

KBPS = 128


def loop_of(program, mount="stream"):
    with open(os.path.join(program.state, f"loop-{mount}.mp3"), "rb") as f:
        return harness.split_frames(f.read())


def silenced(frame):
    """The frame with all its gains taken out (four of them, 59 bits apart): what a fade leaves as it is."""
    bits, at = int.from_bytes(frame, "big"), len(frame) * 8
    for granule in range(4):
        first = 32 + 9 + 3 + 8 + 21 + granule * 59
        bits &= ~(0xFF << (at - first - 8))
    return bits.to_bytes(len(frame), "big")


@together
def test_the_loop_bridges_a_root_that_is_gone(start):
    """Past what the relay holds the loop plays, faded over; then the programme again. Who counts bytes waits."""
    # after more than 10 s the programme goes on with the present: a root may be kept that long by a machine that others use
    harness.unless_busy(lambda: root_is_gone(start), start.end)


def root_is_gone(start):
    state = start.state(aired=KBPS)
    options = {"state": state, "lead": 10, "fallback": harness.excerpt(start.crate, state + ".wav", 4)}
    root = start.root(**options)
    relay = start.relay(root, lead=2, name="one")
    wait_for(lambda: os.path.exists(os.path.join(relay.state, "loop-stream.mp3")), "the relay has the loop", 20)
    loop = {silenced(frame): i for i, frame in enumerate(loop_of(root))}
    assert loop_of(relay) == loop_of(root) and len(loop) == len(loop_of(root)) > 49 and len(loop_of(root)) % 49 == 0
    plain, titles = Recorder(relay.url), Recorder(relay.url, headers={"Icy-MetaData": "1"})
    resumable = Recorder(relay.url, path=f"/stream.mp3?from={plain.listener.position}")
    wait_for(lambda: root.stats()["links"], "the link is up")
    root.kill()
    wait_for(lambda: harness.request(relay.url, "/api/listen").json()["loop"], "the loop plays", 12)
    counted = len(resumable.data)
    with Listener(relay.url) as late:
        assert late.status == 200 and "x-forever-position" not in late.headers
        assert len(harness.split_frames(late.read(30000))) > 60
    with Listener(relay.url, path=f"/stream.mp3?from={resumable.listener.position}") as late:
        assert late.status == 302 and "from=" not in late.headers["location"], "to the loop"
    wait_for(lambda: "back in a moment" in harness.request(relay.url, "/status-json.xsl").json()["icestats"]["source"]["title"],
             "the title says so", 3)
    assert metrics_of(relay)["forever_loop_playing"] == 1
    size = len(plain.data)
    wait_for(lambda: len(plain.data) > size + 30000, "it goes on", 8)
    back = start.root(port=root.port, **options)
    wait_for(lambda: not harness.request(relay.url, "/api/listen").json()["loop"], "the programme is back", 12)
    size = len(plain.data)
    wait_for(lambda: len(plain.data) > size + 40000 and len(resumable.data) > counted + 20000, "it goes on", 8)
    assert b"back in a moment" in bytes(titles.finish())

    heard, first = harness.split_frames(plain.finish()), plain.listener.position
    assert not plain.ended, "nobody was cut"
    with Listener(back.url, path=f"/stream.mp3?from={first}") as one:
        assert one.position == first
        _, programme = one.read_frames(KBPS, len(heard) - 2 * 49)
    kinds = ["loop" if silenced(frame) in loop else "programme" for frame in heard]
    away, home = kinds.index("loop"), len(kinds) - kinds[::-1].index("loop")
    assert 2 / harness.FRAME_S < home - away and set(kinds[away:home]) == {"loop"}
    without = [silenced(frame) for frame in heard[:away] + heard[home:]]
    assert len(without) > away + 80 and without == [silenced(frame) for frame in programme[:len(without)]], \
        "but for the loop it is the programme, and nothing of that was left out"
    # who counts bytes has got the programme alone, and byte for byte
    counted = resumable.finish()
    frames = harness.split_frames(counted)
    assert not resumable.ended and len(frames) > away and frames[:len(programme)] == programme[:len(frames)]
