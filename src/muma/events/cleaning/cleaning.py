"""All rules in their order, each on its own switch, each counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from pydantic import Field

from muma.config import Config
from muma.events.cleaning.bots import Bots, BotsConfig
from muma.events.cleaning.duplicates import PLACE, Duplicates, DuplicatesConfig
from muma.events.cleaning.esd import EsdConfig, EsdOutliers
from muma.events.cleaning.impossible import Impossible, ImpossibleConfig
from muma.events.cleaning.iqr import IqrConfig, IqrOutliers
from muma.events.cleaning.loops import Loops, LoopsConfig
from muma.events.cleaning.mad import MadConfig, MadOutliers
from muma.events.cleaning.rule import Rule
from muma.events.cleaning.stuck import Stuck, StuckConfig


class CleaningConfig(Config):
    """The rules in the order they run.

    Attributes:
        fit_share: share of the log, earliest first, on which outlier bounds are learned.
    """

    fit_share: float = Field(default=0.7, gt=0, le=1)
    impossible: ImpossibleConfig = ImpossibleConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    stuck: StuckConfig = StuckConfig()
    bots: BotsConfig = BotsConfig()
    mad: MadConfig = MadConfig()
    iqr: IqrConfig = IqrConfig()
    esd: EsdConfig = EsdConfig()
    loops: LoopsConfig = LoopsConfig()


class Cleaning:
    """Runs the enabled rules over buckets in time order.

    Args:
        config: the rules' settings.
        now_us: the clock, UTC microseconds; events later than it are impossible. None: no check.
    """

    def __init__(
        self, config: CleaningConfig = CleaningConfig(), *, now_us: int | None = None
    ) -> None:
        self.config = config
        self._now_us = now_us
        self._reset()

    def _reset(self) -> None:
        config = self.config
        rules: list[Rule] = [
            Impossible(config.impossible, now_us=self._now_us),
            Duplicates(config.duplicates),
            Stuck(config.stuck),
            Bots(config.bots),
            MadOutliers(config.mad),
            IqrOutliers(config.iqr),
            EsdOutliers(config.esd),
            Loops(config.loops),
        ]
        self.rules = [rule for rule in rules if getattr(config, rule.name).enabled]
        self.removed: Counter[str] = Counter({rule.name: 0 for rule in self.rules})
        self.changed: Counter[str] = Counter()

    def fit(self, early: Callable[[Sequence[str], float], pl.DataFrame]) -> None:
        """Start afresh on a log, and let the rules learn.

        Args:
            early: gives the named columns of the earliest share of the rows.
        """
        self._reset()
        for rule in self.rules:
            if rule.fit_columns:
                rule.fit(early(rule.fit_columns, self.config.fit_share))

    def apply(self, bucket: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Run every rule over a bucket with the columns `file` and `row`.

        Returns:
            The rows that stay, and the removed ones as `file, row, column, value, rule, reason`.
        """
        removed = []
        for rule in self.rules:
            verdict = rule.apply(bucket)
            bucket = verdict.frame
            self.changed[rule.name] += verdict.changed
            out = np.zeros(bucket.height, dtype=bool)
            for removal in verdict.removals:
                gone = bucket.filter(pl.Series(removal.remove_R & ~out))
                out |= removal.remove_R
                self.removed[rule.name] += gone.height
                removed.append(
                    gone.select(
                        *PLACE,
                        pl.lit(removal.column).alias("column"),
                        pl.col(removal.column).cast(pl.String).alias("value"),
                        pl.lit(f"cleaning.{rule.name}").alias("rule"),
                        pl.lit(removal.reason).alias("reason"),
                    )
                )
            if verdict.removals:
                bucket = bucket.filter(pl.Series(~out))
        return bucket, pl.concat(removed) if removed else pl.DataFrame()
