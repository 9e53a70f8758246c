"""Listeners leave a relay that drains, and hear the loop when there is no programme for longer than the lead."""
import contextlib
import json
import os
import signal
import subprocess
import time

import harness
from harness import Crowd, Listener, Recorder, metrics_of, relays_of, wait_for

KBPS = 128


def whole_frames(data):
    return sum(map(len, harness.split_frames(data))) == len(data)


class Enrolled(harness.Program):
    """A relay that the root has on its list."""

    def __init__(self, root, name, state, **options):
        self.state, self.port = state, harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        os.makedirs(state)
        here = harness.options_of({"state": state, "listen": f"127.0.0.1:{self.port}", **options})
        token = json.loads(root.ctl("--json", "relay", "add", name).stdout)["token"]
        subprocess.run([harness.RELAY, "enrol", "--public-url", self.url, *here], input=token, text=True, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * harness.SLOW)
        super().__init__([harness.RELAY, *here], os.path.join(state, "log"))


def knows(relay, other):
    with contextlib.suppress(OSError):
        return other.url in harness.request(relay.url, "/stream.m3u").body.decode()
    return False


def test_relays_drain(start, fresh_state):
    """The operator drains one relay, a signal ends the other: who resumes goes on elsewhere at its byte, who can't plays
    on to the deadline, nobody new comes in."""
    root = start.root(relay_limit=0)
    one, two = (Enrolled(root, name, fresh_state() + "-" + name, drain_deadline=3) for name in ("one", "two"))
    start.running += [one, two]
    wait_for(lambda: root.stats()["position"] > 200 and knows(one, two) and knows(two, one), "each knows the other", 20)
    plain = Recorder(one.url)
    with Crowd(one.url + "/stream.mp3", 30, "--listen", "--jitter", 0.5) as crowd:
        wait_for(lambda: relays_of(root)[one.url]["listeners"] == 31, "all listen there", 5)
        assert root.ctl("relay", "drain", "one", "--deadline", "5s").returncode == 0
        wait_for(lambda: relays_of(root)[two.url]["listeners"] == 30, "those who resume are moved", 8)
        wait_for(lambda: plain.ended, "who can't is let go at the deadline", 8)
        assert not plain.listener.reset and whole_frames(bytes(plain.data)), "at the end of a frame"
        with Listener(one.url) as late:
            assert late.status == 302 and late.headers["location"].startswith(two.url), late.headers
        assert one.alive() and root.ctl("relay", "undrain", "one").returncode == 0
        wait_for(lambda: not relays_of(root)[one.url]["draining"] and knows(two, one), "it takes listeners again", 8)

        plain = Recorder(two.url)
        begin, watch = time.monotonic(), harness.Watch()
        two.process.send_signal(signal.SIGTERM)
        wait_for(lambda: relays_of(root)[two.url]["draining"], "the root hears of it", 1)
        assert two.wait(8) == 0, "it ends well"
        assert time.monotonic() - begin > 2.5 and watch.seconds < 6 * harness.SLOW, f"it ended after {watch.seconds:.1f} s"
        wait_for(lambda: plain.ended, "who can't is let go", 5)
        wait_for(lambda: relays_of(root)[one.url]["listeners"] == 30, "those who resume are moved back", 8)
        assert not plain.listener.reset and whole_frames(bytes(plain.data)), "the end of a frame"
        said = crowd.report()
    assert said["resumed"] == said["trouble"]["resets"] == 60 and said["restarted"] == 0, said
    assert said["redirects"] == 30, "the second time they found the first relay open again"


def test_who_is_too_many_is_moved(start, fresh_state):
    """The operator lowers a relay's limit below the number who listen there: so many go on elsewhere, bit by bit; when it
    is raised again that ends."""
    root = start.root(relay_limit=0)
    one, two = (Enrolled(root, name, fresh_state() + "-" + name) for name in ("one", "two"))
    start.running += [one, two]
    wait_for(lambda: root.stats()["position"] > 200 and knows(one, two) and knows(two, one), "each knows the other", 20)
    plain = Recorder(one.url)
    with Crowd(one.url + "/stream.mp3", 60, 10, "--listen", "--jitter", 0.5) as crowd:
        wait_for(lambda: relays_of(root)[one.url]["listeners"] == 61, "all listen there", 5)
        assert root.ctl("relay", "set", "one", "--max-listeners", "3").returncode == 0
        wait_for(lambda: relays_of(root)[two.url]["listeners"] >= 3, "some have been moved", 10)
        assert not relays_of(root)[one.url]["draining"]
        assert root.ctl("relay", "set", "one", "--max-listeners", "100").returncode == 0
        wait_for(lambda: "no more listeners than it may have" in root.log(), "that ends", 5)
        with Listener(one.url) as late:
            assert late.status == 200, "it takes listeners as before"
        wait_for(lambda: metrics_of(one)["forever_listeners"] + metrics_of(two)["forever_listeners"] == 61, "nobody is lost", 5)
        assert metrics_of(one)["forever_listeners"] > 20, "the others stay"
        said = crowd.report()
    assert not plain.ended, "who can't resume is left alone"
    plain.finish()
    assert 3 <= said["resumed"] == said["trouble"]["resets"] < 40 and said["restarted"] == 0, said


def test_a_second_signal_ends_a_drain(start):
    """Who can't wait for the deadline sends the signal again."""
    root = start.root()
    relay = start.relay(root, drain_deadline=60)
    with Listener(relay.url) as one:
        one.read(20000)
        relay.process.send_signal(signal.SIGTERM)
        wait_for(lambda: harness.request(relay.url, "/health").status == 503, "it drains", 3)
        one.read(20000)
        assert relay.alive(), "it plays on for who is there"
        relay.process.send_signal(signal.SIGTERM)
        assert relay.wait(3) == 0, "it ends at once, and well"


# --- the loop -------------------------------------------------------------------------------------------

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


def test_the_loop_bridges_a_root_that_is_gone(start, fresh_state, crate):
    """Past what the relay holds the loop plays, faded over; then the programme again. Who counts bytes waits."""
    state = fresh_state()
    options = {"state": state, "lead": 10, "fallback": harness.excerpt(crate, state + ".wav", 4)}
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
    wait_for(lambda: len(plain.data) > size + 40000, "it goes on", 8)
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
