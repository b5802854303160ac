"""Implementations of contracts that live in `events` and `features`, one file each."""
