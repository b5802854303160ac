"""Take a user out of an event log on disk: the artifact is written anew, all or nothing.

Rows of the user go from all tables; the id goes from the vocabulary, where a word that no id can be
takes its place, so that all others keep their index; refused rows and reports that name it are
blanked. Counts of the report stay as they were: they tell of the ingestion.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from muma import artifact
from muma.artifact import Artifact, Writer
from muma.errors import UnknownIdError
from muma.events.event import TABLES
from muma.events.log_folder import KEPT, KIND, VERSION, fingerprint
from muma.events.vocabulary import Vocabulary, forgotten_word

ERASED = "(erased)"
_USERS = ("user_id", "src", "dst")  # columns that are an index of users


def forget_user(
    folder: str | Path,
    user: int | str,
    *,
    tables: Collection[str] | None = None,
    kinds: Collection[str] = (),
) -> int:
    """Take a user out of the log in a folder, or some of what the user did.

    Args:
        folder: the artifact that `ingest` wrote.
        user: raw id.
        tables: only the user's rows of these tables, and of `kinds`; the id stays. None is everything.
        kinds: with `tables`, events of these kinds.

    Returns:
        How many rows went; 0 when nobody has the id, and then nothing is written.

    Raises:
        ArtifactError: it is no log, another process writes it, or the disk is full; it then stays.
    """
    stored = artifact.read(folder, kind=KIND, version=VERSION, verify=False)
    users = Vocabulary.load(stored.path("user_ids.parquet"))
    try:
        index = int(users.encode([user])[0])
    except UnknownIdError:
        return 0
    if tables is not None:
        return _part(folder, stored, index, tables, kinds)
    named = re.compile(rf"(?<!\w){re.escape(str(user))}(?!\w)")
    gone = 0
    with artifact.write(
        folder,
        kind=KIND,
        version=VERSION,
        config=stored.config,
        meta={**_blanked(stored.meta, named), KEPT: fingerprint(stored)},
    ) as writer:
        for name in stored.files:
            gone += _copy(stored, writer, name, index, named)
    return gone


def _part(
    folder: str | Path,
    stored: Artifact,
    index: int,
    tables: Collection[str],
    kinds: Collection[str],
) -> int:
    """Take some rows of a user out; without any, nothing is written."""
    names = [n for n in stored.files if n.endswith(".parquet") and n.partition("/")[0] in TABLES]
    left: dict[str, tuple[pl.DataFrame, int]] = {}
    for name in names:
        table, frame = name.partition("/")[0], pl.read_parquet(stored.path(name), glob=False)
        mine = pl.any_horizontal(
            [pl.col(c).eq_missing(index) for c in _USERS if c in frame.columns] or [pl.lit(False)]
        )
        if table not in tables:
            if table != "events" or not kinds:
                continue
            mine &= pl.col("kind").cast(pl.String).is_in(list(kinds))
        kept = frame.filter(~mine)
        if kept.height < frame.height:
            left[name] = kept, frame.height - kept.height
    if not left:
        return 0
    meta = {**stored.meta, KEPT: fingerprint(stored)}
    with artifact.write(
        folder, kind=KIND, version=VERSION, config=stored.config, meta=meta
    ) as writer:
        for name in stored.files:
            if name in left:
                left[name][0].write_parquet(writer.path(name))
            else:
                shutil.copyfile(stored.path(name), writer.path(name))
    return sum(gone for _, gone in left.values())


def _copy(stored: Artifact, writer: Writer, name: str, index: int, named: re.Pattern[str]) -> int:
    source, target = stored.path(name), writer.path(name)
    if name == "user_ids.parquet":
        ids = pl.read_parquet(source, glob=False).get_column("id")
        word = pl.Series("id", [forgotten_word(index)[ids.dtype == pl.String]], dtype=ids.dtype)
        Vocabulary(pl.concat([ids.head(index), word, ids.slice(index + 1)])).save(target)
        return 0
    if name.endswith(".json"):
        told = _blanked(json.loads(source.read_text(encoding="utf-8")), named)
        target.write_text(json.dumps(told, indent=1), encoding="utf-8")
        return 0
    table = name.partition("/")[0]
    if table == "quarantine":
        frame = pl.read_parquet(source, glob=False)
        holds = pl.any_horizontal(
            pl.col(column).map_elements(lambda text: bool(named.search(text)), pl.Boolean)
            for column in ("value", "reason")
        ).fill_null(False)
        blank = [
            pl.when(holds).then(pl.lit(ERASED)).otherwise(pl.col(c)).alias(c)
            for c in ("value", "reason")
        ]
        frame.with_columns(blank).write_parquet(target)
        return 0
    if table not in TABLES or not name.endswith(".parquet"):
        shutil.copyfile(source, target)
        return 0
    frame = pl.read_parquet(source, glob=False)
    mine = [pl.col(column).eq_missing(index) for column in _USERS if column in frame.columns]
    left = frame.filter(~pl.any_horizontal(mine)) if mine else frame
    if left.height == frame.height:
        shutil.copyfile(source, target)
    else:
        left.write_parquet(target)
    return frame.height - left.height


def _blanked(value: Any, named: re.Pattern[str]) -> Any:
    """JSON-able data whose texts that name the user are blanked."""
    if isinstance(value, str):
        return ERASED if named.search(value) else value
    if isinstance(value, dict):
        return {key: _blanked(one, named) for key, one in value.items()}
    if isinstance(value, list):
        return [_blanked(one, named) for one in value]
    return value
