"""The site's player when the root is gone for longer than the relays' lead: what they hold, then the loop, then the
programme again. In a real Chromium."""
import contextlib
import os
import sys

import harness
from harness import wait_for
from relays import together

sys.path.insert(0, os.path.join(harness.HERE, "web"))
from webdriver import Browser  # noqa: E402


@together
def test_the_page_plays_the_loop_while_the_root_is_gone(start):
    state = start.state(aired=128)
    options = {"state": state, "lead": 10, "relay_limit": 0, "fallback": harness.excerpt(start.crate, state + ".wav", 4)}
    root = start.root(**options)
    relay = start.relay(root, lead=2, name="one")
    with contextlib.closing(Browser()) as browser:
        wait_for(lambda: os.path.exists(os.path.join(relay.state, "loop-stream.mp3")), "the relay has the loop", 20)
        wait_for(lambda: root.stats()["position"] > 5 / harness.FRAME_S, "five seconds have aired", 15)
        browser.open(root.url + "/?burst=3")
        browser.click("#play")
        wait_for(lambda: browser.run("return audio.currentTime") > 0.5, "it plays", 15)
        wait_for(lambda: browser.run("return nodes") == [relay.url], "the page knows the other node", 10)
        root.kill()
        wait_for(lambda: browser.run("return away && loops && audio.currentTime > 1"), "the loop is heard", 30)
        assert "back in a moment" in browser.run("return document.getElementById('title').textContent")
        stood = browser.run("return stood")
        start.root(port=root.port, **options)
        wait_for(lambda: browser.run("return !away && !loops && audio.currentTime > 0.5"), "the programme is heard", 30)
        assert browser.run("return startPosition") >= stood
        assert "back in a moment" not in browser.run("return document.getElementById('title').textContent")
