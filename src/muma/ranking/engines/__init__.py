"""Gradient-boosted engines behind the contract of `muma.ranking.ranker.Engine`."""
