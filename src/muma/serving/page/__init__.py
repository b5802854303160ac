"""A page for people with a key: who asks, what they are shown and why, and what a click changes."""
