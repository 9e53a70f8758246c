"""The link over TLS: the listener that relays come to, its key, and who is let in."""
import json
import re
import socket
import subprocess

import harness
from harness import Listener, Recorder
from relays import together


def link_of(root):
    status = json.loads(root.ctl("--json", "status").stdout)
    return status["link"]


def tree_of(root):
    return {r["name"]: (r["upstream"], r["parent"], r["feeds"]) for r in harness.request(root.url, "/api/relays").json()["relays"]}


def curl(*arguments):
    return subprocess.run(["curl", "-s", "--max-time", str(10 * harness.SLOW), *arguments], capture_output=True,
                          timeout=harness.HANG_S)


@together
def test_relays_come_in_over_tls_with_a_key_that_lasts(start):
    state = start.state(aired=128)
    root = start.root(state=state, lead=10)
    link = link_of(root)
    assert link["port"] == root.port + 1 and re.fullmatch(r"sha256//[A-Za-z0-9+/]{43}=", link["pin"]), link
    assert f"port {link['port']}, whose key is {link['pin']}" in root.log()
    with open(start.token) as f:
        bearer = "Authorization: Bearer " + f.read().strip()
    url = f"https://127.0.0.1:{link['port']}/link?mount=main"
    known = ["-k", "--pinnedpubkey", link["pin"]]
    with subprocess.Popen(["curl", "-s", *known, "-H", bearer, url], stdout=subprocess.PIPE) as endless:
        taken = endless.stdout.read(600)
        endless.terminate()
    assert taken[0] == 1 and b'"station"' in taken, "records come"
    assert curl(*known, url, "-o", "/dev/null", "-w", "%{http_code}").stdout == b"401"
    assert curl(*known, "-H", "Authorization: Bearer wrong", url, "-o", "/dev/null", "-w", "%{http_code}").stdout == b"403"
    other = link["pin"][:10] + ("A" if link["pin"][10] != "A" else "B") + link["pin"][11:]
    assert curl("-k", "--pinnedpubkey", other, "-H", bearer, url).returncode == 90, "another key is not this station"
    assert root.stop() == 0
    taken = socket.socket()
    taken.bind(("127.0.0.1", root.port + 1))
    taken.listen()
    again = start.root(state=state, port=root.port, wait=False)
    again.wait_up()
    assert link_of(again) is None and "--link-listen ADDR:PORT takes another" in again.log()
    taken.close()
    again.stop()
    last = start.root(state=state, link_listen="127.0.0.1:0", wait=False)
    last.wait_up()
    assert link_of(last)["pin"] == link["pin"], "the key is kept"
    assert link_of(last)["port"] not in (0, last.port + 1)


@together
def test_the_root_puts_a_relay_under_another_and_takes_it_back(start):
    root = start.root(aired=True, link_fanout=1)
    link = link_of(root)
    door = {"root_pin": link["pin"]}
    over = f"https://127.0.0.1:{link['port']}"
    middle = start.relay(over, name="middle", link_listen="127.0.0.1:0", uplink=10, **door)
    harness.wait_for(lambda: root.stats()["relays"], "the first has reported", 4)
    last = start.relay(over, name="last", **door)
    harness.wait_for(lambda: "proposes to pull from https://127.0.0.1:" in last.log(), "the other is put under it", 4)
    heard = Recorder(last.url)
    first = heard.listener.position
    at = int(re.search(r"pull from https://127.0.0.1:(\d+)", last.log()).group(1))
    harness.wait_for(lambda: len(heard.data) > 5 * 16000, "it is heard two hops from the root", 6)
    assert root.stats()["links"] == 1, "the root feeds the one in the middle, whom nobody hears"
    assert harness.established(at, last.process.pid) == 1
    assert harness.established(link["port"], last.process.pid) <= 1, "reports go to the root"
    told = {"middle": ("root", "root", 1), "last": ("middle", "middle", 0)}
    harness.wait_for(lambda: tree_of(root) == told, "the root tells who feeds whom", 5)
    one = harness.request(root.url, "/api/relays/last").json()
    assert (one["upstream"], one["parent"], one["feeds"]) == told["last"]
    harness.wait_for(lambda: {r["name"]: r["listeners"] for r in root.stats()["relays"]} == {"middle": 0, "last": 1},
                     "relays are no listeners", 5)
    middle.kill()
    at_loss = len(heard.data)
    harness.wait_for(lambda: harness.established(link["port"], last.process.pid) == 2 and root.stats()["links"] == 1,
                     "the root feeds the other one itself", 4)
    harness.wait_for(lambda: tree_of(root)["last"][0] == "root", "and says so", 5)
    harness.wait_for(lambda: len(heard.data) > at_loss + 16000, "it plays on", 5)
    assert not heard.ended
    frames = harness.split_frames(heard.finish())
    with Listener(root.url, path=f"/stream.mp3?from={first}") as one:
        assert one.position == first
        _, same = one.read_frames(128, len(frames) - 60)
    assert frames[:len(same)] == same, "no frame is lost or comes twice"
