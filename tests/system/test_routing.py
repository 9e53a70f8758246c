"""Listeners on their way to relays: tickets, the places kept for them, and a crowd that comes at once."""
import json
import os
import subprocess

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
