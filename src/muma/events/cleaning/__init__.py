"""Cleaning rules, one a file: each has its own switch, and all they do is counted."""
