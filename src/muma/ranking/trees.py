"""One boosted tree as arrays, the same whichever library grew it.

Shape: M nodes, the root first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muma.errors import DataError

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_TYPE = 1, 2, 0b1100
_NAN, _ZERO = 0b1000, 0b0100


@dataclass(frozen=True)
class Tree:
    """A binary tree; a row goes left at a node where its value is at most the threshold.

    Attributes:
        left: int [M], child; -1 for a leaf.
        right: int [M], child.
        column: int [M], feature of the split.
        threshold: float32 [M].
        missing_left: bool [M], where a missing value goes.
        value: float64 [M], a leaf's value.
        cover: float64 [M], training weight at each node, as the library counts it for TreeSHAP.
        categories: node -> whether each category, from 0, goes left.
        beyond_left: where a category goes that `categories` does not reach.
    """

    left: np.ndarray
    right: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    cover: np.ndarray
    categories: dict[int, np.ndarray] = field(default_factory=dict)
    beyond_left: bool = False

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return int((self.left < 0).sum())

    @classmethod
    def of_stump(cls, *, column: int, threshold: float, left: float, right: float) -> Tree:
        """A tree of one split; missing values go right."""
        return cls(
            np.array([1, -1, -1]),
            np.array([2, -1, -1]),
            np.array([column, 0, 0]),
            np.array([threshold, 0, 0], dtype=np.float32),
            np.array([False, False, False]),
            np.array([0.0, left, right]),
            np.array([2.0, 1.0, 1.0]),
        )

    def spans(self) -> list[tuple[int, int, int]]:
        """(split, first leaf below it, first leaf of its right side), leaves from left to right."""
        found, count = [], 0
        stack: list[tuple[int, int | None]] = [(0, None)]
        while stack:
            node, first = stack.pop()
            if first is not None:
                found.append((node, first, count))
            elif self.left[node] < 0:
                count += 1
            else:
                stack += [
                    (int(self.right[node]), None),
                    (node, count),
                    (int(self.left[node]), None),
                ]
        return found

    def category_bits(self, node: int) -> np.ndarray:
        """Whether a row goes left: missing, category 0, 1, ..., and any beyond: bool."""
        missing = bool(self.missing_left[node])
        return np.r_[missing, self.categories[node], self.beyond_left]

    def leaf_values(self) -> list[float]:
        """Values of the leaves from left to right."""
        values, stack = [], [0]
        while stack:
            node = stack.pop()
            if self.left[node] < 0:
                values.append(float(self.value[node]))
            else:
                stack += [int(self.right[node]), int(self.left[node])]
        return values


def xgboost_trees(text: bytes | bytearray | str) -> tuple[list[Tree], float]:
    """Trees and base margin of an XGBoost model saved as JSON.

    XGBoost sends a category of a node's set to the right and any other to the left.
    """
    learner = json.loads(text)["learner"]
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    if learner["objective"]["name"] == "binary:logistic":
        base = float(np.log(base / (1 - base)))
    model = learner["gradient_booster"]["model"]
    return [_xgboost_tree(tree) for tree in model["trees"]], base


def _xgboost_tree(tree: dict[str, Any]) -> Tree:
    left = np.array(tree["left_children"])
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    categories = {}
    segments = zip(
        tree["categories_nodes"],
        tree["categories_segments"],
        tree["categories_sizes"],
        strict=True,
    )
    for node, start, size in segments:
        codes = np.array(tree["categories"][start : start + size], dtype=np.int64)
        goes_left = np.ones(codes.max(initial=-1) + 1, dtype=bool)
        goes_left[codes] = False
        categories[int(node)] = goes_left
    return Tree(
        left,
        np.array(tree["right_children"]),
        np.array(tree["split_indices"]),
        np.nextafter(condition, np.float32(-np.inf)),
        np.array(tree["default_left"], dtype=bool),
        condition.astype(np.float64),
        np.array(tree["sum_hessian"], dtype=np.float64),
        categories,
        beyond_left=True,
    )


def lightgbm_trees(text: str) -> list[Tree]:
    """Trees of a LightGBM model in its text format; the base is inside the first tree.

    Raises:
        DataError: a tree has linear leaves or treats zero as missing.
    """
    body = text.split("end of trees", 1)[0]
    trees = []
    for block in body.split("\nTree=")[1:]:
        lines = (line.partition("=") for line in block.splitlines()[1:])
        trees.append(_lightgbm_tree({key: value for key, _, value in lines if key}))
    return trees


def _lightgbm_tree(given: dict[str, str]) -> Tree:
    def numbers(key: str, kind: type = float) -> np.ndarray:
        return np.array(given.get(key, "").split(), dtype=kind)

    leaf_value = numbers("leaf_value")
    kind = numbers("decision_type", int)
    if given.get("is_linear", "0") != "0" or np.any(kind & _MISSING_TYPE == _ZERO):
        raise DataError(
            "the LightGBM model has linear leaves or treats zero as missing, which have no "
            "compiled form; fit it through LightGBMEngine"
        )
    splits, leaves = len(kind), len(leaf_value)
    threshold = numbers("threshold")
    leaf = np.full(leaves, -1)

    def child(key: str) -> np.ndarray:
        index = numbers(key, int)
        return np.r_[np.where(index < 0, splits - 1 - index, index), leaf].astype(np.int64)

    top = np.finfo(np.float32).max
    threshold = np.clip(threshold, -top, top)  # beyond any value, but short of "missing"
    low = threshold.astype(np.float32)
    low = np.where(low > threshold, np.nextafter(low, np.float32(-np.inf)), low)
    to_left = np.where(kind & _MISSING_TYPE == _NAN, kind & _DEFAULT_LEFT != 0, threshold >= 0)
    is_set = kind & _CATEGORICAL != 0
    bounds, words = numbers("cat_boundaries", int), numbers("cat_threshold", np.int64)
    categories = {
        int(node): _bits(words[bounds[int(s)] : bounds[int(s) + 1]])
        for node, s in zip(np.flatnonzero(is_set), threshold[is_set], strict=True)
    }
    leaf_count = numbers("leaf_count") if splits else np.ones(1)
    empty = np.zeros(leaves)
    return Tree(
        child("left_child") if splits else leaf,
        child("right_child") if splits else leaf,
        np.r_[numbers("split_feature", int), empty].astype(np.int64),
        np.r_[low, empty].astype(np.float32),
        np.r_[to_left & ~is_set, empty].astype(bool),
        np.r_[np.zeros(splits), leaf_value],
        np.r_[numbers("internal_count"), leaf_count],
        categories,
    )


def _bits(words: np.ndarray) -> np.ndarray:
    """The bits of 32-bit words, lowest first."""
    return np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").astype(bool)
