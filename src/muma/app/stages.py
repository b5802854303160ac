"""Artifacts below `RUN/ranking`: each knows what it was made from, and is made anew only when that changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from muma import __version__, artifact
from muma.candidates.candidate import CandidateModel
from muma.candidates.storage import artifact_within, writer_within
from muma.config import locate
from muma.errors import ArtifactError
from muma.events.event import EventLog
from muma.ranking.multi import MultiRanker

KIND, VERSION = "ranking", 1


class Stages:
    """The stages of one run.

    Attributes:
        reused: names of those that were there already, in the order in which they were asked for.
    """

    def __init__(self, run: Path, log: EventLog) -> None:
        self._folder = run / "ranking"
        self._log = log.fingerprint
        self.reused: list[str] = []

    def arrays(
        self, name: str, make: Callable[[], dict[str, np.ndarray]], about: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Arrays by name, made unless they are there."""
        if (stored := self.stored(name, about)) is not None:
            return stored.arrays("arrays.npz")
        found = make()
        with self.writing(name, about) as writer:
            writer.arrays("arrays.npz", found)
        return found

    def rankers(
        self,
        make: Callable[[], dict[str, MultiRanker]],
        about: Mapping[str, Any],
        tables: list[str],
    ) -> dict[str, MultiRanker]:
        """Rankers by table, fitted unless they are there."""
        if (stored := self.stored("rankers", about)) is not None:
            return {table: MultiRanker.load(artifact_within(stored, table)) for table in tables}
        found = make()
        with self.writing("rankers", about) as writer:
            for table, ranker in found.items():
                ranker.save(writer_within(writer, table))
        return found

    def keep_models(
        self,
        name: str,
        make: Callable[[], Mapping[str, CandidateModel]],
        about: Mapping[str, Any],
        *,
        meta: Mapping[str, Any],
    ) -> None:
        """Fitted candidate models, kept unless they are there; `models_of` reads them."""
        if self.stored(name, about) is not None:
            return
        models = make()
        uses = {
            key: f"{type(one).__module__}.{type(one).__qualname__}" for key, one in models.items()
        }
        with self.writing(name, about, meta={**meta, "models": uses}) as writer:
            for key, model in models.items():
                model.save(writer_within(writer, key))

    def stored(
        self, name: str, about: Mapping[str, Any], *, verify: bool = True
    ) -> artifact.Artifact | None:
        """The artifact of a stage; None if it is missing, damaged, or made from something else.

        Args:
            name: of the stage.
            about: what it is made from.
            verify: look through its files; whoever reads them later with `verify` need not now.
        """
        if not artifact.exists(self._folder / name):
            return None
        try:
            found = artifact.read(self._folder / name, kind=KIND, version=VERSION, verify=verify)
        except ArtifactError:
            return None
        if dict(found.config) != self._inputs(about):
            return None
        self.reused.append(name)
        return found

    @contextmanager
    def writing(
        self, name: str, about: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
    ) -> Iterator[artifact.Writer]:
        """Write a stage's artifact, all or nothing."""
        with artifact.write(
            self._folder / name, kind=KIND, version=VERSION, config=self._inputs(about), meta=meta
        ) as writer:
            yield writer

    def _inputs(self, about: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(about, sort_keys=True, default=list)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"inputs": digest, "log": self._log, "muma": __version__}


def models_of(stored: artifact.Artifact, log: EventLog) -> dict[str, CandidateModel]:
    """The models that `Stages.keep_models` kept, with the histories of a log."""
    return {
        key: locate(use).load(artifact_within(stored, key), log)
        for key, use in stored.meta["models"].items()
    }
