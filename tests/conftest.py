"""Fixtures of the system and browser tests. One analysed crate and one station with a relay serve most tests;
a test that kills or limits things starts its own on a copy of the analysed state."""
import os
import secrets
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


# Longer than a suite has time for: make check-all runs these, too.
collect_ignore = [] if os.environ.get("FOREVER_LONG") else ["web/test_page_moves.py"]

# The files that take longest begin first, so that none is left over at the end.
LONG = ["test_survive.py", "test_drain.py", "test_live.py", "test_stream.py", "test_cli.py", "test_resume.py", "test_analysis.py", "test_workers.py", "test_library.py", "test_mounts.py",
        "test_relay.py", "test_icecast.py", "test_load.py", "test_hls.py", "test_resume_player.py"]


def pytest_collection_modifyitems(items):
    def rank(item):
        name = os.path.basename(str(item.fspath))
        return LONG.index(name) if name in LONG else len(LONG)
    items.sort(key=rank)  # stable: the order within a file stays


@pytest.fixture(scope="session")
def shared():
    """A folder that all test processes of one run share: tests/suite makes it, or the first of them does."""
    folder = os.environ.get("FOREVER_SCRATCH")
    if folder:
        yield folder
    else:
        folder = tempfile.mkdtemp(prefix="forever-test-")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def scratch(shared):
    """This process' own folder."""
    folder = tempfile.mkdtemp(prefix="own-", dir=shared)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def crate(shared):
    """Eight synthesised tracks of about a minute."""
    return harness.make_crate(os.path.join(shared, "crate"), 8, 64)


@pytest.fixture(scope="session")
def token(scratch):
    path = os.path.join(scratch, "relay.token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write(secrets.token_hex(16) + "\n")
    return path


@pytest.fixture(scope="session")
def analysed(shared, crate):
    """A state folder in which every track of the crate is analysed and nothing has been aired."""
    return harness.once(os.path.join(shared, "analysed"), lambda state: harness.analyse(crate, state))


@pytest.fixture
def fresh_state(analysed, scratch):
    """Copies of the analysed state, one per call."""
    def make():
        folder = os.path.join(scratch, "state-" + secrets.token_hex(4))
        shutil.copytree(analysed, folder)
        return folder
    return make


@pytest.fixture
def start(crate, fresh_state, token):
    """start.root(**options), start.relay(root, **options): stopped after the test, newest first."""
    class Start:
        def __init__(self):
            self.running = []

        def root(self, library=None, state=None, **options):
            options.setdefault("relay_token_file", token)
            program = harness.Root(library or crate, state or fresh_state(), **options)
            self.running.append(program)
            return program

        def relay(self, root, state=None, token_file=None, **options):
            program = harness.Relay(root, state or fresh_state() + "-relay", token_file or token, **options)
            self.running.append(program)
            return program

    starter = Start()
    yield starter
    for program in reversed(starter.running):
        if program.alive():
            program.stop()


@pytest.fixture(scope="session")
def station(crate, analysed, scratch, token):
    """The shared root; tests must leave it as it is."""
    state = os.path.join(scratch, "station")
    shutil.copytree(analysed, state)
    root = harness.Root(crate, state, bitrate=192, relay_token_file=token, lead=60,
                        description="Tests all night, naïvely", genre="mixed")
    harness.wait_for(lambda: root.stats()["position"] > 160, "four seconds have aired: a burst is whole", 15)
    yield root
    assert root.alive(), root.log()[-3000:]
    assert root.stop() == 0


@pytest.fixture(scope="session")
def station_relay(station, scratch, token):
    relay = harness.Relay(station, os.path.join(scratch, "station-relay"), token)
    yield relay
    assert relay.alive(), relay.log()[-3000:]
    assert relay.stop() == 0
