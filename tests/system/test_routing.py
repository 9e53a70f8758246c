"""Listeners on their way to relays: tickets, the places kept for them, and a crowd that comes at once."""
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import Listener

LOAD = os.path.join(harness.BUILD, "forever-load")


def relays(root):
    return {r["name"]: r for r in root.stats()["relays"]}


def all_healthy(root, count):
    # with its second report a relay says that it knows its tickets' key
    return len([r for r in relays(root).values() if r["healthy"] and r["routing"]["why_not"] is None]) == count


def test_a_ticket_takes_one_listener_in_and_a_resume_goes_on(start):
    root = start.root(relay_limit=0, public_url="http://127.0.0.1:1")
    relay = start.relay(root, max_listeners=20, name="small")
    harness.wait_for(lambda: all_healthy(root, 1), "the relay reports")
    here, tickets = [], []

    def send_on(path="/stream.mp3"):
        with Listener(root.url, path) as sent:
            assert sent.status == 302
            return sent.headers["location"]
    for _ in range(19):
        where = send_on()
        tickets.append(where.split("ticket=")[1])
        here.append(Listener(where, path=None))
        assert here[-1].status == 200
    assert len(set(tickets)) == 19
    # the last place is for who has a ticket; without one, or with one that was used, it is to be had elsewhere
    for query in ["", f"?ticket={tickets[0]}", "?ticket=" + "A" * 44]:
        with Listener(relay.url, "/stream.mp3" + query) as other:
            assert other.status == 302 and other.headers["location"].startswith("http://127.0.0.1:1/stream.mp3?")
            assert "ticket" not in other.headers["location"]
    last = send_on("/stream.mp3?from=99999999")
    with Listener(last, path=None) as first:
        assert first.status == 302, "what is held is another place"
        place = first.headers["location"]
    assert "ticket=" in place, "it keeps its ticket until it has its place"
    here.append(Listener(relay.url + place, path=None))
    assert here[-1].status == 200
    here.pop().close()
    counted = harness.wait_for(lambda: (r := relays(root)["small"])["listeners"] == 19 and
                               r["routing"]["pending"] == 0 and r, "counts as they are", 6)
    assert counted["tickets"]["redeemed"] == 20
    # it resumes with the ticket that is used: served where it was
    with Listener(relay.url + place, path=None, headers={"Range": "bytes=5000-"}) as again:
        assert again.status == 206
    for one in here:
        one.close()
    done = harness.wait_for(lambda: (r := relays(root)["small"])["listeners"] == 0 and r, "all have gone", 6)
    assert done["accepted"] == 21 and done["redirects"] == 20


