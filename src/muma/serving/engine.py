"""The read path: features, history, candidates, ranks, slots, rules again, evidence.

    history (the store's last commit) -> what the rules allow
      -> candidates of every source, ranked by all features -> boosts
      -> slots drawn by the policy among what caps, quotas and pins leave open
      -> the rules once more, item by item -> reasons, if there is time

Every part can fail or run out of time; it is then left out and said in `Answer.degraded`. Without the
store a user is answered by session, popularity and the item alone, without rankers the sources' scores
order, without any candidate the editors' list does, and after it the newest items. What the rules
forbid is in no answer, whatever fails.

Shape: I items of the catalogue, N candidates, K slots, F features.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from pydantic import Field

from muma.candidates.candidate import CandidateModel
from muma.config import Config
from muma.errors import ArtifactError, ConfigError, MumaError, StoreError, UnknownIdError
from muma.events.vocabulary import Vocabulary
from muma.policy.arms import ArmPolicy
from muma.policy.held_statistics import HeldStatistics
from muma.policy.once import judged_once
from muma.policy.policy import Context, Policy
from muma.ranking.ranker import Slate
from muma.rng import uniforms
from muma.serving.bundle import IMPRESSIONS, LISTS, Bundle
from muma.serving.composing import Told, compose
from muma.serving.consent.consent import withheld
from muma.serving.facts import ItemFacts
from muma.serving.filling import Filled, fill
from muma.serving.proposing import Proposed, propose
from muma.serving.reading import NOBODY, Known, Reader, of_session
from muma.serving.recommending import Answer, Ask, Evidence, Hit, ServedItem
from muma.serving.rules.recheck import recheck
from muma.serving.rules.rule import UserState
from muma.serving.rules.ruleset import RuleSet
from muma.serving.rules.ruling import Ruling
from muma.serving.slates import boosted, by_sources, kept_slate

LOG = logging.getLogger(__name__)
EDITORS, NEWEST = "editors", "newest"


class EngineConfig(Config):
    """Settings of the engine.

    Attributes:
        seed: with the request id it fixes every draw.
        editorial: items to show when nothing else can be, best first.
        similar: source that says which items are near another; None takes the first that can.
        reserve_us: time kept back for the way out; a part that would eat into it is left out.
    """

    seed: int = 0
    editorial: tuple[str, ...] = ()
    similar: str | None = None
    reserve_us: int = Field(default=2_000, ge=0)


@dataclass(frozen=True)
class Versions:
    """What changes while the service runs; replaced whole, and read once an answer.

    Attributes:
        bundle: the models.
        facts: what is known of the items.
        rules: the editors' rules.
        policy: draws the slots.
    """

    bundle: Bundle
    facts: ItemFacts
    rules: RuleSet
    policy: Policy

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Part -> version, as answers tell it."""
        policy = getattr(self.policy, "version", type(self.policy).__name__)
        return {"models": self.bundle.version, "rules": self.rules.version, "policy": str(policy)}


@dataclass(frozen=True)
class Past:
    """Where versions of then are found; each raises `UnknownIdError` for one that is not kept.

    Attributes:
        models: by the version's name.
        rules: by the version's name.
    """

    models: Callable[[str], Bundle]
    rules: Callable[[str], RuleSet]


class _Work:
    """One answer on its way: its versions, its times, and what was left out."""

    def __init__(self, ask: Ask, versions: Versions) -> None:
        self.ask, self.versions = ask, versions
        self.began = self._mark = time.perf_counter()
        self.stages: dict[str, int] = {}
        self.degraded: list[str] = []

    def done(self, stage: str) -> None:
        """Note how long a stage took."""
        now = time.perf_counter()
        self.stages[stage] = int((now - self._mark) * 1e6)
        self._mark = now

    def left_us(self) -> float:
        """Microseconds until the deadline."""
        return self.ask.deadline_us - (time.perf_counter() - self.began) * 1e6

    def leave_out(self, part: str, why: object) -> None:
        """Say that a part is missing."""
        self.degraded.append(f"{part}: {why}")


