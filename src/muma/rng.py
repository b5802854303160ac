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
    digest = hashlib.sha256(_text(seed, names)).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def uniforms(seed: int, *names: str | int, size: int) -> np.ndarray:
    """A few numbers of (`seed`, `names`), uniform in [0, 1): float64 [size].

    The digest itself (SHAKE-128) gives their 53 bits each, so that no generator is built: for who needs
    a handful of numbers a thousand times a second. Not the numbers of `derive`.

    Example:
        >>> u = uniforms(1, "request", size=3)
        >>> bool(((u >= 0) & (u < 1)).all() and (u == uniforms(1, "request", size=3)).all())
        True
    """
    digest = hashlib.shake_128(_text(seed, names)).digest(8 * size)
    return (np.frombuffer(digest, dtype="<u8") >> np.uint64(11)) * 2.0**-53


def _text(seed: int, names: tuple[str | int, ...]) -> bytes:
    return "\x1f".join([str(seed), *map(str, names)]).encode()
