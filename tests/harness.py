"""What the system tests share: real processes on loopback, conditions with deadlines, MP3 frames by number."""
import contextlib
import fcntl
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import wave

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
SLOW = float(os.environ.get("FOREVER_TEST_SLOW", "1"))
ROOT, RELAY, CRATE = (os.path.join(BUILD, name) for name in ("forever-root", "forever-relay", "forever-crate"))
FRAME_S = 1152 / 44100


# --- time -----------------------------------------------------------------------------------------------

STRETCH = 4  # a busy machine has this many times as long, at most
HANG_S = 200 * SLOW  # for programs whose time nothing is to be said about: nobody needs that long


def crowded_s():
    """Seconds, since some time ago, in which a process of this machine was kept waiting for a processor."""
    with contextlib.suppress(OSError), open("/proc/pressure/cpu") as f:
        return int(f.readline().rsplit("total=", 1)[1]) / 1e6
    return 0.0


class Watch:
    """Seconds since it was made. Those in which the machine was kept busy by others count for a part, so that what
    is promised of a machine with a processor to spare is asked of such a one."""

    def __init__(self):
        self.begin, self.crowded = time.monotonic(), crowded_s()

    @property
    def seconds(self):
        went = time.monotonic() - self.begin
        return max(went - (crowded_s() - self.crowded), went / STRETCH)

    @property
    def stretch(self):
        """How much slower things may have gone since: 1 to STRETCH."""
        return (time.monotonic() - self.begin) / self.seconds