class ServingEngine:
    """Answers for one tenant; see `Recommending`.

    Args:
        versions: the first of everything.
        reader: of the feature store.
        users: gives the raw ids of users by dense index, as they stand now.
        config: settings.
        past: gives models and rules by the names of their versions, for replays; None: those of now.

    Attributes:
        on_swap: told what answered before and what answers now, ahead of the next change.
    """

    def __init__(
        self,
        versions: Versions,
        reader: Reader,
        *,
        users: Callable[[], Vocabulary],
        config: EngineConfig = EngineConfig(),
        past: Past | None = None,
    ) -> None:
        self._versions, self._reader = versions, reader
        self._users, self._past = users, past
        self._swapping = threading.Lock()
        self.on_swap: Callable[[Versions, Versions], object] = lambda _, __: None
        self.config = config

    @property
    def versions(self) -> Versions:
        """What the next answer is made by."""
        return self._versions

    def users(self, count: int) -> list[str]:
        """Ids of some users, those who came first."""
        return [str(user) for user in self._users().ids.head(count).to_list()]

    def swap(self, change: Callable[[Versions], Versions]) -> None:
        """Put other versions in place, in one step for every later answer; one change after the other."""
        with self._swapping:
            before, self._versions = self._versions, change(self._versions)
            self.on_swap(before, self._versions)

    def answer(self, ask: Ask) -> Evidence:
        """See `Recommending.answer`."""
        work = _Work(ask, self._versions)
        said_C = work.versions.bundle.context(ask.context)
        user = self.index_of(ask.user) if ask.profiling else NOBODY
        known = self._known(work, user)
        work.done("history")
        ruling = work.versions.rules.ruling(ask, work.versions.facts, known.state)
        proposed, extra = self._propose(work, known, ruling)
        work.done("candidates")
        slate = self._ranked(work, user, proposed)
        work.done("rank")
        acting, arms = _held(work, slate)
        slate, filled, boost_N = self._filled(acting, ask, slate, ruling)
        row_NW, total_1W = (None, None) if arms is None else arms.of(slate.item_N)
        work.done("slots")
        filled, late = self._rechecked(ask, slate, filled, known.state)
        chosen = slate.item_N[filled.place_K].tolist()
        sources = {item: extra.get(item) or proposed.of(item) for item in chosen}
        items = self._composed(work, slate, filled, boost_N, ruling, sources, said_C)
        work.done("words")
        answer = Answer(
            ask.request_id, items, tuple(work.degraded), work.versions.names, known.as_of,
            work.stages,
        )  # fmt: skip
        return Evidence(
            ask, answer, slate.item_N, slate.value_NF, slate.columns, filled.propensity_K,
            filled.support_K, _floor(work.versions.policy), (*ruling.hits(), *late), user, None,
            known.history.item_L, withheld(ask), row_NW, total_1W,
        )  # fmt: skip

    def replay(self, evidence: Evidence) -> Answer:
        """See `Recommending.replay`."""
        kept = evidence.answer
        versions = self._of_then(dict(kept.versions))
        ask, work = evidence.ask, _Work(evidence.ask, versions)
        slate = kept_slate(versions.bundle, evidence.item_N, evidence.value_NF, evidence.columns)
        ruling = versions.rules.ruling(ask, versions.facts)
        if isinstance(versions.policy, ArmPolicy) and evidence.arm_NW is not None:
            rows = evidence.arm_NW, np.asarray(evidence.arm_total_1W)
            held, _ = versions.policy.held(evidence.item_N, rows)
            versions = replace(versions, policy=held)
        slate, filled, boost_N = self._filled(versions, ask, slate, ruling)
        sources = {versions.facts.dense(one.item): one.sources for one in kept.items}
        work.degraded = list(kept.degraded)
        said_C = versions.bundle.context(ask.context)
        wordless = any(text.startswith("words:") for text in kept.degraded)
        items = self._composed(
            work, slate, filled, boost_N, ruling, sources, said_C, may_speak=not wordless
        )
        return replace(kept, items=items)

    def similar(self, item: str, count: int, ask: Ask) -> Answer:
        """See `Recommending.similar`."""
        work = _Work(ask, self._versions)
        versions = work.versions
        index = versions.facts.dense(item)
        name, source = self._near(versions.bundle)
        ruling = versions.rules.ruling(replace(ask, count=count), versions.facts)
        allowed_I = ruling.allowed()
        allowed_I[index] = False
        history = of_session(np.array([index], dtype=np.int64), ask.time).history
        found = propose({name: source}, history, allowed_I, 4 * count)
        slate = by_sources(found.item_N, found.score_NS)
        slots = ruling.slots(slate.item_N, count)
        filled = _greedily(slate, count, slots.open_for)
        filled, _ = self._rechecked(replace(ask, count=count), slate, filled, UserState())
        sources = dict.fromkeys(slate.item_N.tolist(), (name,))
        told = Told(sources, [()] * len(filled), {}, np.zeros(len(slate)), None)
        items = compose(slate, filled, versions.facts, told)
        work.done("similar")
        return Answer(ask.request_id, items, (), versions.names, -1, work.stages)

    def user(self, user: str) -> Mapping[str, object]:
        """See `Recommending.user`."""
        versions, index = self._versions, self.index_of(user)
        if index == NOBODY:
            raise UnknownIdError(f"nobody is called {user!r}")
        return self._reader.told(versions.bundle, index, versions.facts)

    def index_of(self, user: str | None) -> int:
        """Dense index of a raw id, -1 for one that is not known."""
        if user is None:
            return NOBODY
        try:
            return self._users().index(user)
        except UnknownIdError:
            return NOBODY

    def _known(self, work: _Work, user: int) -> Known:
        """History of the user, or of the session where there is none."""
        ask, facts = work.ask, work.versions.facts
        session = of_session(facts.find_all(ask.session if ask.profiling else ()), ask.time)
        if user == NOBODY:
            return session
        try:
            known = self._reader.known(work.versions.bundle, user, ask.time, withheld(ask))
        except MumaError as error:
            LOG.warning("store failed", extra={"reason": str(error)})
            work.leave_out("history", "the feature store cannot be read")
            return session
        if len(known.history) or not len(session.history):
            return known
        return replace(known, history=session.history)  # what was hidden stays hidden

    def _propose(
        self, work: _Work, known: Known, ruling: Ruling
    ) -> tuple[Proposed, dict[int, tuple[str, ...]]]:
        """Candidates, never none while any item is allowed; and who proposed those of no source."""
        ask, bundle, facts = work.ask, work.versions.bundle, work.versions.facts
        allowed_I = ruling.allowed()
        wanted = None
        if ask.candidates is not None:
            wanted = facts.find_all(ask.candidates)
            if len(wanted) < len(ask.candidates):
                work.leave_out("candidates", f"{len(ask.candidates) - len(wanted)} are not known")
        elif bundle.mask_taken:
            taken = known.history.item_L
            allowed_I[taken[taken < len(allowed_I)]] = False
        found = propose(bundle.sources, known.history, allowed_I, bundle.pool, wanted_N=wanted)
        for name, why in found.failed.items():
            work.leave_out(f"source {name}", why)
        if wanted is not None:
            return found, dict.fromkeys(wanted.tolist(), ("caller",))
        extra: dict[int, tuple[str, ...]] = dict.fromkeys(ruling.pinned().tolist(), ("rule",))
        if len(found.item_N) < ask.count:
            extra |= self._fallback(ask, facts, allowed_I, found.item_N)
        if new := [item for item in extra if item not in set(found.item_N.tolist())]:
            every_n = np.union1d(found.item_N, np.array(new, dtype=np.int64))
            more = propose(bundle.sources, known.history, allowed_I, 1, wanted_N=every_n)
            extra = {item: extra[item] for item in new}
            found = _with_items(found, every_n, more)
        return found, extra

    def _fallback(
        self, ask: Ask, facts: ItemFacts, allowed_I: np.ndarray, found_N: np.ndarray
    ) -> dict[int, tuple[str, ...]]:
        """The editors' items, and after them the newest."""
        listed = [i for i in facts.find_all(self.config.editorial).tolist() if allowed_I[i]]
        found: dict[int, tuple[str, ...]] = dict.fromkeys(listed, (EDITORS,))
        missing = ask.count - len(found_N) - len(found)
        if missing > 0:
            open_n = np.setdiff1d(np.flatnonzero(allowed_I), [*found_N.tolist(), *listed])
            newest_n = open_n[np.argsort(-facts.times("published_at")[open_n], kind="stable")]
            found |= dict.fromkeys(newest_n[:missing].tolist(), (NEWEST,))
        return found

    def _ranked(self, work: _Work, user: int, found: Proposed) -> Slate:
        """Candidates in the order of the ranker, or of the sources' scores without it."""
        if len(found.item_N) and work.left_us() < self.config.reserve_us:
            work.leave_out("rank", "no time was left")
        elif len(found.item_N):
            slate = self._by_ranker(work, user, found)
            if slate is not None:
                return slate
        return by_sources(found.item_N, found.score_NS, found.names)

    def _by_ranker(self, work: _Work, user: int, found: Proposed) -> Slate | None:
        bundle = work.versions.bundle
        live_NF = np.full((len(found.item_N), len(bundle.features)), np.nan)
        try:
            off = withheld(work.ask)
            live_NF = self._reader.features(user, found.item_N, work.ask.time, off)
        except MumaError as error:
            LOG.warning("store failed", extra={"reason": str(error)})
            work.leave_out("features", "the feature store cannot be read")
        try:
            rows_NF = bundle.rows(live_NF, user, found.item_N, found.score_NS)
            return bundle.rankers[LISTS].rank(rows_NF, found.item_N)
        except MumaError as error:
            LOG.warning("ranker failed", extra={"reason": str(error)})
            work.leave_out("rank", "the ranker failed")
            return None

    def _filled(
        self, versions: Versions, ask: Ask, slate: Slate, ruling: Ruling
    ) -> tuple[Slate, Filled, np.ndarray]:
        """Boosts, then slots; the slate in the order that the policy saw, and its boosts."""
        slate, boost_N = boosted(slate, ruling.boosts(slate.item_N))
        context = Context(ask.request_id, ask.time)
        u_K = uniforms(self.config.seed, ask.request_id, size=ask.count)
        slots = ruling.slots(slate.item_N)
        policy = judged_once(versions.policy)
        filled = fill(policy, slate, context, u_K, slots.open_for, free_N=slots.free_N)
        return slate, filled, boost_N

    def _rechecked(
        self, ask: Ask, slate: Slate, filled: Filled, state: UserState
    ) -> tuple[Filled, tuple[Hit, ...]]:
        """What the newest rules and facts still allow: they may have changed since the answer began."""
        newest = self._versions
        item_K = slate.item_N[filled.place_K].tolist()
        kept, hits = recheck(item_K, ask, newest.facts, newest.rules.rules, state)
        if len(kept) == len(item_K):
            return filled, ()
        return filled.take(np.isin(item_K, kept)), hits

    def _composed(
        self,
        work: _Work,
        slate: Slate,
        filled: Filled,
        boost_N: np.ndarray,
        ruling: Ruling,
        sources: Mapping[int, tuple[str, ...]],
        said_C: np.ndarray,
        *,
        may_speak: bool | None = None,
    ) -> tuple[ServedItem, ...]:
        """The slots with all that is said of them; `may_speak` None asks the clock."""
        bundle, ask = work.versions.bundle, work.ask
        chance = {}
        shown = bundle.rankers.get(IMPRESSIONS)
        if shown is not None and slate.attribute is not None and len(filled):
            rows_KF = slate.value_NF[filled.place_K]
            said_KC = np.broadcast_to(said_C, (len(rows_KF), len(said_C)))
            chance = shown.probability(np.concatenate([rows_KF, said_KC], axis=1))
        if may_speak is None:
            may_speak = work.left_us() > self.config.reserve_us
            if ask.explain and not may_speak:
                work.leave_out("words", "no time was left")
        words = bundle.words if ask.explain and may_speak else None
        rules = ruling.moved_by(slate.item_N[filled.place_K])
        told = Told(sources, rules, chance, boost_N, words)
        return compose(slate, filled, work.versions.facts, told)

    def _of_then(self, wanted: dict[str, str]) -> Versions:
        """Today's versions with the models and rules of a past answer.

        Raises:
            ArtifactError: one of them is not kept.
        """
        versions = self._versions
        if self._past is not None:
            changes: dict[str, Bundle | RuleSet] = {}
            try:
                for part, field, get in (
                    ("models", "bundle", self._past.models),
                    ("rules", "rules", self._past.rules),
                ):
                    name = wanted.get(part, "")
                    if name != versions.names[part]:
                        changes[field] = get(name)
            except (UnknownIdError, ConfigError) as error:
                raise ArtifactError(str(error)) from error
            if isinstance(rules := changes.get("rules"), RuleSet):
                rules.prepare(versions.facts)
            versions = replace(versions, **changes)
        if (names := versions.names) != wanted:
            gone = [f"{k} {v}" for k, v in wanted.items() if names.get(k) != v]
            raise ArtifactError(
                f"{', '.join(gone)} made this answer and is not here; here is {names}"
            )
        return versions

    def _near(self, bundle: Bundle) -> tuple[str, CandidateModel]:
        name = self.config.similar
        for each, source in bundle.sources.items():
            if each == name or (name is None and not type(source).__name__.startswith("Popular")):
                return each, source
        raise ConfigError(f"no source {name or ''} can say which items are near another")


