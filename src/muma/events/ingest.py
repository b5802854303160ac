"""From a source to a clean event log on disk: read, validate, encode ids, order, clean, write.

Memory stays bounded: rows stream through validation, wait in `Runs` (spilled to disk when many) and
leave in time-ordered buckets, each cleaned and written by itself. The artifact commits at the end,
so a kill or an error at any moment leaves a previous log as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from muma import artifact
from muma.errors import DataError
from muma.events.cleaning.cleaning import Cleaning
from muma.events.event import TABLES, Batch, Source, TableName
from muma.events.log_folder import KIND, VERSION
from muma.events.quarantine import Quarantine
from muma.events.runs import Runs, stacked
from muma.events.validate import validate
from muma.events.vocabulary import Vocabulary
from muma.progress import task

ID_OF = {"user_id": "users", "src": "users", "dst": "users", "item_id": "items"}
KEYS: dict[TableName, list[str]] = {"items": ["item_id"], "users": ["user_id"]}


@dataclass(frozen=True)
class TableCount:
    """Rows of one table: `read == kept + quarantined`, always."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class IngestReport:
    """What became of every row.

    Attributes:
        events: counts of the event table.
        tables: counts of the other tables that the source has.
        refused: rows refused, by `table.rule`.
        marked: rows marked or mended by a cleaning rule, by rule.
        examples: one example for each entry of `refused`.
        users: ids in the user vocabulary.
        items: ids in the item vocabulary.
        first_us: earliest kept event, UTC microseconds.
        last_us: latest kept event, UTC microseconds.
    """

    events: TableCount
    tables: Mapping[str, TableCount]
    refused: Mapping[str, int]
    marked: Mapping[str, int]
    examples: Mapping[str, str]
    users: int
    items: int
    first_us: int | None
    last_us: int | None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def ingest(
    source: Source,
    output: str | Path,
    *,
    cleaning: Cleaning | None = None,
    fail_above: float = 0.5,
    config: Mapping[str, Any] | None = None,
    ids: tuple[Vocabulary, Vocabulary] | None = None,
    rows_in_memory: int = 16_000_000,
) -> IngestReport:
    """Read everything a source has into the event log at `output`.

    Args:
        source: where rows come from.
        output: folder of the log; an existing log is replaced when the new one is complete.
        cleaning: the rules; None cleans with the defaults and no clock.
        fail_above: largest share of a table's rows that validation may refuse.
        config: what to keep in the manifest as the log's configuration.
        ids: user and item vocabularies of an earlier log; its ids keep their indices, so that what
            was fitted on it stays valid.
        rows_in_memory: rows held in memory before spilling to disk beside `output`.

    Raises:
        SourceError: a file cannot be read.
        DataError: no events, or too many refused.
        ArtifactError: `output` is something else, or is being written by another process.
    """
    cleaning = cleaning or Cleaning()
    with artifact.write(output, kind=KIND, version=VERSION, config=config) as writer:
        work = _Work(writer, rows_in_memory, ids)
        try:
            with task("reading and checking") as bar:
                for batch in source.batches():
                    work.take(batch)
                    bar.advance(batch.frame.height)
            work.check(fail_above)
            with task("cleaning and writing", total=work.runs.rows) as bar:
                cleaning.fit(work.runs.column_before)
                for bucket in work.runs.buckets():
                    work.put(bucket, cleaning)
                    bar.advance(bucket.height)
                work.drain()
        finally:
            work.close()
        if not work.kept["events"]:
            shown = "\n".join(f"  {text}" for text in work.quarantine.examples.values())
            raise DataError(
                f"no event is left of {work.read['events']:,} rows; correct the source, or switch "
                f"off the cleaning rule that removes them:\n{shown}"
            )
        work.finish()
        report = work.report(cleaning)
        writer.meta.update(report.as_json())
        writer.path("report.json").write_text(json.dumps(report.as_json(), indent=1))
    return report


