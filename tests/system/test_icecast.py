"""Debian's Icecast as a neighbour: a relay of ours, and what a relay of ours carries on."""
import base64
import os
import subprocess
import threading
import urllib.parse

import pytest

import harness
from harness import Listener, request

CONFIG = """<icecast>
  <limits><sources>4</sources><burst-size>65535</burst-size></limits>
  <authentication><source-password>s3cret</source-password><admin-user>admin</admin-user>
    <admin-password>s3cret</admin-password></authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <relay><server>127.0.0.1</server><port>{origin}</port><mount>/stream.mp3</mount><local-mount>/ours.mp3</local-mount>
    <on-demand>0</on-demand><relay-shoutcast-metadata>1</relay-shoutcast-metadata></relay>
  <paths><basedir>{folder}</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
    <adminroot>/usr/share/icecast2/admin</adminroot></paths>
  <logging><accesslog>access</accesslog><errorlog>error</errorlog><loglevel>3</loglevel></logging>
  <security><chroot>0</chroot>{owner}</security>
</icecast>
"""


class Icecast:
    def __init__(self, folder, origin, wait=True):
        os.makedirs(folder)
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        owner = ""
        if os.geteuid() == 0:  # it refuses to run as root
            owner = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
            os.chmod(folder, 0o777)
            above = folder  # and nobody has to get there, also in a tree whose root is for us alone
            while above != "/":
                above = os.path.dirname(above)
                mode = os.stat(above).st_mode
                if not mode & 0o001:
                    os.chmod(above, mode | 0o011)
        self.path = os.path.join(folder, "icecast.xml")
        with open(self.path, "w") as f:
            f.write(CONFIG.format(port=self.port, origin=origin, folder=folder, owner=owner))
        if wait:
            self.start()

    def start(self):
        self.process = subprocess.Popen(["icecast2", "-c", self.path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def source(self, mount):
        """What it says about a mount; None while that is not there."""
        try:
            source = request(self.url, "/status-json.xsl").json()["icestats"].get("source", [])
        except (OSError, ValueError):
            return None
        for one in source if isinstance(source, list) else [source]:
            if one["listenurl"].endswith(mount):
                return one
        return None

    def set_title(self, mount, song):
        query = urllib.parse.urlencode({"mount": mount, "mode": "updinfo", "charset": "UTF-8", "song": song})
        secret = base64.b64encode(b"source:s3cret").decode()
        return request(self.url, f"/admin/metadata?{query}", headers={"Authorization": f"Basic {secret}"}).status

    def stop(self):
        self.process.terminate()
        self.process.wait(harness.HANG_S)


@pytest.fixture(scope="module")
def icecast(station, scratch):
    one = Icecast(os.path.join(scratch, "icecast"), station.port)
    starts = 1

    def carries():
        nonlocal starts
        if one.process.poll() is not None:  # 2.4.4 rarely dies of being asked while it starts (a null pointer of its own)
            assert starts < 3, f"icecast2 ended with {one.process.returncode}, {starts} times"
            starts += 1
            one.start()
        return one.source("/ours.mp3")
    harness.wait_for(carries, "Icecast carries our stream", 20)
    yield one
    one.stop()


@pytest.fixture
def carry(scratch):
    """carry(url): a relay of ours with that stream for its source."""
    running = []

    def start(url, state=None):
        state = state or os.path.join(scratch, f"carry-{len(running)}-{os.urandom(4).hex()}")
        os.makedirs(state, exist_ok=True)
        port = harness.free_port()
        one = harness.Program([harness.RELAY, "--upstream-icecast", url, "--listen", f"127.0.0.1:{port}", "--state", state],
                              os.path.join(state, "log"))
        one.url, one.state = f"http://127.0.0.1:{port}", state
        running.append(one)
        harness.wait_for(lambda: _answers(one), "the relay answers", 10)
        harness.wait_for(lambda: " frame " in one.log() or " 404" in one.log(), "it knows its source", 10)
        return one
    yield start
    for one in running:
        if one.alive():
            one.stop()


def _answers(program):
    assert program.alive(), program.log()
    try:
        return request(program.url, "/health")
    except OSError:
        return None


def heard(url, path, count):
    with Listener(url, path) as one:
        return one.read(count)


def lately(station):
    """What we have sent in the last two minutes."""
    end = station.stats()["position"]
    start = max(0, end - 4600)
    return heard(station.url, f"/stream.mp3?from={start}", (end - start) * 626)


def resynchronised(data):
    """From the first frame's header on."""
    for at in range(2000):
        if data[at] == 0xFF and data[at + 1] == 0xFB:
            try:
                if len(harness.split_frames(data[at:at + 4000])) > 4:
                    return data[at:]
            except AssertionError:
                pass
    raise AssertionError("no frames")


def test_icecast_carries_us(station, icecast):
    """The very bytes, and the titles."""
    far = resynchronised(heard(icecast.url, "/ours.mp3", 150000))
    assert far[:100000] in lately(station)
    title = harness.wait_for(lambda: (icecast.source("/ours.mp3") or {}).get("title"), "Icecast has a title", 10)
    titles = {t["text"] for t in request(station.url, "/api/segments").json()["titles"]}
    assert title in titles, (title, titles)


def test_we_carry_what_icecast_has_of_us(station, icecast, carry):
    relay = carry(icecast.url + "/ours.mp3")
    with Listener(relay.url) as one:
        assert one.status == 200 and one.headers["icy-br"] == "192"
        assert one.headers["icy-name"]
        far = one.read(150000)
        harness.split_frames(far)  # begins at a frame
        assert far[5000:100000] in lately(station)
        shown = harness.wait_for(lambda: request(relay.url, "/status-json.xsl").json()["icestats"]["source"].get("title"),
                                 "a title", 15)
        titles = {t["title"] for t in request(station.url, "/api/segments").json()["titles"]}
        assert shown in titles


def test_we_carry_a_foreign_stream(icecast, carry, scratch):
    """LAME with its bit reservoir, from ffmpeg; another connection of the relay goes on where the last one ended."""
    mount = "/live.mp3"
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i",
               "anoisesrc=a=0.1:c=pink:seed=7,aformat=channel_layouts=stereo", "-ar", "44100", "-c:a", "libmp3lame", "-b:a", "128k",
               "-content_type", "audio/mpeg", "-ice_name", "Elsewhere", "-f", "mp3",
               f"icecast://source:s3cret@127.0.0.1:{icecast.port}{mount}"]
    source = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        harness.wait_for(lambda: icecast.source(mount), "Icecast has the source", 15)
        assert icecast.set_title(mount, "Zoë - Été") == 200
        relay = carry(icecast.url + mount)
        recorder = harness.Recorder(relay.url, path="/stream.mp3?burst=1")
        harness.wait_for(lambda: len(recorder.data) > 16000 * 5 or recorder.ended, "five seconds", 20)

        def told():
            now = request(relay.url, "/status-json.xsl").json()["icestats"]["source"]
            return now.get("artist"), now.get("title")
        harness.wait_for(lambda: told() == ("Zoë", "Été"), lambda: f"the title: {told()}")
        assert recorder.listener.headers["icy-name"] == "Elsewhere"
        # killed and started again it finds its place in Icecast's burst
        first, data = recorder.listener.position, recorder.finish()
        relay.kill()
        again = carry(icecast.url + mount, relay.state)
        with Listener(again.url, f"/stream.mp3?from={first}") as one:
            assert one.position == first
            whole = one.read(len(data) + 16000 * 3)
        assert "goes on at frame" in again.log(), again.log()
        assert whole[:len(data)] == data and len(whole) > len(data), "what was heard before the restart is held"
        path = os.path.join(scratch, "foreign.mp3")
        with open(path, "wb") as f:
            f.write(whole)
        harness.assert_clean_audio(path)
    finally:
        source.terminate()
        source.wait(harness.HANG_S)


def test_what_can_not_be_carried_is_said(icecast, carry):
    relay = carry(icecast.url + "/nothing.mp3")
    answer = []
    thread = threading.Thread(target=lambda: answer.append(request(relay.url, "/stream.mp3", timeout=60).status))
    thread.start()
    thread.join(harness.HANG_S)
    assert answer == [503]
    assert "does not give its stream: 404" in relay.log()
