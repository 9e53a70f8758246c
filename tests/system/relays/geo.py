"""Geography: listeners by continent, from a database that the operator has."""
import contextlib
import http.server
import ipaddress
import json
import os
import threading

import harness
from harness import Listener
from relays import together


def text(value):
    return bytes([2 << 5 | len(value)]) + value.encode()


def number(kind, size, value):
    return (bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])) + value.to_bytes(size, "big")


def mapping(pairs):
    return bytes([7 << 5 | len(pairs)]) + b"".join(text(k) + v for k, v in pairs.items())


def write_database(path, networks, kind="Test-Country"):
    """A database in the MaxMind DB format 2.0: {IPv4 or IPv6 network: (continent, country)}."""
    nodes, data = [[None, None]], b""
    for network, (continent, country) in networks.items():
        network = ipaddress.ip_network(network)
        bits = 128 - network.max_prefixlen + network.prefixlen  # IPv4 lies at ::/96
        address, at = int(network.network_address), 0
        for i in range(bits):
            side = address >> (127 - i) & 1
            if i == bits - 1:
                nodes[at][side] = ("data", len(data))
            elif nodes[at][side] is None:
                nodes.append([None, None])
                nodes[at][side] = len(nodes) - 1
            at = nodes[at][side]
        data += mapping({"continent": mapping({"code": text(continent)}), "country": mapping({"iso_code": text(country)})})

    def value(to):
        return len(nodes) if to is None else len(nodes) + 16 + to[1] if isinstance(to, tuple) else to
    tree = b"".join(value(to).to_bytes(3, "big") for node in nodes for to in node)
    meta = mapping({"node_count": number(6, 4, len(nodes)), "record_size": number(5, 2, 24), "ip_version": number(5, 2, 6),
                    "database_type": text(kind), "languages": b"\x00\x04", "binary_format_major_version": number(5, 2, 2),
                    "binary_format_minor_version": number(5, 2, 0), "build_epoch": number(9, 8, 1767225600),
                    "description": mapping({})})
    with open(path + ".new", "wb") as f:
        f.write(tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + meta)
    os.rename(path + ".new", path)


@together
def test_listeners_by_continent(start):
    """Here and behind a proxy, both families; a new edition is read by ctl reload, a broken one is not."""
    path = start.folder("geo")
    write_database(path, {"192.0.2.0/24": ("EU", "DE"), "2001:db8::/32": ("SA", "BR")})
    root = start.root(aired=True, lead=10, geo_db=path)

    def listen(address):
        with Listener(root.url, headers={"X-Forwarded-For": address}) as listener:
            assert listener.status == 200

    def joins():
        return {k: n for k, n in root.stats()["geo"]["joins"].items() if n}
    for address in ("192.0.2.77", "192.0.2.78", "2001:db8:1::5", "203.0.113.1"):
        listen(address)
    with Listener(root.url):
        pass
    assert joins() == {"eu": 2, "sa": 1, "unknown": 2}
    write_database(path, {"203.0.113.0/24": ("OC", "NZ")})
    assert root.ctl("reload").returncode == 0
    listen("203.0.113.1")
    listen("192.0.2.77")
    assert joins() == {"eu": 2, "sa": 1, "oc": 1, "unknown": 3}
    with open(path, "wb") as f:
        f.write(b"<html>no such licence key</html>")
    said = root.ctl("reload")
    assert said.returncode != 0 and path in said.stdout and "not a database" in said.stdout, said.stdout
    listen("203.0.113.1")
    assert joins() == {"eu": 2, "sa": 1, "oc": 2, "unknown": 3}, "the old edition stays in use"


@together
def test_a_bad_database_is_refused_at_the_start(start):
    path = start.folder("geo")
    root = harness.Root(start.crate, start.folder(), wait=False, geo_db=path)
    assert root.wait() == 66 and f"--geo-db: {path}: No such file" in root.log()


@contextlib.contextmanager
def cast():
    """The status page of an Icecast server with nobody there; its stream's address."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"icestats": {"source": {"listenurl": "http://a/ours.mp3", "listeners": 0}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ours.mp3"
    server.shutdown()
    server.server_close()


@together
def test_listeners_are_sent_to_their_region(start):
    path = start.folder("geo")
    write_database(path, {"192.0.2.0/24": ("EU", "DE"), "198.51.100.0/24": ("NA", "CA"), "2001:db8::/32": ("EU", "FR")})
    root = start.root(aired=True, lead=10, geo_db=path, relay_limit=0)
    with cast() as near, cast() as far:
        for name, url, region in (("near", near, "eu-de"), ("far", far, "na")):
            said = root.ctl("relay", "add", name, "--icecast", url, "--region", region)
            assert said.returncode == 0, said.stdout
        harness.wait_for(lambda: sum(r["healthy"] for r in root.stats()["relays"]) == 2, "both answer", 5)
        for address, url in (("192.0.2.7", near), ("2001:db8::9", near), ("198.51.100.7", far)) * 3:
            with Listener(root.url, headers={"X-Forwarded-For": address}) as sent:
                assert sent.status == 302 and sent.headers["location"].startswith(url), (address, sent.headers)
