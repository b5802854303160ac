"""Two engines, one label (eq. 20): calibrated, weighted, and still explained feature by feature.

    m = alpha c_1(m_1) + (1 - alpha) c_2(m_2),   phi = alpha a_1 phi_1 + (1 - alpha) a_2 phi_2

with c_i(m) = a_i m + b_i. The paper averages predicted probabilities; `fusion = "literal"` does that,
but an average of probabilities is no sum over features, so it has no attributions.

Shape: N examples, F features.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy.special import expit

from muma.artifact import Artifact, Writer
from muma.candidates.storage import artifact_within, load_config, save_config, writer_within
from muma.config import Config, Spec, build, locate
from muma.errors import ConfigError, DataError, NotFittedError
from muma.ranking.calibration import Calibration, platt
from muma.ranking.fusing import Form, Fusion, choose_alpha, fused
from muma.ranking.ranker import Engine, Examples

_METHODS = ("fit", "fit_more", "margin", "contributions", "save")
_STATE = "pair.json"


class PairConfig(Config):
    """Parameters of `Pair`.

    Attributes:
        first: one engine; alpha is its weight.
        second: the other.
        objective: of both engines, see `EngineConfig`.
        fusion: `"logit"` averages calibrated log-odds, `"literal"` the probabilities.
        alpha: a fixed weight of the first engine; None searches it.
        resamples: bootstrap resamples behind the intervals.
        seed: of the resamples.
    """

    first: Spec = Spec(use="muma.ranking.engines.xgboost.XGBoostEngine")
    second: Spec = Spec(use="muma.ranking.engines.lightgbm.LightGBMEngine")
    objective: str = "binary"
    fusion: Form = "logit"
    alpha: float | None = Field(default=None, ge=0, le=1)
    resamples: int = Field(default=200, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class PairReport:
    """What was chosen and what it brings.

    Attributes:
        fusion: alpha, losses and gains with their intervals.
        first: calibration of the first engine.
        second: calibration of the second.
    """

    fusion: Fusion
    first: Calibration
    second: Calibration


class Pair:
    """The dual engine of one label.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> value_NF = rng.random((600, 2), dtype=np.float32)
        >>> label_N = (rng.random(600) < value_NF[:, 0]).astype(float)
        >>> examples = Examples(("a", "b"), value_NF, label_N, np.arange(600) // 6)
        >>> early, late = examples.rows(np.arange(400)), examples.rows(np.arange(400, 600))
        >>> pair = Pair(PairConfig(resamples=50)).fit(early, late)
        >>> part_NF = pair.contributions(value_NF[:3])
        >>> bool(np.allclose(part_NF.sum(axis=1), pair.margin(value_NF[:3]), atol=1e-6))
        True
    """

    def __init__(self, config: PairConfig | None = None) -> None:
        self.config = config or PairConfig()
        changes: dict[str, Any] = {"objective": self.config.objective}
        self.first: Engine = build(self.config.first, where="first", methods=_METHODS, **changes)
        self.second: Engine = build(self.config.second, where="second", methods=_METHODS, **changes)
        self._report: PairReport | None = None

    @property
    def alpha(self) -> float:
        """Weight of the first engine."""
        return self.report().fusion.alpha[0]

    def report(self) -> PairReport:
        """Alpha, calibration, losses and gains.

        Raises:
            NotFittedError: the pair was not fitted.
        """
        if self._report is None:
            raise NotFittedError("Pair is not fitted; call fit first")
        return self._report

    def fit(
        self, train: Examples, valid: Examples | None = None, later: Examples | None = None
    ) -> Self:
        """Fit both engines, then calibrate them and choose alpha on examples they have not seen.

        Args:
            train: what the engines learn from.
            valid: later in time; stops the engines early.
            later: later still; calibrates and chooses alpha. None takes `valid`.

        Raises:
            ConfigError: neither `valid` nor `later` is given.
            DataError: the examples cannot be learned from.
        """
        self._fold(valid, later)
        self.first.fit(train, valid)
        self.second.fit(train, valid)
        return self.fuse(self._fold(valid, later))

    def fit_more(self, train: Examples, later: Examples) -> Self:
        """Go on with new examples: new trees in both engines, then calibration and alpha anew."""
        self.report()
        self.first.fit_more(train)
        self.second.fit_more(train)
        return self.fuse(later)

    def fuse(self, later: Examples) -> Self:
        """Calibrate the engines as they are and choose alpha.

        For grades the calibrated event is a grade above 0.
        """
        if not len(later):
            raise DataError(
                "the fold that calibrates the engines and chooses alpha is empty; give later examples, "
                "or fewer slices and more lists"
            )
        config = self.config
        hit_N = (later.label_N > 0).astype(np.float64)
        margins = [engine.margin(later.value_NF) for engine in (self.first, self.second)]
        first, second = (platt(margin_N, hit_N, later.weight_N) for margin_N in margins)
        fusion = choose_alpha(
            first.logit(margins[0]),
            second.logit(margins[1]),
            later.label_N,
            later.group_N,
            later.weight_N,
            form=config.fusion,
            ranked=config.objective != "binary",
            alpha=config.alpha,
            resamples=config.resamples,
            seed=config.seed,
        )
        self._report = PairReport(fusion, first, second)
        return self

    def margin(self, value_NF: np.ndarray) -> np.ndarray:
        """Fused log-odds of rows: float64 [N]."""
        report = self.report()
        return fused(
            report.first.logit(self.first.margin(value_NF)),
            report.second.logit(self.second.margin(value_NF)),
            self.alpha,
            self.config.fusion,
        )

    def probability(self, value_NF: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of rows: float64 [N]."""
        return expit(self.margin(value_NF))

    def contributions(self, value_NF: np.ndarray) -> np.ndarray:
        """Each feature's part of the fused log-odds: float64 [N, F + 1], the base value last.

        Raises:
            ConfigError: the fusion is `"literal"`.
        """
        report = self.report()
        if self.config.fusion == "literal":
            raise ConfigError(
                'fusion = "literal" averages probabilities, which are no sum over features; use '
                'fusion = "logit" to explain scores'
            )
        first_NF = report.first.parts(self.first.contributions(value_NF))
        second_NF = report.second.parts(self.second.contributions(value_NF))
        return self.alpha * first_NF + (1 - self.alpha) * second_NF

    def save(self, writer: Writer) -> None:
        """Write both engines, the calibration and alpha."""
        state = json.dumps(_plain(asdict(self.report())), indent=1)
        save_config(writer, self.config)
        writer.path(_STATE).write_text(state, encoding="utf-8")
        self.first.save(writer_within(writer, "first"))
        self.second.save(writer_within(writer, "second"))

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        pair = cls(load_config(artifact, PairConfig))
        first, second = locate(pair.config.first.use), locate(pair.config.second.use)
        pair.first = first.load(artifact_within(artifact, "first"))
        pair.second = second.load(artifact_within(artifact, "second"))
        pair._report = _report(json.loads(artifact.path(_STATE).read_text(encoding="utf-8")))
        return pair

    @staticmethod
    def _fold(valid: Examples | None, later: Examples | None) -> Examples:
        fold = valid if later is None else later
        if fold is None:
            raise ConfigError(
                "a pair is calibrated on examples its engines have not learned from: give valid, "
                "later, or both"
            )
        return fold


def _plain(value: Any) -> Any:
    """Nested data with None for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _report(state: dict[str, Any]) -> PairReport:
    def numbers(values: list[float | None]) -> Any:
        return tuple(np.nan if value is None else value for value in values)

    found = state["fusion"]
    gains = (numbers(found["gain"][0]), numbers(found["gain"][1]))
    fusion = Fusion(numbers(found["alpha"]), numbers(found["loss"]), gains, found["lists"])
    return PairReport(fusion, Calibration(**state["first"]), Calibration(**state["second"]))
