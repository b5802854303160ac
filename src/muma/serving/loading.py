"""The server, or a word on which extra brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from muma.optional import require


def server() -> ModuleType:
    """`muma.serving.http.server`.

    Raises:
        MissingExtraError: the libraries of the service are not installed.
    """
    for library in ("granian", "litestar", "msgspec"):
        require(library, extra="serve")
    return importlib.import_module("muma.serving.http.server")
