"""The first stage: a source becomes an event log in the run folder, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muma import __version__, artifact
from muma.app.config import EventsSection
from muma.config import build
from muma.errors import ArtifactError
from muma.events.cleaning.cleaning import Cleaning
from muma.events.event import EventLog, Source
from muma.events.ingest import ingest
from muma.events.log_folder import KIND, VERSION, open_log
from muma.events.sources.adapter import data_fingerprint


@dataclass(frozen=True)
class Ingested:
    """A log, its report, and whether it was there already."""

    log: EventLog
    report: dict[str, Any]
    folder: Path
    reused: bool


def prepare(
    section: EventsSection,
    folder: str | Path,
    *,
    now_us: int | None = None,
    again: bool = False,
    ids_from: str | Path | None = None,
) -> Ingested:
    """Ingest what the recipe names, unless `folder` holds just that already.

    Args:
        section: the recipe's section `events`.
        folder: where the log lives.
        now_us: the clock, UTC microseconds; events later than it are impossible.
        again: ingest even when the folder holds the same log.
        ids_from: an earlier log whose users and items keep their indices.
    """
    earlier = None if ids_from is None else open_log(ids_from)
    source: Source = build(section.source, where="events.source", methods=("batches", "files"))
    wanted = {
        "source": section.source.model_dump(mode="json"),
        "cleaning": section.cleaning.model_dump(mode="json"),
        "fail_above": section.fail_above,
        "data": data_fingerprint(source.files()),
        "ids_from": None if earlier is None else earlier.fingerprint,
        "muma": __version__,
    }
    reused = not again and _holds(folder, wanted)
    if not reused:
        ingest(
            source,
            folder,
            cleaning=Cleaning(section.cleaning, now_us=now_us),
            fail_above=section.fail_above,
            config=wanted,
            ids=None if earlier is None else (earlier.user_ids, earlier.item_ids),
        )
    stored = artifact.read(folder, kind=KIND, version=VERSION, verify=False)
    return Ingested(open_log(folder), dict(stored.meta), Path(folder), reused)


def _holds(folder: str | Path, wanted: dict[str, Any]) -> bool:
    if not artifact.exists(folder):
        return False
    try:
        return artifact.read(folder, kind=KIND, version=VERSION).config == wanted
    except ArtifactError:
        return False
