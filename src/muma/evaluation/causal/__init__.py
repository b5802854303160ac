"""Effects from observational data: propensity models, matching, weighting, and their balance (paper 2.4)."""
