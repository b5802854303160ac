"""What the rankers look at, over all answers and in one: importance, doubts, pictures, a page.

Everything explains the frozen ranker of one table. Rows are drawn evenly from a fold; those of the
test fold come later than all that the ranker learned from.

Shape: N rows, F features, K places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muma.app.recommendation import item_facts, named
from muma.app.serving_lists import PipelineAnswer, PipelineRecommender
from muma.app.training import Matrix, Trained
from muma.errors import ConfigError
from muma.ranking.explanation import Difference, WhatIf, what_if, why_above, without
from muma.ranking.groups import group_of
from muma.ranking.guidance import Advice, GuidanceConfig, advise
from muma.ranking.guidance import Fold as GuidanceFold
from muma.ranking.multi import MultiRanker
from muma.ranking.sentences import sentence_above
from muma.report.beeswarm import draw_beeswarm
from muma.report.dependence import draw_dependence
from muma.report.explanation_page import AnswerList, Explained, write_explanation_page
from muma.report.importance import draw_importance, importance
from muma.rng import derive

PAGE = "explanation.html"
NEW = "somebody new"


@dataclass(frozen=True)
class Sample:
    """Explained rows of a fold.

    Attributes:
        columns: names of the F features.
        groups: the group of each.
        value_NF: features as the ranker saw them.
        phi_NF: attributions without the base, log-odds.
        item_N: dense item of each row.
        group_N: which list a row belongs to.
    """

    columns: tuple[str, ...]
    groups: tuple[str, ...]
    value_NF: np.ndarray
    phi_NF: np.ndarray
    item_N: np.ndarray
    group_N: np.ndarray


@dataclass(frozen=True)
class Importance:
    """One feature's mean absolute part of the score, with its 95% interval over lists."""

    feature: str
    group: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Overview:
    """What a ranker looks at.

    Attributes:
        table: whose ranker.
        rows: test rows explained.
        importance: every feature, the most important first.
        doubts: features that never help, or that flip sign with time.
        folds: the pieces of time that the doubts rest on.
    """

    table: str
    rows: int
    importance: tuple[Importance, ...]
    doubts: tuple[Advice, ...]
    folds: tuple[str, ...]


@dataclass(frozen=True)
class UserExplanation:
    """One user's list, and what was asked about it.

    Attributes:
        answer: the list with a sentence for every place.
        above: why one place stands above another; None unless asked for.
        above_told: the same as a sentence.
        without: for each place, where it would stand without a group of features; empty unless asked.
    """

    answer: PipelineAnswer
    above: Difference | None
    above_told: str | None
    without: tuple[WhatIf, ...]


def ranker_of(trained: Trained, table: str) -> MultiRanker:
    """The ranker of a table.

    Raises:
        ConfigError: there is no such ranker.
    """
    if table not in trained.rankers:
        known = ", ".join(trained.rankers)
        raise ConfigError(f"there is no ranker of {table!r}; the training has: {known}")
    return trained.rankers[table]


def sample(trained: Trained, table: str, fold: int, *, rows: int) -> Sample:
    """Explain rows of one fold, drawn evenly.

    Args:
        trained: a finished training.
        table: `lists` or `impressions`.
        fold: place of the fold among `trained.folds`.
        rows: at most so many.

    Raises:
        ConfigError: there is no such ranker, or its fusion is `"literal"`.
    """
    ranker, matrix = ranker_of(trained, table), trained.matrices[table]
    place_N = np.flatnonzero(matrix.rows.fold_N == fold)
    if len(place_N) > rows:
        rng = derive(trained.config.seed, "explanations", table, str(fold))
        place_N = np.sort(rng.choice(place_N, rows, replace=False))
    value_NF = ranker.served(_rows_of(matrix, ranker, place_N))
    phi_NF = ranker.attribute(value_NF)[:, :-1]
    return Sample(
        ranker.columns, tuple(group_of(name) for name in ranker.columns), value_NF, phi_NF,
        matrix.rows.item_N[place_N], matrix.rows.group_N[place_N],
    )  # fmt: skip


def unseen(trained: Trained, table: str, *, rows: int = 3_000) -> Sample:
    """Explained rows of the test fold."""
    return sample(trained, table, len(trained.folds) - 1, rows=rows)


def overview(
    trained: Trained, table: str, test: Sample, *, config: GuidanceConfig | None = None
) -> Overview:
    """Importance on the test fold, and the features to doubt over all pieces of time.

    Args:
        trained: a finished training.
        table: whose ranker.
        test: from `unseen`.
        config: bounds of the doubts.
    """
    mean_F, low_F, high_F = importance(test.phi_NF, group_N=test.group_N, seed=trained.config.seed)
    order_F = np.argsort(-mean_F, kind="stable")
    found = tuple(
        Importance(
            test.columns[f], test.groups[f], float(mean_F[f]), float(low_F[f]), float(high_F[f])
        )
        for f in order_F
    )
    folds = []
    for number, name in enumerate(_names(trained)):
        one = sample(trained, table, number, rows=1_500)
        if len(one.item_N):
            folds.append(GuidanceFold(name, one.value_NF, one.phi_NF, one.group_N))
    doubts = [
        one
        for one in advise(folds, test.columns, config)
        if one.kind != "flips" or one.name not in trained.categorical  # codes have no direction
    ]
    return Overview(
        table, len(test.item_N), found, tuple(doubts), tuple(fold.name for fold in folds)
    )


