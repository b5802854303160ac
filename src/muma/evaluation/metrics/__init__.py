"""One metric a file; a recipe names it by its import path."""
