"""A relay is heard and asked like the root: the same bytes, titles and answers."""
import pytest

import harness
from harness import Listener


def test_the_relay_sends_the_roots_bytes(station, station_relay):
    with Listener(station_relay.url) as asleep:
        asleep.read(1000)
    before = station.stats()["position"]
    with Listener(station_relay.url) as b:
        after = station.stats()["position"]
        first, heard = b.read_frames(192, 200)
    burst = int(4 / harness.FRAME_S)
    assert before - burst - 80 < first < after - burst + 80, "both nodes are at the same place"
    with Listener(station.url, f"/stream.mp3?from={first}") as a:
        assert a.position == first
        assert a.read_frames(192, 200)[1] == heard


def test_the_relay_presents_itself_as_the_root(station, station_relay):
    def told(program):
        with Listener(program.url) as one:
            return {name: value for name, value in one.headers.items() if name.startswith(("icy-", "ice-"))}
    at_the_root = told(station)
    assert at_the_root["icy-description"] == "Tests all night, naïvely" and at_the_root["icy-genre"] == "mixed"
    assert told(station_relay) == at_the_root


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
