"""File formats: each reads one file piece by piece and says which records it could not read."""
