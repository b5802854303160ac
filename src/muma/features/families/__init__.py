"""Families of features, one a file."""