def wait_for(condition, what, deadline_s=10.0):
    """Polls until condition() is truthy and returns it; fails naming `what` (or what it returns) after the deadline."""
    watch = Watch()
    while True:
        value = condition()
        if value:
            return value
        if watch.seconds > deadline_s * SLOW:
            raise AssertionError(f"not within {deadline_s * SLOW:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def within(limit_s, attempt, what, tries=5):
    """attempt() returns the seconds that something took: one of a few has to stay within the limit. What else the
    machine does makes things slower, never faster, so the quickest says what the program can do; as far as the
    machine was kept busy all the time."""
    took, watch = [], Watch()
    while not took or min(took) > limit_s * SLOW:
        if len(took) == tries:
            limit_s *= watch.stretch
            assert min(took) <= limit_s * SLOW, f"not within {limit_s * SLOW:g} s: {what}: " + ", ".join(f"{t:.3f} s" for t in took)
            return
        took.append(attempt())


def unless_busy(attempt, clear, tries=3):
    """attempt() has to do well; where others kept the machine busy for a third of the time, it may try again once
    clear() has been called."""
    for left in reversed(range(tries)):
        begin, crowded = time.monotonic(), crowded_s()
        try:
            return attempt()
        except AssertionError:
            if not left or crowded_s() - crowded < (time.monotonic() - begin) / 3:
                raise
            clear()


def draw_seed():
    """For what is drawn at random. The same each time, so that a failure is about the change; FOREVER_SEED says another, and
    the long checks (FOREVER_LONG) take a new one each time."""
    fixed = "" if os.environ.get("FOREVER_LONG") else "1"
    seed = int(os.environ.get("FOREVER_SEED") or fixed or random.SystemRandom().randrange(1, 1 << 16))
    print("seed", seed)
    return seed


def port_numbers():
    """Ports to listen at: below the range the system takes the clients' own from, a stretch of it for each test
    process, so that nobody else is given one between the choice and the use."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
    first, count = 12000 + worker * 2500, 2500
    at = os.getpid() * 7 % count
    while True:
        yield first + at
        at = (at + 2) % count


PORTS, CHOOSING = port_numbers(), threading.Lock()


def free_port():
    """A port that is free, with the next one."""
    while True:
        with CHOOSING:
            port = next(PORTS)
        with contextlib.suppress(OSError), socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", port))
            b.bind(("127.0.0.1", port + 1))
            return port


# --- MP3 frames by number -------------------------------------------------------------------------------

def frame_offset(kbps, frame):
    """Byte of a frame in the endless stream: the encoder's padding, added up."""
    whole, fraction = divmod(144000 * kbps, 44100)
    return frame * whole + (0 if frame == 0 else -(-(frame - 1) * fraction // 44100))


def split_frames(data):
    """Whole frames of a byte string that starts at a frame; what is left of the last one is dropped."""
    rates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    frames, at = [], 0
    while at + 4 <= len(data):
        head = data[at:at + 4]
        assert head[0] == 0xFF and head[1] & 0xFE == 0xFA, f"no frame header at byte {at}: {head.hex()}"
        size = 144000 * rates[head[2] >> 4] // 44100 + (head[2] >> 1 & 1)
        if at + size > len(data):
            break
        frames.append(data[at:at + size])
        at += size
    return frames


# --- titles between the frames -----------------------------------------------------------------------------

def read_titles(listener, kbps, blocks):
    """Reads a stream with Icy-MetaData up to its `blocks`-th metadata block: the audio, and each block as (the number
    of the frame that the audio goes on in behind it, the title it tells or None: as before)."""
    interval, frame, audio, told = int(listener.headers["icy-metaint"]), listener.position, b"", []
    begin = frame_offset(kbps, frame)
    for _ in range(blocks):
        audio += listener.read(interval)
        while frame_offset(kbps, frame + 1) <= begin + len(audio):
            frame += 1
        (units,) = listener.read(1)
        text = listener.read(units * 16).rstrip(b"\0").decode()
        assert not text or text.startswith("StreamTitle='") and text.endswith("';"), text
        told.append((frame, text[13:-2] if text else None))
    return audio, told


def assert_titles(told, titles):
    """What read_titles() was told is what `titles` of /api/segments, asked for afterwards, has at those very frames:
    the first block tells the title, later ones tell it when it has changed."""
    shown = None
    for frame, text in told:
        due = [t["text"] for t in titles if t["position"] <= frame][-1].replace("'", "\u2019")
        assert text == (None if due == shown else due), f"at frame {frame}: {text!r} after {shown!r}, due {due!r} of {titles}"
        shown = due


# --- HTTP -----------------------------------------------------------------------------------------------

class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    def json(self):
        return json.loads(self.body)


def request(url, path="/", method="GET", headers=None, body=None, timeout=10):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout * SLOW)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response, response.read())
    finally:
        connection.close()


class Dechunker:
    """Takes HTTP's chunk framing out of bytes as they come."""

    def __init__(self):
        self.raw, self.ended = b"", False

    def __call__(self, piece):
        self.raw += piece
        out = []
        while not self.ended and b"\r\n" in self.raw:
            line, rest = self.raw.split(b"\r\n", 1)
            size = int(line, 16)
            self.ended = size == 0
            if self.ended or len(rest) < size + 2:
                break
            assert rest[size:size + 2] == b"\r\n", "a chunk does not end where it says"
            out.append(rest[:size])
            self.raw = rest[size + 2:]
        return b"".join(out)


class Listener:
    """A bare HTTP listener: status and headers, then bytes as they come; nothing is followed. `reset` is set when
    the other side cut the connection rather than ending the body."""

    def __init__(self, url, path="/stream.mp3", headers=None, version="1.1", timeout=20, rcvbuf=None, wrap=None):
        parts = urllib.parse.urlsplit(url)
        path, self.reset = path or parts.path + ("?" + parts.query if parts.query else ""), False
        self.begin = time.monotonic()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(timeout * SLOW)
        self.socket.connect((parts.hostname, parts.port))
        if wrap:
            self.socket = wrap(self.socket)
        lines = [f"GET {path} HTTP/{version}", f"Host: {parts.netloc}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            piece = self.socket.recv(65536)
            if not piece:
                raise AssertionError(f"closed before the header's end: {self.rest!r}")
            self.rest += piece
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        first, *fields = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {k.strip().lower(): v.strip() for k, v in (f.split(":", 1) for f in fields)}
        self.plain = Dechunker() if self.headers.get("transfer-encoding") == "chunked" else lambda piece: piece
        self.rest = self.plain(self.rest)

    def recv(self, size=1 << 16):
        """The next bytes of the body; None at the end of the connection."""
        while True:
            try:
                piece = self.socket.recv(size)
            except ConnectionResetError:
                self.reset = True
                return None
            if not piece:
                return None
            piece = self.plain(piece)
            if piece:
                return piece

    @property
    def position(self):
        return int(self.headers["x-forever-position"])

    def read(self, count):
        """Exactly count bytes, or fewer when the stream ends."""
        pieces, have = [self.rest], len(self.rest)
        while have < count:
            piece = self.recv(min(1 << 16, max(4096, count - have)))
            if piece is None:
                break
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.rest = data[count:]
        return data[:count]

    def read_frames(self, kbps, count):
        """(first frame's number, list of `count` frames)"""
        first = self.position
        size = frame_offset(kbps, first + count) - frame_offset(kbps, first)
        return first, split_frames(self.read(size))

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Recorder(threading.Thread):
    """Listens in the background and keeps every byte until told to stop."""

    def __init__(self, url, **options):
        super().__init__(daemon=True)
        self.listener = Listener(url, **options)
        self.data, self.ended, self.stopping = bytearray(self.listener.rest), False, False
        self.listener.socket.settimeout(0.5)
        self.start()

    def run(self):
        while not self.stopping:
            try:
                piece = self.listener.recv()
            except socket.timeout:
                continue
            except OSError:
                break
            if piece is None:
                break
            self.data += piece
        self.ended = not self.stopping

    def finish(self):
        self.stopping = True
        self.join(HANG_S)
        self.listener.close()
        return bytes(self.data)


# --- processes ------------------------------------------------------------------------------------------

class Program:
    """One of our programs, started with its log in a file, ended by its own pid."""

    def __init__(self, command, log_path):
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def ask_to_end(self):
        """Whether it was running."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            return True
        return False

    def ended(self, limit=10):
        """The exit status of what was asked to end."""
        try:
            return self.wait(limit)
        except AssertionError as late:
            self.kill()
            raise AssertionError(f"{late}\n{self.log()[-3000:]}") from None

    def stop(self, limit=10):
        """Asks it to end; the exit status."""
        self.ask_to_end()
        return self.ended(limit)

    def wait(self, limit=10):
        """The exit status, once it has ended."""
        wait_for(lambda: not self.alive(), f"{os.path.basename(self.process.args[0])} ends", limit)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()


def options_of(values):
    out = []
    for name, value in values.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            out += ["--" + name.replace("_", "-"), str(item)]
    return out


class Root(Program):
    def __init__(self, library, state, bitrate=128, wait=True, port=None, **options):
        self.state, self.bitrate = str(state), bitrate
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        libraries = library if isinstance(library, (list, tuple)) else [library]
        os.makedirs(self.state, exist_ok=True)
        options.setdefault("lead", 30)
        self.began = time.monotonic()
        super().__init__([ROOT] + options_of({"library": [str(p) for p in libraries], "state": self.state,
                                              "listen": f"127.0.0.1:{self.port}", "bitrate": bitrate, **options}),
                         os.path.join(self.state, "log"))
        if wait:
            self.wait_music()

    def wait_up(self, deadline_s=5):
        def up():
            assert self.alive(), f"forever-root ended:\n{self.log()[-3000:]}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                return request(self.url, "/api/stats", timeout=2).status == 200
        wait_for(up, "the root answers", deadline_s)

    def wait_music(self, deadline_s=20):
        self.wait_up()

        def music():
            assert self.alive(), f"forever-root ended:\n{self.log()[-3000:]}"
            return request(self.url, "/health").status == 200
        wait_for(music, f"the root has music:\n{self.log()[-2000:]}", deadline_s)

    def stats(self):
        return request(self.url, "/api/stats").json()

    def worker(self, role):
        """Pids of the role's serving workers."""
        return [w["pid"] for w in self.stats()["workers"] if w["role"] == role and w.get("pid")]

    def ctl(self, *words):
        return subprocess.run([ROOT, "ctl", "--state", self.state, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=HANG_S, text=True)


class Relay(Program):
    def __init__(self, root, state, token, port=None, wait=True, **options):
        self.state = str(state)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        os.makedirs(self.state, exist_ok=True)
        options.setdefault("drain_deadline", 1)  # whoever still listens when a test ends is of no interest
        self.began = time.monotonic()
        super().__init__([RELAY] + options_of({"root": root if isinstance(root, (str, list)) else root.url,
                                               "token-file": token, "state": self.state,
                                               "listen": f"127.0.0.1:{self.port}", "public-url": self.url,
                                               **options}),
                         os.path.join(self.state, "log"))
        if wait:
            self.wait_up()

    def wait_up(self, deadline_s=5):
        def up():
            assert self.alive(), f"forever-relay ended:\n{self.log()[-3000:]}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                request(self.url, "/health", timeout=2)
                return True
        wait_for(up, "the relay answers", deadline_s)


def established(port, pid=None):
    """Established connections to a local port, seen from the side that connected (of one process)."""
    inodes = None
    if pid:
        inodes = set()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                match = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
                if match:
                    inodes.add(match.group(1))
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as f:
            for line in list(f)[1:]:
                fields = line.split()
                if int(fields[2].split(":")[1], 16) == port and fields[3] == "01":
                    count += inodes is None or fields[9] in inodes
    return count


def ffmpeg(*arguments, source=None):
    """Runs ffmpeg, with the file `source` as its standard input (a stream has no length to guess at): exit
    status and what it said on standard error."""
    with open(source or os.devnull, "rb") as stdin:
        done = subprocess.run(["ffmpeg", "-hide_banner", *arguments], stdin=stdin, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=HANG_S)
    return done.returncode, done.stderr.decode(errors="replace")


def assert_clean_audio(path, silence_s=0.5):
    """Decodes without one error or warning, and holds no silence over silence_s at -60 dB."""
    status, said = ffmpeg("-v", "warning", "-xerror", "-i", "-", "-f", "null", "-", source=path)
    assert status == 0 and not said.strip(), f"ffmpeg on {path}:\n{said[-2000:]}"
    status, said = ffmpeg("-nostdin", "-i", path, "-af", f"silencedetect=n=-60dB:d={silence_s}", "-f", "null", "-")
    assert status == 0 and "silence_start" not in said, f"silence in {path}:\n" + "\n".join(
        line for line in said.splitlines() if "silence" in line)


def once(folder, make):
    """Runs make(folder) once for all test processes that share `folder`; the others wait for it."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(folder + ".done"):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            make(folder)
            with open(folder + ".done", "w"):
                pass
    return folder


def is_sanitized():
    """Of programs with a memory of their own."""
    with open(os.path.join(BUILD, "forever-work"), "rb") as f:
        return b"__asan_init" in f.read()


def excerpt(crate, path, seconds):
    """A few seconds of the crate's music, as a file of its own."""
    with wave.open(glob.glob(os.path.join(crate, "*.wav"))[0]) as whole, wave.open(path, "wb") as out:
        out.setparams(whole.getparams())
        whole.setpos(20 * whole.getframerate())
        out.writeframes(whole.readframes(int(seconds * whole.getframerate())))
    return path


def make_crate(folder, tracks, seconds, seed=1):
    return once(folder, lambda out: subprocess.run(
        [CRATE, "--out", out, "--tracks", str(tracks), "--seconds", str(seconds), "--seed", str(seed)], check=True))


def analyse(library, state):
    """Makes a state in which all of the library is analysed: by the offline renderer, since a station's own analysis
    leaves the processors to whoever else wants them."""
    subprocess.run([ROOT, "render", "--library", library, "--state", state, "--minutes", "0.05", "--out", state + ".wav"],
                   check=True, timeout=HANG_S, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.unlink(state + ".wav")


def hurry(root):
    """Takes the analysers' low priority away, where that is allowed: on a busy machine they would hardly get on."""
    for worker in root.stats()["workers"]:
        if worker["role"] == "analyse" and worker.get("pid"):
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, worker["pid"], 0)


# --- relays and their listeners -------------------------------------------------------------------------

class Crowd:
    """forever-load in the background: all hear when this is made, and stay until the report is asked for. What it
    says then, checked for breaks."""

    def __init__(self, url, listeners, *options):
        command = [os.path.join(BUILD, "forever-load"), "--announce", "--listeners", listeners, "--seconds", 3600, *options]
        self.process = subprocess.Popen([*map(str, command), url], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def report(self, silence=False):
        self.process.send_signal(signal.SIGTERM)
        said = json.loads(self.process.communicate(timeout=HANG_S)[0])
        assert said["breaks"] == said["jumps"] == 0 and (silence or said["starved_2s"] == 0), json.dumps(said)
        assert said["streaming"] == said["listeners"], said
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def relays_of(root):
    return {relay["public_url"]: relay for relay in root.stats()["relays"]}


def metrics_of(program):
    lines = request(program.url, "/metrics").body.decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}
