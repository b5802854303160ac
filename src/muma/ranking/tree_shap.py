"""Exact path-dependent TreeSHAP in float64, compiled (eq. 21 on trees).

A tree is a sum of games, one for each leaf: with S known, v(S) = value prod_{i in S} o_i prod_{i not in S}
r_i over the features of its path, where o_i says whether the row passes the splits by feature i and
r_i is the share of training weight that does. Its Shapley values are integrals of a polynomial (Owen,
"Multilinear extensions of games", 1972):

    phi_i = value (o_i - r_i) integral_0^1 prod_{j != i} (r_j + t (o_j - r_j)) dt

For d features the integrand has degree d - 1, hence Gauss-Legendre quadrature with ceil(d / 2) points is
exact. All factors are positive, so that nothing cancels. The value function is that of Lundberg et al.,
"From local explanations to global understanding with explainable AI for trees", 2020, algorithm 1.

Shape: N rows, F features, T trees, S splits, L leaves of all trees, P features of all leaves' paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from muma.ranking.flat_trees import FlatTrees
from muma.ranking.trees import Tree

_SMALLEST_SHARE = 1e-12


@dataclass(frozen=True)
class TreeShap:
    """An ensemble ready to be explained; made by `explainer`.

    Attributes:
        flat: the compiled trees; their splits are tested once a row.
        leaf_T: int64 [T + 1]; the leaves of each tree.
        value_L: float64; leaf values.
        path_L: int64 [L + 1]; the path features of each leaf.
        points_L: int64; quadrature points of each leaf.
        column_P: int64; feature.
        care_P: uint64; splits of the path by this feature, as bits of the tree's splits.
        want_P: uint64; which of them send the leaf's rows left.
        share_P: float64; r of the equation.
        table_P: int64; where the factors of a path feature start.
        factor_Q: float64; factors at the points, first for o = 0, then for o = 1.
        inverse_Q: float64; their inverses.
        weight_LK: float64; quadrature weights, by number of points.
        base: mean margin of the training examples: the value that no feature explains.
    """

    flat: FlatTrees
    leaf_T: np.ndarray
    value_L: np.ndarray
    path_L: np.ndarray
    points_L: np.ndarray
    column_P: np.ndarray
    care_P: np.ndarray
    want_P: np.ndarray
    share_P: np.ndarray
    table_P: np.ndarray
    factor_Q: np.ndarray
    inverse_Q: np.ndarray
    weight_LK: np.ndarray
    base: float

    def contributions(self, value_NF: np.ndarray) -> np.ndarray:
        """Each feature's part of the margin: float64 [N, F + 1], the base value last.

        Args:
            value_NF: float32 [N, F], C-contiguous; NaN is a missing value.
        """
        part_NF = np.zeros((len(value_NF), self.flat.width + 1))
        part_NF[:, -1] = self.base
        _explain(
            self.flat.goes_left(value_NF),
            self.leaf_T,
            self.value_L,
            self.path_L,
            self.points_L,
            self.column_P,
            self.care_P,
            self.want_P,
            self.share_P,
            self.table_P,
            self.factor_Q,
            self.inverse_Q,
            self.weight_LK,
            part_NF,
        )
        return part_NF


def explainer(trees: list[Tree], flat: FlatTrees) -> TreeShap:
    """Prepare the games of all leaves.

    Args:
        trees: the ensemble.
        flat: the same, compiled.

    Example:
        >>> from muma.ranking.flat_trees import flatten
        >>> stump = Tree.of_stump(column=0, threshold=0.5, left=-1.0, right=1.0)
        >>> shap = explainer([stump], flatten([stump], 0.25, 2))
        >>> shap.contributions(np.array([[0.6, 9.0]], np.float32)).tolist()
        [[1.0, 0.0, 0.25]]
    """
    leaf_T, path_L, table = [0], [0], 0
    values, points, paths, factors = [], [], [], []
    base = flat.base
    for tree in trees:
        for value, path in _leaf_games(tree):
            count = max(1, -(-len(path) // 2))
            t_K = (np.polynomial.legendre.leggauss(count)[0] + 1) / 2
            for column, (care, want, share) in path.items():
                paths.append((column, care, want, share, table))
                factors += [share * (1 - t_K), share * (1 - t_K) + t_K]
                table += 2 * count
            base += value * float(np.prod([share for _, _, share in path.values()]))
            values.append(value)
            points.append(count)
            path_L.append(len(paths))
        leaf_T.append(len(values))
    most = max(points, default=1)
    weight_LK = np.zeros((most + 1, most))
    for count in range(1, most + 1):
        weight_LK[count, :count] = np.polynomial.legendre.leggauss(count)[1] / 2
    factor_Q = np.concatenate(factors) if factors else np.zeros(0)
    return TreeShap(
        flat,
        np.array(leaf_T, dtype=np.int64),
        np.array(values, dtype=np.float64),
        np.array(path_L, dtype=np.int64),
        np.array(points, dtype=np.int64),
        np.array([p[0] for p in paths], dtype=np.int64),
        np.array([p[1] for p in paths], dtype=np.uint64),
        np.array([p[2] for p in paths], dtype=np.uint64),
        np.array([p[3] for p in paths], dtype=np.float64),
        np.array([p[4] for p in paths], dtype=np.int64),
        factor_Q,
        1 / factor_Q,
        weight_LK,
        base,
    )


Path = dict[int, tuple[int, int, float]]


def _leaf_games(tree: Tree) -> list[tuple[float, Path]]:
    """Value of each leaf, and for each feature of its path: splits, those passed left, share."""
    bit = {node: 1 << place for place, (node, _, _) in enumerate(tree.spans())}
    games: list[tuple[float, Path]] = []
    stack: list[tuple[int, Path]] = [(0, {})]
    while stack:
        node, path = stack.pop()
        if tree.left[node] < 0:
            games.append((float(tree.value[node]), path))
            continue
        column = int(tree.column[node])
        care, want, share = path.get(column, (0, 0, 1.0))
        for child, left in ((int(tree.left[node]), True), (int(tree.right[node]), False)):
            passed = float(tree.cover[child] / max(tree.cover[node], _SMALLEST_SHARE))
            step = (care | bit[node], want | (bit[node] if left else 0))
            shares = share * max(passed, _SMALLEST_SHARE)
            stack.append((child, {**path, column: (*step, shares)}))
    return games


@numba.njit(cache=True, nogil=True)
def _explain(
    left_NT: np.ndarray,
    leaf_T: np.ndarray,
    value_L: np.ndarray,
    path_L: np.ndarray,
    points_L: np.ndarray,
    column_P: np.ndarray,
    care_P: np.ndarray,
    want_P: np.ndarray,
    share_P: np.ndarray,
    table_P: np.ndarray,
    factor_Q: np.ndarray,
    inverse_Q: np.ndarray,
    weight_LK: np.ndarray,
    part_NF: np.ndarray,
) -> None:
    n, trees = left_NT.shape
    product_K = np.empty(weight_LK.shape[1])
    for tree in range(trees):
        for row in range(n):
            left = left_NT[row, tree]
            for leaf in range(leaf_T[tree], leaf_T[tree + 1]):
                count = points_L[leaf]
                for k in range(count):
                    product_K[k] = weight_LK[count, k] * value_L[leaf]
                for p in range(path_L[leaf], path_L[leaf + 1]):
                    at = table_P[p]
                    if (left ^ want_P[p]) & care_P[p] == 0:
                        at += count
                    for k in range(count):
                        product_K[k] *= factor_Q[at + k]
                for p in range(path_L[leaf], path_L[leaf + 1]):
                    at, gap = table_P[p], -share_P[p]
                    if (left ^ want_P[p]) & care_P[p] == 0:
                        at, gap = at + count, gap + 1.0
                    total = 0.0
                    for k in range(count):
                        total += product_K[k] * inverse_Q[at + k]
                    part_NF[row, column_P[p]] += gap * total
