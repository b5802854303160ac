"""How many events pass until a monitor alarms."""

from __future__ import annotations

from collections.abc import Iterable

from muma.ranking.drift.monitor import DriftMonitor
from muma.ranking.drift.window import Window


def detection_delay(monitor: DriftMonitor, windows: Iterable[Window]) -> int | None:
    """Events from the start of a stream of windows to the end of the first that alarms.

    Each window is checked on its own, so each has the monitor's rate of false alarms.

    Args:
        monitor: fitted.
        windows: windows of the stream, one after another; those after the alarm are not read.

    Returns:
        Events, or None when the stream ends without an alarm.

    Raises:
        NotFittedError: the monitor has no reference.
    """
    events = 0
    for window in windows:
        events += len(window)
        if monitor.check(window).alarm:
            return events
    return None
