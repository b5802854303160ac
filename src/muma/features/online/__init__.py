"""The online engine: rows of integers in memory, written event by event and read at a moment."""
