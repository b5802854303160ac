"""Re-rankers behind the contract of `muma.ranking.reranker.Reranker`."""
