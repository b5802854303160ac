"""One recipe, one system: sections in the order of the data flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from muma.config import Config, Spec, load_recipe, parse
from muma.events.cleaning.cleaning import CleaningConfig
from muma.events.interactions import Signal
from muma.events.split import VIEWS, View
from muma.features.config import FeaturesConfig
from muma.ranking.pair import PairConfig
from muma.serving.consent.consent import ConsentConfig
from muma.serving.evidence.rewards import RewardConfig
from muma.serving.gate import GateConfig
from muma.serving.limits import LimitsConfig

METRICS = [
    "muma.evaluation.metrics.ndcg.NDCG",
    "muma.evaluation.metrics.recall.Recall",
    "muma.evaluation.metrics.reciprocal_rank.ReciprocalRank",
    "muma.evaluation.metrics.hit_rate.HitRate",
    "muma.evaluation.metrics.coverage.Coverage",
    "muma.evaluation.metrics.novelty.Novelty",
]


class ModelSpec(BaseModel):
    """A model of the comparison: `use`, its parameters, and what to try for some of them.

    Attributes:
        use: import path of a candidate model.
        members: for a blend, names of other models of the recipe; their tuned parameters are used.
        tune: parameter -> values to try on validation (for a blend: member -> weights).
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    use: str
    members: tuple[str, ...] = ()
    tune: dict[str, list[Any]] = {}

    @property
    def params(self) -> dict[str, Any]:
        """The fixed parameters."""
        return dict(self.__pydantic_extra__ or {})


class EventsSection(Config):
    """Where events come from and how they are cleaned and split.

    Attributes:
        source: the source by import path.
        fail_above: largest share of rows that validation may refuse.
        cleaning: the cleaning rules.
        normalise: event column -> normaliser, fitted on the training window and kept with the run.
        split: the splitter by import path.
    """

    source: Spec
    fail_above: float = Field(default=0.5, ge=0, le=1)
    cleaning: CleaningConfig = CleaningConfig()
    normalise: dict[str, Spec] = {}
    split: Spec = Spec(use="muma.events.split.GlobalTime")

    @model_validator(mode="after")
    def _cleaning_learns_on_training(self) -> EventsSection:
        train = self.split.params.get("train", 0.7)
        if self.split.use.endswith(".GlobalTime") and self.cleaning.fit_share > float(train):
            raise ValueError(
                f"cleaning.fit_share = {self.cleaning.fit_share} reaches beyond the training window "
                f"(split.train = {train}); set events.cleaning.fit_share = {train} or lower"
            )
        return self


class StreamSection(Config):
    """How events flow into features online.

    Attributes:
        partitions: partitions of the event stream; fixed once it is made.
        memory_mib: resident feature state; keys that do not fit wait in the store.
        dedup_horizon: an event id that comes twice within it counts once.
        most_at_once: most events in one step of the engine.
        queue_events: events that may wait to be written before senders are told to retry.
        lag_events: events that may wait for the engine before senders are told to retry.
        checkpoint_s: seconds between copies of the state that survive a power cut.
        nice: how far the engine's process steps back for the others of the machine (0 to 19), so
            that readers are not kept waiting by it.
        keep: `"all"` keeps every event; `"needed"` lets whole segments go once every copy of the
            state holds them (they can be exported for training before).
    """

    partitions: int = Field(default=4, ge=1, le=256)
    memory_mib: int = Field(default=2048, ge=16)
    dedup_horizon: str = "10m"
    most_at_once: int = Field(default=200_000, ge=1)
    queue_events: int = Field(default=100_000, ge=1)
    lag_events: int = Field(default=5_000_000, ge=1)
    checkpoint_s: float = Field(default=60.0, gt=0)
    nice: int = Field(default=10, ge=0, le=19)
    keep: Literal["all", "needed"] = "all"


class CandidatesSection(Config):
    """The models that are compared.

    Attributes:
        signal: what counts as positive, for every model that does not say otherwise.
        models: name -> model.
        serve: the model that `recommend` uses; None takes the best one on validation.
        keep: which fitted models the run keeps on disk.
    """

    signal: Signal = Signal()
    models: dict[str, ModelSpec] = Field(min_length=1)
    serve: str | None = None
    keep: Literal["served", "all"] = "served"

    @model_validator(mode="after")
    def _names_exist(self) -> CandidatesSection:
        names = list(self.models)
        if "pipeline" in names:
            raise ValueError(
                "models.pipeline: the name is taken by the whole pipeline; choose another"
            )
        for number, (name, model) in enumerate(self.models.items()):
            if unknown := [m for m in model.members if m not in names[:number]]:
                raise ValueError(f"models.{name}.members: {unknown} are not models listed above it")
            odd = [v for values in model.tune.values() for v in values if not _is_number(v)]
            if model.members and odd:
                raise ValueError(f"models.{name}.tune: weights must be numbers, got {odd[0]!r}")
            if model.members and (unknown := sorted(set(model.tune) - set(model.members))):
                raise ValueError(f"models.{name}.tune: {unknown} are not members of the blend")
        if self.serve is not None and self.serve not in names:
            raise ValueError(f"serve = {self.serve!r} is not among the models {names}")
        return self


class LabelSection(Config):
    """What came of an impression.

    Attributes:
        kinds: kinds of events that make the label 1.
        weight: of the label's log-odds in the score.
    """

    kinds: tuple[str, ...] = Field(min_length=1)
    weight: float = 1.0

    @property
    def signal(self) -> Signal:
        """The events that count."""
        return Signal(kinds=dict.fromkeys(self.kinds, 1.0))


