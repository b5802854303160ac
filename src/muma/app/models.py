"""Building, tuning and fitting the recipe's models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muma.app.config import AppConfig, ModelSpec
from muma.app.truth import Task
from muma.candidates.blend import Blend, standardise
from muma.candidates.candidate import CandidateModel
from muma.candidates.tuning import tune
from muma.config import Spec, build
from muma.errors import ConfigError
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.metric import UserMetric
from muma.events.event import EventLog
from muma.progress import track
from muma.topk import top_k


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
        settings = [
            dict(zip(spec.tune, values, strict=True))
            for values in itertools.product(*spec.tune.values())
        ]
        best, tried = None, []
        for setting in track(settings, label=f"tuning {name}"):
            candidate = self._spec(name, spec, setting)
            model: CandidateModel = build(candidate, where=f"candidates.models.{name}")
            value = self._value(model.fit(self.train))
            tried.append((setting, value))
            if best is None or value > best.value:
                best = Chosen(candidate, value)
                self.fitted[name] = model
        if best is None:
            raise ConfigError(f"candidates.models.{name}.tune gives no setting to try")
        return Chosen(best.spec, best.value, tuple(tried))

    def _spec(self, name: str, spec: ModelSpec, setting: Mapping[str, Any]) -> Spec:
        params = {"signal": self.config.candidates.signal.model_dump(), **spec.params, **setting}
        return Spec.model_validate({"use": spec.use, "name": name, **params})

    def _value(self, model: CandidateModel) -> float:
        found = model.propose(self.task.user_B, self.metric.k, exclude=self.task.exclude)
        done = evaluate_lists(found.item_BN, self.task.truth, metrics=[self.metric])
        return float(np.nanmean(done.per_user[self.metric.name]))

    def _blend(self, name: str, spec: ModelSpec) -> Chosen:
        members = {m: self.chosen[m].spec for m in spec.members}
        plain = {
            "use": spec.use,
            "name": name,
            "members": {m: s.model_dump() for m, s in members.items()},
        }
        plain |= {"signal": self.config.candidates.signal.model_dump(), **spec.params}
        if not spec.tune:
            blend = adopt(build(plain), self.fitted, self.train)
            self.fitted[name] = blend
            return Chosen(Spec.model_validate(plain), self._value(blend))
        tried: list[tuple[dict[str, Any], float]] = []
        scores = {
            m: standardise(self.fitted[m].score(self.task.user_B)).astype(np.float32)
            for m in members
        }

        def objective(weights: Mapping[str, float]) -> float:
            total = sum(weights.get(m, 1.0) * score_BI for m, score_BI in scores.items())
            item_BK, _ = top_k(np.asarray(total), self.metric.k, self.task.exclude)
            done = evaluate_lists(item_BK, self.task.truth, metrics=[self.metric])
            value = float(np.nanmean(done.per_user[self.metric.name]))
            tried.append((dict(weights), value))
            return value

        tuned = tune(spec.tune, objective)
        weights = dict(tuned.weights)
        self.fitted[name] = adopt(build({**plain, "weights": weights}), self.fitted, self.train)
        final = Spec.model_validate({**plain, "weights": weights})
        return Chosen(final, tuned.value, tuple(tried))


def adopt(blend: Blend, fitted: Mapping[str, CandidateModel], log: EventLog) -> Blend:
    """Give a blend members that are fitted on `log` already."""
    return blend.adopt({name: fitted[name] for name in blend.members}, log)
