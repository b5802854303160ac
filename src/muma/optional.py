"""Import an optional library, or say which extra brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from muma.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise an error that names the extra.

    Args:
        module: dotted name of the library to import, such as `"implicit.als"`.
        extra: name of the MUMA extra that installs it.

    Raises:
        MissingExtraError: the library is not installed.

    Example:
        >>> require("json", extra="none").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f'{module} is not installed; run: pip install "muma[{extra}]"'
        ) from error
