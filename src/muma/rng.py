"""Random generators derived from one seed and a name, so that order of use changes nothing."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to (`seed`, `names`).

    Equal arguments give equal streams on every machine; different names give independent ones.

    Args:
        seed: the run's seed.
        names: what the stream is for, for example `("bootstrap", "ndcg@10")`.

    Example:
        >>> bool(derive(1, "a").random() == derive(1, "a").random())
        True
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
