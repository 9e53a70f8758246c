"""The newcomer's command: ./deploy/run FOLDER plays within ten seconds of the programs' start, Ctrl-C ends it all."""
import os
import shutil
import signal
import subprocess

import harness
from harness import TOP, Listener


def descendants(pid):
    out = subprocess.run(["ps", "-eo", "pid=,ppid="], stdout=subprocess.PIPE, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in out.splitlines())
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        children = [c for c, p in parents.items() if p == one]
        found.update(children)
        todo += children
    return found


def test_run_plays_a_folder_and_stops(crate, scratch):
    folder = os.path.join(scratch, "my music")  # a space, as folders have
    os.makedirs(folder)
    for name in sorted(os.listdir(crate)):
        if name.endswith(".wav"):
            os.link(os.path.join(crate, name), os.path.join(folder, name))
    port = harness.free_port()
    log_path = os.path.join(scratch, "deploy.log")
    environment = dict(os.environ, FOREVER_PORT=str(port), FOREVER_DATA=os.path.join(scratch, "data"),
                       BUILD=os.path.relpath(harness.BUILD, TOP))
    with open(log_path, "wb") as log:
        # a session of its own, with Ctrl-C as a terminal gives it: SIGINT to the whole group
        process = subprocess.Popen(["./deploy/run", folder], cwd=TOP, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        def said():
            with open(log_path, encoding="utf-8", errors="replace") as f:
                text = f.read()
            assert process.poll() is None, text
            return text if "Ctrl-C" in text else None
        text = harness.wait_for(said, "the addresses are printed", 60)
        watch = harness.Watch()
        for address in (f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/dashboard",
                        f"http://127.0.0.1:{port}/stream.mp3", f"http://127.0.0.1:{port + 1}/stream.mp3"):
            assert address in text
        url = f"http://127.0.0.1:{port}"

        def heard():
            try:
                with Listener(url, timeout=60) as one:
                    return one.status == 200 and len(one.read(24000)) == 24000
            except OSError:
                return False
            except AssertionError as error:  # what the programs had to say about it
                with open(log_path, encoding="utf-8", errors="replace") as f:
                    raise AssertionError(f"{error}\n{f.read()[-3000:]}") from None
        harness.wait_for(heard, "music", 10)
        assert watch.seconds < 10 * harness.SLOW
        harness.wait_for(lambda: [r for r in harness.request(url, "/api/stats").json()["relays"] if r["healthy"]],
                         "the relay is there", 10)
        started = descendants(process.pid)
        assert len(started) >= 7, "root, relay and the workers"
        os.killpg(process.pid, signal.SIGINT)
        harness.wait_for(lambda: process.poll() is not None, "Ctrl-C ends it")
        harness.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in started), "nothing is left running", 5)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_run_says_what_is_wrong(scratch):
    for arguments, environment, status, word in (
            (["/no/such/folder"], {}, 66, "/no/such/folder"), ([], {"FOREVER_PORT": "99999"}, 64, "65533"),
            ([], {"FOREVER_PORT": "x"}, 64, "FOREVER_PORT")):
        done = subprocess.run(["./deploy/run", *arguments], cwd=TOP, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=harness.HANG_S)
        assert done.returncode == status and word in done.stdout, done.stdout
