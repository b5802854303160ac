"""What is shown, with what chance (paper 3.5): policies that know their own propensities."""
