"""Normalisers in closed form, fitted on the training part only, and the same after loading."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from muma import artifact
from muma.config import Spec
from muma.errors import ConfigError, DataError, NotFittedError
from muma.events.normalise import (
    Log1p,
    MinMax,
    MinMaxConfig,
    Normalisers,
    Quantile,
    QuantileConfig,
    ZScore,
)
from muma.rng import derive
from muma.testing.logs import log_of

MODULE = "muma.events.normalise"
VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), min_size=2, max_size=50)


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_closed_forms(values):
    x = np.array(values)
    fitted = {c: c().fit(np.r_[x, np.nan, np.inf]) for c in (ZScore, MinMax)}
    if np.ptp(x) > 1e-3:
        assert np.allclose(fitted[ZScore].transform(x), stats.zscore(x), atol=1e-6)
        scaled = (x - x.min()) / np.ptp(x)
        assert np.allclose(fitted[MinMax].transform(x), scaled)
        wide = MinMax(MinMaxConfig(clip=False)).fit(x).transform(np.array([x.max() + np.ptp(x)]))
        assert np.allclose(wide, 2)
    y = np.abs(x)
    if np.ptp(np.log1p(y)) > 1e-3:
        assert np.allclose(Log1p().fit(y).transform(y), stats.zscore(np.log1p(y)), atol=1e-6)
    for one in fitted.values():
        assert np.isnan(one.transform(np.array([np.nan, x[0]]))).tolist() == [True, False]
    outside = fitted[MinMax].transform(np.array([-1e9, 1e9]))
    assert outside.tolist() == ([0, 1] if np.ptp(x) else outside.tolist())


@pytest.mark.parametrize("value", [0.1, 0.3, 1.1, 5e-5, -7.0, 1e300, 0.0])
@pytest.mark.parametrize("n", [1, 3, 10, 1000])
def test_a_constant_column(value, n):
    x = np.full(n, value)
    assert ZScore().fit(x).transform(x).tolist() == [0.0] * n
    assert MinMax().fit(x).transform(x).tolist() == [0.0] * n
    assert Quantile().fit(x).transform(x).tolist() == [0.5] * n
    if value > 0:
        assert Log1p().fit(x).transform(x).tolist() == [0.0] * n


@pytest.mark.parametrize("points", [101, 1001])
def test_quantile_is_the_empirical_distribution(points):
    rng = derive(1, "quantile")
    x = np.r_[rng.lognormal(size=5_000), np.full(2_500, 1.0)]
    ours = Quantile(QuantileConfig(points=points)).fit(np.r_[x, np.nan])
    at = np.r_[rng.lognormal(size=500), 1.0, x.min() - 1, x.max() + 1]
    below, upto = (np.searchsorted(np.sort(x), at, side=s) / len(x) for s in ("left", "right"))
    assert np.allclose(upto, stats.ecdf(x).cdf.evaluate(at))
    assert np.abs(ours.transform(at) - (below + upto) / 2).max() <= 1.5 / points
    assert np.isnan(ours.transform(np.array([np.nan]))).all()
    assert ours.transform(at)[-2:].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("kind", [ZScore, MinMax, Log1p, Quantile])
def test_misuse(kind):
    with pytest.raises(NotFittedError, match=kind.__name__):
        kind().transform(np.array([1.0]))
    with pytest.raises(DataError, match="no finite value"):
        kind().fit(np.array([np.nan, np.inf]))


def test_log1p_refuses_negative_values():
    fitted = Log1p().fit(np.array([1.0, 2.0]))
    for call in (fitted.fit, fitted.transform):
        with pytest.raises(DataError, match="the lowest is -3"):
            call(np.array([1.0, -3.0, np.nan]))


SPECS = {
    "dwell_ms": Spec.model_validate({"use": f"{MODULE}.Log1p"}),
    "value": Spec.model_validate({"use": f"{MODULE}.MinMax", "clip": False}),
    "propensity": Spec.model_validate({"use": f"{MODULE}.Quantile", "points": 11}),
}


def log(**change):
    rng = derive(4, "normalise")
    dwell = [None, *rng.integers(1, 9_000, size=99).tolist()]
    data = {"dwell_ms": dwell, "value": rng.normal(size=100), "propensity": rng.random(100)}
    base = {"user_id": [0] * 100, "item_id": [1] * 100, "timestamp": range(100)}
    return log_of({**base, **data, **change})


def test_fitted_on_train_and_the_same_after_loading(tmp_path):
    whole = log()
    train = whole.between(None, 70)
    ours = Normalisers(SPECS).fit(train)
    early = whole.events.collect()[:70]
    logs = np.log1p(early["dwell_ms"].drop_nulls().to_numpy())
    mean, deviation = logs.mean(), logs.std()
    after = ours.transform(whole.events.collect())
    wanted = (np.log1p(whole.events.collect()["dwell_ms"].to_numpy()) - mean) / deviation
    assert after["dwell_ms"].to_list()[0] is None
    assert np.allclose(after["dwell_ms"].to_numpy()[1:], wanted[1:])
    changed = log(value=[*early["value"], *[1e9] * 30])
    again = Normalisers(SPECS).fit(changed.between(None, 70))
    for column, one in ours.by_column.items():
        for name, array in one.state.items():
            assert np.array_equal(array, again.by_column[column].state[name])
    with artifact.write(tmp_path / "n", kind="n", version=1) as writer:
        ours.save(writer)
    loaded = Normalisers.load(artifact.read(tmp_path / "n", kind="n", version=1))
    assert loaded.transform(whole.events.collect()).equals(after)


def test_columns_that_cannot_be_normalised():
    for column, says in [("nothing", "no such numeric"), ("kind", "no such numeric"),
                         ("position", "no finite value")]:  # fmt: skip
        with pytest.raises(DataError, match=f"normalise.{column}: .*{says}"):
            Normalisers({column: Spec(use=f"{MODULE}.ZScore")}).fit(log())
    with pytest.raises(ConfigError, match=r"normalise\.value\.points: unknown key"):
        Normalisers({"value": Spec.model_validate({"use": f"{MODULE}.ZScore", "points": 3})})


def test_a_column_unknown_to_the_frame_is_an_error():
    fitted = Normalisers(SPECS).fit(log())
    with pytest.raises(DataError, match=r"normalise.dwell_ms: the events have no such column"):
        fitted.transform(pl.DataFrame({"value": [1.0]}))
