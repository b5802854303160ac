"""The door that most tests knock at."""

import pytest

from door_support import house


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A house for tests that leave it as it was."""
    with house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def fresh(tmp_path):
    """A house of one's own."""
    with house(tmp_path) as opened:
        yield opened
