"""TLS with real clients: certificates by name, streams, reloading under listeners, what broken files say."""
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

import harness
from harness import Listener, request, wait_for

KBPS = 128


def make_certificate(folder, name, host, days=30):
    """NAME.crt and NAME.key for a host name, signed by itself."""
    cert, key = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key + ".new", "-out", cert + ".new", "-days", str(days), "-subj", f"/CN={host}",
                    "-addext", f"subjectAltName=DNS:{host}"], check=True, stderr=subprocess.DEVNULL)
    os.rename(key + ".new", key)
    os.rename(cert + ".new", cert)
    return cert, key


@pytest.fixture(scope="module")
def certificates(scratch):
    folder = os.path.join(scratch, "certificates")
    os.makedirs(folder)
    return folder, make_certificate(folder, "one", "one.example"), make_certificate(folder, "two", "*.two.example")


@pytest.fixture(scope="module")
def secure(certificates, crate, analysed, scratch, token):
    """A root and a relay that both listen with TLS and with an access log; (root, its port, relay, its port)."""
    _, one, two = certificates
    state = os.path.join(scratch, "tls-station")
    shutil.copytree(analysed, state)
    port, relay_port = harness.free_port(), harness.free_port()
    options = {"tls_cert": [one[0], two[0]], "tls_key": [one[1], two[1]]}
    root = harness.Root(crate, state, bitrate=KBPS, relay_token_file=token, lead=30,
                        tls_listen=[f"127.0.0.1:{port}", f"[::1]:{port}"], access_log=os.path.join(state, "access.log"),
                        **options)
    relay = harness.Relay(root, state + "-relay", token, tls_listen=f"127.0.0.1:{relay_port}", **options)
    wait_for(lambda: root.stats()["position"] > 160, "four seconds have aired: a burst is whole", 15)
    with socket.create_connection(("127.0.0.1", port), harness.HANG_S) as slow:
        slow.sendall(b"\x16\x03\x01")
        root.slow = slow  # for the last test: it takes the deadline's ten seconds
        yield root, port, relay, relay_port
    assert relay.stop() == 0
    assert root.stop() == 0


