"""How memory fades with time: one decay a file."""
