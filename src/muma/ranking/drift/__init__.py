"""Has the world moved away from the training data? Statistics, calibrated thresholds, a monitor (4.2.2)."""
