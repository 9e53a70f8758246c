"""An <audio> element plays on over the loss of its node: Chromium asks for the rest of the address by itself. With
crossorigin=anonymous it goes on elsewhere, from the byte where it was cut, when its address answers 302 then.

FOREVER_DOWN_S and FOREVER_BURST_S make the downtime longer than a suite has time for (10 and 15 are what is
promised)."""
import contextlib
import http.server
import os
import threading
import time

import harness

BURST_S = float(os.environ.get("FOREVER_BURST_S", 5))
DOWN_S = float(os.environ.get("FOREVER_DOWN_S", 1))

# plays at the next click, and notes every 50 ms what time it is for the listener
PLAY = """
const [name, url, origin] = arguments;
const audio = new Audio(), heard = { audio, notes: [], events: [] };
if (origin) audio.crossOrigin = origin;
(window.heard ??= {})[name] = heard;
for (const kind of ["waiting", "stalled", "ended", "error", "pause", "seeking", "emptied"])
  audio.addEventListener(kind, () => heard.events.push([performance.now() / 1000, kind]));
audio.src = url;
document.addEventListener("click", () => audio.play(), { once: true });
setInterval(() => heard.notes.push([performance.now() / 1000, audio.currentTime]), 50);
"""


class Playing:
    """One element of the page, playing where /api/listen says."""

    def __init__(self, browser, name, node, origin=None):
        self.browser, self.name, self.node = browser, name, node
        # a relay wakes for it, and if that takes long holds less than was asked for at first
        harness.wait_for(lambda: self.asked() > BURST_S - 0.1, lambda: f"{name}: {self.asked():.1f} s before the air")
        self.watch = harness.Watch()
        browser.run(PLAY, name, self.there["url"], origin)

    def asked(self):
        """Asks where to listen; by how many seconds that is before the air."""
        self.there = harness.request(self.node.url, f"/api/listen?burst={BURST_S:g}").json()
        return (self.there["position"] - self.there["from"]) * harness.FRAME_S

    def get(self, what):
        return self.browser.run(f"return window.heard[arguments[0]].{what}", self.name)

    def time(self):
        return self.get("audio.currentTime")

    def sync(self):
        """Of the connection at present; None while there is none."""
        with contextlib.suppress(OSError):
            answer = harness.request(self.there["node"], self.there["sync"][len(self.there["node"]):])
            return answer.json() if answer.status == 200 else None

    def longest_stop(self):
        """Seconds that the listener's time stood at most, and how much it ever leapt ahead of the clock, from the
        notes since it began."""
        notes = [n for n in self.get("notes") if n[1] > 0]
        still, leap, moved = 0.0, 0.0, notes[0]
        for before, after in zip(notes, notes[1:]):
            if after[1] > before[1]:
                moved = after
            still = max(still, after[0] - moved[0])
            leap = max(leap, (after[1] - before[1]) - (after[0] - before[0]))
        return still, leap

    def assert_played_on(self):
        """Its own time went on as if nothing had happened, and what it plays is what its time says."""
        there, after, played, events = self.there, self.sync(), self.time(), self.get("events")
        still, leap = self.longest_stop()
        assert after and after["exact"] and after["offset"] > 0, after
        # the byte it resumed at, counted in time, is where the frame that it was sent lies
        brought_s = after["offset"] * 8 / (there["kbps"] * 1000)
        assert abs((after["first"] - there["from"]) * harness.FRAME_S - brought_s) < 0.1, (after, there)
        heard = there["from"] + played / harness.FRAME_S
        assert heard <= after["sent"] + 1, (heard, after)
        slow = harness.SLOW * self.watch.stretch
        assert abs(heard - after["heard"]) * harness.FRAME_S < 2.5 * slow, (heard, after)
        assert still < 0.5 * slow, f"stood for {still:.2f} s: {events}"
        assert leap < 0.5 * slow, f"leapt by {leap:.2f} s: {events}"
        assert not [e for e in events if e[1] in ("ended", "error", "pause", "seeking", "emptied")], events


@contextlib.contextmanager
def sends_on(port, node):
    """What takes over a dead node's address (another machine by DNS, a proxy): each request is sent on, with the
    headers of our own redirects."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path.split("?")[0], self.headers.get("Range")))
            self.send_response(302)
            for name in ("access-control-allow-origin", "access-control-expose-headers", "cache-control"):
                self.send_header(name, ours[name])
            self.send_header("Location", f"{node.url}{self.path}&hop=1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_address = True
    ours = redirect_headers(node)
    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def redirect_headers(node):
    """Of a real 302 (to the nearest frame held)."""
    with harness.Listener(node.url, "/stream.mp3?from=0") as one:
        assert one.status == 302, one.headers
        assert one.headers["access-control-allow-origin"] == "*" and "no-store" in one.headers["cache-control"]
        return one.headers


def test_it_outlives_killed_nodes(browser, station, start):
    """A root and a relay that come back, and a relay whose address is answered by another node."""
    root = start.root(aired=True, bitrate=192)
    relay, gone, other = (start.relay(station, name=name) for name in ("relay", "gone", "other"))
    for node in (root, station):
        harness.wait_for(lambda: node.stats()["position"] > (BURST_S + 4) / harness.FRAME_S, "a burst has aired", BURST_S + 10)
    browser.open(station.url + "/dashboard")
    playing = [Playing(browser, "root", root), Playing(browser, "relay", relay),  # the relay wakes for it
               Playing(browser, "moved", gone, "anonymous")]
    browser.click("body")
    for one in playing:
        harness.wait_for(lambda: one.time() > 0.5, f"{one.name}: time runs", 15)
    moved = playing[-1].there
    assert moved["url"].startswith(gone.url)
    for node in (root, relay, gone):
        node.kill()
    died = time.monotonic()
    with sends_on(gone.port, other) as asked:
        moved["node"], moved["sync"] = other.url, moved["sync"].replace(gone.url, other.url)
        harness.wait_for(lambda: time.monotonic() - died > DOWN_S, "they were down", DOWN_S + 5)
        start.root(state=root.state, port=root.port, bitrate=192, wait=False)
        start.relay(station, state=relay.state, port=relay.port, wait=False)
        for one in playing:
            harness.wait_for(one.sync, f"{one.name}: it has come back", 30)
        # what was brought before the cut is played out, and what came after it is heard
        for one in playing:
            offset_s = one.sync()["offset"] * 8 / (one.there["kbps"] * 1000)
            harness.wait_for(lambda: one.time() > offset_s + 1, f"{one.name}: what came after the cut is heard", BURST_S + 20)
        for one in playing:
            one.assert_played_on()
    assert asked[0][0] == "/stream.mp3" and asked[0][1].startswith("bytes=") and asked[0][1] != "bytes=0-"
    browser.open("about:blank")
    browser.complaints()  # of connections refused meanwhile
