"""A learned softmax policy on disk: its arrays, the items they speak of, and how context is read.

Shape: B rounds, A actions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from muma import artifact
from muma.app.log_context import ContextCoder
from muma.evaluation.off_policy.learning.softmax import LinearSoftmax

KIND, VERSION = "learned-policy", 1
_FILE = "policy.json"


@dataclass(frozen=True)
class LearnedPolicy:
    """The policy with its names.

    Attributes:
        softmax: gives probabilities of the A items.
        items: their names, in order.
        coder: reads the context columns of a table.
    """

    softmax: LinearSoftmax
    items: tuple[str, ...]
    coder: ContextCoder

    def save(self, folder: str | Path) -> None:
        """Write it as an artifact.

        Raises:
            ArtifactError: the folder holds something else, or cannot be written.
        """
        with artifact.write(folder, kind=KIND, version=VERSION) as writer:
            self.softmax.save(writer)
            data = {"items": self.items, "context": self.coder.to_json()}
            writer.path(_FILE).write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> LearnedPolicy:
        """Read what `save` wrote.

        Raises:
            ArtifactError: it is missing, damaged, or of another kind.
        """
        stored = artifact.read(folder, kind=KIND, version=VERSION)
        data = json.loads(stored.path(_FILE).read_text(encoding="utf-8"))
        coder = ContextCoder.from_json(data["context"])
        return cls(LinearSoftmax.load(stored), tuple(data["items"]), coder)
