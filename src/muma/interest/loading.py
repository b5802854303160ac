"""The way into this room for those who must start without torch."""

from __future__ import annotations

import importlib
from types import ModuleType

from muma.optional import require


def neural() -> ModuleType:
    """The module `muma.interest.model`.

    Raises:
        MissingExtraError: torch or Fabric is not installed.

    Example:
        >>> neural().InterestModel.__name__
        'InterestModel'
    """
    for library in ("torch", "lightning_fabric"):
        require(library, extra="neural")
    return importlib.import_module("muma.interest.model")
