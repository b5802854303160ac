"""How attention tells places and times apart: one way a file."""
