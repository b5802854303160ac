"""The pipeline's list for one user: every source's candidates, features as of now, the rankers' order.

Sources and rankers know what they learned before the test window; histories and features are those
of the moment that is asked for, by default just after the log's end.

Shape: N candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import AppConfig
from muma.app.context import request_context
from muma.app.features import compile_features
from muma.app.recommendation import item_facts, named
from muma.app.source_scores import pair_scores
from muma.app.stages import Stages, models_of
from muma.app.training import TABLES, ranking_of, sources_of, stage_inputs
from muma.candidates.storage import artifact_within
from muma.errors import ArtifactError, ConfigError, DataError, UnknownIdError
from muma.events.event import EventLog
from muma.events.interactions import interactions
from muma.events.log_folder import open_log
from muma.events.vocabulary import Vocabulary
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.offline.as_of import as_of
from muma.ranking.explanation import Part, explain
from muma.ranking.multi import MultiRanker
from muma.ranking.phrases import Subject, WordsConfig
from muma.ranking.ranker import Slate
from muma.ranking.sentences import SentencesConfig, sentence
from muma.topk import NO_ITEM

SAID = {
    "muma.candidates.popularity.Popularity": "many people take it these days",
    "muma.candidates.item_knn.ItemKNN": "people who chose your recent {items} chose it too",
    "muma.candidates.ease.EASE": "it goes with the {items} you chose",
    "muma.candidates.markov.Markov": "viewers of your last {item} went on to it",
    "muma.candidates.als.ALS": "people with your taste chose it",
    "muma.candidates.bpr.BPR": "people with your taste chose it",
    "muma.candidates.interest.InterestSource": "it fits what you have turned to lately",
}
"""What a source says when it scores an item above its mean; a stranger is told only the number."""


@dataclass(frozen=True)
class RankedItem:
    """One place of the pipeline's list.

    Attributes:
        item: the item's own id.
        title: its title, if it has one.
        tags: its tags, or its category.
        score: log-odds that ordered it.
        probability: label of impressions -> probability if it were shown; empty without impressions.
        sources: the sources that proposed it.
        sentence: why it stands here; None unless asked for.
        groups: group of features -> its part of the score, the largest first; empty unless asked for.
        parts: the largest single parts, likewise.
    """

    item: int | str
    title: str | None
    tags: tuple[str, ...]
    score: float
    probability: Mapping[str, float]
    sources: tuple[str, ...]
    sentence: str | None
    groups: Mapping[str, float]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class PipelineAnswer:
    """A user's list from the whole pipeline.

    Attributes:
        user: the id as asked.
        known: whether the user is in the log at all.
        history: what was taken last, newest first, as titles or tags; at most five.
        n_history: interactions that the sources know of.
        at_us: the moment, UTC microseconds.
        n_candidates: items that were ranked.
        items: the list, best first.
    """

    user: int | str
    known: bool
    history: tuple[str, ...]
    n_history: int
    at_us: int
    n_candidates: int
    items: tuple[RankedItem, ...]


@dataclass(frozen=True)
class Ranked:
    """All candidates of a user in order.

    Attributes:
        index: the user's dense index.
        known: whether the user is in the log.
        slate: from the ranker of lists.
        sources: for each candidate of the slate, the sources that proposed it.
    """

    index: int
    known: bool
    slate: Slate
    sources: tuple[tuple[str, ...], ...]


class PipelineRecommender:
    """Answers from a finished training; loading is done once.

    Args:
        config: the recipe.
        at_us: the moment of all answers, UTC microseconds; None is just after the log's last event.

    Raises:
        ArtifactError: the training does not exist, or belongs to another recipe or another log.
        ConfigError: the recipe has no `[ranking]`, or the moment lies before what the sources learned.
    """

    def __init__(self, config: AppConfig, *, at_us: int | None = None) -> None:
        section = ranking_of(config)
        self.config = config
        log = open_log(config.folder / "log")
        stages, about = Stages(config.folder, log), stage_inputs(config)
        stored = {name: stages.stored(name, about[name]) for name in ("sources", "rankers")}
        sources, rankers = stored["sources"], stored["rankers"]
        if sources is None or rankers is None:
            raise ArtifactError(
                f"{config.folder} holds no rankers of this recipe and log; run 'muma train'"
            )
        log = log.with_events(log.events.collect().lazy())  # read many times from here on
        last = log.events.select(pl.col("timestamp").max()).collect().item()
        self.at_us = int(last) + 1 if at_us is None else at_us
        if self.at_us < (before := int(sources.meta["known_before"])):
            raise ConfigError(
                f"the moment {_iso(self.at_us)} lies before {_iso(before)}, up to where the sources have "
                "learned; ask for a later one"
            )
        self.log = _with_stranger(log.between(None, self.at_us))
        self._stranger = self.log.n_users - 1
        self._sources = models_of(sources, self.log)
        self.sentences = SentencesConfig(words=words_of(config))
        present = [t for t in TABLES if any(n.startswith(f"{t}/") for n in rankers.files)]
        self.rankers = {
            table: MultiRanker.load(artifact_within(rankers, table)) for table in present
        }
        plan = compile_features(config)
        self._plan = plan.select(plan.columns)
        self._catalogue, self._followers = Catalogue.of(self.log), Followers.of(self.log)
        self._items = item_attributes(self.log, section.item_attributes)
        self._users = user_attributes(self.log, section.user_attributes)
        self._context = request_context(self.log, section.context)
        self._taken = interactions(self.log, config.candidates.signal)
        self._pool = section.pool

    @property
    def ranker(self) -> MultiRanker:
        """The ranker that orders lists."""
        return self.rankers["lists"]

    def rank(self, user: int | str) -> Ranked:
        """Rank all candidates of a user; an unknown one is somebody without history.

        Raises:
            DataError: no source proposes anything.
        """
        index, known = self._stranger, False
        with suppress(UnknownIdError):
            index, known = int(self.log.user_ids.encode([user])[0]), True
        proposed = self._proposed(index)
        if not proposed:
            raise DataError(f"no source has a candidate for user {user!r}")
        item_N = np.array(sorted(proposed), dtype=np.int64)
        slate = self.ranker.rank(self._matrix(index, item_N), item_N)
        return Ranked(index, known, slate, tuple(proposed[int(i)] for i in slate.item_N))

    def answer(
        self,
        user: int | str,
        k: int = 10,
        *,
        explained: bool = True,
        context: Mapping[str, float | str] | None = None,
    ) -> PipelineAnswer:
        """The first `k` of a user's list.

        Args:
            user: the user's own id.
            k: length.
            explained: with sentences and parts of the scores.
            context: of the request, by the names of `ranking.context`; probabilities depend on it.

        Raises:
            ConfigError: it cannot be explained, since the fusion is `"literal"`.
            DataError: the context has an unknown name, or a value of the wrong type.

        Example:
            answer = PipelineRecommender(config).answer("3911", k=5)
            answer.items[0].sentence
        """
        ranked = self.rank(user)
        index, slate = ranked.index, ranked.slate
        facts = item_facts(self.log, slate.item_N[:k])
        chance = {}
        if (shown := self.rankers.get("impressions")) is not None:
            rows_NF = self._matrix(index, slate.item_N[:k])
            said_C = self._context.of_request(context or {})
            said_NC = np.broadcast_to(said_C, (len(rows_NF), len(said_C)))
            rows_NF = np.concatenate([rows_NF, said_NC], axis=1)
            chance = shown.probability(rows_NF)
        items = []
        for place, fact in enumerate(facts):
            told, groups, parts = None, {}, ()
            if explained:
                found = explain(slate, place)
                about = Subject(category=fact["category"])
                told = sentence(found, about=about, config=self.sentences)
                groups, parts = found.groups, found.parts[:8]
            tags = fact["tags"] or ([fact["category"]] if fact["category"] else [])
            items.append(
                RankedItem(
                    fact["id"], fact["title"], tuple(tags), float(slate.score_N[place]),
                    {label: float(p_N[place]) for label, p_N in chance.items()},
                    ranked.sources[place], told, groups, parts,
                )
            )  # fmt: skip
        mine = self._mine(index)
        recent = tuple(named(row) for row in item_facts(self.log, mine[::-1][:5]))
        return PipelineAnswer(
            user, ranked.known, recent, len(mine), self.at_us, len(slate), tuple(items)
        )

    def _mine(self, index: int) -> np.ndarray:
        taken = self._taken
        return taken.item_E[taken.indptr[index] : taken.indptr[index + 1]]

    def _proposed(self, index: int) -> dict[int, tuple[str, ...]]:
        """Item -> the sources that propose it."""
        exclude = None
        if self.config.evaluation.mask_seen:
            mine = np.unique(self._mine(index))
            cells = (np.ones(len(mine), bool), (np.zeros_like(mine), mine))
            exclude = csr_array(cells, shape=(1, self.log.n_items))
        found: dict[int, tuple[str, ...]] = {}
        for name, source in self._sources.items():
            item_N = source.propose(np.array([index]), self._pool, exclude=exclude).item_BN[0]
            for item in item_N[item_N != NO_ITEM].tolist():
                found[item] = (*found.get(item, ()), name)
        return found

    def _matrix(self, index: int, item_N: np.ndarray) -> np.ndarray:
        """Features of the user's candidates, columns as in training but for the request's context: float32 [N, F]."""
        user_N = np.full(len(item_N), index, dtype=np.int64)
        at_N = np.full(len(item_N), self.at_us, dtype=np.int64)
        rows = pl.DataFrame({"user_id": user_N, "item_id": item_N, "timestamp": at_N})
        read = as_of(
            self.log, rows, self._plan, catalogue=self._catalogue, followers=self._followers
        )
        parts = [
            read.values_BF.astype(np.float32), self._items.of(item_N), self._users.of(user_N),
            pair_scores(self._sources, user_N, item_N),
        ]  # fmt: skip
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC).isoformat(timespec="seconds")


def words_of(config: AppConfig) -> WordsConfig:
    """The house's words, with a clause for every source of a class that has one."""
    models = config.candidates.models
    said = {name: SAID[models[name].use] for name in sources_of(config) if models[name].use in SAID}
    return WordsConfig(sources=said)


def _with_stranger(log: EventLog) -> EventLog:
    """The log with one more user, who stands for everybody that it does not know."""
    ids = log.user_ids.ids
    if ids.dtype.is_integer():
        fresh = pl.Series([int(ids.max() or 0) + 1])  # pyright: ignore[reportArgumentType]
    else:
        longest = ids.str.len_chars().arg_max()
        fresh = pl.Series(["?" if longest is None else f"{ids[longest]}?"])
    grown = Vocabulary(ids)
    grown.add(fresh)
    return replace(log, user_ids=grown)
