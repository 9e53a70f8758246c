"""When things go: a relay that drains, a relay that dies, a root that is gone. Listeners should not notice."""
import contextlib
import json
import os
import signal
import subprocess
import time

import harness
from harness import Listener, Recorder, wait_for

LOAD = os.path.join(harness.BUILD, "forever-load")
KBPS = 128


class Crowd:
    """forever-load in the background; all hear when this is made. What it says at the end, checked for breaks."""

    def __init__(self, url, listeners, seconds, *options):
        self.process = subprocess.Popen([LOAD, "--announce", "--listeners", str(listeners), "--seconds", str(seconds),
                                         *map(str, options), url], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def report(self, limit=60):
        said = json.loads(self.process.communicate(timeout=limit * harness.SLOW)[0])
        assert said["breaks"] == said["jumps"] == said["starved_2s"] == 0, json.dumps(said)
        assert said["streaming"] == said["listeners"], said
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def relays_of(root):
    return {relay["public_url"]: relay for relay in root.stats()["relays"]}


def whole_frames(data):
    return sum(map(len, harness.split_frames(data))) == len(data)


def test_a_relay_drains(start):
    """SIGTERM: who resumes goes on elsewhere at its byte, who can't plays on to the deadline, nobody new comes in."""
    root = start.root(relay_limit=0)
    going, staying = start.relay(root, name="going", drain_deadline=4), start.relay(root, name="staying")
    wait_for(lambda: root.stats()["position"] > 200 and len(relays_of(root)) == 2, "two relays report", 15)
    wait_for(lambda: staying.url in harness.request(going.url, "/stream.m3u").body.decode(), "it knows where else to go", 8)
    plain = [Recorder(going.url) for _ in range(5)]
    with Crowd(going.url + "/stream.mp3", 30, 6, "--listen", "--jitter", 0.5) as crowd:
        wait_for(lambda: relays_of(root)[going.url]["listeners"] == 35, "all listen there", 5)
        begin = time.monotonic()
        going.process.send_signal(signal.SIGTERM)
        wait_for(lambda: relays_of(root)[going.url]["draining"], "the root hears of it", 1)
        with Listener(going.url) as late:
            assert late.status == 302 and late.headers["location"].startswith(staying.url), late.headers
        assert going.process.wait(9 * harness.SLOW) == 0, "it ends well"
        lasted = time.monotonic() - begin
        assert 3.5 < lasted < 7 * harness.SLOW, f"it ended after {lasted:.1f} s"
        for one in plain:
            one.join(5)
            assert one.ended and not one.listener.reset, "an end, and no cut"
            assert whole_frames(bytes(one.data)), "the end is the end of a frame"
        said = crowd.report()
    assert said["resumed"] == said["redirects"] == 30 and said["restarted"] == 0, said
    assert said["trouble"]["resets"] == 30 and said["served"] == {going.url[7:]: 30, staying.url[7:]: 30}, said
