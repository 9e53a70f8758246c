"""The dashboard's relays in a real Chromium: none, a few, two hundred; what needs attention stands on top."""
import json
import os
import threading
import time

import harness
import pytest


@pytest.fixture(scope="module")
def stage(scratch, token):
    """A root without music; reports make relays."""
    library = os.path.join(scratch, "no-music-page")
    os.makedirs(library, exist_ok=True)
    root = harness.Root(library, os.path.join(scratch, "relays-page-root"), wait=False, relay_token_file=token)
    root.wait_up()
    harness.wait_for(lambda: harness.request(root.url, "/api/series").status == 200, "the store is there", 10)
    with open(token, encoding="utf-8") as file:
        head = {"Authorization": "Bearer " + file.read().strip()}

    relays, over = {}, threading.Event()

    def send(name):
        body = dict(name=name, public_url=f"http://{name}.example:8000", version="1", session="0123456789abcdef",
                    seq=time.monotonic_ns(), listeners=0, max_listeners=100, accepted=0, closed=0, bytes_in=0, bytes_out=0)
        body.update(relays[name])
        answer = harness.request(root.url, "/api/relay/report", "POST", head, json.dumps(body))
        assert answer.status == 200, answer.body

    def report(name, **members):
        relays[name] = members
        send(name)

    def go_on():  # none falls silent, however slow the machine is
        while not over.wait(1.5):
            for name in list(relays):
                send(name)
    root.report, thread = report, threading.Thread(target=go_on)
    thread.start()
    yield root
    over.set()
    thread.join()
    assert root.stop() == 0


def lines(browser):
    return browser.run("return [...document.querySelectorAll('#relays tr')].map(r => r.innerText)")


def test_none_a_few_and_many(browser, stage):
    browser.open(stage.url + "/dashboard")
    harness.wait_for(lambda: "No relay has reported yet" in browser.text("body"), "there is none", 10)
    harness.wait_for(lambda: browser.run("return document.querySelectorAll('#crowd svg').length") == 1, "the chart is there", 10)
    for i in range(3):
        stage.report(f"few-{i}", listeners=[5, 100, 7][i], accepted=200, draining=i == 2, lag_s=[0.01, 0.01, None][i])
    browser.open(stage.url + "/dashboard")
    harness.wait_for(lambda: len(lines(browser)) == 3, "three lines", 10)
    attention = browser.text("#attention")
    assert "few-1: full" in attention and "few-2: drains" in attention and "few-0" not in attention
    first = lines(browser)[0]
    assert "few-1" in first and "100 / 100" in first, "what needs attention comes first"
    for i in range(200):
        stage.report(f"many-{i:03}", listeners=i % 50, accepted=i % 50)
    for i in range(3):
        stage.report(f"few-{i}", listeners=50)
    browser.open(stage.url + "/dashboard")
    harness.wait_for(lambda: len(lines(browser)) == 25, "a page of them", 10)
    browser.click("#more")
    harness.wait_for(lambda: len(lines(browser)) == 125, "more of them", 10)
    browser.run("const f = document.getElementById('find'); f.value = 'many-19'; f.dispatchEvent(new Event('input'))")
    harness.wait_for(lambda: len(lines(browser)) == 10 and all("many-19" in line for line in lines(browser)), "those asked for", 10)
    width = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], "nothing sticks out"
    try:  # on a phone
        browser.emulate("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        browser.open(stage.url + "/dashboard")
        harness.wait_for(lambda: len(lines(browser)) == 25, "a page of them", 10)
        assert browser.run("return document.documentElement.scrollWidth") == 390
        assert browser.run("return getComputedStyle(document.querySelector('#relays tr')).display") == "grid"
    finally:
        browser.emulate("Emulation.clearDeviceMetricsOverride")
    browser.open("about:blank")
    assert browser.complaints() == []
