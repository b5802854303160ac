"""In what order, and why: boosted trees, their fusion, exact attributions, drift (paper 4.2)."""
