"""Relays enrol: the operator's list, tokens that count once, the key that is checked before anything is said, calling
back with words, credentials that rotate and end."""
import base64
import json
import os
import re
import ssl
import subprocess
import time
import http.client

import harness
from relays import together

CERTLESS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CERTLESS.check_hostname = False
CERTLESS.verify_mode = ssl.CERT_NONE


def quiet_root(start):
    """A root without music: nothing need sound."""
    library = start.folder("library")
    os.makedirs(library)
    root = start.root(library, start.folder(), wait=False, relay_limit=0)
    root.wait_up()
    return root


def relay_ctl(root, *words, status=0):
    """What `ctl relay` says, as JSON."""
    done = root.ctl("--json", "relay", *words)
    assert done.returncode == status, done.stdout
    return json.loads(done.stdout)


def link_port(root):
    return json.loads(root.ctl("--json", "status").stdout)["link"]["port"]


def ask(root, path, body, bearer=None, address="127.0.0.1", port=None):
    """POSTs to the link listener, whose key is not looked at here."""
    connection = http.client.HTTPSConnection("127.0.0.1", port or link_port(root), timeout=10 * harness.SLOW, context=CERTLESS,
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


@together
def test_the_list_is_the_operators(start):
    root = quiet_root(start)
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
    assert root.ctl("relay", "drain", "fra", "--deadline", "10m").stdout == "fra takes no new listeners; present ones leave within 10m\n"
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


@together
def test_strangers_learn_nothing_and_are_slowed_down(start):
    root = quiet_root(start)
    mark, port, begin, tried = len(root.log()), link_port(root), time.monotonic(), 0
    wrong = {"secret": "A" * 43, "name": "fra"}
    while (refused := ask(root, "/api/relay/enrol", wrong, address="127.0.0.66", port=port)).status == 403:
        assert "not known" in refused.json()["error"]
        tried += 1
        assert tried <= 11 + (time.monotonic() - begin) / 6, "ten, and then one in six seconds"
    assert tried >= 10
    assert refused.status == 429 and 1 <= int(refused.headers["Retry-After"]) <= 6
    assert root.log()[mark:].count("127.0.0.66") == 1
    assert ask(root, "/api/relay/enrol", {"secret": 7}, address="127.0.0.67").status == 400
    assert ask(root, "/api/relay/check", {}, bearer="A" * 43, address="127.0.0.67").status == 403
    # not at the main port
    assert harness.request(root.url, "/api/relay/enrol", "POST", body=json.dumps(wrong)).status == 404


# --- the relay's side -----------------------------------------------------------------------------------

class Enrolled(harness.Program):
    """A relay of that state directory: no root and no token on its command line."""

    def __init__(self, state, port, **options):
        self.state, self.port, self.url = state, port, f"http://127.0.0.1:{port}"
        super().__init__([harness.RELAY] + harness.options_of({"state": state, "listen": f"127.0.0.1:{port}", **options}),
                         os.path.join(state, "log"))


class Place:
    """State folders of relays, and their programs, which end with the test."""

    def __init__(self, start):
        self.start = start

    def state(self):
        folder = self.start.folder("relay")
        os.makedirs(folder)
        return folder

    def relay(self, state, port, **options):
        self.start.running.append(Enrolled(state, port, drain_deadline=0, **options))
        return self.start.running[-1]


def token_of(root, name, *words):
    return relay_ctl(root, "add", name, *words)["token"]


def enrol(token, state, port, public_url=None, listen=None, **options):
    """forever-relay enrol: exit status and what it says."""
    done = subprocess.run([harness.RELAY, "enrol"] + harness.options_of(
        {"state": state, "public-url": public_url or f"http://127.0.0.1:{port}", "listen": listen or f"127.0.0.1:{port}",
         **options}), input=f"\n {token}\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=harness.HANG_S)
    return done.returncode, done.stdout


def enrolment(state):
    with open(os.path.join(state, "enrolment.json"), encoding="utf-8") as f:
        return json.load(f)


def reported(root, name):
    one = relay_ctl(root, "show", name)["relay"]
    return one if one.get("healthy") else None


def nothing_secret(root, *secrets_):
    """No secret in the command line or environment of a process, in the log, or where anybody can ask."""
    seen = root.log() + harness.request(root.url, "/api/stats").body.decode() + root.ctl("relay", "list").stdout
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                seen += f.read().decode(errors="replace")
        except OSError:
            pass
    for secret in secrets_:
        assert secret not in seen


@together
def test_from_add_to_listeners(start):
    root = start.root(aired=True, lead=10, relay_limit=0)
    place = Place(start)
    state, port = place.state(), harness.free_port()
    token = token_of(root, "ams")
    code, said = enrol(token, state, port)
    assert code == 0 and said == (f"ams is enrolled with https://127.0.0.1:{link_port(root)}, which reaches it at "
                                  f"http://127.0.0.1:{port}: reached\n"), said
    assert os.stat(os.path.join(state, "enrolment.json")).st_mode & 0o7777 == 0o600
    assert os.stat(os.path.join(root.state, "relays.json")).st_mode & 0o7777 == 0o600
    credential = enrolment(state)["credential"]
    with open(os.path.join(root.state, "relays.json"), encoding="utf-8") as f:
        assert credential not in f.read()
    # once, and then never again
    other = place.state()
    code, said = enrol(token, other, port)
    assert code == 77 and "used already" in said, said
    assert not os.path.exists(os.path.join(other, "enrolment.json"))
    relay = place.relay(state, port)
    one = harness.wait_for(lambda: reported(root, "ams"), "the relay reports", 8)
    assert one["reachable"] and one["reach"] == "reached" and one["public_url"] == relay.url
    harness.wait_for(lambda: harness.request(root.url, "/api/listen").json()["url"].startswith(relay.url + "/"),
                     "listeners are sent there", 20)
    nothing_secret(root, token, credential)
    # another credential, while it runs
    root.ctl("relay", "rotate", "ams")
    harness.wait_for(lambda: enrolment(state)["credential"] != credential, "the relay has the new one", 6)
    harness.wait_for(lambda: not relay_ctl(root, "show", "ams")["relay"]["rotating"], "and uses it", 6)
    assert ask(root, "/api/relay/report", {}, bearer=credential).status == 403
    rotated = enrolment(state)["credential"]
    nothing_secret(root, rotated)
    with harness.Listener(relay.url) as one:
        assert one.status == 200 and len(one.read(20000)) == 20000
        # its links end, its reports are refused, its listeners are not cut
        assert root.ctl("relay", "revoke", "ams").returncode == 0
        harness.wait_for(lambda: root.stats()["links"] == 0, "the links end", 5)
        refused = ask(root, "/api/relay/report", {}, bearer=rotated)
        assert refused.status == 403 and "revoked" in refused.json()["error"]
        one_ = relay_ctl(root, "show", "ams")["relay"]
        assert (one_["state"], one_["reachable"]) == ("revoked", False)
        assert not harness.request(root.url, "/api/listen").json()["url"].startswith(relay.url + "/")
        assert len(one.read(40000)) == 40000
    # invited again, it comes back while it runs
    harness.wait_for(lambda: "refuses this relay's reports: 403 this relay's credential was revoked" in relay.log(),
                     "it knows", 5)
    code, said = enrol(relay_ctl(root, "invite", "ams")["token"], state, port)
    assert code == 0, said
    harness.wait_for(lambda: relay.log().count("join: reports to") == 2, "it reports again", 5)
    assert harness.wait_for(lambda: reported(root, "ams"), "it is known to live")["reachable"]
    root.ctl("relay", "remove", "ams")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@together
def test_tokens_that_are_of_no_use(start):
    root = quiet_root(start)
    place = Place(start)
    state, port = place.state(), harness.free_port()
    token = token_of(root, "lon", "--expires", "2s")
    code, said = enrol(token[:-9] + token[-8:], state, port)
    assert code == 65 and "damaged" in said, said
    # another secret under a check sum that is right
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[-5] ^= 1
    raw[-4:] = crc32c(raw[:-4]).to_bytes(4, "little")
    code, said = enrol(base64.urlsafe_b64encode(raw).decode().rstrip("="), state, port)
    assert code == 77 and "not known" in said, said
    code, said = enrol("", state, port)
    assert code == 65 and "there is no token" in said, said
    harness.wait_for(lambda: "expired" in relay_ctl(root, "show", "lon")["relay"]["state"], "it has expired", 3)
    code, said = enrol(token, state, port)
    assert code == 77 and "has expired" in said, said
    code, said = enrol(relay_ctl(root, "invite", "lon", "--link-url", "https://127.0.0.1:1")["token"], state, port)
    assert code == 69 and "the root can't be reached at https://127.0.0.1:1" in said, said
    # where the relay is to listen somebody does already: nothing is told to the root yet
    good = relay_ctl(root, "invite", "lon")["token"]
    code, said = enrol(good, state, port, listen=f"127.0.0.1:{root.port}")
    assert code == 69 and f"127.0.0.1 port {root.port}: Address already in use" in said, said
    assert relay_ctl(root, "show", "lon")["relay"]["state"] == "invited"
    assert os.listdir(state) == ["lock"]
    root.ctl("relay", "remove", "lon")


def self_signed(start):
    """Paths of a certificate that nobody known has signed, and of its key."""
    cert, key = start.folder() + ".crt", start.folder() + ".key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=x", "-keyout", key, "-out", cert, "-days", "2"], check=True, capture_output=True)
    return cert, key


