"""How far a log of feedback has been counted, kept beside what was counted.

The offset reached is written in the commit that adds the rows, so that a batch that is sent twice, whole
or in part, adds only what is new; a batch that leaves a gap is refused.
"""

from __future__ import annotations

import json

from muma.errors import StoreError
from muma.features.store import Snapshot


class Offsets:
    """Partition -> offset of the first row of feedback that is not in yet, in a blob.

    Args:
        name: of the statistics; the blob is `<name>/offsets`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.blob = f"{name}/offsets"

    def read(self, view: Snapshot) -> dict[int, int]:
        """All of them."""
        held = view.blob(self.blob)
        return {} if held is None else {int(p): int(at) for p, at in json.loads(held).items()}

    def after(
        self, view: Snapshot, source: tuple[int, int] | None, n: int
    ) -> tuple[int, dict[str, bytes]]:
        """How many of a batch's `n` rows are in already, and the blob to write with the others.

        Raises:
            StoreError: rows of the partition before the batch are missing.
        """
        if source is None:
            return 0, {}
        (partition, first), reached = source, self.read(view)
        upto = reached.get(partition, 0)
        if first > upto or min(source) < 0:
            raise StoreError(
                f"feedback of partition {partition} begins at offset {first}, but the statistics "
                f"{self._name!r} hold it up to {upto}; send the rows from there first"
            )
        reached[partition] = max(upto, first + n)
        return min(upto - first, n), {self.blob: json.dumps(reached, sort_keys=True).encode()}
