"""What a shown slot earned: one rule for the gate and for policies that learn.

    an event counts for a slot that its request and item name, if it
        happened   within wait_s of the decision, and
        arrived    within wait_s + late_s of it;
    a slot was shown if one did (or always, without `shown_by`);
    its reward is the greatest weight among the kinds that came, 0 for none

Both times are in the log, so that the same log gives the same rewards whoever counts, and whenever: an
event that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from muma.config import Config


class RewardConfig(Config):
    """Section `[serving.reward]`.

    Attributes:
        kinds: kind of event -> what it is worth, in [0, 1].
        shown_by: kind of event that says a slot was seen; None takes every slot of an answer as seen.
        wait_s: time after the decision within which a reward counts, seconds.
        late_s: further time within which an event of that stretch may arrive, seconds.
    """

    kinds: dict[str, float] = Field(default={"click": 1.0}, min_length=1)
    shown_by: str | None = "impression"
    wait_s: float = Field(default=600.0, gt=0)
    late_s: float = Field(default=60.0, ge=0)

    @field_validator("kinds")
    @classmethod
    def _are_weights(cls, kinds: dict[str, float]) -> dict[str, float]:
        if wrong := {kind: w for kind, w in kinds.items() if not 0 <= w <= 1}:
            raise ValueError(f"got {wrong}; a weight lies in [0, 1], as rewards do")
        return kinds

    @property
    def wait_us(self) -> int:
        """Microseconds after the decision within which a reward counts."""
        return round(self.wait_s * 1e6)

    @property
    def closing_us(self) -> int:
        """Microseconds after the decision from which on nothing can change."""
        return round((self.wait_s + self.late_s) * 1e6)

    @property
    def most(self) -> float:
        """The greatest weight: a slot that has it is decided."""
        return max(self.kinds.values())

    def weight(self, kind: str) -> float | None:
        """Worth of an event: None for one that says nothing of a slot."""
        if kind in self.kinds:
            return self.kinds[kind]
        return 0.0 if kind == self.shown_by else None

    def counts(self, decided_at: int, happened_at: int, arrived_at: int) -> bool:
        """Whether an event is in time; all microseconds.

        Example:
            >>> rule = RewardConfig(wait_s=10, late_s=5)
            >>> rule.counts(0, 10_000_000, 15_000_000), rule.counts(0, 10_000_001, 11_000_000)
            (True, False)
        """
        in_time = 0 <= happened_at - decided_at <= self.wait_us
        return in_time and arrived_at - decided_at <= self.closing_us
