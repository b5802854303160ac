"""Learning a policy from what another policy logged, and judging the gain on rounds it never saw."""
