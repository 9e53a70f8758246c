"""What the root has learned of its relays is there after a restart: what their traffic is worth, and the hours of a week."""
import base64
import collections
import http.client
import json
import os
import sqlite3
import ssl
import time

import harness
from harness import Listener
from relays import together


def credential(root, name):
    """Adds a relay with an allotment to the operator's list and enrols it, without a program that runs."""
    told = root.ctl("--json", "relay", "add", name, "--allotment", "1TB")
    assert told.returncode == 0, told.stdout
    secret = base64.urlsafe_b64encode(base64.urlsafe_b64decode(json.loads(told.stdout)["token"] + "==")[-36:-4])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = json.loads(root.ctl("--json", "status").stdout)["link"]["port"]
    door = http.client.HTTPSConnection("127.0.0.1", port, timeout=10 * harness.SLOW, context=context)
    door.request("POST", "/api/relay/enrol", json.dumps({"secret": secret.decode().rstrip("="), "name": name}),
                 {"Content-Type": "application/json"})
    answer = json.loads(door.getresponse().read())
    door.close()
    assert root.ctl("relay", "set", name, "--call", "no").returncode == 0
    return answer["credential"]


def choices(root, credentials, seq, count=40):
    """Where so many listeners are sent, each relay having just reported."""
    for name, secret in credentials.items():
        body = dict(name=name, public_url=f"http://{name}.example", version="1", session="0123456789abcdef", seq=seq,
                    listeners=0, max_listeners=10000, accepted=0, closed=0, bytes_in=0, bytes_out=0)
        answer = harness.request(root.url, "/api/relay/report", "POST", {"Authorization": "Bearer " + secret}, json.dumps(body))
        assert answer.status == 200, answer.body
    where = collections.Counter()
    for _ in range(count):
        with Listener(root.url) as sent:
            assert sent.status == 302, sent.status
            where[sent.headers["location"].split("//")[1].split(".")[0]] += 1
    return where


def number(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
    return out + bytes([value])


def hour_sample(listeners):
    """A whole hour in which so many listened, as the statistics keep it (root/sample.h)."""
    return bytes([1]) + number(360) + bytes([5] + [0] * 5) + bytes([5]) + number(360) + number(2 * listeners) + bytes([0] * 5)


@together
def test_the_choice_is_the_same_after_a_restart(start):
    root = start.root(relay_limit=0, relay_reserve="none")
    credentials = {name: credential(root, name) for name in ("dear", "cheap")}
    first = choices(root, credentials, 1)
    assert first["dear"] and first["cheap"], "nothing is known yet: one is as good as the other"
    state = root.state
    assert root.stop() == 0
    path, hour = os.path.join(state, "stats.db"), int(time.time()) // 3600 * 3600
    with sqlite3.connect(path) as db:
        nodes = dict(db.execute("SELECT name, id FROM nodes"))
        assert {"dear", "cheap", "*"} <= {n for n, in db.execute("SELECT name FROM nodes JOIN learned ON id = node")}
        # as if the month had gone on, and weeks before it
        db.execute("UPDATE learned SET data = '{\"pacing\":0.05,\"redemption\":0.5,\"old\":1}' WHERE node = ?", [nodes["dear"]])
        db.executemany("INSERT INTO series(level, t, node, data) VALUES(2, ?, ?, ?)",
                       [(hour - 3600 * i, nodes["*"], hour_sample(100 + i % 24)) for i in range(1, 24 * 8)])
        db.execute("INSERT OR REPLACE INTO summed(level, until) VALUES(2, ?)", [hour])
    db.close()

    def again():
        root = start.root(state=state, relay_limit=0, relay_reserve="none")
        harness.wait_for(lambda: "168 hours of the week" in root.log()[mark:], "what was learned is read", 10)
        return root
    mark = 0
    root = again()
    assert choices(root, credentials, 1) == {"cheap": 40}
    told = {r["name"]: r["routing"] for r in root.stats()["relays"]}
    # every minute it changes by a hundredth of it or so
    assert 0.045 < told["dear"]["pacing_per_gb"] < 0.055 and told["cheap"]["pacing_per_gb"] < 1e-4
    assert told["dear"]["redemption"] == 0.5
    # it keeps that itself, too
    assert root.stop() == 0
    mark = len(root.log())
    with sqlite3.connect(path) as db:
        kept, = db.execute("SELECT data FROM learned WHERE node = ?", [nodes["dear"]]).fetchone()
    db.close()
    assert "old" not in json.loads(kept) and 0.045 < json.loads(kept)["pacing"] < 0.055
    root = again()
    assert choices(root, credentials, 1) == {"cheap": 40}
    # who is removed leaves nothing
    assert root.ctl("relay", "remove", "dear").returncode == 0

    def forgotten():
        with sqlite3.connect(path) as db:
            return not db.execute("SELECT 1 FROM learned WHERE node = ?", [nodes["dear"]]).fetchone()
    harness.wait_for(forgotten, "what was learned of it is gone", 5)