class _Work:
    """The state of one ingestion."""

    def __init__(
        self,
        writer: artifact.Writer,
        rows_in_memory: int,
        ids: tuple[Vocabulary, Vocabulary] | None,
    ) -> None:
        self.writer = writer
        self.quarantine = Quarantine(writer.path("quarantine"))
        self.runs = Runs(
            writer.root.with_name(writer.root.name + "-spill"), rows_in_memory=rows_in_memory
        )
        users, items = ids or (Vocabulary(), Vocabulary())
        self.ids = {"users": Vocabulary(users.ids), "items": Vocabulary(items.ids)}
        self.read = dict.fromkeys(TABLES, 0)
        self.kept = dict.fromkeys(TABLES, 0)
        self.files: list[str] = []
        self.tables: dict[TableName, list[pl.DataFrame]] = {}
        self.parts = 0
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self.first: int | None = None
        self.last: int | None = None

    def take(self, batch: Batch) -> None:
        """Validate a batch and keep what passes."""
        self.read[batch.table] += batch.frame.height + len(batch.unreadable)
        self.quarantine.add_unreadable(batch.table, batch.file, batch.unreadable, rule="unreadable")
        if batch.frame.is_empty():
            return
        checked = validate(batch)
        self.quarantine.add(batch.table, checked.refused)
        if batch.file not in self.files[-1:]:
            self.files.append(batch.file)
        place = pl.lit(len(self.files) - 1, dtype=pl.UInt32).alias("file")
        frame = self._encoded(checked.kept).with_columns(place, pl.col("row").cast(pl.UInt32))
        if batch.table == "events":
            self.runs.append(frame)
        else:
            self.tables.setdefault(batch.table, []).append(frame)

    def check(self, fail_above: float) -> None:
        """Refuse to go on without events, or with too few that passed."""
        if not self.read["events"]:
            raise DataError("the source has no events: every file is empty")
        for table in TABLES:
            refused, read = self.quarantine.total(table), self.read[table]
            if read and refused > fail_above * read:
                worst = [
                    (n, rule, self.quarantine.examples[name, rule])
                    for (name, rule), n in self.quarantine.rules.most_common()
                    if name == table
                ]
                shown = "\n".join(
                    f"  {n:,} x {rule}, such as {text}" for n, rule, text in worst[:3]
                )
                raise DataError(
                    f"{refused:,} of {read:,} rows of table {table!r} fail validation, more than "
                    f"fail_above = {fail_above:.0%}; nothing was written. Look at the column "
                    f"mapping (swapped columns? wrong time unit?):\n{shown}"
                )

    def put(self, bucket: pl.DataFrame, cleaning: Cleaning) -> None:
        """Clean a bucket and write what stays as the next part."""
        frame, removed = cleaning.apply(bucket)
        if not removed.is_empty():
            self.quarantine.add("events", self._named(removed))
        if frame.is_empty():
            return
        self.kept["events"] += frame.height
        times = frame.get_column("timestamp")
        self.first = times[0] if self.first is None else self.first
        self.last = times[-1]
        path = self.writer.path(f"events/part-{self.parts:05d}.parquet")
        self.parts += 1
        self.drain()
        self._writing = self._pool.submit(
            frame.drop("file", "row").write_parquet, path, compression="zstd", compression_level=1
        )

    def drain(self) -> None:
        """Wait for the part that is being written while the next bucket is cleaned."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def close(self) -> None:
        """Stop writing and remove what was spilled."""
        self._pool.shutdown(cancel_futures=True)
        self.runs.close()

    def finish(self) -> None:
        """Write the other tables, the vocabularies and the quarantine."""
        for table, frames in self.tables.items():
            frame = stacked(frames)
            if table in KEYS:
                frame = self._last_of_each(table, frame)
            self.kept[table] = frame.height
            path = self.writer.path(f"{table}/part-00000.parquet")
            frame.drop("file", "row").write_parquet(path)
        self.quarantine.close()
        self.ids["users"].save(self.writer.path("user_ids.parquet"))
        self.ids["items"].save(self.writer.path("item_ids.parquet"))

    def report(self, cleaning: Cleaning) -> IngestReport:
        """The counts so far."""
        counts = {
            table: TableCount(self.read[table], self.kept[table], self.quarantine.total(table))
            for table in TABLES
            if self.read[table]
        }
        refused = {f"{t}.{rule}": n for (t, rule), n in sorted(self.quarantine.rules.items())}
        refused |= {f"events.cleaning.{rule}": n for rule, n in cleaning.removed.items() if n == 0}
        return IngestReport(
            events=counts.pop("events"),
            tables=counts,
            refused=refused,
            marked={rule: n for rule, n in cleaning.changed.items() if n},
            examples={f"{t}.{r}": text for (t, r), text in self.quarantine.examples.items()},
            users=len(self.ids["users"]),
            items=len(self.ids["items"]),
            first_us=self.first,
            last_us=self.last,
        )

    def _encoded(self, frame: pl.DataFrame) -> pl.DataFrame:
        for column in [c for c in ID_OF if c in frame.columns]:
            raw = frame.get_column(column)
            known = raw.drop_nulls()
            index = self.ids[ID_OF[column]].add(known).alias(column)
            if len(known) < len(raw):
                at = raw.is_not_null().arg_true()
                index = pl.Series(column, [None] * len(raw), dtype=pl.UInt32).scatter(at, index)
            frame = frame.with_columns(index)
        return frame

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the names of their files, and ids as the files spell them."""
        names = pl.Series(self.files, dtype=pl.String)
        rows = rows.with_columns(
            file=names.gather(rows.get_column("file")), row=pl.col("row").cast(pl.Int64)
        )
        for column, kind in ID_OF.items():
            hit = (rows.get_column("column") == column).arg_true()
            if len(hit):
                index = rows.get_column("value").gather(hit).cast(pl.UInt32)
                raw = pl.Series(self.ids[kind].decode(index), strict=False).cast(pl.String)
                rows = rows.with_columns(rows.get_column("value").scatter(hit, raw))
        return rows

    def _last_of_each(self, table: TableName, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the last row of every id; the earlier ones go to the quarantine."""
        key = KEYS[table]
        stays = pl.struct(key).is_last_distinct()
        earlier = frame.filter(~stays)
        if earlier.height:
            rows = earlier.select(
                "file",
                "row",
                pl.lit(key[0]).alias("column"),
                pl.col(key[0]).cast(pl.String).alias("value"),
                pl.lit("duplicate_id").alias("rule"),
                pl.lit("the id comes again later; the last row counts").alias("reason"),
            )
            self.quarantine.add(table, self._named(rows))
        return frame.filter(stays)
