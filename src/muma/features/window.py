"""Which events count at a moment `t`: sliding, session, all time, all time with decay.

`parse_window` reads the text of a recipe:

    "1h/5m"       Sliding: floor_5m(t) - 1h + 5m <= time < t (whole panes at the tail, live head)
    "all"         AllTime: time < t
    "all/90d"     AllTime, but what happened more than 90 days before t is forgotten (recency only)
    "decay/7d"    Decay: time < t, an event of age a weighs about 2^(-a / 7d)

Sessions are made by the family `Session`, which names the gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from muma.errors import ConfigError
from muma.features.span import parse_span, show_span

STEPS = 64  # sub-steps of a half-life
SCALE = 1 << 12
WEIGHTS = np.array([round(SCALE * 2 ** (step / STEPS)) for step in range(STEPS)], dtype=np.int64)
"""Integer weight by sub-step of the half-life an event falls in: 4096 ... 8105."""
DECAY_LIMIT = 63  # after so many idle half-lives the whole state is 0
DAY = 86_400_000_000


@dataclass(frozen=True)
class Sliding:
    """The last `length` in panes of `pane` (both microseconds; a whole number of panes).

    Covers `floor_pane(t) - length + pane <= time < t`.
    """

    length: int
    pane: int

    @property
    def panes(self) -> int:
        """Number of panes, the live one included."""
        return self.length // self.pane

    @property
    def label(self) -> str:
        """How columns name it."""
        return show_span(self.length)


@dataclass(frozen=True)
class AllTime:
    """Everything before `t`; with a `horizon` (microseconds), what is older than it is forgotten."""

    horizon: int | None = None

    @property
    def label(self) -> str:
        """How columns name it."""
        return "all" if self.horizon is None else f"all{show_span(self.horizon)}"


@dataclass(frozen=True)
class Decay:
    """Everything before `t`, halved with every `half_life` (microseconds) of age.

    In integers, so that order cannot change a bit: with epoch `k(t) = t // half_life` and sub-step
    `s(t) = (t mod half_life) * 64 // half_life`, an event of measure x at time e adds
    `x * WEIGHTS[s(e)]` to the sum V of its epoch k(e); the state at t is
    `N(t) = floor(sum_k V_k / 2^(k(t) - k))`, exactly, and the value `N(t) / WEIGHTS[s(t)]`. Since
    floors nest, `N = (N of the epoch before >> 1) + V` computes it epoch by epoch. Against exp2(-age / half_life) that is at most 1.1 % off.
    """

    half_life: int

    @property
    def label(self) -> str:
        """How columns name it."""
        return f"decay{show_span(self.half_life)}"


@dataclass(frozen=True)
class Gap:
    """A session: member events of a key with no pause longer than `gap` between neighbours.

    Attributes:
        gap: microseconds; two events belong together when they are at most this far apart.
        which: at `t`, `"open"` is the session whose last event is at most `gap` before t;
            `"closed"` is the newest one that is not open.
        member: name of the filter an event must pass to belong to a session.
        horizon: sessions that ended longer than this before t (microseconds) are forgotten.
    """

    gap: int
    which: Literal["open", "closed"]
    member: str = "any"
    horizon: int = 90 * DAY

    @property
    def label(self) -> str:
        """How columns name it."""
        return f"{self.which}{show_span(self.gap)}"


Window = Sliding | AllTime | Decay | Gap


def parse_window(text: str) -> Window:
    """Read a window as a recipe writes it.

    Raises:
        ConfigError: the text is none of the forms above, or a length is not a whole number of panes.

    Example:
        >>> parse_window("1h/5m").label
        '1h'
    """
    first, slash, second = (part.strip() for part in text.partition("/"))
    if first == "all":
        return AllTime(parse_span(second)) if slash else AllTime()
    if first == "decay" and slash:
        return Decay(parse_span(second))
    if not slash:
        raise ConfigError(
            f"window {text!r} names no pane; write length/pane such as '1h/5m', 'all' or 'decay/7d'"
        )
    length, pane = parse_span(first), parse_span(second)
    if length % pane:
        raise ConfigError(f"window {text!r}: the length is not a whole number of panes")
    return Sliding(length, pane)


def sub_step(time: np.ndarray, half_life: int) -> np.ndarray:
    """Sub-step 0..63 of the half-life in which each time (microseconds) falls; int64, any shape."""
    return (time % half_life) * STEPS // half_life
