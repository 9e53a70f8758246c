"""The site's player when the node that serves it is gone for good: it goes on at another one, from the very frame where
it was about to be. Takes half a minute: only with FOREVER_LONG set (make check-all)."""
import harness

# what the listener hears and when, every 20 ms
NOTE = """
window.notes = [];
setInterval(() => notes.push([performance.now() / 1000, heardPosition(), document.querySelectorAll("audio").length, audio.paused]), 20);
"""


def test_the_page_goes_on_at_another_node(browser, start):
    root = start.root(relay_limit=0, bitrate=192)
    relays = {name: start.relay(root, name=name) for name in ("one", "two")}

    def listeners(name):
        return next(r["listeners"] for r in root.stats()["relays"] if r["name"] == name)
    harness.wait_for(lambda: sum(r["healthy"] for r in root.stats()["relays"]) == 2, "both relays are known", 10)
    harness.wait_for(lambda: root.stats()["position"] > 10 / harness.FRAME_S, "ten seconds have aired", 20)
    browser.open(root.url + "/")
    browser.click("#play")
    harness.wait_for(lambda: browser.run("return audio.currentTime") > 1, "it plays", 15)
    harness.wait_for(lambda: listeners("one") + listeners("two") == 1, "the root knows where", 5)
    there, other = ("one", "two") if listeners("one") else ("two", "one")
    browser.run(NOTE)
    watch = harness.Watch()
    relays[there].kill()
    harness.wait_for(lambda: listeners(other) == 1, "it is at the other one", 30)
    harness.wait_for(lambda: browser.run("return startPosition") > 0 and browser.run("return !spare"), "it has taken over", 30)
    switched = browser.run("return startPosition")
    harness.wait_for(lambda: browser.run("return heardPosition()") > switched + 3 / harness.FRAME_S, "it goes on", 20)
    notes = browser.run("return notes")
    assert browser.run("return document.querySelectorAll('audio').length") == 1
    still, jump, last = 0, 0, notes[0]
    for before, after in zip(notes, notes[1:]):
        if after[1] > last[1]:
            last = after
        still = max(still, after[0] - last[0])
        jump = max(jump, abs((after[1] - before[1]) * harness.FRAME_S - (after[0] - before[0])))
    print(f"stood for {still:.3f} s at most, was off by {jump:.3f} s at most")
    assert max(still, jump) < 0.5 * harness.SLOW * watch.stretch
    browser.open("about:blank")
    browser.complaints()  # of the connection that broke
