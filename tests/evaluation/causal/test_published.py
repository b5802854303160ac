"""Published data: figures that statsmodels gives on the same columns, and what the literature says."""

import gzip
import io

import numpy as np
import pandas as pd
import polars as pl
import pytest

from muma.evaluation.causal.design import DesignConfig, make_design
from muma.evaluation.causal.search import search_design
from muma.evaluation.causal.study import study_of

EARNINGS = ["age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75"]


@pytest.fixture
def lalonde(published):
    def read(survey):
        folder = published / "causal-lalonde"
        if not folder.is_dir():
            pytest.skip("causal-lalonde is not among the published data here")
        columns = ["treat", *EARNINGS, "re78"]
        trained = pl.read_csv(folder / "nsw_dw.csv.gz")
        others = pl.read_csv(folder / f"{survey}_controls.csv.gz") if survey else trained
        table = pl.concat([trained.filter(pl.col("treat") == 1).select(columns),
                           others.filter(pl.col("treat") == 0).select(columns)])  # fmt: skip
        study = study_of(table["treat"].to_numpy(), table.select(EARNINGS).to_numpy(), EARNINGS)
        return study, table["re78"].to_numpy()

    return read


def test_the_experiment_is_balanced_and_says_1794(lalonde):
    study, outcome = lalonde("")
    design = search_design(study, DesignConfig(method="weighting"))
    effect = design.freeze().estimate(outcome, name="re78")
    assert effect.naive.value == pytest.approx(1794.34, abs=0.01)
    assert effect.result.low < 1794 < effect.result.high
    assert design.balance.largest < 0.1 < design.balance.largest_before < 0.3


def test_psid_is_balanced_blind_and_equals_statsmodels(lalonde):
    study, outcome = lalonde("psid")
    design = search_design(study, DesignConfig(method="weighting"))
    assert design.balance.largest < 0.1 < 5 < design.balance.largest_before
    assert any("beyond every score" in doubt for doubt in design.overlap.doubts)
    effect = design.freeze().estimate(outcome, name="re78")
    assert effect.blind
    assert effect.naive.value == pytest.approx(-15205, abs=1)
    # statsmodels 0.15.0, TreatmentEffect.ipw(effect_group=1) on the same terms (benchmarks/peer_causal.py)
    assert effect.result.value == pytest.approx(2487.0717, abs=0.01)
    assert effect.result.low < 1794 < effect.result.high


def test_nhefs_weights_say_3_4_kg(published):
    path = published / "causal-nhefs" / "nhefs_complete.dta.gz"
    if not path.is_file():
        pytest.skip("causal-nhefs is not among the published data here")
    table = pd.read_stata(io.BytesIO(gzip.decompress(path.read_bytes())))
    numbers = ("age", "smokeintensity", "smokeyrs", "wt71")
    columns = {name: table[name].astype(float) for name in numbers}
    for name in ("sex", "race", "education", "exercise", "active"):
        for level in sorted(table[name].unique())[1:]:
            columns[f"{name}[{level}]"] = (table[name] == level).astype(float)
    study = study_of(table["qsmk"].to_numpy(), np.stack(list(columns.values()), 1), list(columns))
    terms = [*columns, *(f"{name}^2" for name in numbers)]
    config = DesignConfig(method="weighting", estimand="ate")
    effect = make_design(study, config, terms).freeze().estimate(table["wt82_71"].to_numpy(float))
    # statsmodels 0.15.0: 3.4405354, [2.4858907, 4.3951802]; Hernan and Robins: 3.4 [2.4, 4.5]
    assert effect.result.value == pytest.approx(3.4405354, abs=1e-5)
    assert (effect.result.low, effect.result.high) == pytest.approx(
        (2.4858907, 4.3951802), abs=1e-4
    )
    assert effect.naive.value == pytest.approx(2.54, abs=0.01)