def draw_sample(test: Sample, folder: Path, *, title: str) -> list[Path]:
    """Draw importance, beeswarm and the strongest feature's dependence into a folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paths = [folder / f"{name}.png" for name in ("importance", "beeswarm", "dependence")]
    draw_importance(
        test.phi_NF, test.columns, test.groups, paths[0], title=f"{title}: what the ranker looks at",
        group_N=test.group_N,
    )  # fmt: skip
    draw_beeswarm(
        test.value_NF, test.phi_NF, test.columns, paths[1], title=f"{title}: which way it pushes"
    )
    strongest = test.columns[int(np.abs(test.phi_NF).mean(axis=0).argmax())]
    draw_dependence(
        test.value_NF, test.phi_NF, test.columns, strongest, paths[2],
        title=f"{title}: {strongest}",
    )  # fmt: skip
    return paths


def write_page(
    trained: Trained,
    recommender: PipelineRecommender,
    test: Sample,
    *,
    users: Sequence[int | str],
    k: int = 10,
) -> Path:
    """Write `RUN/explanation.html`: all answers, and those of some users place by place.

    Args:
        trained: a finished training.
        recommender: of the same run.
        test: rows of the ranker of lists.
        users: whose lists to show.
        k: length of each.
    """
    titles = [called(fact) for fact in item_facts(trained.log, test.item_N)]
    lists = tuple(_answer_list(recommender, user, k) for user in users)
    path = trained.config.folder / PAGE
    explained = Explained(
        f"{trained.config.name}: why these answers", test.columns, test.groups, test.value_NF,
        test.phi_NF, titles, lists, test.group_N,
    )  # fmt: skip
    write_explanation_page(explained, path)
    return path


def some_users(trained: Trained, n: int = 3) -> list[int | str]:
    """Users of the test lists, drawn by seed, and somebody whom the log does not know."""
    user_N = np.unique(trained.matrices["lists"].part(trained.folds, "test").rows.user_N)
    rng = derive(trained.config.seed, "explanations", "users")
    drawn = np.sort(rng.choice(user_N, min(n, len(user_N)), replace=False))
    return [*trained.log.user_ids.decode(drawn), NEW]


def explain_user(
    recommender: PipelineRecommender,
    user: int | str,
    k: int = 10,
    *,
    above: tuple[int, int] | None = None,
    leave_out: str | None = None,
) -> UserExplanation:
    """A user's list with reasons, why one place stands above another, and what a group brings.

    Args:
        recommender: of a finished training.
        user: the user's own id.
        k: length of the list.
        above: two places, counted from 1.
        leave_out: a group of features that each item in turn is judged without.

    Raises:
        ConfigError: there is no such place or group, or the fusion is `"literal"`.
    """
    answer, slate = recommender.answer(user, k), recommender.rank(user).slate
    difference, told = None, None
    if above is not None:
        if bad := [place for place in above if not 1 <= place <= len(slate)]:
            raise ConfigError(f"there is no place {bad[0]} in a list of {len(slate)}")
        difference = why_above(slate, above[0] - 1, above[1] - 1)
        told = sentence_above(difference, config=recommender.sentences)
    found = ()
    if leave_out is not None:
        changes = without(slate.columns, leave_out)
        score = recommender.ranker.score
        found = tuple(what_if(slate, score, place, changes) for place in range(len(answer.items)))
    return UserExplanation(answer, difference, told, found)


def called(fact: dict) -> str:
    """Title, or tags with the id behind."""
    name = named(fact)
    return name if fact["title"] or name == str(fact["id"]) else f"{name} ({fact['id']})"


def _answer_list(recommender: PipelineRecommender, user: int | str, k: int) -> AnswerList:
    slate, answer = recommender.rank(user).slate, recommender.answer(user, k)
    phi_KF = slate.attributions(k)
    facts = item_facts(recommender.log, slate.item_N[:k])
    return AnswerList(
        name=str(user),
        titles=[called(fact) for fact in facts],
        sentences=[item.sentence or "" for item in answer.items],
        score_K=slate.score_N[:k],
        base_K=phi_KF[:, -1],
        value_KF=slate.value_NF[:k],
        phi_KF=phi_KF[:, :-1],
    )


def _rows_of(matrix: Matrix, ranker: MultiRanker, place_N: np.ndarray) -> np.ndarray:
    value_NF = matrix.value_NF[place_N]
    if matrix.columns != ranker.columns:
        value_NF = value_NF[:, [matrix.columns.index(name) for name in ranker.columns]]
    return np.ascontiguousarray(value_NF)


def _names(trained: Trained) -> list[str]:
    """`train 1`, `train 2` ..., `valid`, `later`, `test`."""
    slices = sum(fold.role == "train" for fold in trained.folds)
    return [f"train {n + 1}" if n < slices else f.role for n, f in enumerate(trained.folds)]