class RankingSection(Config):
    """How candidates are put in order (paper 4.2).

    Attributes:
        sources: models of the recipe whose scores are features and whose proposals are ranked; none
            takes every model but blends.
        slices: pieces of the training window; a row's scores come from models fitted before its piece.
        labels: label -> what it is and weighs, learned from impressions (a log without any has lists alone).
        pool: items that each source proposes for a list.
        list_users: most users of a piece whose lists are learned from.
        item_attributes: columns of the items' table that are features.
        user_attributes: columns of the users' table that are features.
        context: context of the impressions (`tab` for a column `ctx_tab`) that the ranker of impressions reads.
        fixed: feature -> the value it has in serving (`position = 1`).
        impressions: the pair of engines of each label; keys of `muma.ranking.pair.PairConfig`.
        lists: the pair that orders whole-catalogue lists.
    """

    sources: tuple[str, ...] = ()
    slices: int = Field(default=5, ge=1, le=100)
    labels: dict[str, LabelSection] = Field(
        default={
            "click": LabelSection(kinds=("click",)),
            "long_view": LabelSection(kinds=("long_view",), weight=0.5),
        }
    )
    pool: int = Field(default=60, ge=1)
    list_users: int = Field(default=1_500, ge=1)
    item_attributes: tuple[str, ...] = ()
    user_attributes: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    fixed: dict[str, float] = {}
    impressions: PairConfig = PairConfig()
    lists: PairConfig = PairConfig()


class EvaluationSection(Config):
    """What is measured, on whom, against what.

    Attributes:
        target: the test events that count as relevant.
        metrics: metrics by import path, or with parameters as a table.
        primary: the metric that tuning maximises and the comparison tests.
        mask_seen: leave items that a user has taken before out of lists and targets.
        baseline: the model the others are compared with; None takes the first.
        refit: fit on train and validation together before testing.
        views: parts of the test events that are reported.
        tuning_users: most validation users that tuning looks at (drawn by seed).
        level: confidence level of the intervals.
        resamples: bootstrap resamples.
    """

    target: Signal = Signal()
    metrics: list[str | Spec] = Field(default_factory=lambda: list(METRICS), min_length=1)
    primary: str = "ndcg@10"
    mask_seen: bool = True
    baseline: str | None = None
    refit: bool = True
    views: tuple[View, ...] = VIEWS
    tuning_users: int = Field(default=2_000, ge=1)
    level: float = Field(default=0.95, gt=0, lt=1)
    resamples: int = Field(default=2_000, ge=100, le=1_000_000)

    @field_validator("views")
    @classmethod
    def _all_first(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if "all" not in views:
            raise ValueError("views must hold 'all'; the others are parts of it")
        return ("all", *(v for v in dict.fromkeys(views) if v != "all"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class ServingSection(Config):
    """How the service answers.

    Attributes:
        history: name of the sequence of `[features.sequences]` that sources read a user's history from.
        begin: how much of the recipe's log the service begins with: all of it, or what came before the
            test window, so that the rest can be played as live events.
        similar: the source that says which items are near another; None takes the first that can.
        editorial: items to show when nothing else can be, best first.
        deadline_ms: time of an answer; what does not fit is left out and said.
        pool: items that each source proposes to an answer; None is as many as in training.
        consent: which sources may be used of users of whom nothing was said.
        explore: name of the policy's seed; another one draws other slots.
        tenant: whose service this is, by the name in its keys; services of several recipes differ in it.
        keep_versions: trained versions that are kept; the live one and the previous one always are.
        gate: what a version must show before it answers.
        reward: what a shown slot earned.
        limits: pace of each key.
        processes: that answer, beside the one at the door; 0 answers at the door. The door takes requests
            and events and keeps all that is written; each of these reads models and state of its own.
    """

    history: str = "wanted"
    begin: Literal["log", "test"] = "log"
    similar: str | None = None
    editorial: tuple[str, ...] = ()
    deadline_ms: float = Field(default=50.0, gt=0)
    pool: int | None = Field(default=None, ge=1)
    consent: ConsentConfig = ConsentConfig()
    explore: int = Field(default=0, ge=0)
    tenant: str = Field(default="default", pattern=r"^[\w .:@-]{1,100}$")
    keep_versions: int = Field(default=5, ge=1)
    gate: GateConfig = GateConfig()
    reward: RewardConfig = RewardConfig()
    limits: LimitsConfig = LimitsConfig()
    processes: int = Field(default=0, ge=0, le=256)


SOFTMAX = Spec.model_validate({"use": "muma.policy.softmax.SoftmaxPolicy", "temperature": 0.05})


class AppConfig(Config):
    """A whole system.

    Attributes:
        name: names the run folder.
        seed: everything random derives from it.
        runs: folder of run folders.
        policy: draws the slots of an answer.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$", max_length=100)
    seed: int = Field(default=7, ge=0)
    runs: str = "runs"
    events: EventsSection
    features: FeaturesConfig = FeaturesConfig()
    stream: StreamSection = StreamSection()
    candidates: CandidatesSection
    ranking: RankingSection | None = None
    evaluation: EvaluationSection = EvaluationSection()
    policy: Spec = SOFTMAX
    serving: ServingSection = ServingSection()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.runs) / self.name


def read_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> AppConfig:
    """Read a recipe into an `AppConfig`.

    Raises:
        ConfigError: the file, a key or a value is wrong.
    """
    return parse(AppConfig, load_recipe(path, overrides=overrides), where="recipe")
