"""An <audio> element with crossorigin=anonymous whose node dies: its address answers 302 to another node, and it plays
on there, from the byte where it was cut."""
import contextlib
import http.server
import threading

import harness
from test_resume_player import BURST_S, Playing


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


def test_it_goes_on_where_the_address_sends_it(browser, station, start):
    first, second = start.relay(station, name="first"), start.relay(station, name="second")
    harness.wait_for(lambda: station.stats()["position"] > (BURST_S + 4) / harness.FRAME_S, "a burst has aired", BURST_S + 10)
    browser.open(station.url + "/dashboard")
    playing = Playing(browser, "moved", first, "anonymous")
    browser.click("body")
    harness.wait_for(lambda: playing.time() > 0.5, "time runs", 15)
    assert playing.there["url"].startswith(first.url)
    first.kill()
    with sends_on(first.port, second) as asked:
        playing.there["node"], playing.there["sync"] = second.url, playing.there["sync"].replace(first.url, second.url)
        harness.wait_for(playing.sync, "it listens at the second one", 15)
        offset_s = playing.sync()["offset"] * 8 / (playing.there["kbps"] * 1000)
        harness.wait_for(lambda: playing.time() > offset_s + 1, "what came after the cut is heard", BURST_S + 20)
        playing.assert_played_on()
    assert asked[0][0] == "/stream.mp3" and asked[0][1].startswith("bytes=") and asked[0][1] != "bytes=0-"
    browser.open("about:blank")
    browser.complaints()  # of the connection that broke
