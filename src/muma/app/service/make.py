"""The factory of the service: a recipe becomes everything behind the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

from muma.app.config import AppConfig, read_recipe
from muma.app.service.answer_wire import Change
from muma.app.service.answerers import Answerers
from muma.app.service.clock import LogClock, log_clock, machine_clock
from muma.app.service.consent import ConsentsHeld
from muma.app.service.erasing import LiveState, LiveStream
from muma.app.service.gate import PromotionGate
from muma.app.service.learning import ErasableLearner, Learner, taught
from muma.app.service.models import ModelsHeld, Shelf
from muma.app.service.parts import (
    AuditKept,
    EventsIn,
    Forget,
    ItemsHeld,
    Names,
    RememberingEngine,
    RulesHeld,
)
from muma.app.service.previews import PreviewsHeld
from muma.app.service.pump_process import PumpProcess
from muma.app.service.running import Running
from muma.app.service.warm import USERS, warm
from muma.app.serving_bundle import live_version, version_bundle, versions_of
from muma.app.versions import Answering
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.config import build
from muma.events.event import EventLog
from muma.events.log_folder import open_log
from muma.policy.policy import Policy
from muma.serving.audit import AuditLog
from muma.serving.bundle import Bundle
from muma.serving.catalogue import item_facts
from muma.serving.consent.book import ConsentBook
from muma.serving.engine import EngineConfig, Past, ServingEngine, Versions
from muma.serving.erasure.erasure import Erasure
from muma.serving.erasure.evidence import ErasableEvidence
from muma.serving.erasure.parts import (
    ErasableLog,
    ErasableModels,
    Learned,
)
from muma.serving.evidence.log import EvidenceLog, EvidenceLogConfig
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.http.service import DoorConfig, Service
from muma.serving.keys import KeyFile
from muma.serving.rules.ruleset import RuleSet
from muma.serving.rules.store import RuleStore
from muma.serving.tenants import Tenant, Tenants

Time = Literal["now", "log"]


@dataclass
class Opened:
    """A service and what it stands on.

    Attributes:
        service: for the door.
        engine: answers, without remembering.
        running: the online side.
        evidence: what answers rested on.
        clock: event time now, UTC microseconds.
        keys: who may ask.
        previews: what other rules would change.
        answering: the hold on the run's versions.
        learner: teaches the policy; None for one that does not learn.
        answerers: processes that answer; None where the door does.
        held: what is released by `close`, the last that was opened first.
    """

    service: Service
    engine: ServingEngine
    running: Running
    evidence: EvidenceLog
    clock: Callable[[], int]
    keys: KeyFile
    previews: PreviewsHeld
    answering: Answering
    learner: Learner | None
    answerers: Answerers | None
    held: ExitStack

    def close(self) -> None:
        """Write what waits and release everything; safe to call twice."""
        self.held.close()


def make(
    recipe: str, overrides: Sequence[str] = (), *, time_of: Time = "now", speed: float = 1.0
) -> Service:
    """The service of a recipe, for `muma.serving.http.server.ServerConfig.factory`.

    Args:
        recipe: path of the TOML file.
        overrides: `a.b=c`.
        time_of: `"now"`, or `"log"` for a clock that begins where the service's log ends.
        speed: of that clock, seconds a second.
    """
    config = read_recipe(recipe, overrides=list(overrides))
    return open_service(config, time_of=time_of, speed=speed).service


def open_service(config: AppConfig, *, time_of: Time = "now", speed: float = 1.0) -> Opened:
    """Open everything of a trained recipe.

    A clock of the log stands still until the service starts; after the service was away it goes on at
    the newest event.

    Raises:
        ArtifactError: the recipe was not trained.
        ConfigError: the recipe is wrong.
        StreamError, StoreError: another process serves this run, or something is damaged.
    """
    section = config.serving
    log = open_log(config.folder / "log")
    held = ExitStack()
    try:
        pump = held.enter_context(
            closing(PumpProcess(config))
        )  # it loads while the models are read
        answerers = None
        if section.processes:
            answerers = held.enter_context(closing(Answerers(config, section.processes)))
        version = live_version(config, log)
        until = int(version.about["learned_until"]) if section.begin == "test" else None
        clock = log_clock(log, until, speed=speed) if time_of == "log" else machine_clock
        running = Running(config, clock=clock, until=until, pump=pump)
        held.enter_context(closing(running))
        bundle = version_bundle(config, log, version)  # while the pump reads the state
        running.wait()
        return _opened(config, log, bundle, clock, running, answerers, held)
    except BaseException:
        held.close()
        raise


def _opened(
    config: AppConfig,
    log: EventLog,
    bundle: Bundle,
    clock: Callable[[], int],
    running: Running,
    answerers: Answerers | None,
    held: ExitStack,
) -> Opened:
    folder, section = config.folder, config.serving
    name = section.tenant
    policy = build(config.policy, where="policy", methods=("next_slot", "expected"))
    answering = held.enter_context(closing(Answering(versions_of(config))))
    evidence_log = EvidenceLog(EvidenceLogConfig(path=str(folder / "evidence")), clock=clock)
    evidence = held.enter_context(closing(evidence_log))
    if isinstance(clock, LogClock):
        clock.not_before(running.state.newest() + 1)
    versions = Versions(bundle, item_facts(log), RuleSet(), policy)
    shelf, rule_store = Shelf(config, log), RuleStore(folder / "rules", clock=clock)
    engine_config = EngineConfig(
        seed=section.explore, editorial=section.editorial, similar=section.similar
    )
    engine = ServingEngine(
        versions, running.state, users=running.users, config=engine_config,
        past=Past(shelf.get, rule_store.at),
    )  # fmt: skip
    book = ConsentBook(folder / "consent.jsonl", clock=clock)
    consents = ConsentsHeld(config, running, book, tenant=name, clock=clock)
    learner = _learner(config, policy, engine, running, evidence, clock)
    if learner is not None:
        held.enter_context(closing(learner))
    events = EventsIn(running, consents)
    items = ItemsHeld(engine, running, events, folder / "items.jsonl", clock=clock)
    running.on_step = items.sync
    rules = RulesHeld(engine, rule_store)
    gate = PromotionGate(
        engine, EvidenceReader(folder / "evidence"), lambda: running.stream,
        config=config.serving.gate, reward=config.serving.reward, tenant=name, clock=clock,
    )  # fmt: skip
    models = ModelsHeld(
        engine, running, shelf, config=config, answering=answering, gate=gate, clock=clock
    )
    erasure = _erasure(config, running, evidence, bundle, book, clock, learner)
    keys = KeyFile(folder / "keys.json", clock=clock)
    previews = PreviewsHeld(engine, running, consents)
    tenant = Tenant(
        name=name,
        engine=RememberingEngine(engine, evidence, consents, answerers),
        intake=events,
        decisions=evidence,
        items=items,
        rules=rules,
        previews=previews,
        consents=consents,
        forgetting=Forget(erasure, name),
        models=models,
        audit=AuditKept(AuditLog(folder / "audit.jsonl"), name, clock=clock),
        directory=Names(engine, running),
        limits=config.serving.limits,
    )
    service = Service(
        tenants=Tenants([tenant]), keys=keys, clock=clock, config=DoorConfig(operators=name, answer_threads=section.processes),
        ready={"features": running.trouble, "evidence": lambda: evidence.stats().failing},
        on_start=(
            erasure.finish, consents.finish, partial(warm, engine, clock),
            *((clock.go,) if isinstance(clock, LogClock) else ()),
            *((learner.start,) if learner is not None else ()),
            *((partial(_begin, answerers, engine, running, clock),) if answerers else ()),
        ),
        on_stop=(
            *((answerers.close,) if answerers else ()),  # nobody waits for them any more
            held.close,
        ),
    )  # fmt: skip
    return Opened(
        service,
        engine,
        running,
        evidence,
        clock,
        keys,
        previews,
        answering,
        learner,
        answerers,
        held,
    )


def _begin(
    answerers: Answerers, engine: ServingEngine, running: Running, clock: Callable[[], int]
) -> None:
    """Let other processes answer, and tell them every change from now on."""

    def everything() -> Change:
        now, users = engine.versions, engine.users(USERS)
        return Change(
            now.bundle.version, now.rules.tables, now.facts, state=running.state.is_open,
            warm={user: engine.index_of(user) for user in users}, at=clock(),
        )  # fmt: skip

    engine.on_swap = answerers.changed
    running.on_state = lambda is_open: answerers.tell(Change(state=is_open))
    answerers.start(everything)


def _learner(
    config: AppConfig,
    policy: Policy,
    engine: ServingEngine,
    running: Running,
    evidence: EvidenceLog,
    clock: Callable[[], int],
) -> Learner | None:
    """What teaches the policy; None for one that does not learn."""
    section = config.serving
    pupil = taught(policy, section.reward)
    if pupil is None:
        return None
    first = next(EvidenceReader(evidence.folder).heads(), None)
    store = LmdbStore(LmdbConfig(path=str(config.folder / "policy"), sync="commit"))
    try:
        return Learner(
            pupil, store,
            stream=lambda: running.stream,
            find=partial(evidence.get, tenant=section.tenant),
            since=clock() if first is None else first.time,
            item_of=_find_in(engine),
            rule=section.reward, clock=clock,
        )  # fmt: skip
    except BaseException:
        store.close()
        raise


def _erasure(
    config: AppConfig,
    running: Running,
    evidence: EvidenceLog,
    bundle: Bundle,
    consents: ConsentBook,
    clock: Callable[[], int],
    learner: Learner | None,
) -> Erasure:
    """What is forgotten, in this order: decisions, events, their log, state; models only say so."""
    stream = LiveStream(running)
    others = [name for name in bundle.features if not name.startswith(("user", "friends"))]

    def learned() -> list[Learned]:
        """Every version that is kept: each can answer again."""
        return [
            Learned(f"sources and rankers {one.name}", int(one.about["learned_until"]))
            for one in versions_of(config).list()
        ]

    parts = [
        ErasableEvidence(config.folder / "evidence", log=evidence, item_columns=others),
        stream, ErasableLog(config.folder / "log"), LiveState(running), ErasableModels(learned),
        consents,
    ]  # fmt: skip
    if learner is not None:
        parts.append(ErasableLearner(learner))
    return Erasure(config.folder / "erasure", parts, clock=clock, find=stream.find)


def _find_in(engine: ServingEngine) -> Callable[[str], int]:
    """Finds items among the facts of the moment."""

    def find(name: str) -> int:
        return engine.versions.facts.find(name)

    return find


def keys_of(config: AppConfig, *, clock: Callable[[], int]) -> KeyFile:
    """The keys of a run."""
    return KeyFile(config.folder / "keys.json", clock=clock)
