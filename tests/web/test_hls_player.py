"""HLS in a real Chromium, by hls.js."""
import functools
import http.server
import os
import threading

import harness
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = b"""<!doctype html><meta charset="utf-8"><title>hls</title><link rel="icon" href="data:,"><audio id="a"></audio><button id="play">Play</button>
<script src="/vendor/hls.light.min.js"></script>
<script>
window.errors = []; window.tags = []; window.levels = [];
document.getElementById('play').onclick = () => {
  const url = document.getElementById('play').value;
  const hls = window.hls = new Hls({enableWorker: false});
  hls.on(Hls.Events.ERROR, (e, data) => window.errors.push(data.details + (data.fatal ? ' fatal' : '')));
  hls.on(Hls.Events.MANIFEST_PARSED, (e, data) => { window.levels = data.levels.map(l => l.bitrate); });
  hls.on(Hls.Events.FRAG_PARSING_METADATA, (e, data) => data.samples.forEach(s =>
    window.tags.push(String.fromCharCode(...s.data))));
  hls.loadSource(url); hls.attachMedia(document.getElementById('a'));
  const context = new AudioContext(), audio = document.getElementById('a');
  window.probe = context.createAnalyser();
  context.createMediaElementSource(audio).connect(window.probe); window.probe.connect(context.destination);
  context.resume(); audio.play();
};
window.level = () => {
  const samples = new Float32Array(window.probe.fftSize);
  window.probe.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
};
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    """The address of a page of somebody else's that plays HLS."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=HERE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_hls_js_plays_it_on_another_site(browser, station, page):
    harness.wait_for(lambda: harness.request(station.url, "/hls/stream/index.m3u8").body.count(b".mp3") >= 3,
                     "three segments have aired", 30)
    browser.open(page)
    browser.run("document.getElementById('play').value = arguments[0]", station.url + "/hls/index.m3u8")
    browser.click("#play")
    harness.wait_for(lambda: browser.run("return document.getElementById('a').currentTime > 0 && "
                                         "!document.getElementById('a').paused"), lambda: f"it plays: {browser.run('return window.errors')}", 20)
    first = browser.run("return document.getElementById('a').currentTime")
    harness.wait_for(lambda: browser.run("return document.getElementById('a').currentTime") > first + 3, "time runs", 15)
    harness.wait_for(lambda: browser.run("return window.level()") > 0.01, "it is music, not silence", 10)
    assert browser.run("return window.levels") == [192 * 1020]
    tags = browser.run("return window.tags")
    title = harness.request(station.url, "/api/now").json()["title"]
    assert any("position" in tag for tag in tags) and any("TIT2" in tag for tag in tags), (title, tags)
    assert [e for e in browser.run("return window.errors") if "fatal" in e] == []
    browser.open("about:blank")
    assert browser.complaints() == []
