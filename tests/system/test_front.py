"""The listening side with real clients and real proxies: addresses, limits, the access log, HTTP by the letter."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import Listener, request, wait_for

KBPS = 128


def metric(url, name):
    for line in request(url, "/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"{name} is not among the metrics")


def refused(url, reason):
    return metric(url, f'forever_refused_total{{reason="{reason}"}}')


def read_log(path):
    with open(path, encoding="ascii") as f:
        return f.read().splitlines()


def lines_with(path, text):
    with contextlib.suppress(FileNotFoundError):
        return [line for line in read_log(path) if text in line]
    return []


LINE = re.compile(r'^(\S+) - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(.*?)" (\d+) (\d+) "(.*?)" "(.*?)" (\d+\.\d{3}) (\S+) (\S+)$')


@pytest.fixture(scope="module")
def node(crate, analysed, scratch, token):
    """A root with an access log, at IPv4 and IPv6."""
    state = os.path.join(scratch, "front-station")
    shutil.copytree(analysed, state)
    port = harness.free_port()
    root = harness.Root(crate, state, bitrate=KBPS, port=port, relay_token_file=token,
                        listen=[f"127.0.0.1:{port}", f"[::1]:{port}", f"127.0.0.2:{port + 1}"],
                        link_listen="none", access_log=os.path.join(state, "access.log"))
    root.access = os.path.join(state, "access.log")
    with socket.create_connection(("127.0.0.1", port), harness.HANG_S) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n")
        root.slow = slow  # for the last test: it takes the deadline's ten seconds
        yield root
    assert root.stop() == 0


def test_addresses(node, start):
    for host in (f"127.0.0.1:{node.port}", f"[::1]:{node.port}", f"127.0.0.2:{node.port + 1}"):
        assert subprocess.run(["curl", "-sf", "-o", "/dev/null", f"http://{host}/health"]).returncode == 0, host
    assert subprocess.run(["curl", "-sf", f"http://127.0.0.1:{node.port + 1}/health"]).returncode == 7
    playlist = subprocess.run(["curl", "-sf", f"http://[::1]:{node.port}/stream.m3u"], stdout=subprocess.PIPE).stdout.decode()
    assert f"http://[::1]:{node.port}/stream.mp3" in playlist
    # one socket for both: a v4 client is known by its own address
    port = harness.free_port()
    relay = start.relay(node, listen=f":{port}", port=port, access_log=os.path.join(node.state, "relay.log"),
                        access_addresses="whole")
    for host in ("127.0.0.1", "[::1]"):
        assert subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://{host}:{port}/health"]).returncode == 0
    path = os.path.join(node.state, "relay.log")
    wait_for(lambda: lines_with(path, "::1 - -") and lines_with(path, "127.0.0.1 - -"), "both stand in the relay's log")
    assert relay.alive()


def test_access_log(node):
    agent = "log/1 \"quoted\" \\x"
    with Listener(node.url, path="/stream.mp3?x=1", headers={"User-Agent": agent, "Referer": "http://r/"}) as one:
        got, heard = len(one.read(30000)) + len(one.rest), time.monotonic()
        wait_for(lambda: time.monotonic() > heard + 0.1, "a tenth of a second")
    (line,) = wait_for(lambda: lines_with(node.access, "/stream.mp3?x=1"), "the listener's line")
    peer, asked, status, size, referer, known, seconds, reason, mount = LINE.match(line).groups()
    assert (peer, asked, status) == ("127.0.0.0", "GET /stream.mp3?x=1 HTTP/1.1", "200")
    assert int(size) >= got and 0.09 < float(seconds) < 30
    assert (referer, known, reason, mount) == ("http://r/", r"log/1 \x22quoted\x22 \x5cx", "client", "stream")
    request(node.url, "/nowhere")
    (line,) = wait_for(lambda: lines_with(node.access, "/nowhere"), "the request's line")
    assert LINE.match(line).group(3) == "404" and line.endswith(" - -")
    with open(node.access, encoding="ascii") as f:
        assert all(LINE.match(line.rstrip("\n")) for line in f if line.endswith("\n"))  # the last one may be in the making
    # logrotate's way
    os.rename(node.access, node.access + ".old")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: os.path.exists(node.access), "the log is opened again")
    request(node.url, "/nowhere-else")
    wait_for(lambda: lines_with(node.access, "/nowhere-else"), "lines go to the new file")
    assert metric(node.url, 'forever_access_log_lines_total{result="dropped"}') == 0


def test_limits_by_address_and_mount(start):
    root = start.root(bitrate=KBPS, address_limit=2, mount_limit="stream=3")
    first = [Listener(root.url) for _ in range(2)]
    with Listener(root.url) as third:
        assert third.status == 429 and int(third.headers["retry-after"]) >= 1
        assert third.headers["access-control-allow-origin"] == "*"
        assert "from this address" in third.read(int(third.headers["content-length"])).decode()
    # behind a proxy each has an address of its own, and a /64 is one
    def behind(address):
        return Listener(root.url, headers={"X-Forwarded-For": address})
    with behind("203.0.113.1") as fourth:
        assert fourth.status == 200
        with behind("203.0.113.2") as fifth:
            assert fifth.status == 503 and "no room" in fifth.read(int(fifth.headers["content-length"])).decode()
        # a HEAD is told the same, and does not count
        assert request(root.url, "/stream.mp3", "HEAD", headers={"X-Forwarded-For": "203.0.113.2"}).status == 503
    assert refused(root.url, "address") == 1 and refused(root.url, "mount") == 1
    for one in first:
        one.close()
    wait_for(lambda: root.stats()["listeners"] == 0, "all counted out")
    a, b = behind("2001:db8:0:1::1"), behind("2001:db8:0:1::2")
    with behind("2001:db8:0:1:ffff::3") as c, behind("2001:db8:0:2::1") as d:
        assert [one.status for one in (a, b, c, d)] == [200, 200, 429, 200]
    a.close()
    b.close()
    assert "turned away" in root.log()


def test_limits_of_the_node(start):
    # 0.3 Mbit/s hold two streams of 128 kbit/s; joins come back at one in twenty seconds
    root = start.root(bitrate=KBPS, uplink=0.3)
    with Listener(root.url) as a, Listener(root.url) as b, Listener(root.url) as c:
        assert [one.status for one in (a, b, c)] == [200, 200, 503]
        assert c.headers["retry-after"] == "10"
    assert refused(root.url, "uplink") == 1
    relay = start.relay(root, join_rate=0.05)
    with Listener(relay.url) as a, Listener(relay.url) as b:
        assert [one.status for one in (a, b)] == [200, 503]
        gone = time.monotonic() - a.begin
        assert 20 - gone <= int(b.headers["retry-after"]) <= 21
    assert refused(relay.url, "joins") == 1


NGINX = """daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      proxy_pass {root}; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
      proxy_set_header Host $http_host; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""

