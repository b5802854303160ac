"""MovieLens: film ratings with titles, genres and free-text tags (Harper & Konstan, 2015).

Reads a GroupLens folder (`ratings.csv`, `movies.csv`, `tags.csv`, gzip or not) or a set of
`.inter` / `.item` files (tab-separated, typed header), loose or inside a wheel or zip file.
Ratings of one sitting share a second: equal times keep the file's order.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl

from muma.config import Config
from muma.errors import SourceError
from muma.events.formats.csv import read_csv
from muma.events.sources.adapter import Adapter, Table, found, numbered, whole


class MovieLensConfig(Config):
    """Where the data set lies.

    Attributes:
        path: folder of the data set, or a wheel or zip that contains one.
        name: base name of `.inter` files, such as `ml-100k`; None for the GroupLens layout.
        tags: also read free-text tags as events of kind `tag`.
    """

    path: str
    name: str | None = None
    tags: bool = True


class MovieLens(Adapter):
    """Reads ratings as `rating` events, and films as items."""

    def __init__(self, config: MovieLensConfig) -> None:
        self.config = config

    def files(self) -> list[str]:
        """The files, or the archive, that are read."""
        if self.config.name is None:
            names = ["ratings", "movies", *(["tags"] if self.config.tags else [])]
            return [str(self._csv(name)) for name in names]
        if Path(self.config.path).is_file():
            return [self.config.path]
        return [
            str(found(self.config.path, f"{self.config.name}{end}")) for end in (".inter", ".item")
        ]

    def tables(self) -> Iterator[Table]:
        """Ratings, tags, films."""
        yield from self._atomic() if self.config.name else self._grouplens()

    def _csv(self, name: str) -> Path:
        return found(self.config.path, f"{name}.csv", f"{name}.csv.gz")

    def _grouplens(self) -> Iterator[Table]:
        path = self._csv("ratings")
        rows, bad = whole(read_csv(path, ["userId", "movieId", "rating", "timestamp"]))
        yield Table("events", path, _ratings(rows, "userId", "movieId"), bad)
        if self.config.tags:
            path = self._csv("tags")
            rows, bad = whole(read_csv(path, ["userId", "movieId", "tag", "timestamp"]))
            tagged = rows.select(
                "row",
                *_event(pl.col("userId"), pl.col("movieId"), "tag"),
                pl.col("tag").alias("ctx_tag"),
            )
            yield Table("events", path, tagged, bad)
        path = self._csv("movies")
        rows, bad = whole(read_csv(path, ["movieId", "title", "genres"]))
        yield Table("items", path, _films(rows, "movieId", "title", "genres", "|"), bad)

    def _atomic(self) -> Iterator[Table]:
        inter = self._read(".inter")
        path = Path(self.config.path)
        yield Table("events", path, _ratings(inter, "user_id", "item_id"))
        items = self._read(".item")
        title = "movie_title" if "movie_title" in items.columns else "title"
        genres = "class" if "class" in items.columns else "genre"
        yield Table("items", path, _films(items, "item_id", title, genres, " "))

    def _read(self, end: str) -> pl.DataFrame:
        name = f"{self.config.name}{end}"
        path = Path(self.config.path)
        if path.is_file():
            data: BytesIO | Path = _unzipped(path, name)
        else:
            data = found(path, name)
        try:
            frame = pl.read_csv(data, separator="\t", infer_schema=False, quote_char=None)
        except pl.exceptions.PolarsError as error:
            raise SourceError(
                f"{name} is not tab-separated text: {error}", file=str(path)
            ) from None
        return numbered(frame.rename({c: c.split(":")[0] for c in frame.columns}))


def _unzipped(path: Path, name: str) -> BytesIO:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.rpartition("/")[2] == name]
            if not inside:
                raise SourceError(f"holds no {name}", file=str(path))
            return BytesIO(archive.read(inside[0]))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceError(f"is not a whole zip file: {error}", file=str(path)) from None


def _event(user: pl.Expr, item: pl.Expr, kind: str) -> list[pl.Expr]:
    seconds = pl.col("timestamp").cast(pl.Float64, strict=False)
    return [
        user.alias("user_id"),
        item.alias("item_id"),
        pl.lit("film").alias("domain"),
        pl.lit(kind).alias("kind"),
        (seconds * 1_000_000).cast(pl.Int64, strict=False).alias("timestamp"),
    ]


def _ratings(rows: pl.DataFrame, user: str, item: str) -> pl.DataFrame:
    return rows.select(
        "row", *_event(pl.col(user), pl.col(item), "rating"), pl.col("rating").alias("value")
    )


def _films(rows: pl.DataFrame, item: str, title: str, genres: str, separator: str) -> pl.DataFrame:
    split = pl.col(genres).str.split(separator)
    return rows.select(
        "row",
        pl.col(item).alias("item_id"),
        pl.lit("film").alias("domain"),
        pl.col(title).alias("title"),
        pl.when(pl.col(genres) != "(no genres listed)").then(split).alias("tags"),
        split.list.first().alias("category"),
    )
