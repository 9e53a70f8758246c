"""Listeners on their way to relays: tickets, the places kept for them, and limits."""
import json
import os
import subprocess

import harness
from harness import Crowd, Listener
from relays import all_healthy, together


def relays(root):
    return {r["name"]: r for r in root.stats()["relays"]}


@together
def test_a_ticket_takes_one_listener_in_and_a_resume_goes_on(start):
    root = start.root(aired=True, lead=10, relay_limit=0, public_url="http://127.0.0.1:1")
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


@together
def test_the_limit_is_exact_with_second_sockets_and_returns(start):
    root = start.root(aired=True, lead=10, relay_limit=1)
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


@together
def test_a_relay_whose_allotment_is_used_up_is_told_to_drain(start):
    root = start.root(aired=True, lead=10, relay_limit=9)
    token = json.loads(root.ctl("--json", "relay", "add", "tiny", "--allotment", "1GB").stdout)["token"]
    state = start.folder("tiny")
    subprocess.run([harness.RELAY, "enrol", "--state", state, "--public-url", "http://127.0.0.1:1", "--listen",
                    "127.0.0.1:0"], input=token, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=harness.HANG_S, check=False)
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


@together
def test_a_relays_joins_are_waited_for(start):
    root = start.root(aired=True, lead=10, relay_limit=0)
    start.relay(root, name="slow", join_rate=10)
    harness.wait_for(lambda: all_healthy(root, 1), "the relay reports")
    for _ in range(4):  # who is kept from coming when he was told to may find others there
        with Crowd(root.url + "/stream.mp3", 40, "--ramp", 0) as crowd:
            said = crowd.report()
        assert said["ready_s"] > 1.5, "19 at once, then 9.5 a second"
        if said["redirects"] == 40 and said["trouble"]["refused"] == 0:
            break
        harness.wait_for(lambda: not relays(root)["slow"]["listeners"], "they have gone", 6)
    else:
        raise AssertionError(f"all in their turn, nobody is turned away on either side: {said}")
