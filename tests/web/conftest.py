import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from webdriver import Browser  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    one = Browser()
    yield one
    one.close()
