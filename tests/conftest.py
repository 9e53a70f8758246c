"""Fixtures of the system and browser tests. One analysed crate and one station with a relay serve most tests;
a test that kills or limits things starts its own on a copy of the analysed state."""
import os
import secrets
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import stage  # noqa: E402


# Longer than a suite has time for: make check-all runs these, too.
collect_ignore = [] if os.environ.get("FOREVER_LONG") else ["web/test_page_moves.py"]

# The files that take longest begin first, so that none is left over at the end.
LONG = ["test_relays.py", "test_live.py", "test_stream.py", "test_cli.py", "test_resume.py", "test_analysis.py", "test_workers.py", "test_library.py", "test_mounts.py",
        "test_icecast.py", "test_load.py", "test_hls.py", "test_resume_player.py"]


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
def states(shared, crate):
    return stage.States(shared, crate)


@pytest.fixture(scope="session")
def analysed(states):
    """A state folder in which every track of the crate is analysed and nothing has been aired."""
    return states.analysed


@pytest.fixture(scope="session")
def stages(states, analysed, scratch, token):
    """Makes stages: whoever does ends them."""
    return lambda: stage.Stage(states, scratch, token)


@pytest.fixture(scope="session")
def endings():
    """What ends while the next test begins; what did not end as it should is told when all have."""
    with ThreadPoolExecutor(8) as pool:
        begun = []
        yield lambda end: begun.append(pool.submit(end))
    for one in begun:
        one.result()


@pytest.fixture
def start(stages, endings):
    """start.root(**options), start.relay(root, **options): stopped after the test."""
    one = stages()
    yield one
    endings(one.end)


@pytest.fixture
def fresh_state(start):
    """Copies of the analysed state, one per call."""
    return start.state


@pytest.fixture(scope="session")
def station(crate, states, scratch, token):
    """The shared root; tests must leave it as it is."""
    state = os.path.join(scratch, "station")
    shutil.copytree(states.aired(192), state)
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
