"""The process that answers beside the service: reads models and state, makes answers, keeps nothing.

It knows what it was told: the service says every change of items, rules and models before whoever made it
hears that it is made, so that no later answer is by the old ones.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, cast

import polars as pl

from muma.app.config import AppConfig
from muma.app.features import World, read_world
from muma.app.service.answer_wire import Change, Failed, Wish
from muma.app.service.learning import taught
from muma.app.service.models import Shelf
from muma.app.service.state_reading import StateReading
from muma.app.service.warm import warm
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.config import build, parse
from muma.errors import MumaError, UnknownIdError
from muma.policy.policy import Policy
from muma.policy.shared_statistics import SharedStatistics
from muma.serving.engine import EngineConfig, ServingEngine, Versions
from muma.serving.facts import ItemFacts
from muma.serving.recommending import Evidence
from muma.serving.rules.ruleset import RuleSet


def main(link: Connection) -> None:
    """Follow the service until it is gone.

    Args:
        link: brings the recipe, then `Change` and `Wish`, each of which is answered by one word.
    """
    for name in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches the service, which drains first
        signal.signal(name, signal.SIG_IGN)
    try:
        answering = Answering(parse(AppConfig, link.recv(), where="recipe"))
        while True:
            link.send(answering.done(link.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody is there any more


class Answering:
    """Answers by what it was told.

    Args:
        config: the recipe.
    """

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._world: World = read_world(config)
        self._state = StateReading(config, self._world)
        self._shelf = Shelf(config, self._world.log)
        self._known = _Names({})
        self._engine: ServingEngine | None = None

    def done(self, said: Change | Wish) -> Evidence | Failed | None:
        """Do it; errors on purpose are for whoever asked."""
        try:
            return self._answer(said) if isinstance(said, Wish) else self._change(said)
        except MumaError as error:
            return Failed(type(error).__name__, str(error))

    def _answer(self, wish: Wish) -> Evidence:
        if self._engine is None:
            raise MumaError("an answer is wanted before anything was told")
        self._known = _Names({} if wish.ask.user is None else {wish.ask.user: wish.index})
        return self._engine.answer(wish.ask)

    def _change(self, told: Change) -> None:
        """Everything at once; the first one tells of everything."""
        engine = self._engine
        if told.state is not None:
            self._state.open() if told.state else self._state.close()
        bundle = None if told.models is None else self._shelf.get(told.models)
        facts = engine.versions.facts if engine else ItemFacts.empty()
        rules = engine.versions.rules if engine else RuleSet()
        if told.facts is not None:
            facts = told.facts
        if told.items is not None:
            facts = facts.with_items(told.items)
        if told.rules is not None:
            rules = RuleSet.parse(list(told.rules))
        rules.prepare(facts)
        if engine is not None:
            before = engine.versions.bundle
            engine.swap(lambda now: replace(now, bundle=bundle or before, facts=facts, rules=rules))
            if bundle is not None:
                self._shelf.use(bundle, before)  # a roll-back is not to read it again
        elif bundle is not None:
            engine = self._engine = self._made(
                Versions(bundle, facts, rules, policy_of(self._config))
            )
        if engine is not None and told.warm is not None:
            self._known = _Names(told.warm)
            warm(engine, lambda: told.at)

    def _made(self, versions: Versions) -> ServingEngine:
        section = self._config.serving
        config = EngineConfig(
            seed=section.explore, editorial=section.editorial, similar=section.similar
        )
        # of all vocabularies, only the index of the one who asks is wanted here
        users = cast("Any", lambda: self._known)
        return ServingEngine(versions, self._state, users=users, config=config)


class _Names:
    """The part of a `Vocabulary` that an engine needs, of the users that were told."""

    def __init__(self, index: Mapping[str, int]) -> None:
        self._index = index

    @property
    def ids(self) -> pl.Series:
        """See `Vocabulary.ids`."""
        return pl.Series(list(self._index), dtype=pl.String)

    def index(self, name: str) -> int:
        """See `Vocabulary.index`."""
        found = self._index.get(name, -1)
        if found < 0:
            raise UnknownIdError(f"{name!r} is not known")
        return found


def policy_of(config: AppConfig) -> Policy:
    """The recipe's policy, with what it has learned so far, to be read alone."""
    policy = build(config.policy, where="policy", methods=("next_slot", "expected"))
    pupil = taught(policy, config.serving.reward)
    if pupil is not None:
        store = LmdbStore(LmdbConfig(path=str(config.folder / "policy"), readonly=True))
        pupil.statistics = SharedStatistics(store=store, forgetting=pupil.statistics.forgetting)
    return policy