@together
def test_another_key_is_told_nothing(start):
    """Somebody stands where the root is said to be: he sees a handshake, and no word of what comes after it."""
    root = quiet_root(start)
    place = Place(start)
    import socket
    import threading
    cert, key = self_signed(start)
    context, heard = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    context.load_cert_chain(cert, key)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4)
        listening.settimeout(harness.HANG_S)

        def serve():
            connection, _ = listening.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as talk:
                    heard.append(talk.recv(4096))
            except OSError as error:
                heard.append(str(error).encode() if not isinstance(error, ssl.SSLError) else b"")
        thread = threading.Thread(target=serve)
        thread.start()
        state = place.state()
        token = token_of(root, "par", "--link-url", f"https://127.0.0.1:{listening.getsockname()[1]}")
        code, said = enrol(token, state, harness.free_port())
        thread.join()
    assert code == 76 and "has another key than the token says" in said, said
    assert heard == [b""], heard
    assert relay_ctl(root, "show", "par")["relay"]["state"] == "invited", "the token is as good as before"
    root.ctl("relay", "remove", "par")


@together
def test_what_is_wrong_with_the_public_address(start):
    root = quiet_root(start)
    place = Place(start)
    port, nobody = harness.free_port(), harness.free_port()
    cases = [("name", f"http://no-such-name.invalid:{port}", "the name no-such-name.invalid is not known"),
             ("port", f"http://127.0.0.1:{nobody}", f"nothing listens at 127.0.0.1 port {nobody} (connection refused)"),
             ("tls", f"https://127.0.0.1:{port}", f"127.0.0.1 port {port} does not speak TLS"),
             ("root", root.url, f"127.0.0.1 port {root.port} answers (with 404) but is no forever relay"),
             ("path", f"http://127.0.0.1:{port}/under/", "is no forever relay")]
    token = token_of(root, "mad")
    for i, (what, url, says) in enumerate(cases):
        if i:
            token = relay_ctl(root, "invite", "mad")["token"]
        code, said = enrol(token, place.state(), port, public_url=url)
        assert code == 1 and "mad is enrolled, but the root does not reach it" in said and says in said, (what, said)
    # another relay answers there; and a certificate that nobody signed
    state, by_file = place.state(), start.folder("rom") + ".token"
    with open(by_file, "w", encoding="utf-8") as f:
        f.write(token_of(root, "rom") + "\n")
    assert enrol("", state, nobody, token_file=by_file)[0] == 0
    place.relay(state, nobody)
    harness.wait_for(lambda: reported(root, "rom"), "the other relay runs", 8)
    code, said = enrol(relay_ctl(root, "invite", "mad")["token"], place.state(), port, public_url=f"http://127.0.0.1:{nobody}")
    assert code == 1 and "another relay answers there: it calls itself rom" in said, said
    pem = start.folder("self") + ".pem"
    with open(pem, "w", encoding="utf-8") as out:
        for part in self_signed(start):
            with open(part, encoding="utf-8") as f:
                out.write(f.read())
    tls = harness.free_port()
    code, said = enrol(relay_ctl(root, "invite", "mad")["token"], place.state(), port, public_url=f"https://127.0.0.1:{tls}",
                       tls_listen=f"127.0.0.1:{tls}", tls_cert=pem)
    assert code == 1 and "nobody known has signed the certificate" in said, said
    one = relay_ctl(root, "show", "mad")["relay"]
    assert not one["reachable"] and "nobody known has signed" in one["reach"]
    assert "UNREACHABLE nobody known" in root.ctl("relay", "show", "mad").stdout
    assert relay_ctl(root, "set", "mad", "--call", "no")["relay"]["reachable"]
    for name in ("mad", "rom"):
        root.ctl("relay", "remove", name)