def curl(*arguments):
    return subprocess.run(["curl", "-sS", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=harness.HANG_S)


def context(cafile=None):
    made = ssl.create_default_context(cafile=cafile)
    if not cafile:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


class TlsListener(Listener):
    def __init__(self, port, name="one.example", **more):
        self.name = name
        super().__init__(f"http://127.0.0.1:{port}", wrap=lambda s: context().wrap_socket(s, server_hostname=name), **more)


def metric(url, name):
    for line in request(url, "/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"{name} is not among the metrics")


def test_names_by_curl(secure, certificates):
    _, port, _, relay_port = secure
    for where in (port, relay_port):
        for host, (cert, _) in (("one.example", certificates[1]), ("a.two.example", certificates[2])):
            done = curl("--cacert", cert, "--resolve", f"{host}:{where}:127.0.0.1", "-o", "/dev/null", "-w",
                        "%{http_code} %{http_version}", f"https://{host}:{where}/status-json.xsl")
            assert (done.returncode, done.stdout) == (0, b"200 1.1"), done.stderr
    # the first certificate is shown to whoever asks by another name, and its name does not fit
    done = curl("--cacert", certificates[1][0], "--resolve", f"else.example:{port}:127.0.0.1", f"https://else.example:{port}/")
    assert done.returncode == 60


def test_protocols_by_openssl(secure):
    _, port, _, _ = secure

    def ask(*more):
        return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "x.two.example", *more],
                              input=b"HEAD /api/stats HTTP/1.0\r\n\r\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=harness.HANG_S).stdout.decode(errors="replace")
    said = ask("-alpn", "h2,http/1.1", "-ign_eof")
    assert "CN = *.two.example" in said and "ALPN protocol: http/1.1" in said and "TLSv1.3" in said
    assert "HTTP/1.0 200 OK" in said
    assert "Cipher is ECDHE" in ask("-tls1_2")
    assert "Cipher is (NONE)" in ask("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "Reused, TLSv1.2" in ask("-tls1_2", "-reconnect")


def test_stream_by_players(secure, scratch):
    root, port, _, relay_port = secure
    for where in (port, relay_port):
        path = os.path.join(scratch, f"tls-{where}.mp3")
        done = curl("-k", "--max-time", "5", "-o", path, f"https://127.0.0.1:{where}/stream.mp3")
        assert done.returncode == 28 and os.path.getsize(path) > 4 * KBPS * 125, done.stderr
        assert len(harness.split_frames(open(path, "rb").read())) > 4 / harness.FRAME_S
        harness.assert_clean_audio(path)
    status, said = harness.ffmpeg("-v", "warning", "-tls_verify", "0", "-t", "2", "-i",
                                  f"https://127.0.0.1:{port}/stream.mp3", "-f", "null", "-")
    assert status == 0 and not said.strip(), said
    done = subprocess.run(["mpv", "--no-config", "--ao=null", "--untimed", "--length=2", "--tls-verify=no", "--no-terminal",
                           f"https://[::1]:{port}/stream.mp3"], timeout=harness.HANG_S)
    assert done.returncode == 0
    assert root.alive()


def test_same_bytes_and_header(secure):
    root, port, _, _ = secure
    with Listener(root.url) as plain, TlsListener(port) as tls:
        first = max(plain.position, tls.position)
        a, frames = plain.read_frames(KBPS, first - plain.position + 150)
        b, more = tls.read_frames(KBPS, first - tls.position + 150)
        assert frames[first - a:] == more[first - b:]
        assert set(plain.headers) == set(tls.headers)
    head = curl("-k", "-I", f"https://127.0.0.1:{port}/stream.mp3")
    assert head.returncode == 0 and b"200 OK" in head.stdout and b"icy-br: 128" in head.stdout.lower()
    playlist = curl("-k", f"https://127.0.0.1:{port}/stream.m3u").stdout.decode()
    assert f"https://127.0.0.1:{port}/stream.mp3" in playlist


def test_resume_over_tls(secure):
    """A listener with from= is cut when it goes, and gets the rest at the byte it asks for."""
    _, port, _, _ = secure
    with TlsListener(port) as first:
        position = first.position
    with TlsListener(port, path=f"/stream.mp3?from={position}") as whole:
        assert whole.status == 200 and whole.headers["transfer-encoding"] == "chunked"
    with TlsListener(port, path=f"/stream.mp3?from={position}", headers={"Range": "bytes=5000-"}, version="1.0") as rest, \
            TlsListener(port, path=f"/stream.mp3?from={position}", version="1.0") as again:
        assert rest.status == 206 and rest.headers["content-range"].startswith("bytes 5000-")
        assert again.read(25000)[5000:] == rest.read(20000)


def test_reload_under_listeners(start, scratch):
    folder = os.path.join(scratch, "moving")
    os.makedirs(folder)
    cert, key = make_certificate(folder, "moving", "before.example")
    port = harness.free_port()
    root = start.root(tls_listen=f"127.0.0.1:{port}", tls_dir=folder)

    def shown():
        with socket.create_connection(("127.0.0.1", port), harness.HANG_S) as plain:
            with context().wrap_socket(plain) as tls:
                return tls.getpeercert(True)
    before = shown()
    with TlsListener(port) as listener:
        listener.read(40000)
        # a key that is not the certificate's: told, and nothing changes
        shutil.copy(key, key + ".kept")
        make_certificate(folder, "other", "other.example")
        os.rename(os.path.join(folder, "other.key"), key)
        os.unlink(os.path.join(folder, "other.crt"))
        failed = root.ctl("reload")
        assert failed.returncode and "does not belong to" in failed.stdout, failed.stdout
        assert shown() == before
        os.rename(key + ".kept", key)
        make_certificate(folder, "moving", "after.example")
        root.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shown() != before, "SIGHUP brings the new certificate")
        second = shown()
        make_certificate(folder, "moving", "again.example")
        wait_for(lambda: shown() != second, "changed files are noticed", 15)
        assert root.ctl("reload").returncode == 0
        assert len(listener.read(40000)) == 40000
        assert root.stats()["closed"] == 0
    assert metric(root.url, 'forever_tls_reloads_total{result="failed"}') >= 1


@pytest.mark.parametrize("options, code, said", [
    ({"tls_cert": "{one}.crt", "tls_key": "{two}.key"}, 66, "two.key: the key does not belong to"),
    ({"tls_cert": "/nonexistent/a.crt"}, 66, "/nonexistent/a.crt: No such file or directory"),
    ({"tls_cert": "{one}.key", "tls_key": "{one}.key"}, 66, "one.key: no certificate can be read from it"),
    ({}, 64, "--tls-listen: needs a certificate"),
    ({"tls_cert": "{one}.crt", "tls_key": ["{one}.key", "{two}.key"]}, 64, "--tls-key: 2 of them for 1"),
])
def test_broken_files_say_what(certificates, crate, scratch, options, code, said):
    folder = certificates[0]
    names = {"one": os.path.join(folder, "one"), "two": os.path.join(folder, "two")}
    filled = {k: [v.format(**names) for v in ([values] if isinstance(values, str) else values)]
              for k, values in options.items()}
    done = subprocess.run([harness.ROOT, *harness.options_of({"library": crate, "state": os.path.join(scratch, "never"),
                                                              "tls_listen": "127.0.0.1:1", **filled}), "--check-config"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=harness.HANG_S)
    assert done.returncode == code and said in done.stdout, done.stdout


def test_strangers_are_dropped(secure):
    """Plain HTTP on the TLS port, and a handshake that never goes on."""
    root, port, _, _ = secure
    failed = metric(root.url, 'forever_tls_handshakes_total{result="failed"}')
    with socket.create_connection(("127.0.0.1", port), harness.HANG_S) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(harness.HANG_S)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert metric(root.url, 'forever_tls_handshakes_total{result="failed"}') == failed + 1
    root.slow.settimeout(harness.HANG_S)
    assert root.slow.recv(1) == b""
    assert metric(root.url, 'forever_tls_handshakes_total{result="late"}') == 1
