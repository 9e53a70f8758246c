"""The load generator: a crowd at the real nodes, and servers that do one thing wrong, which it has to notice."""
import contextlib
import http.server
import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import frame_offset
from stage import Together

together = Together(9)
LOAD = os.path.join(harness.BUILD, "forever-load")
KBPS = 128
FIRST = 100000
BASE = frame_offset(KBPS, FIRST)


def load(url, *options, status=0):
    done = subprocess.run([LOAD, *map(str, options), url], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=harness.HANG_S, text=True)
    assert done.returncode == status, f"exit status {done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def programme(seconds):
    """Frames of made-up audio from FIRST on."""
    out = bytearray()
    for frame in range(FIRST, FIRST + int(seconds / harness.FRAME_S)):
        size = frame_offset(KBPS, frame + 1) - frame_offset(KBPS, frame)
        out += bytes([0xff, 0xfb, 0x90 | (size > 417) << 1, 0x40]) + bytes([frame % 251]) * (size - 4)
    return bytes(out)


@contextlib.contextmanager
def server(answer):
    """answer(handler, n) serves the n-th request; what breaks is the listener's to see."""
    count = iter(range(10**6))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.close_connection = True
            with contextlib.suppress(OSError):
                answer(self, next(count))

        def log_message(self, *_):
            pass

        def stream(self, pieces, status=200, **headers):
            self.send_response(status)
            for name, value in {"icy-br": KBPS, "X-Forever-Position": FIRST, **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            for pause, piece in pieces:
                time.sleep(pause)
                self.wfile.write(piece)

    node = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    node.daemon_threads = True
    threading.Thread(target=node.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{node.server_port}"
    finally:
        node.shutdown()
        node.server_close()


AUDIO = programme(30)


@together
def test_a_crowd_at_root_and_relay(start):
    root = start.root(aired=True, lead=10, max_listeners=20)
    relay = start.relay(root)
    harness.wait_for(lambda: any(r["healthy"] for r in root.stats()["relays"]), "the root knows the relay")
    said = load(root.url + "/stream.mp3", "--listeners", 60, "--ramp", 0.5, "--seconds", 2, "--stalled", 2, "--trickle", 2)
    assert said["heard"] == said["streaming"] == 60 and said["breaks"] == 0
    assert said["redirects"] == said["served"][relay.url[7:]] > 30 and said["served"][root.url[7:]] > 10
    assert said["compared_bytes"] > said["bytes"] * 0.8, "what one node sent was compared with the other's"


@together
def test_a_crowd_outlives_its_killed_node(start):
    """Everybody goes on at the very byte: nothing twice, nothing missing, nothing silent."""
    state, port = start.state(aired=KBPS), harness.free_port()
    root = start.root(state=state, port=port, lead=10)
    harness.wait_for(lambda: root.stats()["position"] > 300, "some seconds have aired", 15)
    with harness.Crowd(root.url + "/stream.mp3", 40, "--listen", "--jitter", 0.3) as crowd:
        root.kill()
        died = time.monotonic()
        root = start.root(state=state, port=port, lead=10)
        harness.wait_for(lambda: root.stats()["listeners"] == 40, "all are back")
        away = time.monotonic() - died
        said = crowd.report(silence=away > 5)  # they have four seconds, and two are allowed
    assert said["resumed"] >= 40 and said["restarted"] == 0 and said["compared_bytes"] > said["bytes"] * 0.8, said


def one_wrong(pieces, listeners=1, first=None, **headers):
    """The report on a server that sends `first` to the first listener and `pieces` to the others."""
    with server(lambda handler, n: handler.stream([(0, first if first and not n else pieces), (9, b"")], **headers)) as url:
        return load(url + "/", "--listeners", listeners, "--ramp", 0.3, "--seconds", 2, "--once", status=1)


@together
def test_wrong_bytes_are_noticed(_):
    """The second listener gets another byte; or a byte is missing; or the chunks are wrong; or no place is told."""
    other = AUDIO[:5000] + bytes([AUDIO[5000] ^ 1]) + AUDIO[5001:]
    lost = AUDIO[:5000] + AUDIO[5001:]
    with ThreadPoolExecutor() as pool:
        cases = [pool.submit(one_wrong, other, 2, AUDIO), pool.submit(one_wrong, lost, 2, AUDIO),
                 pool.submit(one_wrong, b"3\r\nabcd\r\n", Transfer_Encoding="chunked"),
                 pool.submit(one_wrong, lost, X_Forever_Position="x")]
        for case in cases:
            said = case.result()
            assert said["breaks"] >= 1 and said["heard"] == said["listeners"], said


@together
def test_silence_is_noticed(_):
    """A pause of 2.6 s after a quarter of a second of audio; a busy machine makes it longer, or seem shorter."""
    def off_by():
        with server(lambda handler, n: handler.stream([(0, AUDIO[:4000]), (2.6, AUDIO[4000:]), (9, b"")])) as url:
            said = load(url + "/", "--listeners", 1, "--seconds", 4, status=1)
        assert said["starved_2s"] == 1 and said["starved_5s"] == 0
        return max(abs(said["silence_ms"]["max"] - 2350), abs(said["gap_ms"]["max"] - 2600)) / 1000
    harness.within(0.2, off_by, "the pause as it was")


@together
def test_a_broken_connection_is_resumed(_):
    """/api/listen, a redirect that keeps the query, a cut in mid-frame, Range with the bytes so far."""
    seen = []

    def answer(handler, n):
        seen.append((handler.path, handler.headers.get("Range")))
        if handler.path.startswith("/api/listen"):
            body = json.dumps({"url": f"http://{handler.headers['Host']}/stream.mp3?from={FIRST}&client=ab"}).encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        elif handler.path.startswith("/stream"):
            handler.send_response(302)
            handler.send_header("Location", "/node" + handler.path)
            handler.end_headers()
        elif not handler.headers.get("Range"):
            handler.stream([(0, AUDIO[:20001])])
        else:
            begin = int(handler.headers["Range"][6:-1])
            position = FIRST
            while frame_offset(KBPS, position + 1) - BASE <= begin:
                position += 1
            handler.stream([(0, AUDIO[begin:]), (9, b"")], status=206, X_Forever_Position=position,
                           Content_Range=f"bytes {begin}-1099511627775/*")
    with server(answer) as url:
        said = load(url + "/stream.mp3", "--listeners", 1, "--seconds", 3, "--listen", "--jitter", 0.1)
    assert said["resumed"] == 1 and said["restarted"] == said["jumps"] == said["breaks"] == 0
    assert said["redirects"] == 2 and said["reconnects"] == 1
    path = f"/stream.mp3?from={FIRST}&client=ab"
    assert seen == [("/api/listen?mount=stream", None), (path, None), ("/node" + path, None),
                    (path, "bytes=20001-"), ("/node" + path, "bytes=20001-")]


def listen_answer(handler, url):
    body = json.dumps({"url": url, "from": int(url.split("from=")[1].split("&")[0])}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def ask_again(after_cut, status=0):
    """What the generator says, and what the nodes were asked, when the node it was sent to breaks in mid-frame, the
    root gives another one (503 first), and that one answers as after_cut(handler, first byte asked for) does."""
    asked = []

    def refuse(handler):
        handler.send_response(503)
        handler.send_header("Retry-After", "0.3")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def first(handler, n):
        asked.append(("first", handler.path, handler.headers.get("Range")))
        handler.stream([(0, AUDIO[:20001])])

    def second(handler, n):
        asked.append(("second", handler.path, handler.headers.get("Range")))
        after_cut(handler, int(handler.headers["Range"][6:-1]))

    def root(handler, n):
        asked.append(("root", handler.path, handler.headers.get("Range")))
        if n == 1:
            return refuse(handler)
        listen_answer(handler, [a, None, b][n] + f"/stream.mp3?burst=15&from={FIRST + 500 * n}&client=c{n}")
    with server(first) as a, server(second) as b, server(root) as r:
        said = load(r + "/", "--listeners", 1, "--seconds", 2, "--again", "--jitter", 0.1, status=status)
        return said, asked, [node[7:] for node in (a, b, r)]


def at_byte(byte):
    position = FIRST
    while frame_offset(KBPS, position + 1) - BASE <= byte:
        position += 1
    return position


@together
def test_asking_again_goes_on_at_another_node(_):
    """The root is asked again, whoever it gives is asked for the byte where it broke off, by the first one's count."""
    def good(handler, begin):
        handler.stream([(0, AUDIO[begin:]), (9, b"")], status=206, X_Forever_Position=at_byte(begin),
                       Content_Range=f"bytes {begin}-1099511627775/*")
    said, asked, (a, b, r) = ask_again(good)
    assert asked == [("root", "/api/listen", None), ("first", f"/stream.mp3?burst=15&from={FIRST}&client=c0", None),
                     ("root", "/api/listen", None), ("root", "/api/listen", None),
                     ("second", f"/stream.mp3?burst=15&from={FIRST}&client=c2", "bytes=20001-")]
    cuts = said["cuts"]
    assert said["resumed"] == 1 and said["restarted"] == said["jumps"] == said["breaks"] == 0
    assert [cuts[k] for k in ("count", "back", "in_time", "late", "open", "in_time_share")] == [1, 1, 1, 0, 0, 1]
    assert 290 < cuts["back_ms"]["p50"] == cuts["back_ms"]["max"] < 1900, "503 with Retry-After 0.3, and two pauses up to 0.2 s"
    assert said["nodes"] == {a: {"listeners": 0, "most": 1, "refused": 0}, b: {"listeners": 1, "most": 1, "refused": 0},
                             r: {"listeners": 0, "most": 0, "refused": 1}}


@together
def test_asking_again_notices_what_is_lost_or_repeated(_):
    """The node begins anew; or a byte earlier; or it says one byte and sends another; or a frame later."""
    def anew(handler, begin):
        handler.stream([(0, AUDIO), (9, b"")])

    def shifted(by, says):
        def answer(handler, begin):
            handler.stream([(0, AUDIO[begin + by:]), (9, b"")], status=206, X_Forever_Position=at_byte(begin + says),
                           Content_Range=f"bytes {begin + says}-1099511627775/*")
        return answer
    cases = {"restarted": [anew], "breaks": [shifted(-1, -1), shifted(1, 0)], "jumps": [shifted(418, 418)]}
    with ThreadPoolExecutor() as pool:
        runs = [(kind, pool.submit(ask_again, answer, status=1)) for kind, answers in cases.items() for answer in answers]
        for kind, run in runs:
            assert run.result()[0][kind] >= 1, (kind, run.result())


@together
def test_asking_again_returns_to_the_node_when_the_root_is_gone(_):
    """Nobody answers at the root any more: the node where one was still does."""
    ranges, stopping = [], threading.Event()

    def node(handler, n):
        ranges.append(handler.headers.get("Range"))
        begin = int((ranges[-1] or "bytes=0-")[6:-1])
        handler.stream([(0, AUDIO[begin:begin + 20001])] if not n else [(0, AUDIO[begin:]), (9, b"")],
                       status=206 if n else 200, X_Forever_Position=at_byte(begin))

    def root(handler, n):
        if n:
            stopping.set()  # and says nothing
        else:
            listen_answer(handler, url + f"/stream.mp3?from={FIRST}")
    with server(node) as url, server(root) as r:
        said = load(r + "/stream.mp3", "--listeners", 1, "--seconds", 2, "--again", "--jitter", 0.1)
    assert stopping.is_set() and ranges == [None, "bytes=20001-"] and said["resumed"] == 1 and said["jumps"] == 0


@together
def test_other_machines_are_refused(_):
    assert "--allow" in load("http://192.0.2.1:8000/", status=69)

    def elsewhere(handler, n):
        handler.send_response(302)
        handler.send_header("Location", "http://192.0.2.1:8000/stream.mp3")
        handler.end_headers()
    with server(elsewhere) as url:
        assert "192.0.2.1" in load(url + "/", "--listeners", 3, status=69)
