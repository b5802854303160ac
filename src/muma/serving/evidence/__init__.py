"""What was answered, kept: an append-only log of decisions, joined later with what came of them."""
