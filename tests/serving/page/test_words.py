"""Values in words: lengths of time, and what cannot be said."""

import math

import pytest

from muma.serving.page import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 s"), (0.26, "0.26 s"), (9.9, "9.9 s"), (59.9, "59 s"), (60.0, "1 min 0 s"),
        (3_599.0, "59 min 59 s"), (3_600.0, "1 h 0 min"), (90_061.0, "1 d 1 h"),
        (math.nan, "unknown"), (math.inf, "very large"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds, said):
    assert words.value("user.click.recency_s.all90d", seconds) == said
    assert words.value("user.play.dwell_ms.mean.1h", 1000 * seconds) == said
