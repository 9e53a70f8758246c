"""Relays, and what becomes of listeners there: tests that mostly wait, by subject in relays/, run beside each other."""
import pytest

SUBJECTS = ["survive", "parents", "player", "loop", "drain", "enrol", "icecast", "link", "pull", "routing", "store", "recall", "geo"]
pytest.register_assert_rewrite(*("relays." + subject for subject in SUBJECTS))

from relays.survive import *  # noqa: E402, F403
from relays.parents import *  # noqa: E402, F403
from relays.player import *  # noqa: E402, F403
from relays.loop import *  # noqa: E402, F403
from relays.drain import *  # noqa: E402, F403
from relays.enrol import *  # noqa: E402, F403
from relays.icecast import *  # noqa: E402, F403
from relays.link import *  # noqa: E402, F403
from relays.pull import *  # noqa: E402, F403
from relays.routing import *  # noqa: E402, F403
from relays.store import *  # noqa: E402, F403
from relays.recall import *  # noqa: E402, F403
from relays.geo import *  # noqa: E402, F403
