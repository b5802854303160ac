"""Torch's randomness, derived from the run's seed and a name as `muma.rng` derives NumPy's."""

from __future__ import annotations

import torch

from muma.rng import derive


def seed_torch(seed: int, *names: str | int) -> None:
    """Seed torch's generators of every device for what (`seed`, `names`) stands for.

    Call it inside `torch.random.fork_rng()`, so that the caller's own stream goes on untouched.

    Args:
        seed: the run's seed.
        names: what the randomness is for, for example `("step", 17)`.

    Example:
        >>> with torch.random.fork_rng():
        ...     seed_torch(1, "step", 3)
        ...     first = torch.rand(2)
        ...     seed_torch(1, "step", 3)
        ...     bool((torch.rand(2) == first).all())
        True
    """
    torch.manual_seed(int(derive(seed, *names).integers(2**63 - 1)))
