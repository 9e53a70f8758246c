"""Listeners leave a relay that drains, and none is cut."""
import contextlib
import json
import os
import signal
import subprocess
import time

import harness
from harness import Crowd, Listener, Recorder, metrics_of, relays_of, wait_for
from relays import together


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
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.HANG_S)
        super().__init__([harness.RELAY, *here], os.path.join(state, "log"))


def knows(relay, other):
    with contextlib.suppress(OSError):
        return other.url in harness.request(relay.url, "/stream.m3u").body.decode()
    return False


@together
def test_relays_drain(start):
    """The operator drains one relay, a signal ends the other: who resumes goes on elsewhere at its byte, who can't plays
    on to the deadline, nobody new comes in."""
    root = start.root(aired=True, relay_limit=0, lead=10)
    one, two = (Enrolled(root, name, start.folder(name), drain_deadline=3) for name in ("one", "two"))
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


@together
def test_who_is_too_many_is_moved(start):
    """The operator lowers a relay's limit below the number who listen there: so many go on elsewhere, bit by bit; when it
    is raised again that ends."""
    root = start.root(aired=True, relay_limit=0, lead=10)
    one, two = (Enrolled(root, name, start.folder(name)) for name in ("one", "two"))
    start.running += [one, two]
    wait_for(lambda: root.stats()["position"] > 200 and knows(one, two) and knows(two, one), "each knows the other", 20)
    plain = Recorder(one.url)
    with Crowd(one.url + "/stream.mp3", 60, "--listen", "--jitter", 0.5) as crowd:
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


@together
def test_a_second_signal_ends_a_drain(start):
    """Who can't wait for the deadline sends the signal again."""
    root = start.root(aired=True, lead=10)
    relay = start.relay(root, drain_deadline=60)
    with Listener(relay.url) as one:
        one.read(20000)
        relay.process.send_signal(signal.SIGTERM)
        wait_for(lambda: harness.request(relay.url, "/health").status == 503, "it drains", 3)
        one.read(20000)
        assert relay.alive(), "it plays on for who is there"
        relay.process.send_signal(signal.SIGTERM)
        assert relay.wait(3) == 0, "it ends at once, and well"