HAPROXY = """global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen one
  bind 127.0.0.1:{port}
  server root 127.0.0.1:{root} send-proxy-v2
listen two
  bind 127.0.0.1:{second}
  server root 127.0.0.1:{root} send-proxy
"""


@contextlib.contextmanager
def running(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up():
        assert process.poll() is None, f"{command[0]} ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
    try:
        wait_for(up, f"{command[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait(harness.HANG_S)


def test_behind_nginx(start, tmp_path):
    import test_tls
    cert, key = test_tls.make_certificate(str(tmp_path), "site", "radio.example")
    log = str(tmp_path / "access.log")
    root = start.root(bitrate=KBPS, access_log=log, access_addresses="whole")
    port = harness.free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(dir=tmp_path, port=port, root=root.url, cert=cert, key=key))
    with running(["/usr/sbin/nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], port):
        curl = ["curl", "-sS", "--cacert", cert, "--resolve", f"radio.example:{port}:127.0.0.1"]
        site = f"https://radio.example:{port}"
        # what a client claims stands before what the proxy says, and is not believed
        done = subprocess.run([*curl, "-H", "X-Forwarded-For: 8.8.8.8, 198.51.100.7", site + "/stream.m3u"], stdout=subprocess.PIPE)
        assert done.returncode == 0 and f"{site}/stream.mp3" in done.stdout.decode()
        line = wait_for(lambda: lines_with(log, "/stream.m3u"), "the line")[0]
        assert line.split()[0] == "198.51.100.7"  # 127.0.0.1 is trusted here: it stands for a proxy further in front
        with subprocess.Popen([*curl, site + "/stream.mp3"], stdout=subprocess.PIPE) as endless:
            assert len(endless.stdout.read(40000)) == 40000
            endless.terminate()
        # over a proxy nobody is on this machine
        assert request(root.url, "/link", headers={"X-Forwarded-For": "203.0.113.1", "Authorization": "Bearer x"}).status == 403


def test_behind_haproxy(start, tmp_path):
    log = str(tmp_path / "access.log")
    root = start.root(bitrate=KBPS, access_log=log, access_addresses="whole")
    port = harness.free_port()
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port, second=port + 1, root=root.port))
    with running(["/usr/sbin/haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")], port):
        for number, where in enumerate((port, port + 1)):
            answer = subprocess.run(["curl", "-sS", "--interface", f"127.0.0.{number + 5}", f"http://127.0.0.1:{where}/api/now?{number}"],
                                    stdout=subprocess.PIPE)
            assert answer.returncode == 0 and b"station_id" in answer.stdout
            line = wait_for(lambda n=number: lines_with(log, f"/api/now?{n}"), "the line")[0]
            assert line.split()[0] == f"127.0.0.{number + 5}"
        with Listener(f"http://127.0.0.1:{port}") as listener:
            assert listener.status == 200 and len(listener.read(20000)) == 20000
    assert metric(root.url, "forever_proxy_headers_total") >= 3


