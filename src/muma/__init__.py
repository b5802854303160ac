"""MUMA: recommendations for media companies that prove what they did.

The names below are loaded on first use, so that `import muma` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muma.client import Client as Client
    from muma.errors import MumaError as MumaError
    from muma.events.event import EventLog as EventLog

__version__ = "0.1.0"

_PUBLIC = {
    "Client": "muma.client",
    "EventLog": "muma.events.event",
    "MumaError": "muma.errors",
}
__all__ = ["Client", "EventLog", "MumaError", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'muma' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
