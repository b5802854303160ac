"""A page that explains answers: one HTML file that opens anywhere, without a network.

The data lies in the page as JSON; the script beside this file draws it. It shows importance, the
beeswarm, dependence, and lists of answers with their sentence, their parts and why A stands above B.

Shape: N explained rows, F features, K answers of a list.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from muma.errors import DataError
from muma.report.canvas import check_attributions, largest
from muma.report.dependence import strongest_partner
from muma.report.importance import importance
from muma.report.palette import DOWN, MISSING, SCALE, UP, group_colours

LARGEST = 2_000_000
"""Bytes of a page; a phone opens that."""


@dataclass(frozen=True)
class AnswerList:
    """Answers to one request, best first.

    Attributes:
        name: who asked, as the page should call it.
        titles: K titles of items.
        sentences: K sentences, one an answer.
        score_K: scores, log-odds.
        base_K: what the model says before it looks at features.
        value_KF: features.
        phi_KF: attributions, without the base; with the base each row sums to its score.
    """

    name: str
    titles: Sequence[str]
    sentences: Sequence[str]
    score_K: np.ndarray
    base_K: np.ndarray
    value_KF: np.ndarray
    phi_KF: np.ndarray


@dataclass(frozen=True)
class Explained:
    """All that a page shows.

    Attributes:
        title: heading.
        columns: names of the F features.
        groups: the group of each.
        value_NF: features of many answers; NaN is missing.
        phi_NF: their attributions, log-odds, without the base.
        titles: N titles of the items, for hovering.
        lists: answers to look at one by one.
        group_N: which list a row belongs to, for the intervals of importance.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[str, ...]
    value_NF: np.ndarray
    phi_NF: np.ndarray
    titles: Sequence[str]
    lists: tuple[AnswerList, ...] = ()
    group_N: np.ndarray | None = None


def write_explanation_page(
    explained: Explained, path: str | Path, *, features: int = 30, rows: int = 600
) -> None:
    """Write the page.

    Args:
        explained: what to show.
        path: where the HTML file goes.
        features: features to draw in the first three tabs, the most important ones.
        rows: points to draw a feature; more rows are thinned evenly. Importance uses them all.

    Raises:
        DataError: the arrays do not fit each other, or the page would be larger than 2 MB.
    """
    _check(explained)
    text = page(explained, features=features, rows=rows)
    if (size := len(text.encode())) > LARGEST:
        raise DataError(
            f"the page would have {size:,} bytes; at most {LARGEST:,} open on a phone: give fewer "
            "lists, or lower features or rows"
        )
    Path(path).write_text(text, encoding="utf-8")


def page(explained: Explained, *, features: int, rows: int) -> str:
    """The page as text; what comes from outside is escaped."""
    templates = files("muma.report") / "templates"
    parts = {
        "title": html.escape(explained.title),
        "style": (templates / "explanation.css").read_text(encoding="utf-8"),
        "script": (templates / "explanation.js").read_text(encoding="utf-8"),
        "data": _embedded(_data(explained, features, rows)),
    }
    text = (templates / "explanation.html").read_text(encoding="utf-8")
    pieces = text.split("%%")
    return "".join(parts[p] if at % 2 else p for at, p in enumerate(pieces))


def _embedded(data: Any) -> str:
    """JSON that cannot end the element it lies in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for bad, good in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e"),
                      ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):  # fmt: skip
        text = text.replace(bad, good)
    return text


def _data(explained: Explained, features: int, rows: int) -> dict[str, Any]:
    chosen = largest(explained.phi_NF, features).tolist()
    n = len(explained.phi_NF)
    kept = np.unique(np.linspace(0, n - 1, min(n, rows)).round().astype(int))
    value_NF, phi_NF = explained.value_NF[kept], explained.phi_NF[kept]
    mean_F, low_F, high_F = importance(explained.phi_NF, group_N=explained.group_N)
    partners = [strongest_partner(explained.value_NF, explained.phi_NF, f) for f in chosen]
    return {
        "columns": list(explained.columns),
        "groups": list(explained.groups),
        "colours": group_colours([explained.groups[f] for f in largest(explained.phi_NF, len(mean_F))]),
        "scale": [*SCALE, MISSING, UP, DOWN],
        "rows": n,
        "chosen": chosen,
        "partners": [chosen.index(p) if p in chosen else None for p in partners],
        "importance": [_numbers(a[chosen]) for a in (mean_F, low_F, high_F)],
        "values": [_numbers(value_NF[:, f]) for f in chosen],
        "phi": [_numbers(phi_NF[:, f]) for f in chosen],
        "titles": [explained.titles[at] for at in kept],
        "lists": [
            {
                "name": one.name,
                "titles": list(one.titles),
                "sentences": list(one.sentences),
                "score": _numbers(one.score_K, 7),
                "base": _numbers(one.base_K, 7),
                "values": [_numbers(row) for row in one.value_KF],
                "phi": [_numbers(row, 6) for row in one.phi_KF],
            }
            for one in explained.lists
        ],
    }  # fmt: skip


def _numbers(value_N: np.ndarray, digits: int = 4) -> list[float | None]:
    """Rounded to some significant digits; what is not finite is null."""
    found = [float(f"{value:.{digits}g}") for value in np.asarray(value_N, np.float64)]
    return [value if math.isfinite(value) else None for value in found]


def _check(explained: Explained) -> None:
    check_attributions(explained.phi_NF, explained.columns, explained.value_NF)
    n, n_features = explained.phi_NF.shape
    if len(explained.groups) != n_features or len(explained.titles) != n:
        raise DataError(
            f"got {len(explained.groups)} groups for {n_features} features and "
            f"{len(explained.titles)} titles for {n} rows; give one each"
        )
    for one in explained.lists:
        check_attributions(one.phi_KF, explained.columns, one.value_KF)
        k = len(one.phi_KF)
        sizes = {len(one.titles), len(one.sentences), len(one.score_K), len(one.base_K)}
        if sizes != {k}:
            raise DataError(f"list {one.name!r}: {k} answers, but other parts have {sorted(sizes)}")
        total_K = one.base_K + one.phi_KF.sum(axis=1)
        if not np.allclose(total_K, one.score_K, atol=1e-3, rtol=1e-4):
            raise DataError(
                f"list {one.name!r}: attributions do not sum to the scores; give those of one model"
            )
