"""`muma train`: from a log to rankers, stage by stage; a stage whose inputs are the same is not rerun.

    log -> rows (what was shown, what would be proposed) with the sources' scores
        -> features as of each row's moment
        -> two rankers: of impressions (each label's probability) and of whole-catalogue lists
        -> RUN/ranking/{rows,sources,features,rankers}

Shape: N rows, F features, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import AppConfig, RankingSection
from muma.app.context import request_context
from muma.app.features import compile_features
from muma.app.folds import Fold, folds_of
from muma.app.ingestion import prepare
from muma.app.judged import Judged, Proposing, impressions, proposed
from muma.app.metrics import metrics_of
from muma.app.models import Tuner
from muma.app.source_scores import PREFIX, pair_scores
from muma.app.stages import Stages
from muma.app.truth import task_of
from muma.candidates.candidate import CandidateModel
from muma.config import build
from muma.errors import ConfigError
from muma.events.event import EventLog
from muma.events.split import Split, Splitter
from muma.features.catalogue import Catalogue
from muma.features.followers import Followers
from muma.features.offline.as_of import as_of
from muma.progress import track
from muma.ranking.multi import MultiRanker, MultiRankerConfig
from muma.ranking.ranker import Examples
from muma.rng import derive

Table = str
Fitted = Mapping[int, Mapping[str, CandidateModel]]
"""Moment (microseconds) -> models by name that were fitted on everything before it."""

TABLES = ("impressions", "lists")
LIST_LABEL = "taken"


@dataclass(frozen=True)
class Matrix:
    """Rows with all their features.

    Attributes:
        rows: who, what, when, with what result.
        columns: names of the features.
        value_NF: float32 [N, F].
    """

    rows: Judged
    columns: tuple[str, ...]
    value_NF: np.ndarray

    def part(self, folds: list[Fold], *roles: str) -> Matrix:
        """The rows of folds of some roles."""
        wanted = [place for place, fold in enumerate(folds) if fold.role in roles]
        keep_N = np.isin(self.rows.fold_N, wanted)
        return Matrix(self.rows.rows(keep_N), self.columns, self.value_NF[keep_N])

    def examples(self, label: str) -> Examples:
        """The rows as examples of one label."""
        value_NF = np.ascontiguousarray(self.value_NF)
        return Examples(self.columns, value_NF, self.rows.labels[label], self.rows.group_N)


@dataclass(frozen=True)
class Trained:
    """What a training left behind, and what it was made from.

    Attributes:
        config: the recipe.
        log: the whole log.
        split: by global time.
        folds: the pieces of time.
        matrices: rows with features by table.
        rankers: by table.
        categorical: features that are codes.
        reused: stages that were there already.
    """

    config: AppConfig
    log: EventLog
    split: Split
    folds: list[Fold]
    matrices: Mapping[Table, Matrix]
    rankers: Mapping[Table, MultiRanker]
    categorical: tuple[str, ...]
    reused: tuple[str, ...]


def ranking_of(config: AppConfig) -> RankingSection:
    """The section `[ranking]`.

    Raises:
        ConfigError: the recipe has none, or names unknown sources.
    """
    if config.ranking is None:
        raise ConfigError(
            f"recipe {config.name!r} has no section [ranking]; recipes/demo.toml shows one"
        )
    models = config.candidates.models
    if unknown := [name for name in config.ranking.sources if name not in models]:
        raise ConfigError(
            f"ranking.sources: {unknown[0]!r} is not a model of the recipe; it has: {', '.join(models)}"
        )
    return config.ranking


def sources_of(config: AppConfig) -> list[str]:
    """Names of the models whose scores are features."""
    section = ranking_of(config)
    models = config.candidates.models
    return [*section.sources] or [name for name in models if not models[name].members]


def train_recipe(
    config: AppConfig,
    *,
    now_us: int | None = None,
    tuner: Tuner | None = None,
    fitted: Fitted | None = None,
) -> Trained:
    """Run every stage that is not there yet.

    Args:
        config: the recipe.
        now_us: the clock for ingestion, UTC microseconds.
        tuner: has chosen the sources' parameters already, on validation; None chooses them.
        fitted: models with these parameters that are fitted on all before some moments already.

    Raises:
        MumaError: the recipe or the data are wrong.
    """
    section = ranking_of(config)
    compile_features(config)
    splitter: Splitter = build(config.events.split, where="events.split", methods=("split",))
    log = prepare(config.events, config.folder / "log", now_us=now_us).log
    split = splitter.split(log)
    folds = folds_of(log, split, slices=section.slices)
    stages, about = Stages(config.folder, log), stage_inputs(config)
    last: dict[str, CandidateModel] = {}
    rows = stages.arrays(
        "rows", lambda: _rows(config, log, split, folds, tuner, last, fitted or {}), about["rows"]
    )
    before = folds[-1].known_before
    stages.keep_models(
        "sources",
        lambda: last or fitted_sources(config, tuner or chosen_specs(config, split), log, before),
        about["sources"],
        meta={"known_before": before},
    )
    last.clear()
    tables = {name: _judged(rows, name) for name in TABLES if f"{name} user_N" in rows}
    items, users = (
        item_attributes(log, section.item_attributes),
        user_attributes(log, section.user_attributes),
    )
    features = stages.arrays("features", lambda: _features(config, log, tables), about["features"])
    plan_columns = compile_features(config).columns
    sources = tuple(f"{PREFIX}{name}" for name in sources_of(config))
    said = request_context(log, section.context)
    matrices = {}
    for name, judged in tables.items():
        parts = [
            features[name], items.of(judged.item_N), users.of(judged.user_N),
            rows[f"{name} scores"],
        ]  # fmt: skip
        columns = (*plan_columns, *items.columns, *users.columns, *sources)
        if name == "impressions":  # a list is not for one page or device
            parts.append(said.of_rows(judged))
            columns = (*columns, *said.columns)
        matrices[name] = Matrix(judged, columns, np.concatenate(parts, axis=1, dtype=np.float32))
    categorical = (*items.categorical, *users.categorical, *said.categorical)
    rankers = stages.rankers(
        lambda: fit_rankers(section, matrices, folds, categorical),
        about["rankers"],
        list(tables),
    )
    return Trained(
        config, log, split, folds, matrices, rankers, categorical, tuple(stages.reused)
    )  # fmt: skip


def stage_inputs(config: AppConfig) -> dict[str, dict[str, Any]]:
    """Stage -> all of the recipe that it is made from."""
    section, rows = ranking_of(config), _rows_inputs(config)
    features = {"features": config.features.model_dump(mode="json"), **rows}
    features |= {"item": section.item_attributes, "user": section.user_attributes}
    rankers = {**features, "ranking": section.model_dump(mode="json")}
    return {"rows": rows, "sources": rows, "features": features, "rankers": rankers}


def fit_rankers(
    section: RankingSection,
    matrices: Mapping[Table, Matrix],
    folds: list[Fold],
    categorical: tuple[str, ...] = (),
) -> dict[Table, MultiRanker]:
    """Fit the ranker of each table given: labels of impressions, wanted items of lists."""
    weights = {name: label.weight for name, label in section.labels.items()}
    found: dict[Table, MultiRanker] = {}
    for table, labels, pair in (
        ("impressions", weights, section.impressions),
        ("lists", {LIST_LABEL: 1.0}, section.lists),
    ):
        if table not in matrices:
            continue
        matrix = matrices[table]
        coded = tuple(name for name in categorical if name in matrix.columns)
        chosen = pair.model_copy(
            update={
                side: spec.model_copy(update={"categorical": coded})
                for side, spec in (("first", pair.first), ("second", pair.second))
                if coded
            }
        )
        config = MultiRankerConfig(labels=labels, fixed=section.fixed, pair=chosen)
        parts = [
            {label: matrix.part(folds, role).examples(label) for label in labels}
            for role in ("train", "valid", "later")
        ]
        found[table] = MultiRanker(config).fit(*parts)
    return found


def chosen_specs(config: AppConfig, split: Split) -> Tuner:
    """Tune the sources on the training window alone: a tuner that makes them anew for any fold."""
    settings = config.evaluation
    task = task_of(
        split.train, split.validation, target=settings.target, taken=config.candidates.signal,
        mask_seen=settings.mask_seen,
    )  # fmt: skip
    if len(task.user_B) > settings.tuning_users:
        rng = derive(config.seed, "tuning-users")
        drawn = rng.choice(len(task.user_B), settings.tuning_users, replace=False)
        task = task.rows(np.sort(drawn))
    tuner = Tuner(config, split.train, task, metrics_of(config)[1])
    for name in sources_of(config):
        tuner.choose(name)
    tuner.fitted.clear()
    return tuner


def fitted_sources(
    config: AppConfig, tuner: Tuner, log: EventLog, before: int, fitted: Fitted | None = None
) -> dict[str, CandidateModel]:
    """Every source fitted on what was known before a moment, unless it is there already."""
    known, there = log.between(None, before), (fitted or {}).get(before, {})
    return {
        name: there.get(name) or tuner.new(name, tuner.chosen[name].spec).fit(known)
        for name in sources_of(config)
    }


def _rows(
    config: AppConfig,
    log: EventLog,
    split: Split,
    folds: list[Fold],
    tuner: Tuner | None,
    last: dict[str, CandidateModel],
    fitted: Fitted,
) -> dict[str, np.ndarray]:
    """Both tables with their scores, fold by fold, so that one fold's models are held at a time.

    `last` is given the models of the last fold, which are the ones that serve.
    """
    section = ranking_of(config)
    shown = impressions(log, folds, {name: one.signal for name, one in section.labels.items()})
    taken = config.candidates.signal if config.evaluation.mask_seen else None
    how = Proposing(section.pool, section.list_users, taken, config.evaluation.target)
    tuner = tuner or chosen_specs(config, split)
    parts: dict[Table, list[Judged]] = {"impressions": [], "lists": []}
    scores: dict[Table, list[np.ndarray]] = {"impressions": [], "lists": []}
    sources, before = {}, None
    for number, fold in enumerate(track(folds, label="pieces of time")):
        if fold.known_before != before:
            sources = fitted_sources(config, tuner, log, fold.known_before, fitted)
            before = fold.known_before
        rng = derive(config.seed, "ranking", "lists", str(number))
        both: dict[Table, Judged] = {
            "impressions": shown.rows(shown.fold_N == number),
            "lists": proposed(log, number, fold, sources, how, rng),
        }
        for table, judged in both.items():
            parts[table].append(judged)
            scores[table].append(pair_scores(sources, judged.user_N, judged.item_N))
    last.update(sources)
    found: dict[str, np.ndarray] = {}
    for table in TABLES if len(shown) and section.labels else ("lists",):
        judged = Judged.joined(parts[table])
        names = ("user_N", "item_N", "at_N", "fold_N", "group_N")
        found |= {f"{table} {name}": getattr(judged, name) for name in names}
        found |= {f"{table} label {name}": value for name, value in judged.labels.items()}
        found[f"{table} scores"] = np.concatenate(scores[table])
    return found


def _judged(arrays: Mapping[str, np.ndarray], table: Table) -> Judged:
    names = ("user_N", "item_N", "at_N", "fold_N", "group_N")
    start = f"{table} label "
    labels = {n.removeprefix(start): value for n, value in arrays.items() if n.startswith(start)}
    user_N, item_N, at_N, fold_N, group_N = (arrays[f"{table} {name}"] for name in names)
    return Judged(user_N, item_N, at_N, fold_N, group_N, labels)


def _features(
    config: AppConfig, log: EventLog, tables: Mapping[Table, Judged]
) -> dict[str, np.ndarray]:
    plan = compile_features(config)
    plan = plan.select(plan.columns)  # without the sequences
    catalogue, followers = Catalogue.of(log), Followers.of(log)
    found = {}
    for name, judged in tables.items():
        read = as_of(log, judged.frame(), plan, catalogue=catalogue, followers=followers)
        found[name] = read.values_BF.astype(np.float32)
    return found


def _rows_inputs(config: AppConfig) -> dict[str, Any]:
    section = ranking_of(config)
    kept = section.model_dump(mode="json", include={"slices", "labels", "pool", "list_users"})
    for label in kept["labels"].values():
        label.pop("weight")
    return {
        "rows": kept,
        "sources": sources_of(config),
        "candidates": config.candidates.model_dump(mode="json", exclude={"serve", "keep"}),
        "split": config.events.split.model_dump(mode="json"),
        "evaluation": config.evaluation.model_dump(
            mode="json", include={"target", "mask_seen", "primary", "tuning_users"}
        ),
        "seed": config.seed,
    }
