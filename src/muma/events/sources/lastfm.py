"""Last.fm HetRec 2011: play counts, dated tags and friendships of the same users (Cantador et al.).

Listening has no time: each play count becomes one `play` event (value = plays) at the time of the
last believable tag, with `time_inferred` true. Tags are dated to the month, so they are
`time_inferred` too. Five tag rows carry years before the site existed; they go to the quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from muma.config import Config
from muma.events.event import Unreadable
from muma.events.formats.csv import read_csv
from muma.events.formats.piece import check_header, opened
from muma.events.sources.adapter import Adapter, Table, found, numbered, whole

FIRST_YEAR = 2002  # Last.fm went online


class LastFmConfig(Config):
    """Where the data set lies.

    Attributes:
        path: folder with the `.dat` files, gzip or not.
    """

    path: str


class LastFm(Adapter):
    """Reads listening, tags, artists and friendships."""

    def __init__(self, config: LastFmConfig) -> None:
        self.config = config

    def files(self) -> list[str]:
        """The files that are read."""
        names = ("user_artists", "user_taggedartists", "tags", "artists", "user_friends")
        return [str(self._dat(name)) for name in names]

    def tables(self) -> Iterator[Table]:
        """Listening, tags, artists, friendships."""
        tag_names, _ = _lenient(self._dat("tags"), ["tagID", "tagValue"])
        path = self._dat("user_taggedartists")
        tags, tag_bad = whole(
            read_csv(path, ["userID", "artistID", "tagID", "day", "month", "year"])
        )
        tagged, wrong = _tag_events(tags, tag_names)
        plays_path = self._dat("user_artists")
        plays, plays_bad = whole(read_csv(plays_path, ["userID", "artistID", "weight"]))
        listened = plays.select(
            "row",
            *_who("play"),
            pl.lit(tagged.get_column("timestamp").max(), pl.Int64).alias("timestamp"),
            pl.lit(True).alias("time_inferred"),
            pl.col("weight").alias("value"),
        )
        yield Table("events", plays_path, listened, plays_bad)
        yield Table("events", path, tagged, (*tag_bad, *wrong))
        artists_path = self._dat("artists")
        artists, _ = _lenient(artists_path, ["id", "name"])
        top = _top_tags(tags, tag_names)
        yield Table(
            "items",
            artists_path,
            artists.join(
                top, left_on="id", right_on="artistID", how="left", maintain_order="left"
            ).select(
                "row",
                pl.col("id").alias("item_id"),
                pl.lit("music").alias("domain"),
                pl.col("name").alias("title"),
                "tags",
                pl.col("tags").list.first().alias("category"),
            ),
        )
        friends_path = self._dat("user_friends")
        friends, bad = whole(read_csv(friends_path, ["userID", "friendID"]))
        edges = friends.select(
            "row",
            pl.col("userID").alias("src"),
            pl.col("friendID").alias("dst"),
            pl.lit("friend").alias("relation"),
        )
        yield Table("social", friends_path, edges, bad)

    def _dat(self, name: str) -> Path:
        return found(self.config.path, f"{name}.dat", f"{name}.dat.gz")


def _who(kind: str) -> list[pl.Expr]:
    return [
        pl.col("userID").alias("user_id"),
        pl.col("artistID").alias("item_id"),
        pl.lit("music").alias("domain"),
        pl.lit(kind).alias("kind"),
    ]


def _tag_events(
    tags: pl.DataFrame, names: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[Unreadable, ...]]:
    numbers = [pl.col(c).cast(pl.Int32, strict=False) for c in ("year", "month", "day")]
    when = pl.date(*numbers).cast(pl.Datetime("us"))
    events = tags.join(names, on="tagID", how="left", maintain_order="left").select(
        "row",
        *_who("tag"),
        when.dt.timestamp("us").alias("timestamp"),
        pl.lit(True).alias("time_inferred"),
        pl.col("tagValue").alias("ctx_tag"),
        pl.col("year").cast(pl.Int32, strict=False).alias("year"),
    )
    early = pl.col("year") < FIRST_YEAR
    wrong = tuple(
        Unreadable(row, "timestamp", str(year), "the site did not exist then")
        for row, year in events.filter(early).select("row", "year").iter_rows()
    )
    return events.filter(~early.fill_null(False)).drop("year"), wrong


def _top_tags(tags: pl.DataFrame, names: pl.DataFrame, *, most: int = 5) -> pl.DataFrame:
    counted = (
        tags.group_by("artistID", "tagID")
        .len()
        .sort("artistID", "len", "tagID", descending=[False, True, False])
    )
    named = counted.join(names, on="tagID", how="inner", maintain_order="left")
    return named.group_by("artistID", maintain_order=True).agg(
        pl.col("tagValue").head(most).alias("tags")
    )


def _lenient(path: Path, columns: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """Read a file that mixes UTF-8 and Latin-1, and quotes nothing, line by line."""
    with opened(path) as stream:
        lines = [_decoded(line.rstrip(b"\r\n")) for line in stream]
    header = lines[0].split("\t") if lines else []
    check_header(path, columns, header)
    at = [header.index(name) for name in columns]
    cells = [line.split("\t") for line in lines[1:]]
    frame = pl.DataFrame(
        {
            name: [row[i] if i < len(row) else None for row in cells]
            for name, i in zip(columns, at, strict=True)
        },
        schema=dict.fromkeys(columns, pl.String),
    )
    return numbered(frame), header


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