def test_a_crowd_is_spread_evenly_and_counted_to_the_unit(start):
    crowd, count = 400, 4
    root = start.root(relay_limit=0)
    names = [f"r{i}" for i in range(count)]
    nodes = {start.relay(root, max_listeners=200, name=name).url: name for name in names}
    harness.wait_for(lambda: all_healthy(root, count), "four relays report")
    load = subprocess.Popen([LOAD, "--listeners", str(crowd), "--ramp", "1", "--seconds", "3", "--announce",
                             root.url + "/stream.mp3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert load.stdout.readline().strip() == "ready"

    def whole():
        told = relays(root)
        return sum(r["listeners"] for r in told.values()) == crowd and told
    told = harness.wait_for(whole, f"all {crowd} are counted at relays", 6)
    out, _ = load.communicate(timeout=40 * harness.SLOW)
    assert load.returncode == 0, out
    said = json.loads(out)
    assert said["heard"] == said["streaming"] == crowd and said["breaks"] == 0
    served = {name: 0 for name in names}
    for node, n in said["served"].items():
        url = node if node.startswith("http") else f"http://{node}"
        if url in nodes:
            served[nodes[url]] += n
    for name in names:
        assert told[name]["listeners"] == served[name], (told[name], served)
        assert abs(served[name] - crowd / count) <= 0.1 * crowd / count, served
        assert told[name]["tickets"]["redeemed"] == served[name]

    def gone():
        told = relays(root)
        return all(r["listeners"] == 0 and r["accepted"] == served[name] for name, r in told.items())
    harness.wait_for(gone, "counted out to the unit", 6)
    assert root.stats()["listeners"] == 0


def test_the_limit_is_exact_with_second_sockets_and_returns(start):
    root = start.root(relay_limit=1)
    start.relay(root, name="r")
    harness.wait_for(lambda: all_healthy(root, 1), "the relay reports")
    safari = {"User-Agent": "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15"}
    with Listener(root.url, "/stream.mp3?client=one", safari) as one:
        assert one.status == 200
        with Listener(root.url, "/stream.mp3?client=one", safari) as two:
            assert two.status == 200, "the second socket of the one listener"
            with Listener(root.url, "/stream.mp3?client=two", safari) as other:
                assert other.status == 302
            with Listener(root.url, "/stream.mp3?client=one", safari) as third:
                assert third.status == 302, "a listener has two sockets, not three"
            # it seems to listen here yet, and would be one more
            with Listener(root.url, f"/stream.mp3?client=one&from={one.position}", {"Range": "bytes=1000-"}) as again:
                assert again.status == 302
            assert root.stats()["listeners"] == 1
    harness.wait_for(lambda: root.stats()["listeners"] == 0, "both sockets are gone")


def test_a_relay_whose_allotment_is_used_up_is_told_to_drain(start, scratch):
    root = start.root(relay_limit=9)
    token = json.loads(root.ctl("--json", "relay", "add", "tiny", "--allotment", "1GB").stdout)["token"]
    state = os.path.join(scratch, "tiny")
    subprocess.run([harness.RELAY, "enrol", "--state", state, "--public-url", "http://127.0.0.1:1", "--listen",
                    "127.0.0.1:0"], input=token, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=20 * harness.SLOW, check=False)
    with open(os.path.join(state, "enrolment.json"), encoding="utf-8") as f:
        bearer = {"Authorization": "Bearer " + json.load(f)["credential"], "Content-Type": "application/json"}

    def report(seq, sent):
        body = {"name": "tiny", "public_url": "http://127.0.0.1:1", "version": "1", "session": "0" * 16, "seq": seq,
                "listeners": 2, "max_listeners": 9, "accepted": 2, "closed": 0, "bytes_out": sent}
        told = harness.request(root.url, "/api/relay/report", "POST", bearer, json.dumps(body))
        assert told.status == 200, told.body
        return told.json()
    assert "drain" not in report(1, 1000)
    assert "drain" not in report(2, 800_000_000)
    assert report(3, 990_000_000)["drain"] == {"deadline_s": 60}
    assert "of its 1.000 GB" in root.log()
    assert root.ctl("relay", "set", "tiny", "--allotment", "5GB").returncode == 0
    assert "drain" not in report(4, 990_000_000)
    assert relays(root)["tiny"]["routing"]["spent"] is False


def test_a_relays_joins_are_waited_for(start):
    root = start.root(relay_limit=0)
    start.relay(root, name="slow", join_rate=10)
    harness.wait_for(lambda: all_healthy(root, 1), "the relay reports")
    begin = time.monotonic()

    def listen(_):
        with Listener(root.url) as sent:
            if sent.status != 302:
                return sent.status, None
            one = Listener(sent.headers["location"], path=None)
            return one.status, one
    with ThreadPoolExecutor(40) as pool:
        done = list(pool.map(listen, range(40)))
    took = time.monotonic() - begin
    assert [status for status, _ in done] == [200] * 40, "all in their turn, nobody is turned away on either side"
    assert took > 1.5, f"19 at once, then 9.5 a second: not within {took:.1f} s"
    for _, one in done:
        one.close()
