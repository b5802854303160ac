"""Forget a person on demand: what is stored goes, what models keep is listed."""
