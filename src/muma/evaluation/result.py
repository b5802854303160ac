"""The contract of this room: `Result`, a number that says how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """A value with its interval; what is undefined is NaN, never 0.

    Attributes:
        value: the estimate, in the unit of its metric.
        low: lower end of the interval; NaN when there is none.
        high: upper end of the interval; NaN when there is none.
        n: units (users, as a rule) in which the value is defined.
        effective_n: size of an equally weighted sample as informative as this one,
            (sum w)^2 / sum w^2 (Kish); equal to `n` for plain means.
        label: what was measured, for example `"ndcg@10"`.

    Example:
        >>> Result(0.21, 0.19, 0.23, n=900, effective_n=900.0, label="ndcg@10").excludes(0.0)
        True
    """

    value: float
    low: float
    high: float
    n: int
    effective_n: float
    label: str = ""

    def excludes(self, value: float) -> bool:
        """Whether the interval lies wholly on one side of `value`; False if it is NaN."""
        return self.low > value or self.high < value