def test_untrusted_proxies_are_not_believed(start, tmp_path):
    log = str(tmp_path / "access.log")
    root = start.root(access_log=log, access_addresses="whole", trusted_proxy="none")
    request(root.url, "/api/now", headers={"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https"})
    line = wait_for(lambda: lines_with(log, "/api/now"), "the line")[0]
    assert line.split()[0] == "127.0.0.1"
    playlist = request(root.url, "/stream.m3u", headers={"X-Forwarded-Proto": "https"}).body
    assert b"https:" not in playlist


# --- HTTP by the letter ----------------------------------------------------------------------------------

def raw(node, text, end=b""):
    """Sends bytes; everything that comes until the server closes, or until `end` is in it."""
    with socket.create_connection(("127.0.0.1", node.port), harness.HANG_S) as s:
        s.settimeout(harness.HANG_S)
        s.sendall(text)
        data = b""
        while not end or end not in data:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
        return data


def head_of(node, method, path):
    text = raw(node, f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode(),
               b"\r\n\r\n" if path.startswith("/stream.mp3") else b"")
    head, _, body = text.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    for moving in ("Date", "X-Forwarded-Position", "X-Forever-Position", "Content-Length", "ETag", "Last-Modified"):
        fields.pop(moving, None)
    return lines[0], fields, body


@pytest.mark.parametrize("path", ["/", "/stream.mp3", "/stream.mp3?from=1&nearest=1", "/stream.m3u", "/stream.pls", "/api/now",
                                  "/api/stats", "/status-json.xsl", "/metrics", "/health", "/nowhere", "/hls/index.m3u8",
                                  "/api/listen"])
def test_head_is_get_without_a_body(node, path):
    get, head = head_of(node, "GET", path), head_of(node, "HEAD", path)
    assert get[:2] == head[:2] and head[2] == b""


def test_options_and_methods(node):
    for path in ("/stream.mp3", "/api/now", "/stream.m3u", "/hls/index.m3u8"):
        answer = request(node.url, path, "OPTIONS", headers={"Origin": "http://o", "Access-Control-Request-Headers": "range"})
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Range" in answer.headers["Access-Control-Allow-Headers"]
        wrong = request(node.url, path, "DELETE")
        assert wrong.status == 405 and "GET" in wrong.headers["Allow"] and wrong.headers["Access-Control-Allow-Origin"] == "*"
    assert request(node.url, "/stream.mp3", "BREW").status == 501


def test_limits_of_a_request(node):
    assert b" 431 " in raw(node, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20000 + b"\r\n\r\n")
    assert b" 414 " in raw(node, b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b" 413 " in raw(node, b"POST /api/relay/report HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n")


def test_nothing_to_smuggle(node):
    for fields in (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Content-Length: 5\r\nContent-Length: 6",
                   b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked", b"Content-Length: +5",
                   b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"X: a\n\nGET /smuggled HTTP/1.1"):
        answer = raw(node, b"POST /api/relay/report HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (400|413|501) ", answer) and answer.count(b"HTTP/1.1 ") == 1, (fields, answer)
    assert b"smuggled" not in open(node.access, "rb").read()


def test_pipelined_and_kept_alive(node):
    asked = b"GET /api/now HTTP/1.1\r\nHost: h\r\n\r\nHEAD /health HTTP/1.1\r\nHost: h\r\n\r\n" \
            b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answers = raw(node, asked)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"200", b"404"]
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", node.url + "/health", node.url + "/api/now"],
                          stdout=subprocess.PIPE)
    assert done.stdout == b"1 0 "


def test_a_header_that_never_ends(node):
    """The deadline is absolute: what trickles in does not move it."""
    node.slow.settimeout(0.5)

    def answer():
        with contextlib.suppress(socket.timeout):
            return node.slow.recv(4096)
        with contextlib.suppress(OSError):
            node.slow.sendall(b"X")
    data = wait_for(answer, "it is answered", 15)
    assert data.startswith(b"HTTP/1.1 408 ")
    assert metric(node.url, 'forever_connections_refused_total{reason="slow"}') >= 1
