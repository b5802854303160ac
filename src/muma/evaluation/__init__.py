"""How good was it, honestly: metrics, intervals and paired tests on plain arrays (paper 5)."""
