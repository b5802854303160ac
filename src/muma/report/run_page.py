"""A run on one page: an HTML file with its tables and pictures inside, legible without a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from muma.errors import DataError


@dataclass(frozen=True)
class PageTable:
    """Rows under a heading; numbers stand right, the first column left.

    Attributes:
        head: names of the columns.
        rows: cells as text, as many as the head has.
        text: columns of sentences, which may wrap.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows, for those who cannot see it as well."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        heading: its name.
        notes: sentences before the tables.
        tables: one below the other.
        pictures: after the tables.
        links: (text, relative address) of other files of the run.
    """

    heading: str
    notes: Sequence[str] = ()
    tables: Sequence[PageTable] = ()
    pictures: Sequence[Picture] = ()
    links: Sequence[tuple[str, str]] = ()


def write_run_page(title: str, sections: Sequence[Section], path: str | Path) -> None:
    """Write the page; what comes from outside is escaped, pictures are embedded.

    Args:
        title: heading.
        sections: in order; those that hold nothing are left out.
        path: where the HTML file goes.

    Raises:
        DataError: a row has not as many cells as its head.
        OSError: a picture cannot be read.
    """
    body = "\n".join(_section(one) for one in sections if _holds(one))
    templates = files("muma.report") / "templates"
    parts = {
        "title": html.escape(title),
        "style": (templates / "run.css").read_text(encoding="utf-8"),
        "body": body,
    }
    pieces = (templates / "run.html").read_text(encoding="utf-8").split("%%")
    text = "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))
    Path(path).write_text(text, encoding="utf-8")


def _holds(section: Section) -> bool:
    return bool(section.notes or section.tables or section.pictures or section.links)


def _section(section: Section) -> str:
    found = [f"<section>\n<h2>{html.escape(section.heading)}</h2>"]
    found += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
    found += [_table(table) for table in section.tables]
    found += [_picture(picture) for picture in section.pictures]
    found += [
        f'<p><a href="{html.escape(where, quote=True)}">{html.escape(text)}</a></p>'
        for text, where in section.links
    ]
    return "\n".join([*found, "</section>"])


def _table(table: PageTable) -> str:
    if bad := [row for row in table.rows if len(row) != len(table.head)]:
        raise DataError(f"a row has {len(bad[0])} cells, its table has {len(table.head)} columns")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.head)
    rows, wraps = [], ' class="text"'
    for row in table.rows:
        cells = [
            f"<td{wraps if name in table.text else ''}>{html.escape(cell)}</td>"
            for name, cell in zip(table.head, row, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
