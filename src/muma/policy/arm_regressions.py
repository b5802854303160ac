"""One Bayesian linear regression an arm over the same vector, in contiguous rows.

    A_a = l I + sum w v v',   b_a = sum w r v,   theta_a = A_a^-1 b_a

with v = (1, interest vector). An arm gets a row with its first feedback; arms without one share the
prior. A row takes 16 (D + 1)^2 bytes: 68 KiB at D = 64. Factors are renewed on read, for those of the
slate's arms that have learned since.

Shape: R rows, N candidates, E feedback rows, V = D + 1.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from muma.policy.linear_statistics import LinearConfig, noise_of


class ArmRegressions:
    """Regressions of arms by dense item index.

    Args:
        config: prior, discount and noise; `scaling` is not read, the vector is taken as it is.
        width: V.

    Example:
        >>> arms = ArmRegressions(LinearConfig(prior_precision=1e-9), 2)
        >>> v_EV = np.array([[1.0, 0.0], [1.0, 1.0]])
        >>> arms.add(np.array([5, 5]), v_EV, np.array([0.2, 0.6]), np.zeros(2, np.int64))
        >>> mean_N, _, _ = arms.moments(np.array([5, 9]), np.array([1.0, 0.5]))
        >>> mean_N.round(6).tolist()
        [0.4, 0.0]
    """

    def __init__(self, config: LinearConfig, width: int) -> None:
        self.config, self.width, self.time = config, width, -1
        self.item_R = np.zeros(0, np.int64)
        self._row: dict[int, int] = {}
        self._moment_RVV = np.zeros((1, width, width))
        self._reward_RV = np.zeros((1, width))
        self._square_R = np.zeros(1)
        self._time_R = np.full(1, -1, np.int64)
        self._theta_RV = np.zeros((1, width))
        self._root_RVV = np.zeros((1, width, width))
        self._noise_R = np.zeros(1)
        self._fresh_R = np.zeros(1, bool)  # row 0 is the prior

    def add(
        self,
        item_E: np.ndarray,
        vector_EV: np.ndarray,
        reward_E: np.ndarray,
        time_E: np.ndarray,
        *,
        source: tuple[int, int] | None = None,  # noqa: ARG002 - in memory, all rows are new
    ) -> None:
        """Take in rows; the order of batches changes nothing but rounding.

        Args:
            item_E: dense item indices.
            vector_EV: (1, interest vector) of each row.
            reward_E: float64.
            time_E: event times in microseconds; read with a half-life only.
            source: of the feedback, for regressions in a store.
        """
        half = self.config.half_life_us
        for item in np.unique(item_E).tolist():
            own = item_E == item
            row = self._row_of(item)
            v_eV, reward_e, time_e = vector_EV[own], reward_E[own], time_E[own]
            latest = max(int(self._time_R[row]), int(time_e.max()))
            weight_e, kept = np.ones(len(v_eV)), 1.0
            if half is not None:
                weight_e = np.exp2((time_e.astype(np.float64) - latest) / half)
                kept = (
                    1.0 if self._time_R[row] < 0 else np.exp2((self._time_R[row] - latest) / half)
                )
            weighted_eV = v_eV * weight_e[:, None]
            self._moment_RVV[row] = kept * self._moment_RVV[row] + weighted_eV.T @ v_eV
            self._reward_RV[row] = kept * self._reward_RV[row] + weighted_eV.T @ reward_e
            self._square_R[row] = kept * self._square_R[row] + weight_e @ (reward_e * reward_e)
            self._time_R[row] = latest
            self._fresh_R[row] = False
        if len(item_E):
            self.grow_older(int(time_E.max()))

    def grow_older(self, time: int) -> None:
        """Weigh the past as of a moment, if that is later, microseconds."""
        if self.config.half_life_us is not None and time > self.time:
            self._fresh_R[:] = False  # everything is older by now
        self.time = max(self.time, time)

    def now(self) -> int:
        """Latest event time taken in, microseconds; -1 for none."""
        return self.time

    @property
    def row_width(self) -> int:
        """Numbers of `row`."""
        return self.width * (self.width + 1) + 2

    def row(self, item: int) -> np.ndarray:
        """All that is known of an arm: moments, rewards, square, time; float64 [V V + V + 2]."""
        row = self._row[item]
        last = [self._square_R[row], float(self._time_R[row])]
        return np.concatenate([self._moment_RVV[row].ravel(), self._reward_RV[row], last])

    def put(self, item: int, row_W: np.ndarray) -> None:
        """Put what `row` gave in the place of what is known of an arm."""
        row, square = self._row_of(item), self.width**2
        self._moment_RVV[row] = row_W[:square].reshape(self.width, self.width)
        self._reward_RV[row] = row_W[square:-2]
        self._square_R[row], self._time_R[row] = row_W[-2], int(row_W[-1])
        self._fresh_R[row] = False
        self.grow_older(int(row_W[-1]))

    def moments(
        self, item_N: np.ndarray, vector_V: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean v theta_a, spread sqrt(v A_a^-1 v) and noise s_a of each arm; three float64 [N]."""
        row_N = np.array([self._row.get(item, 0) for item in item_N.tolist()])
        for row in np.unique(row_N[~self._fresh_R[row_N]]).tolist():
            self._solve(row)
        leverage_NV = np.einsum("v,nvw->nw", vector_V, self._root_RVV[row_N])
        spread_N = np.sqrt(np.einsum("nw,nw->n", leverage_NV, leverage_NV))
        return self._theta_RV[row_N] @ vector_V, spread_N, self._noise_R[row_N]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything learned, for an artifact; rows after the prior's, in the order of `item`."""
        n = len(self.item_R) + 1
        return {
            "item": self.item_R,
            "moment": self._moment_RVV[1:n],
            "reward": self._reward_RV[1:n],
            "square": self._square_R[1:n],
            "time": self._time_R[1:n],
        }

    @classmethod
    def from_arrays(
        cls, config: LinearConfig, width: int, stored: dict[str, np.ndarray]
    ) -> ArmRegressions:
        """Read what `arrays` gave."""
        arms = cls(config, width)
        for item in stored["item"].tolist():
            arms._row_of(item)
        n = len(stored["item"]) + 1
        arms._moment_RVV[1:n], arms._reward_RV[1:n] = stored["moment"], stored["reward"]
        arms._square_R[1:n], arms._time_R[1:n] = stored["square"], stored["time"]
        arms.time = int(arms._time_R.max())
        return arms

    def _row_of(self, item: int) -> int:
        if item not in self._row:
            row = len(self._row) + 1
            if row == len(self._time_R):
                self._grow(2 * row)
            self._row[item] = row
            self.item_R = np.append(self.item_R, item)
        return self._row[item]

    def _grow(self, n: int) -> None:
        for name in (
            "moment_RVV",
            "reward_RV",
            "square_R",
            "theta_RV",
            "root_RVV",
            "noise_R",
            "fresh_R",
        ):
            old = getattr(self, f"_{name}")
            grown = np.zeros((n, *old.shape[1:]), old.dtype)
            grown[: len(old)] = old
            setattr(self, f"_{name}", grown)
        time_R = np.full(n, -1, np.int64)
        time_R[: len(self._time_R)] = self._time_R
        self._time_R = time_R

    def _solve(self, row: int) -> None:
        weight = 1.0
        if (half := self.config.half_life_us) is not None and row > 0:
            weight = float(np.exp2((self._time_R[row] - self.time) / half))
        precision_VV = weight * self._moment_RVV[row]
        reward_V = weight * self._reward_RV[row]
        count = precision_VV[0, 0]
        precision_VV[np.diag_indices(self.width)] += self.config.prior_precision
        lower_VV = np.linalg.cholesky(precision_VV)
        root_VV = solve_triangular(lower_VV, np.eye(self.width), lower=True).T
        theta_V = root_VV @ (root_VV.T @ reward_V)
        left = weight * self._square_R[row] - reward_V @ theta_V
        self._theta_RV[row], self._root_RVV[row] = theta_V, root_VV
        self._noise_R[row] = noise_of(self.config, left, count)
        self._fresh_R[row] = True
