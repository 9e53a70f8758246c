"""The traffic ledger and what the root tells of its relays: over the loss of either side's state, and reports that get
lost, come twice or late."""
import calendar
import json
import os
import random
import shutil
import time

import pytest

import harness


@pytest.fixture(scope="module")
def stage(scratch, token):
    """A root without music: what relays say needs none."""
    library = os.path.join(scratch, "no-music")
    os.makedirs(library, exist_ok=True)
    state = os.path.join(scratch, "ledger-root")

    class Stage:
        root = None

        def start(self):
            self.root = harness.Root(library, state, wait=False, relay_token_file=token, port=self.root and self.root.port)
            self.root.wait_up()

        def report(self, name, **members):
            body = dict(name=name, public_url=f"http://{name}.example", version="1", session="0123456789abcdef", seq=1,
                        listeners=0, max_listeners=100, accepted=0, closed=0, bytes_in=0, bytes_out=0)
            body.update(members)
            with open(token, encoding="utf-8") as file:
                head = {"Authorization": "Bearer " + file.read().strip()}
            return harness.request(self.root.url, "/api/relay/report", "POST", head, json.dumps(body))

        def get(self, path):
            return harness.request(self.root.url, path)

    one = Stage()
    one.start()
    yield one
    assert one.root.stop() == 0


def month_start():
    now = time.gmtime()
    return calendar.timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0))


def test_the_root_keeps_what_a_relay_has_sent(stage):
    ledger = {"since": month_start(), "bytes": 5_000_000}
    assert stage.report("ams", ledger=ledger).json()["ledger"]["bytes"] == 5_000_000
    harness.wait_for(lambda: stage.get("/api/ledger").json()["complete"], "the store has told what it knows", 10)
    assert stage.report("ams", seq=2, ledger={**ledger, "bytes": 6_000_000}).json()["ledger"]["bytes"] == 6_000_000
    stage.root.stop()
    stage.start()
    harness.wait_for(lambda: stage.get("/api/ledger").json()["complete"], "the store has told what it knows", 10)
    # the relay has lost its file: it is told what the root knows
    assert stage.report("ams", session="another", ledger={**ledger, "bytes": 7}).json()["ledger"]["bytes"] == 6_000_000
    line, = [r for r in stage.get("/api/ledger").json()["relays"] if r["name"] == "ams"]
    assert (line["since"], line["used_bytes"]) == (month_start(), 6_000_000)
    assert line["projected_bytes"] >= line["used_bytes"]


def test_a_relay_gets_its_ledger_back_from_the_root(stage, scratch, token):
    state = os.path.join(scratch, "ledger-relay")
    os.makedirs(state)
    path = os.path.join(state, "ledger.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"format": 1, "reset_day": 1, "ended": True, "days": {str(int(time.time()) // 86400): 123_000_000}}, file)

    def used():
        return [r["used_bytes"] for r in stage.get("/api/ledger").json()["relays"] if r["name"] == "ber"]
    relay = harness.Relay(stage.root, state, token, name="ber")
    try:
        harness.wait_for(lambda: used() and used()[0] >= 123_000_000, "the root knows of it", 5)
        relay.kill()
        shutil.rmtree(state)
        os.makedirs(state)
        relay = harness.Relay(stage.root, state, token, name="ber", port=relay.port)
        harness.wait_for(lambda: stage.get("/api/relays/ber").json()["sessions"] == 2, "it reports again", 5)
    finally:
        assert relay.stop() == 0
    with open(path, encoding="utf-8") as file:
        kept = json.load(file)
    assert kept["ended"] and sum(kept["days"].values()) >= 123_000_000, kept
    told = stage.get("/api/relays/ber").json()
    assert told["versions"]["kernel"] == os.uname().release and told["versions"]["openssl"]
    assert told["fds"] > 5 and told["mounts"][0]["name"] == "stream" and len(told["lengths"]) == 18


def test_reports_lost_doubled_and_shuffled(stage):
    """Any order, any loss: what the root says is one of the states the relay was in, and all its answers agree."""
    draw = random.Random(harness.draw_seed())
    truth, listeners, accepted = [], 0, 0
    for seq in range(1, 41):
        come = draw.randrange(5)
        gone = draw.randrange(listeners + come + 1)
        accepted, listeners = accepted + come, listeners + come - gone
        truth.append(dict(seq=seq, listeners=listeners, accepted=accepted, closed=accepted - listeners,
                          bytes_out=seq * 1000, bytes_in=seq * 10))
    sent = [t for t in truth[:-1] if draw.random() > 0.3] + [t for t in truth[:-1] if draw.random() < 0.3]
    sent.sort(key=lambda t: t["seq"] + draw.uniform(0, 8))
    newest = 0
    for one in sent + [truth[-1]]:
        assert stage.report("cgn", **one).status == 200
        newest = max(newest, one["seq"])
        now = stage.get("/api/relays/cgn").json()
        want = truth[newest - 1]
        assert {k: now[k] for k in want if k != "seq"} == {k: v for k, v in want.items() if k != "seq"}
    cluster, relays = stage.get("/api/stats").json()["cluster"], stage.get("/api/relays").json()
    assert cluster["accepted"] - cluster["closed"] == cluster["listeners"] == truth[-1]["listeners"]
    assert {k: relays["totals"][k] for k in ("listeners", "accepted", "closed")} == \
        {k: cluster[k] for k in ("listeners", "accepted", "closed")}
    metrics = stage.get("/metrics").body.decode()
    assert f'forever_relay_listeners{{relay="cgn"}} {truth[-1]["listeners"]}\n' in metrics
    assert f'forever_cluster_listeners {truth[-1]["listeners"]}\n' in metrics


def test_many_relays_come_in_pages(stage):
    for i in range(25):
        stage.report(f"many-{i:02}", listeners=i, accepted=i)
    names, offset = [], 0
    while True:
        page = stage.get(f"/api/relays?offset={offset}&limit=10").json()
        names += [r["name"] for r in page["relays"]]
        offset += 10
        if offset >= page["total"]:
            break
    assert names == sorted(set(names)) and {f"many-{i:02}" for i in range(25)} < set(names)
    assert len(stage.get("/api/ledger?limit=3&offset=1").json()["relays"]) == 3


@pytest.mark.parametrize("path, words", [
    ("/api/relays?limit=x", "limit must be"), ("/api/relays?sort=size", "sort must be"), ("/api/ledger?offset=-1", "offset must be"),
    ("/api/series?from=now", "from must be"), ("/api/series?step=7", "step must be"), ("/api/series?relay=a,,b", "relay must be"),
    ("/api/series?from=-86400&step=10", "points"), ("/api/series?relay=" + ",".join(["a"] * 51), "names")])
def test_questions_that_make_no_sense(stage, path, words):
    answer = stage.get(path)
    assert answer.status == 400 and words in answer.json()["error"], answer.body
