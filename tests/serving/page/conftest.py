"""Pages for most tests."""

import pytest

from muma.serving.page import acting
from page_support import enter, paged


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits long for features."""
    monkeypatch.setattr(acting, "PATIENCE_S", 0.02)


@pytest.fixture
def opened(tmp_path, impatient):
    """A page, signed in with a key that may write."""
    with paged(tmp_path) as found:
        enter(found)
        yield found
