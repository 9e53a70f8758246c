"""The player and the dashboard in a real Chromium."""
import harness

# loudness of what the page's audio element plays, measured in the page itself
MEASURE = """
const audio = document.querySelector('audio');
if (!window.probe) {
  const context = new AudioContext();
  window.probe = context.createAnalyser();
  context.createMediaElementSource(audio).connect(window.probe);
  window.probe.connect(context.destination);
  context.resume();
}
const samples = new Float32Array(window.probe.fftSize);
window.probe.getFloatTimeDomainData(samples);
return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
"""


def test_the_player_plays(browser, station):
    browser.open(station.url + "/")
    now = harness.wait_for(lambda: harness.request(station.url, "/api/now").json(), "what is on air")
    harness.wait_for(lambda: now["title"] in browser.text("body") or
                     harness.request(station.url, "/api/now").json()["title"] in browser.text("body"), "the title is shown", 10)
    assert browser.run("return document.querySelector('audio').paused"), "nothing plays before it is asked for"
    browser.click("#play")
    harness.wait_for(lambda: browser.run("return document.querySelector('audio').currentTime") > 1.5, "time runs", 15)
    harness.wait_for(lambda: browser.run(MEASURE) > 0.01, "it is music, not silence", 10)
    assert browser.run("return document.querySelector('audio').error") is None
    browser.click("#play")
    assert browser.run("return document.querySelector('audio').paused"), "the same button stops"
    assert browser.complaints() == []


def test_chromium_plays_the_relay_after_a_redirect(browser, start):
    root = start.root(relay_limit=0)
    relay = start.relay(root)
    harness.wait_for(lambda: [r for r in root.stats()["relays"] if r["healthy"]], "the relay is known", 10)
    browser.open(root.url + "/")
    browser.click("#play")
    harness.wait_for(lambda: browser.run("return document.querySelector('audio').currentTime") > 1.5, "time runs", 15)
    assert root.stats()["listeners"] == 0
    assert b"forever_listeners" in harness.request(relay.url, "/metrics").body
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] >= 1, "the listener is the relay's", 6)
    browser.open("about:blank")
    assert browser.complaints() == []


def test_the_dashboard_counts(browser, station, station_relay):
    browser.open(station.url + "/dashboard")
    with harness.Listener(station.url), harness.Listener(station.url):
        assert station.stats()["listeners"] >= 2
        harness.wait_for(lambda: browser.run("return document.querySelector('[data-stat=listeners]').textContent").strip() ==
                         str(station.stats()["listeners"]), lambda: f"{station.stats()['listeners']} listeners are shown", 10)
    harness.wait_for(lambda: station_relay.url in browser.text("body"), "the relay is listed", 10)
    assert browser.complaints() == []


def test_the_dashboard_shows_the_transition(browser, station):
    """The one on air or the next one, with its certificate, as /api/segments tells it."""
    def planned():
        segments = harness.request(station.url, "/api/segments").json()["segments"]
        return [s for s in segments if s["technique"] != "play" and s["end_s"] > 0]
    harness.wait_for(planned, "a transition is planned", 30)
    browser.open(station.url + "/dashboard")

    def missing():
        join = planned()[0]  # it may end, and the next one's turn is there
        certificate = join["certificate"]
        verdict = "certificate passed" if certificate["passed"] else certificate["failed"][0].replace("_", " ")
        shown = browser.text("#join")
        return [words for words in ("Transition", join["technique"], join["tracks"][0]["title"], join["tracks"][1]["title"], verdict,
                                    "loudness step") if words not in shown]
    harness.wait_for(lambda: not missing(), lambda: f"{missing()} are shown", 20)
    assert browser.complaints() == []


def test_pages_run_nothing_foreign(station):
    for path in ("/", "/dashboard"):
        page = harness.request(station.url, path)
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        text = page.body.decode()
        assert "http://" not in text and "https://" not in text and " onclick" not in text
