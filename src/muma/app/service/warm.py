"""Before the first request: kernels compiled, tables read, and nothing left for the collector to walk.

The first answer of a process compiles and reads for seconds, and would be one that leaves everything out.
Later, a full pass of Python's garbage collector over models and catalogue would hold up an answer for
tens of milliseconds, so what is there at the start is taken out of its sight for good.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from muma.errors import MumaError
from muma.serving.engine import ServingEngine
from muma.serving.recommending import Ask

USERS, EXPLAINED = 6, 2
SWITCH_S = 0.0002
"""An answer waits no longer for another thread's Python code; the default is 5 ms."""


def warm(engine: ServingEngine, clock: Callable[[], int]) -> None:
    """Answer every kind of request without keeping anything of it.

    Args:
        engine: the tenant's, which does not remember.
        clock: UTC microseconds.
    """
    facts = engine.versions.facts
    users = [None, *engine.users(USERS)]
    some = tuple(facts.ids[:100])
    for n, user in enumerate(users):
        plain = Ask(f"warm-up {n}", clock(), user=user, deadline_us=60_000_000)
        own = Ask(
            f"warm-up own {n}", clock(), user=user, count=20, candidates=some,
            explain=n < EXPLAINED, deadline_us=60_000_000,
        )  # fmt: skip
        for ask in (plain, own):
            try:
                engine.answer(ask)
                if user is not None:
                    engine.user(user)
            except MumaError:  # whoever asks will be told
                return
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
