"""A named user's recommendations from the models of a run.

Models know what they learned before the test window; each user's history is the whole log.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from muma import artifact
from muma.app.config import AppConfig
from muma.app.evaluation import KIND, VERSION
from muma.candidates.candidate import CandidateModel
from muma.candidates.storage import artifact_within
from muma.config import locate
from muma.errors import ArtifactError, ConfigError, UnknownIdError
from muma.events.event import EventLog
from muma.events.interactions import interactions
from muma.events.log_folder import open_log
from muma.events.vocabulary import Vocabulary
from muma.topk import NO_ITEM


@dataclass(frozen=True)
class Recommendation:
    """One place of a list.

    Attributes:
        item: the item's own id.
        score: what ordered it.
        scores: what each source gave it, by source; None where it gave none.
        title: the item's title, if it has one.
        tags: its tags, or its category.
    """

    item: int | str
    score: float
    scores: dict[str, float | None]
    title: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A user's list and what it rests on.

    Attributes:
        user: the id as asked.
        known: whether the user is in the log at all.
        history: interactions the models know of, newest first, as titles or tags; at most five.
        n_history: how many interactions the models know of.
        model: the model that ordered the list.
        items: the list, best first.
    """

    user: int | str
    known: bool
    history: tuple[str, ...]
    n_history: int
    model: str
    items: tuple[Recommendation, ...]


class Recommender:
    """Answers from a finished run; loading is done once.

    Raises:
        ArtifactError: the run does not exist, or belongs to another recipe or another log.
    """

    def __init__(self, config: AppConfig, *, model: str | None = None) -> None:
        run = artifact.read(config.folder / "results", kind=KIND, version=VERSION)
        if run.config != config.model_dump(mode="json"):
            raise ArtifactError(
                f"{config.folder} holds a run of another version of this recipe; run "
                "'muma evaluate' again"
            )
        self.config = config
        self.model_name = model or run.meta["report"]["served"]
        if self.model_name not in run.meta["models"]:
            known = ", ".join(run.meta["models"])
            raise ConfigError(f"model {self.model_name!r} is not in the run; it has: {known}")
        self._use = run.meta["models"][self.model_name]
        self._run = run
        self.log = open_log(config.folder / "log")
        if self.log.fingerprint != run.meta["fingerprint"]:
            raise ArtifactError(
                f"the log in {config.folder} is not the one its models were fitted on; run "
                "'muma evaluate' again"
            )
        self._models: dict[int, CandidateModel] = {}

    def answer(self, user: int | str, *, k: int = 10) -> Answer:
        """Recommend `k` items.

        Args:
            user: the user's own id; an unknown one is answered as somebody without history.
            k: length of the list.
        """
        log, index, known = self._user(user)
        model = self._model(log)
        taken = interactions(log, self.config.candidates.signal)
        mine = taken.item_E[taken.indptr[index] : taken.indptr[index + 1]]
        exclude = taken.matrix()[[index]].astype(bool) if self.config.evaluation.mask_seen else None
        found = model.propose(np.array([index]), k, exclude=exclude)
        item_N = found.item_BN[0]
        item_N = item_N[item_N != NO_ITEM]
        recent = tuple(named(row) for row in item_facts(log, mine[::-1][:5]))
        rows = item_facts(log, item_N)
        items = tuple(self._place(found.scores, at, row) for at, row in enumerate(rows))
        return Answer(user, known, recent, len(mine), self.model_name, items)

    def _place(self, scores: Any, at: int, row: dict[str, Any]) -> Recommendation:
        by_source = {
            name: (float(score[0, at]) if np.isfinite(score[0, at]) else None)
            for name, score in scores.items()
        }
        first = next(iter(by_source.values()))
        return Recommendation(
            row["id"], first if first is not None else float("nan"), by_source, row["title"],
            tuple(row["tags"] or ([row["category"]] if row["category"] else [])),
        )  # fmt: skip

    def _user(self, user: int | str) -> tuple[EventLog, int, bool]:
        with suppress(UnknownIdError):
            return self.log, int(self.log.user_ids.encode([user])[0]), True
        grown = Vocabulary(self.log.user_ids.ids)
        index = int(grown.add(pl.Series([user]))[0])
        return replace(self.log, user_ids=grown), index, False

    def _model(self, log: EventLog) -> CandidateModel:
        if log.n_users not in self._models:
            stored = artifact_within(self._run, f"models/{self.model_name}")
            self._models[log.n_users] = locate(self._use).load(stored, log)
        return self._models[log.n_users]


def item_facts(log: EventLog, item_N: np.ndarray) -> list[dict[str, Any]]:
    """Id, title, tags and category of items, in their order."""
    asked = pl.LazyFrame({"item_id": pl.Series(item_N, dtype=pl.UInt32)})
    facts = log.items.select("item_id", "title", "tags", "category")
    joined = asked.join(facts, on="item_id", how="left", maintain_order="left").collect()
    ids = pl.Series("id", log.item_ids.decode(item_N))
    return joined.with_columns(ids).to_dicts()


def named(row: dict[str, Any]) -> str:
    """What people call an item: title, tags, category or id."""
    return str(row["title"] or ", ".join(row["tags"] or []) or row["category"] or row["id"])


def label(item: Recommendation) -> str:
    """Title, or tags, or nothing but a dash."""
    return item.title or ", ".join(item.tags) or "-"
