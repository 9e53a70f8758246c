"""Relays enrol: the operator's list, tokens that count once, the key that is checked before anything is said, calling
back with words, credentials that rotate and end."""
import json
import os
import re
import ssl
import subprocess
import http.client

import pytest

import harness

CERTLESS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CERTLESS.check_hostname = False
CERTLESS.verify_mode = ssl.CERT_NONE


@pytest.fixture(scope="module")
def root(crate, analysed, scratch):
    """A root of its own for the tests of this file; nothing of it need sound."""
    import shutil
    state = os.path.join(scratch, "enrol-root")
    shutil.copytree(analysed, state)
    program = harness.Root(crate, state, wait=False, relay_limit=0)
    program.wait_up()
    yield program
    assert program.alive(), program.log()[-3000:]
    assert program.stop() == 0


def relay_ctl(root, *words, status=0):
    """What `ctl relay` says, as JSON."""
    done = root.ctl("--json", "relay", *words)
    assert done.returncode == status, done.stdout
    return json.loads(done.stdout)


def link_port(root):
    return json.loads(root.ctl("--json", "status").stdout)["link"]["port"]


def ask(root, path, body, bearer=None, address="127.0.0.1"):
    """POSTs to the link listener, whose key is not looked at here."""
    connection = http.client.HTTPSConnection("127.0.0.1", link_port(root), timeout=10 * harness.SLOW, context=CERTLESS,
                                             source_address=(address, 0))
    try:
        headers = {"Content-Type": "application/json"}
        if bearer:
            headers["Authorization"] = "Bearer " + bearer
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return harness.Answer(response, response.read())
    finally:
        connection.close()


def test_the_list_is_the_operators(root):
    told = root.ctl("relay", "add", "fra", "--allotment", "1TB", "--reset-day=5", "--price", "0.01/GB", "--uplink", "1Gbit",
                    "--region", "eu-de", "--expires", "2h", "--public-url", "http://fra.example:8001")
    assert told.returncode == 0, told.stdout
    lines = told.stdout.splitlines()
    assert lines[0].startswith("# ") and lines[1] == "forever-relay enrol --public-url http://fra.example:8001 <<'END'"
    assert re.fullmatch("[A-Za-z0-9_-]{100,}", lines[2]) and lines[3:] == ["END"]
    one = relay_ctl(root, "show", "fra")["relay"]
    assert (one["state"], one["allotment_bytes"], one["reset_day"], one["price_per_gb"], one["uplink_bps"], one["region"]) == \
        ("invited", 10**12, 5, 0.01, 10**9, "eu-de")
    assert relay_ctl(root, "set", "fra", "--price", "5/TB", "--allotment", "none")["relay"]["price_per_gb"] == 0.005
    assert root.ctl("relay", "drain", "fra", "--deadline", "10m").stdout == "fra takes no new listeners\n"
    one = relay_ctl(root, "show", "fra")["relay"]
    assert one["drained"] and one["drain_until_s"] and one["allotment_bytes"] == 0 and one["uplink_bps"] == 10**9
    root.ctl("relay", "undrain", "fra")
    assert not relay_ctl(root, "show", "fra")["relay"]["drained"]
    assert "fra" in root.ctl("relay", "list").stdout
    for words, status, says in [
            (["add", "fra"], 75, 'there is a relay "fra" already'),
            (["show", "ams"], 75, 'there is no relay "ams"'),
            (["add", "Fra"], 64, "1 to 63 of a-z"), (["add"], 64, "needs the relay's name"),
            (["set", "fra"], 64, "something to set"), (["paint", "fra"], 64, "relay has the verbs"),
            (["set", "fra", "--price", "1"], 64, "0/GB to 1000/GB"), (["set", "fra", "--colour", "1"], 64, "no option"),
            (["set", "fra", "--region", "mars"], 75, "region must be eu"), (["set", "fra", "--price"], 64, "needs a value"),
            (["invite", "fra", "--link-url", "http://x"], 64, "https://HOST:PORT"), (["drain", "fra", "now"], 64, "too much"),
            (["rotate", "fra"], 75, "has no credential")]:
        told = root.ctl("relay", *words)
        assert told.returncode == status and says in told.stdout, (words, told.stdout)
    mode = os.stat(os.path.join(root.state, "relays.json")).st_mode
    assert mode & 0o7777 == 0o600
    root.ctl("relay", "remove", "fra")
    assert relay_ctl(root, "list")["relays"] == []


def test_strangers_learn_nothing_and_are_slowed_down(root):
    begin = len(root.log())
    wrong = {"secret": "A" * 43, "name": "fra"}
    for _ in range(10):
        refused = ask(root, "/api/relay/enrol", wrong, address="127.0.0.66")
        assert refused.status == 403 and "not known" in refused.json()["error"]
    late = ask(root, "/api/relay/enrol", wrong, address="127.0.0.66")
    assert late.status == 429 and 1 <= int(late.headers["Retry-After"]) <= 6
    assert root.log()[begin:].count("127.0.0.66") == 1
    assert ask(root, "/api/relay/enrol", {"secret": 7}, address="127.0.0.67").status == 400
    assert ask(root, "/api/relay/check", {}, bearer="A" * 43, address="127.0.0.67").status == 403
    # not at the main port
    assert harness.request(root.url, "/api/relay/enrol", "POST", body=json.dumps(wrong)).status == 404
