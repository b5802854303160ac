"""LightGBM's own lambdarank example, by the fused pair."""

import sys

import pytest


def test_pair_orders_the_example_well(home, published, monkeypatch):
    folder = published / "ltr-lightgbm-lambdarank"
    if not folder.is_dir():
        pytest.skip("the data set ltr-lightgbm-lambdarank is absent")
    monkeypatch.syspath_prepend(str(home / "benchmarks"))
    monkeypatch.delitem(sys.modules, "ranking", raising=False)
    import ranking

    found = ranking.lambdarank(folder)
    assert found["lambdarank_ndcg1"] >= 0.60
    assert found["lambdarank_ndcg3"] >= 0.60
