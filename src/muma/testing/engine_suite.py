"""What every engine must do; subclass, say how it is made, and run with pytest.

class TestMine(EngineSuite):
    def make(self, **changes) -> Engine:
        return Mine(MineConfig(**changes))
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from muma.artifact import read, write
from muma.errors import ConfigError, DataError, NotFittedError
from muma.ranking.ranker import Engine, Examples
from muma.rng import derive

COLUMNS = ("rises", "bent", "category", "noise")


def engine_examples(seed: int, n: int = 1200) -> Examples:
    """Examples of a known function of a rising, a bent and a categorical feature; some missing."""
    rng = derive(seed, "engine")
    value_NF = rng.normal(size=(n, 4)).astype(np.float32)
    value_NF[:, 2] = rng.integers(0, 12, n)
    value_NF[rng.random((n, 4)) < 0.08] = np.nan
    label_N = (rng.random(n) < expit(true_margin(value_NF))).astype(np.float64)
    return Examples(COLUMNS, value_NF, label_N, np.arange(n) // 8)


def true_margin(value_NF: np.ndarray) -> np.ndarray:
    """The function that labels of `engine_examples` are drawn from."""
    rises_N, bent_N, category_N = np.nan_to_num(value_NF[:, :3]).T
    return 2 * rises_N - bent_N**2 + 2.0 * (category_N % 3 == 1)


class EngineSuite:
    """Contract of `Engine`; margins of libraries that sum in float32 agree to 1e-5 of their size."""

    def make(self, **changes: Any) -> Engine:
        """An unfitted engine; `changes` are keys of `EngineConfig`."""
        raise NotImplementedError

    @pytest.fixture
    def engine(self) -> Engine:
        return self.make(trees=30, categorical=("category",)).fit(engine_examples(1))

    @pytest.mark.parametrize("categorical", [(), ("category",)])
    def test_learns_a_known_function(self, categorical: tuple[str, ...]) -> None:
        engine = self.make(trees=60, categorical=categorical).fit(engine_examples(1, 3000))
        value_NF = engine_examples(2).value_NF
        found_N, truth_N = engine.margin(value_NF), true_margin(value_NF)
        assert found_N.dtype == np.float64
        assert np.corrcoef(found_N, np.clip(truth_N, -4, 4))[0, 1] > 0.85

    @pytest.mark.parametrize("objective", ["binary", "lambdarank"])
    def test_same_bits_twice(self, objective: str) -> None:
        parts = {"objective": objective, "trees": 12, "row_share": 0.7, "column_share": 0.7}
        train, valid = engine_examples(1), engine_examples(2)
        one, two = (self.make(**parts, seed=3).fit(train, valid) for _ in range(2))
        other = self.make(**parts, seed=4).fit(train, valid)
        np.testing.assert_array_equal(one.margin(valid.value_NF), two.margin(valid.value_NF))
        assert np.any(one.margin(valid.value_NF) != other.margin(valid.value_NF))

    def test_rank_loss_orders_lists(self) -> None:
        engine = self.make(trees=40, objective="lambdarank").fit(engine_examples(1, 3000))
        value_NF = engine_examples(2).value_NF
        assert np.corrcoef(engine.margin(value_NF), true_margin(value_NF))[0, 1] > 0.6

    def test_saved_is_loaded(self, engine: Engine, tmp_path: Path) -> None:
        with write(tmp_path / "e", kind="engine", version=1) as writer:
            engine.save(writer)
        artifact = read(tmp_path / "e", kind="engine", version=1)
        assert all(name.endswith((".json", ".txt")) for name in artifact.files)
        again = type(engine).load(artifact)
        value_NF = engine_examples(2).value_NF
        np.testing.assert_array_equal(engine.margin(value_NF), again.margin(value_NF))
        more, more_again = (e.fit_more(engine_examples(3)) for e in (engine, again))
        np.testing.assert_array_equal(more.margin(value_NF), more_again.margin(value_NF))

    def test_contributions_sum_to_the_margin(self, engine: Engine) -> None:
        value_NF = engine_examples(2).value_NF
        part_NF, margin_N = engine.contributions(value_NF), engine.margin(value_NF)
        assert part_NF.dtype == np.float64
        assert part_NF.shape == (len(value_NF), 5)
        assert np.ptp(part_NF[:, -1]) == 0
        np.testing.assert_allclose(part_NF.sum(axis=1), margin_N, rtol=1e-6, atol=1e-6)

    def test_a_row_alone_scores_as_among_others(self, engine: Engine) -> None:
        value_NF = engine_examples(2, 300).value_NF
        alone = [engine.margin(value_NF[row : row + 1])[0] for row in range(0, 300, 37)]
        np.testing.assert_array_equal(engine.margin(value_NF)[::37], alone)
        assert engine.margin(value_NF[:0]).shape == (0,)
        assert engine.contributions(value_NF[:0]).shape == (0, 5)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_monotone_features_are_monotone(self, sign: int) -> None:
        side = {"increasing": ("rises", "noise")} if sign > 0 else {"decreasing": ("rises",)}
        engine = self.make(trees=40, **side).fit(engine_examples(1))
        row_NF = np.repeat(engine_examples(2, 30).value_NF[:, None], 50, axis=1)
        row_NF[:, :, 0] = np.linspace(-3, 3, 50)
        margin_NM = engine.margin(row_NF.reshape(-1, 4)).reshape(30, 50)
        assert np.all(sign * np.diff(margin_NM, axis=1) >= -1e-9)
        assert (sign < 0) or np.all(np.ptp(margin_NM, axis=1) > 1)

    def test_missing_and_unknown_values_have_a_margin(self, engine: Engine) -> None:
        row_NF = np.full((3, 4), np.nan, dtype=np.float32)
        row_NF[1, 2], row_NF[2, 2] = 11, 60_000
        assert np.all(np.isfinite(engine.margin(row_NF)))
        assert np.all(np.isfinite(engine.contributions(row_NF)))

    def test_early_stopping_keeps_fewer_trees(self) -> None:
        noise = engine_examples(5, 400)
        noise = replace(noise, label_N=derive(6, "coin").integers(0, 2, 400).astype(float))
        valid = replace(noise, label_N=1 - noise.label_N)
        parts = {"trees": 60, "early_stopping_rounds": 3}
        stopped = self.make(**parts).fit(noise, valid).margin(noise.value_NF)
        whole = self.make(**parts).fit(noise).margin(noise.value_NF)
        assert np.ptp(stopped) < np.ptp(whole) / 5

    def test_more_trees_add_to_the_old_ones(self) -> None:
        train, later = engine_examples(1), engine_examples(3)
        engine = self.make(trees=20, more_trees=1, learning_rate=0.05).fit(train)
        before = engine.margin(later.value_NF)
        after = engine.fit_more(later).margin(later.value_NF)
        moved = np.abs(after - before).max()
        assert 0 < moved < 0.5 < np.ptp(before)
        assert len(np.unique(np.round(after - before, 6))) <= 31

    def test_weights_matter(self) -> None:
        both = engine_examples(1)
        half = np.arange(len(both)) < len(both) // 2
        weighted = replace(both, weight_N=half.astype(np.float64))
        flipped = replace(weighted, label_N=np.where(half, both.label_N, 1 - both.label_N))
        value_NF = engine_examples(2).value_NF
        margins = [self.make(trees=15).fit(e).margin(value_NF) for e in (weighted, flipped, both)]
        np.testing.assert_allclose(margins[0], margins[1], atol=1e-5)
        assert np.abs(margins[0] - margins[2]).max() > 0.1

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"label_N": np.ones(24)}, "is the same"),
            ({"label_N": np.arange(24.0)}, "labels must be 0 or 1"),
            ({"label_N": np.full(24, np.nan)}, "labels must be"),
            ({"value_NF": np.full((24, 4), np.inf, np.float32)}, "infinite"),
            ({"value_NF": np.zeros((24, 3), np.float32)}, "value_NF has shape"),
            ({"group_N": np.arange(24) % 2}, "lie apart"),
            ({"weight_N": np.full(24, -1.0)}, "weights"),
            ({"weight_N": np.zeros(24)}, "weights"),
        ],
    )
    def test_examples_that_cannot_be_learned_from(self, change: dict[str, Any], told: str) -> None:
        with pytest.raises(DataError, match=told):
            self.make().fit(replace(engine_examples(1, 24), **change))

    def test_errors(self, engine: Engine) -> None:
        train = engine_examples(1, 24)
        with pytest.raises(DataError, match="no examples"):
            self.make().fit(train.rows(np.zeros(24, dtype=bool)))
        with pytest.raises(ConfigError, match="nosuch"):
            self.make(increasing=("nosuch",)).fit(train)
        with pytest.raises(DataError, match="no codes"):
            self.make(categorical=("rises",)).fit(train)
        whole = replace(train, label_N=(train.group_N % 2).astype(float))
        with pytest.raises(DataError, match="in every list"):
            self.make(objective="lambdarank").fit(whole)
        with pytest.raises(NotFittedError):
            self.make().margin(train.value_NF)
        with pytest.raises(DataError, match="4 columns"):
            engine.margin(train.value_NF[:, :3])
        with pytest.raises(DataError, match="infinite"):
            engine.contributions(np.full((1, 4), -np.inf, np.float32))
        with pytest.raises(DataError, match="columns differ"):
            engine.fit_more(replace(train, columns=("a", "b", "c", "d")))
