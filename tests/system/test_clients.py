"""Real players on the root and on the relay."""
import subprocess
import threading

import pytest

import harness

COMMANDS = {
    # --max-time ends an endless stream: 28 is then curl's way of saying so
    "curl": (lambda url: ["curl", "-sS", "-f", "--max-time", "5", "-o", "/dev/null", "-w", "%{size_download}", url], {28}),
    "ffmpeg": (lambda url: ["ffmpeg", "-hide_banner", "-nostdin", "-v", "warning", "-xerror", "-i", url, "-t", "4",
                            "-f", "null", "-"], {0}),
    "mpg123": (lambda url: ["mpg123", "-q", "-t", "-n", "150", url], {0}),
    "mpv": (lambda url: ["mpv", "--no-config", "--ao=null", "--vo=null", "--length=2", "--msg-level=all=warn", url], {0}),
}


@pytest.fixture(scope="module")
def played(station, station_relay):
    """All clients at once, as listeners come: {(client, node): (status, output)}."""
    results = {}

    def play(client, node, url):
        command, _ = COMMANDS[client]
        try:
            done = subprocess.run(command(url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.HANG_S,
                                  stdin=subprocess.DEVNULL)
            results[client, node] = done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            results[client, node] = f"over {harness.HANG_S} s", str(late.stdout)

    threads = [threading.Thread(target=play, args=(client, node, program.url + "/stream.mp3"))
               for node, program in (("root", station), ("relay", station_relay)) for client in COMMANDS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


@pytest.mark.parametrize("node", ["root", "relay"])
@pytest.mark.parametrize("client", list(COMMANDS))
def test_plays(played, client, node):
    status, output = played[client, node]
    assert status in COMMANDS[client][1], output
    if client == "curl":
        assert int(output.split()[-1]) > 3 * 24000, output
    else:  # nothing to complain about
        assert not output.strip(), output
