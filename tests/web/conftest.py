import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from webdriver import Browser  # noqa: E402


@pytest.fixture(scope="session")
def chromium():
    one = Browser()
    yield one
    one.close()


@pytest.fixture
def browser(chromium):
    """Shows nothing, and has nothing to complain about from tests before."""
    chromium.open("about:blank")
    chromium.complaints()
    return chromium
