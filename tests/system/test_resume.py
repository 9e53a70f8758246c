"""Listeners that go on where they were cut, with real clients, and listeners that are sent on."""
import os
import subprocess
import time

import harness
from harness import Listener, request


def stretch(node, first, count):
    """`count` bytes from the beginning of frame `first`, as the node holds them."""
    with Listener(node.url, f"/stream.mp3?from={first}") as one:
        assert one.status == 200 and one.position == first
        return one.read(count)


def test_a_range_is_the_rest(station, station_relay):
    """At the root and at a relay alike, HEAD as GET."""
    with Listener(station_relay.url) as awake:
        first, whole = awake.position, awake.read(90000)  # it holds and has aired all of this
        assert whole == stretch(station, first, 90000)
        for node in (station, station_relay):
            for version, offset in (("1.1", 61234), ("1.0", 70001)):
                path = f"/stream.mp3?from={first}"
                with Listener(node.url, path, {"Range": f"bytes={offset}-"}, version) as one:
                    assert one.status == 206
                    assert one.headers["content-range"] == f"bytes {offset}-1099511627775/*"
                    assert one.headers["accept-ranges"] == "bytes"
                    assert ("transfer-encoding" in one.headers) == (version == "1.1")
                    assert one.read(10000) == whole[offset:offset + 10000]
            head = request(node.url, path, "HEAD", {"Range": f"bytes={offset}-"})
            assert head.status == 206 and head.headers["Content-Range"] == f"bytes {offset}-1099511627775/*"
            assert request(node.url, path, "OPTIONS", {"Origin": "http://x.example", "Access-Control-Request-Method": "GET",
                                                       "Access-Control-Request-Headers": "range"}).status == 204


def test_curl_goes_on(station, scratch):
    """curl -C: what it has and what it gets are one stretch."""
    first = max(0, station.stats()["position"] - 300)
    url, path = f"{station.url}/stream.mp3?from={first}", os.path.join(scratch, "curl.mp3")
    for extra in ([], ["-C", "-"]):
        done = subprocess.run(["curl", "-sS", "-f", "--max-time", "2", *extra, "-o", path, url], stderr=subprocess.PIPE)
        assert done.returncode == 28, done.stderr
        with open(path, "ab") as f:
            f.truncate(f.tell() - 777 if not extra else f.tell())  # cut in mid-frame
    with open(path, "rb") as f:
        got = f.read()
    assert got == stretch(station, first, len(got))


def test_players_go_on_over_a_killed_root(start, scratch):
    """ffmpeg, which keeps what it gets, and mpv, which plays it, on a root that is killed and started again."""
    root = start.root(bitrate=192)
    harness.wait_for(lambda: root.stats()["position"] > 400, "ten seconds have aired", 20)
    there, path = request(root.url, "/api/listen?burst=8").json(), os.path.join(scratch, "ffmpeg.mp3")
    url = there["url"]
    # they stay long enough for both to have begun, also where that takes some seconds
    commands = {
        "ffmpeg": ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-reconnect", "1", "-reconnect_on_network_error",
                   "1", "-reconnect_delay_max", "15", "-i", url, "-t", "18", "-c", "copy", "-f", "data", "-map", "0:a", path],
        "mpv": ["mpv", "--no-config", "--ao=null", "--vo=null", "--length=16", "--msg-level=all=error",
                "--stream-lavf-o=reconnect=1,reconnect_on_network_error=1,reconnect_delay_max=15", url],
    }
    clients = {name: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for name, command in commands.items()}
    try:
        # mpv may ask twice before it plays
        harness.wait_for(lambda: root.stats()["listeners"] >= 2, "both listen", 15)
        begun = time.monotonic()
        harness.wait_for(lambda: time.monotonic() - begun > 1, "they listen for a while", 10)
        gone = [(name, client.communicate()[0]) for name, client in clients.items() if client.poll() is not None]
        assert not gone, gone
        root.kill()
        again = start.root(state=root.state, port=root.port, bitrate=192)
        for name, client in clients.items():
            said = client.communicate(timeout=harness.HANG_S)[0].decode(errors="replace")
            assert client.returncode == 0, (name, said)
            assert name == "ffmpeg" or "invalid" not in said.lower(), (name, said)
    finally:
        for client in clients.values():
            if client.poll() is None:
                client.kill()
    with open(path, "rb") as f:
        got = f.read()
    assert len(got) > 17.5 * 24000
    assert got == stretch(again, there["from"], len(got)), "every byte, once"


def test_listen_and_sync_at_the_node_that_serves(start):
    root = start.root(relay_limit=0)
    relay = start.relay(root)
    harness.wait_for(lambda: [r for r in root.stats()["relays"] if r["healthy"]], "the relay is known", 10)
    there = request(root.url, "/api/listen").json()
    assert there["node"] == relay.url and there["url"].startswith(f"{relay.url}/stream.mp3?from=")
    path = there["url"][len(relay.url):]
    answer = request(relay.url, there["sync"][len(relay.url):])
    assert answer.status == 404
    with harness.Listener(relay.url, path) as one:
        if one.status == 302:  # what a sleeping relay wakes with begins later
            path = one.headers["location"]
    with harness.Listener(relay.url, path) as one:
        assert one.status == 200
        one.read(20000)
        sync = request(relay.url, there["sync"][len(relay.url):]).json()
        assert sync["client"] == there["client"] and sync["first"] == one.position
        assert sync["first"] <= sync["heard"] <= sync["sent"]
        assert sync["position"] - 1 <= root.stats()["position"]
    # a page over https is sent to no http address
    secure = request(root.url, "/api/listen", headers={"X-Forwarded-Proto": "https", "Host": "radio.example"}).json()
    assert secure["node"] == "https://radio.example"
    with Listener(root.url, headers={"X-Forwarded-Proto": "https"}) as one:
        assert one.status == 200


def test_one_hop_and_one_more(start):
    root = start.root(relay_limit=0)
    small = start.relay(root, name="small", max_listeners=1)
    large = start.relay(root, name="large")
    harness.wait_for(lambda: len([r for r in root.stats()["relays"] if r["healthy"]]) == 2, "both are known", 10)
    with Listener(small.url) as one:
        assert one.status == 200
        # full: sends on to the other, which was told by the root
        def elsewhere():
            with Listener(small.url, "/stream.mp3?a=1") as more:
                return more.headers.get("location") if more.status == 302 else None
        assert harness.wait_for(elsewhere, "it knows another node", 10) == f"{large.url}/stream.mp3?a=1&hop=1"
        with Listener(small.url, "/stream.mp3?hop=1") as more:
            assert more.status == 302 and more.headers["location"] == f"{large.url}/stream.mp3?hop=2"
            assert more.headers["access-control-allow-origin"] == "*"
        assert request(small.url, "/stream.mp3?hop=2").status == 503
        playlist = request(small.url, "/stream.m3u").body.decode()
        assert playlist.index(f"{small.url}/stream.mp3") < playlist.index(f"{large.url}/stream.mp3")
    # who comes to the root from a relay stays
    with Listener(root.url, "/stream.mp3?hop=1") as one:
        assert one.status == 200
    with Listener(root.url, "/stream.mp3") as one:
        assert one.status == 302 and "/stream.mp3?hop=1&ticket=" in one.headers["location"]
    names = request(root.url, "/stream.xspf").body.decode()
    assert f"<location>{large.url}/stream.mp3</location>" in names
