"""Contract suites to subclass for one's own components, and small logs to try them on.

Needs pytest. A suite's subclass gives `make()`; its tests state what MUMA expects of the component.
"""
