"""Finds the classes that a package defines, so that a contract test cannot forget one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any


def classes_in(package: str) -> Iterator[type[Any]]:
    """Yield the public classes defined in the modules of `package`, in order of their names.

    Example:
        >>> [cls.__name__ for cls in classes_in("muma.testing") if cls.__name__ == "SourceSuite"]
        ['SourceSuite']
    """
    root = importlib.import_module(package)
    for info in sorted(pkgutil.walk_packages(root.__path__, f"{package}."), key=lambda i: i.name):
        module = importlib.import_module(info.name)
        for name, cls in sorted(vars(module).items()):
            if inspect.isclass(cls) and cls.__module__ == info.name and not name.startswith("_"):
                yield cls
