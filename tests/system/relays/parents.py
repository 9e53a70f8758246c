"""From whom a relay pulls: what it says of its listeners, a parent that has gone silent, one that may feed it no longer."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import harness
from harness import Listener, Recorder, metrics_of, wait_for
from relays import together

RATE = 16000  # bytes a second of the mount


def ingress(relay):
    return metrics_of(relay)['forever_mount_ingress_bytes_total{mount="stream"}']


def taken_in(relay, seconds):
    """Bytes a second that it has pulled while so many passed."""
    begin, before = time.monotonic(), ingress(relay)
    wait_for(lambda: time.monotonic() >= begin + seconds, "time passes")
    return (ingress(relay) - before) / (time.monotonic() - begin)


@together
def test_a_link_fills_while_somebody_listens_and_no_longer(start):
    """As soon as nobody does the relay says so, and the same link brings what airs; for the next one it fills again."""
    root = start.root(aired=True, lead=30)
    wait_for(lambda: root.stats()["lead_s"] > 16, "the root has a lead to fill with", 60)
    relay = start.relay(root, lead=30, idle_linger=30)
    wait_for(lambda: root.stats()["relays"], "it reports", 10)
    with Listener(relay.url) as one:
        one.read(80000)
        assert 1.6 * RATE < taken_in(relay, 2) < 2.4 * RATE, "at twice the rate"
    wait_for(lambda: metrics_of(relay)["forever_listeners"] == 0, "it knows that nobody listens", 2)
    wait_for(lambda: taken_in(relay, 0.5) < 1.5 * RATE, "the root has heard of it", 3)
    assert 0.7 * RATE < taken_in(relay, 3) < 1.3 * RATE, "as much as airs"
    with Listener(relay.url) as one:
        one.read(80000)
        wait_for(lambda: taken_in(relay, 0.5) > 1.5 * RATE, "the root has heard of it", 3)
        assert 1.6 * RATE < taken_in(relay, 2) < 2.4 * RATE, "at twice the rate again"
    said = metrics_of(relay)
    assert said["forever_link_starts_total"] == 1 and said["forever_link_failures_total"] == 0, "it is the same link"


@together
def test_a_parent_that_says_nothing_is_left(start):
    """Its machine hangs: connections stay open, and nothing comes. The next parent goes on at the very frame."""
    root = start.root(aired=True, lead=20)
    middle = start.relay(root, name="middle", lead=20)
    last = start.relay([middle.url, root.url], name="last", lead=20)
    wait_for(lambda: len(root.stats()["relays"]) == 2, "both report", 10)
    heard = Recorder(last.url)
    wait_for(lambda: metrics_of(last)["forever_lead_seconds"] > 7, "it holds some seconds", 60)
    assert harness.established(middle.port, last.process.pid) == 1 and root.stats()["links"] == 1
    os.kill(middle.process.pid, signal.SIGSTOP)
    try:
        silent = time.monotonic()
        wait_for(lambda: root.stats()["links"] == 2, "the root feeds it", 12)
        # it counts from the last that came, up to a second or so before
        assert 1.5 < time.monotonic() - silent, "a moment of silence is no reason"
        wait_for(lambda: re.search(rf"{middle.url},? (which brings nothing new|was cut)", last.log()), "it left the other", 5)
        size = len(heard.data)
        wait_for(lambda: len(heard.data) > size + 10 * RATE, "it plays on, past what was held", 15)
    finally:
        os.kill(middle.process.pid, signal.SIGCONT)
    first, frames = heard.listener.position, harness.split_frames(heard.finish())
    assert not heard.ended and metrics_of(last)["forever_link_resets_total"] == 1, "it never began anew"
    with Listener(root.url, path=f"/stream.mp3?from={first}") as one:
        assert one.position == first and one.read_frames(128, len(frames) - 60)[1] == frames[:len(frames) - 60]


class Way:
    """A port that leads to another one until it is shut."""

    def __init__(self, to):
        self.to, self.open, self.door = to, [], socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                come, _ = self.door.accept()
                on = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [come, on]
            for one, other in ((come, on), (on, come)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    @staticmethod
    def carry(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def shut(self):
        for one in [self.door, *self.open]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


@together
def test_who_is_revoked_is_fed_no_longer(start):
    """Its parent hears of it with the answer to a report, also when the root has not heard from the one below for long."""
    root = start.root(aired=True, lead=20, link_fanout=1, relay_limit=0)
    link = json.loads(root.ctl("--json", "status").stdout)["link"]
    ways = {name: Way(link["port"]) for name in ("near", "far")}

    def enrolled(name, port, *options):
        state = start.folder(name)
        os.makedirs(state)
        url = f"http://127.0.0.1:{harness.free_port()}"
        here = harness.options_of({"state": state, "listen": url[7:], "drain-deadline": 1}) + list(options)
        token = json.loads(root.ctl("--json", "relay", "add", name, "--uplink", "10Mbit", "--link-url",
                                    f"https://127.0.0.1:{port}").stdout)["token"]
        subprocess.run([harness.RELAY, "enrol", "--public-url", url, *here], input=token, text=True, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * harness.SLOW)
        program = harness.Program([harness.RELAY, *here], os.path.join(state, "log"))
        program.url, program.state = url, state
        start.running.append(program)
        program.name = name
        return program

    def parent_of(name):
        told = harness.request(root.url, f"/api/relays/{name}").json()
        return told.get("parent"), told.get("upstream")
    middle = enrolled("middle", link["port"], "--link-listen", "127.0.0.1:0")
    wait_for(lambda: parent_of("middle")[0] == "root", "the first has reported", 8)
    below = [enrolled(name, ways[name].port) for name in ("near", "far")] + [enrolled("stays", link["port"])]
    wait_for(lambda: all(parent_of(relay.name)[0] == "middle" for relay in below), "the others are put under it", 15)
    heard = {relay.name: Recorder(relay.url) for relay in below}
    wait_for(lambda: all(parent_of(relay.name) == ("middle", "middle") for relay in below), "the others are fed by it", 15)

    def fed():
        return metrics_of(middle)["forever_links"]
    assert fed() == 3
    assert root.ctl("relay", "revoke", "near").returncode == 0
    wait_for(lambda: fed() == 2, "it is cut within a report", 5)
    # one that the root does not hear of any more, though it is fed
    ways["far"].shut()
    wait_for(lambda: parent_of("far") == (None, None), "the root has lost sight of it", 20)
    assert fed() == 2
    assert root.ctl("relay", "revoke", "far").returncode == 0
    wait_for(lambda: fed() == 1, "it is cut all the same", 5)
    wait_for(lambda: "403 this relay was not told by the root to feed that one" in below[1].log(), "it is not let in again", 10)
    assert fed() == 1 and not heard["stays"].ended
    size = len(heard["stays"].data)
    wait_for(lambda: len(heard["stays"].data) > size + RATE, "the third is fed as before", 5)
    for one in heard.values():
        one.finish()
    for way in ways.values():
        way.shut()
