"""Worlds of known truth in which policies play: regret, and the bias of what they believe."""
