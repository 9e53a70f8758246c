"""What the root tells of its relays when the store, which keeps it, does not answer."""
import json
import os
import signal

import harness
from relays import together
from relays.enrol import quiet_root


@together
def test_the_store_away_is_503_and_nothing_waits(start):
    root = quiet_root(start)

    def get(path):
        return harness.request(root.url, path)
    with open(start.token, encoding="utf-8") as file:
        head = {"Authorization": "Bearer " + file.read().strip()}
    report = dict(name="ams", public_url="http://ams.example", version="1", session="0123456789abcdef", seq=1, listeners=0,
                  max_listeners=100, accepted=0, closed=0, bytes_in=0, bytes_out=0)
    assert harness.request(root.url, "/api/relay/report", "POST", head, json.dumps(report)).status == 200
    harness.wait_for(lambda: get("/api/series").status == 200, "the store is there", 10)
    assert get("/api/series?relay=ams,cluster").json()["series"].keys() == {"ams", "cluster"}
    assert get("/api/relays/nobody").status == 404
    pid, = root.worker("store")
    os.kill(pid, signal.SIGSTOP)
    try:
        watch = harness.Watch()
        seen = get("/api/series")
        assert seen.status == 503 and int(seen.headers["Retry-After"]) > 0 and "store" in seen.json()["error"], seen.body
        assert watch.seconds < 4 * harness.SLOW
        assert get("/api/ledger").status == 200 and get("/api/relays").status == 200
    finally:
        os.kill(pid, signal.SIGKILL)
    harness.wait_for(lambda: get("/api/series").status == 200, "the store is back", 10)
