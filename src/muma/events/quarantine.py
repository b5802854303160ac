"""The rows that were not kept: where they came from, which value, and why.

Columns: `table`, `file`, `row` (1-based record number), `column`, `value` (as text), `rule`,
`reason`. Nothing is dropped elsewhere: rows read = rows kept + rows here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from muma.events.event import TableName, Unreadable

COLUMNS = {
    "table": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "column": pl.String,
    "value": pl.String,
    "rule": pl.String,
    "reason": pl.String,
}
LONGEST_VALUE = 200


class Quarantine:
    """Collects refused rows and writes them as Parquet parts, so that memory stays bounded."""

    def __init__(self, folder: Path, *, rows_per_part: int = 500_000) -> None:
        self.folder = folder
        self.rules: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], str] = {}
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._parts = 0
        self._rows_per_part = rows_per_part

    def total(self, table: TableName | None = None) -> int:
        """Rows refused so far, in all or of one table."""
        return sum(n for (name, _), n in self.rules.items() if table in (None, name))

    def add(self, table: TableName, rows: pl.DataFrame) -> None:
        """Take rows with the columns `file, row, column, value, rule, reason`."""
        if rows.is_empty():
            return
        for rule, n in rows.group_by("rule").len().iter_rows():
            self.rules[table, rule] += n
        for row in rows.unique("rule", keep="first").iter_rows(named=True):
            place = "" if row["column"] is None else f" {row['column']}={row['value']!r:.60}"
            self.examples.setdefault(
                (table, row["rule"]), f"{row['file']}, row {row['row']}:{place} {row['reason']}"
            )
        frame = rows.with_columns(
            table=pl.lit(table), value=pl.col("value").str.slice(0, LONGEST_VALUE)
        )
        self._pending.append(frame.select(pl.col(n).cast(t) for n, t in COLUMNS.items()))
        self._pending_rows += rows.height
        if self._pending_rows >= self._rows_per_part:
            self._flush()

    def add_unreadable(
        self, table: TableName, file: str, records: Sequence[Unreadable], *, rule: str
    ) -> None:
        """Take records that could not be parsed into columns or types."""
        if records:
            self.add(
                table,
                pl.DataFrame(
                    [(file, r.row, r.column, r.value, rule, r.reason) for r in records],
                    schema=[c for c in COLUMNS if c != "table"],
                    orient="row",
                    infer_schema_length=None,
                ),
            )

    def close(self) -> None:
        """Write what is pending; afterwards at least one part exists."""
        if self._pending or not self._parts:
            self._flush()

    def _flush(self) -> None:
        frame = pl.concat([pl.DataFrame(schema=COLUMNS), *self._pending])
        self.folder.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(self.folder / f"part-{self._parts:05d}.parquet")
        self._parts += 1
        self._pending, self._pending_rows = [], 0
