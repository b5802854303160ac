"""Building, tuning and fitting the recipe's models."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muma.app.config import AppConfig, ModelSpec
from muma.app.truth import Task
from muma.candidates.blend import Blend
from muma.candidates.candidate import CandidateModel, Resumable
from muma.candidates.tuning import tune
from muma.config import Spec, build
from muma.errors import ConfigError
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.metric import UserMetric
from muma.events.event import EventLog
from muma.progress import track


@dataclass(frozen=True)
class Chosen:
    """A model's parameters after tuning.

    Attributes:
        spec: what to build.
        value: the primary metric on validation; NaN when nothing was measured.
        tried: every setting with its value.
    """

    spec: Spec
    value: float
    tried: tuple[tuple[dict[str, Any], float], ...] = ()


@dataclass
class Tuner:
    """Chooses parameters on validation; remembers fitted models, so that blends reuse them.

    Attributes:
        config: the recipe.
        train: the log that models are fitted on.
        task: validation users and their targets.
        metric: the primary metric.
    """

    config: AppConfig
    train: EventLog
    task: Task
    metric: UserMetric
    chosen: dict[str, Chosen] = field(default_factory=dict)
    fitted: dict[str, CandidateModel] = field(default_factory=dict)

    def choose(self, name: str) -> Chosen:
        """Choose the parameters of one model of the recipe."""
        spec = self.config.candidates.models[name]
        self.chosen[name] = self._blend(name, spec) if spec.members else self._single(name, spec)
        return self.chosen[name]

    def _single(self, name: str, spec: ModelSpec) -> Chosen:
        settings = list(_settings(spec))
        best, tried = None, []
        for setting in track(settings, label=f"tuning {name}"):
            candidate = self.plain(name, **setting)
            model = self.new(name, candidate)
            value = self._value(model.fit(self.train))
            tried.append((setting, value))
            if best is None or value > best.value or np.isnan(best.value):
                best = Chosen(candidate, value)
                self.fitted[name] = model
        if best is None:
            raise ConfigError(f"candidates.models.{name}.tune gives no setting to try")
        return Chosen(best.spec, best.value, tuple(tried))

    def _value(self, model: CandidateModel) -> float:
        found = model.propose(self.task.user_B, self.metric.k, exclude=self.task.exclude)
        done = evaluate_lists(found.item_BN, self.task.truth, metrics=[self.metric])
        return float(np.nanmean(done.per_user[self.metric.name]))

    def _blend(self, name: str, spec: ModelSpec) -> Chosen:
        fixed = dict(spec.params.get("weights", {}))
        blend = adopt(build(self.plain(name)), self.fitted, self.train)
        self.fitted[name] = blend
        if not spec.tune:
            return Chosen(self.plain(name), self._value(blend))
        tried: list[tuple[dict[str, Any], float]] = []
        quick = blend.remember(self.task.user_B)

        def objective(weights: Mapping[str, float]) -> float:
            value = self._value(quick.with_weights({**fixed, **weights}))
            tried.append((dict(weights), value))
            return value

        tuned = tune(spec.tune, objective)
        weights = {**fixed, **tuned.weights}
        self.fitted[name] = blend.with_weights(weights)
        return Chosen(self.plain(name, weights=weights), tuned.value, tuple(tried))

    def new(self, name: str, spec: Spec) -> CandidateModel:
        """A model to be fitted; one that takes long keeps its progress in `RUN/training`."""
        model: CandidateModel = build(spec, where=f"candidates.models.{name}")
        if isinstance(model, Resumable):
            model.work_in(self.config.folder / "training")
        return model

    def plain(self, name: str, **changes: Any) -> Spec:
        """The spec of one model, without what is tuned; a blend's members as chosen so far."""
        spec = self.config.candidates.models[name]
        params = {"signal": self.config.candidates.signal.model_dump(), **spec.params, **changes}
        if spec.members:
            params.setdefault("weights", {})
            params["members"] = {
                m: (self.chosen[m].spec if m in self.chosen else self.plain(m)).model_dump()
                for m in spec.members
            }
        return Spec.model_validate({"use": spec.use, "name": name, **params})

    def check(self) -> None:
        """Build every model with its first setting, so that mistakes show before any fitting.

        Raises:
            ConfigError: a key or value of any setting is wrong, or a class is no candidate model.
            MissingExtraError: an optional library is not installed.
        """
        for name, spec in self.config.candidates.models.items():
            where = f"candidates.models.{name}"
            for setting in [{}] if spec.members else _settings(spec):
                model = build(self.plain(name, **setting), where=where, methods=("fit", "propose"))
                if spec.members and not isinstance(model, Blend):
                    raise ConfigError(f"{where}: members are for {Blend.__module__}.Blend")


def _settings(spec: ModelSpec) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*spec.tune.values()):
        yield dict(zip(spec.tune, values, strict=True))


def adopt(blend: Blend, fitted: Mapping[str, CandidateModel], log: EventLog) -> Blend:
    """Give a blend members that are fitted on `log` already."""
    return blend.adopt({name: fitted[name] for name in blend.members}, log)
