"""A recipe as a running service: one process that answers, takes events in, and keeps features up to date."""
