"""A recipe as a running service: a process that answers and takes events in, and one that keeps features up to date."""
