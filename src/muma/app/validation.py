"""Validate files of events without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from muma.config import Spec, build, parse
from muma.errors import ConfigError
from muma.events.event import Source
from muma.events.sources.files import (
    FilesConfig,
    TableConfig,
    column_names,
    expand,
    is_jsonl,
    own_names,
)  # fmt: skip
from muma.events.validate import validate
from muma.progress import task

FILES = "muma.events.sources.files.Files"
EXAMPLES = 20


@dataclass(frozen=True)
class Validation:
    """What validation found; `read == kept + quarantined`.

    Attributes:
        read: rows read.
        kept: rows that pass.
        quarantined: rows that do not.
        rules: refused rows by column and rule.
        examples: some refused rows: file, row, column, value, reason.
    """

    read: int
    kept: int
    quarantined: int
    rules: Mapping[str, int]
    examples: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def validate_files(
    files: Sequence[str],
    *,
    source: Spec | None = None,
    columns: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    time_unit: str | None = None,
) -> Validation:
    """Check files against the event schema.

    Args:
        files: paths, globs or folders.
        source: a generic file source of a recipe, whose mapping is used.
        columns: declared name -> name in the files, beside the source's.
        constants: declared name -> value.
        time_unit: unit of numeric times.

    Raises:
        ConfigError: the mapping is wrong, or `source` is not the generic file source.
        SourceError: a file cannot be read.
    """
    settings: dict[str, Any] = {}
    if source is not None:
        if source.use != FILES:
            raise ConfigError(
                f"validate needs a recipe whose events.source uses {FILES}, not {source.use}"
            )
        parse(FilesConfig, source.params, where="events.source")
        settings = dict(source.params["events"])
    settings["files"] = list(files)
    settings["columns"] = {**settings.get("columns", {}), **(columns or {})}
    if constants:
        settings["constants"] = {**settings.get("constants", {}), **constants}
    if time_unit:
        settings["time_unit"] = time_unit
    if source is None:
        settings["columns"] = {**_own_names(settings), **settings["columns"]}
    reader: Source = build({"use": FILES, "events": settings}, where="events.source")
    return _run(reader)


def _own_names(settings: Mapping[str, Any]) -> dict[str, str]:
    """Declared columns that the first file has under their own names, unless filled otherwise."""
    first = expand(settings["files"])[0]
    mapping = parse(TableConfig, settings, where="events.source.events")
    names = own_names("events", column_names(first, mapping), text=is_jsonl(mapping, first))
    constants = settings.get("constants", {})
    return {name: name for name in names if name not in constants}


def _run(source: Source) -> Validation:
    read, kept = 0, 0
    rules: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    with task("validating") as bar:
        for batch in source.batches():
            read += batch.frame.height + len(batch.unreadable)
            refused = [
                {"file": batch.file, "row": u.row, "column": u.column, "value": u.value,
                 "rule": "unreadable", "reason": u.reason}
                for u in batch.unreadable
            ]  # fmt: skip
            if batch.frame.height:
                checked = validate(batch)
                kept += checked.kept.height
                counted = checked.refused.group_by("column", "rule").len()
                for column, rule, n in counted.sort(pl.all()).iter_rows():
                    rules[f"{column}.{rule}"] += n
                refused += checked.refused.head(EXAMPLES).to_dicts()
            for entry in batch.unreadable:
                rules[f"{entry.column or 'record'}.unreadable"] += 1
            examples += refused[: EXAMPLES - len(examples)]
            bar.advance(batch.frame.height)
    return Validation(read, kept, read - kept, dict(rules), tuple(examples))
