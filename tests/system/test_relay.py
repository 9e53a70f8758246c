"""The relay: one pull for any number of listeners, none for nobody, the same bytes as the root."""
import time

import pytest

import harness
from harness import Listener, Recorder


def test_the_relay_sends_the_roots_bytes(station, station_relay):
    with Listener(station_relay.url) as asleep:
        asleep.read(1000)
    before = station.stats()["position"]
    with Listener(station_relay.url) as b:
        after = station.stats()["position"]
        first, heard = b.read_frames(192, 250)
    burst = int(4 / harness.FRAME_S)
    assert before - burst - 80 < first < after - burst + 80, "both nodes are at the same place"
    with Listener(station.url, f"/stream.mp3?from={first}") as a:
        assert a.position == first
        assert a.read_frames(192, 250)[1] == heard


def test_the_relay_presents_itself_as_the_root(station, station_relay):
    def told(program):
        with Listener(program.url) as one:
            return {name: value for name, value in one.headers.items() if name.startswith(("icy-", "ice-"))}
    at_the_root = told(station)
    assert at_the_root["icy-description"] == "Tests all night, naïvely" and at_the_root["icy-genre"] == "mixed"
    assert told(station_relay) == at_the_root


def links(root):
    return root.stats()["links"]


def test_one_pull_for_five_hundred_and_none_for_nobody(start):
    root = start.root(relay_limit=0)
    relay = start.relay(root, idle_linger=2)
    harness.wait_for(lambda: root.stats()["position"] > 100, "some seconds have aired", 15)
    assert links(root) == 0, "nobody listens, nothing is pulled"
    crowd = []

    def wake():
        while crowd:
            crowd.pop().close()
        harness.wait_for(lambda: links(root) == 0, "the relay sleeps", 8)
        begin = time.monotonic()
        crowd.append(Listener(relay.url))
        crowd[0].read(2000)
        return time.monotonic() - begin
    harness.within(0.5, wake, "the first sound")
    crowd += [Listener(relay.url) for _ in range(499)]
    assert all(one.status == 200 for one in crowd)
    for one in crowd:
        assert len(one.read(30000)) == 30000
    assert links(root) == 1
    assert harness.established(root.port, relay.process.pid) <= 2, "one link, and at most one more for reports"
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] == 500, "the report counts 500", 6)
    for one in crowd:
        one.close()
    harness.wait_for(lambda: links(root) == 0, "the pull ends after the linger", 8)
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] == 0, "the report counts none", 6)
    with Listener(relay.url) as again:
        assert len(again.read(20000)) == 20000
    assert harness.wait_for(lambda: links(root) == 1, "the pull is back")


def test_goes_on_while_the_root_is_gone(start, fresh_state):
    state = fresh_state()
    root = start.root(state=state, lead=30)
    relay = start.relay(root)
    heard = Recorder(relay.url)
    first = heard.listener.position
    # enough lead to live on
    harness.wait_for(lambda: root.stats()["relays"] and root.stats()["relays"][0].get("lead_s", 0) > 15, "the relay holds a lead", 20)
    root.kill()
    at_loss = len(heard.data)
    harness.wait_for(lambda: len(heard.data) > at_loss + 3 * 16000, "it plays on without the root", 8)
    back = harness.Root(root_library(root), state, bitrate=128, port=root.port, lead=30, relay_token_file=relay_token(relay))
    start.running.append(back)
    harness.wait_for(lambda: links(back) == 1, "the relay has joined again", 15)
    size = len(heard.data)
    harness.wait_for(lambda: len(heard.data) > size + 7 * 16000 or heard.ended, "it plays on past what it held", 25)
    assert not heard.ended
    frames = harness.split_frames(heard.finish())
    with Listener(back.url, path=f"/stream.mp3?from={first}") as one:
        assert one.position == first
        _, same = one.read_frames(128, 200)
    assert same == frames[:200]
    for i, frame in enumerate(frames):
        assert len(frame) == harness.frame_offset(128, first + i + 1) - harness.frame_offset(128, first + i), \
            f"frame {first + i} is missing or repeated"


def root_library(root):
    arguments = root.process.args
    return [arguments[i + 1] for i, a in enumerate(arguments) if a == "--library"]


def relay_token(relay):
    return relay.process.args[relay.process.args.index("--token-file") + 1]


def test_titles_at_the_relay(station, station_relay):
    with Listener(station_relay.url, headers={"Icy-MetaData": "1"}) as one:
        audio, told = harness.read_titles(one, 192, 4)
    harness.split_frames(audio)
    harness.assert_titles(told, harness.request(station.url, "/api/segments").json()["titles"])


@pytest.mark.parametrize("path", ["/health", "/metrics", "/status-json.xsl"])
def test_the_relay_answers_like_the_root(station, station_relay, path):
    a, b = harness.request(station.url, path), harness.request(station_relay.url, path)
    assert a.status == b.status == 200
    assert a.headers["Content-Type"] == b.headers["Content-Type"]
