"""Contract suites to subclass for one's own components, and small logs to try them on.

Needs pytest, and hypothesis for `FeatureSuite`. A subclass says what is tried, by `make()` or by a
recipe; the suite's tests state what MUMA expects of the component.
"""
