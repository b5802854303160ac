"""The only wiring: recipes become components, and components become a pipeline."""