def _held(work: _Work, slate: Slate) -> tuple[Versions, HeldStatistics | None]:
    """The versions with the policy's statistics as they stand now, the same for every slot."""
    versions, policy = work.versions, work.versions.policy
    if not isinstance(policy, ArmPolicy):
        return versions, None
    try:
        policy, held = policy.held(slate.item_N)
    except StoreError as error:
        LOG.warning("policy's statistics failed", extra={"reason": str(error)})
        work.leave_out("policy", "what it has learned cannot be read")
        none = policy.statistics.forgetting.empty
        policy, held = policy.held(slate.item_N, (none(len(slate)), none(1)))
    return replace(versions, policy=policy), held


def _greedily(slate: Slate, k: int, may: Callable[[int, list[int]], np.ndarray]) -> Filled:
    """The best open candidate in every slot."""
    chosen: list[int] = []
    for slot in range(min(k, len(slate))):
        open_N = may(slot, chosen)
        if not open_N.any():
            break
        chosen.append(int(np.flatnonzero(open_N)[0]))
    one_K = np.ones(len(chosen))
    return Filled(np.array(chosen, dtype=np.int64), one_K, one_K.astype(int), one_K < 1)


def _with_items(found: Proposed, every_n: np.ndarray, more: Proposed) -> Proposed:
    """Candidates with others that no source proposed."""
    kept_n = np.isin(every_n, more.item_N)
    every_n = every_n[kept_n]
    by_NS = np.zeros((len(every_n), len(found.names)), dtype=bool)
    by_NS[np.searchsorted(every_n, found.item_N)] = found.by_NS
    return Proposed(more.item_N, more.score_NS, by_NS, found.names, found.failed)


def _floor(policy: Policy) -> float:
    """Least probability that the policy gives a candidate of its support."""
    floor = getattr(getattr(policy, "config", None), "floor", None)
    return float(getattr(floor, "least", 0.0))
