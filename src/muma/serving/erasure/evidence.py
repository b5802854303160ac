"""The evidence log as a part of erasure: decisions stay, the person goes.

Items, candidates, propensities and supports stay, so that the policy can still be judged; everything
that tells something of the person is blanked: the id, session, history, interest vector, context,
region and age, what was asked for and left out, scores, reasons and all features but those that the
caller names as the items' own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import zstandard

from muma.errors import StoreError
from muma.serving.erasure.erasable import Residue, Subject
from muma.serving.evidence.frames import (
    ERASED,
    NOBODY,
    ZSTD,
    Bytes,
    Frame,
    frames,
    packed,
    request_hash,
    user_hash,
)
from muma.serving.evidence.reader import unpacked
from muma.serving.evidence.record import encode
from muma.serving.evidence.segments import (
    BEGIN,
    Index,
    Place,
    held,
    housekeeping,
    listed,
    mapped,
    prologue,
    replace_file,
    seal,
    sealed,
    turn,
)
from muma.serving.evidence.store import EvidenceStore
from muma.serving.recommending import Answer, Ask, Evidence

SETTLE_S = 0.1  # for what other processes have not written yet


class ErasableEvidence:
    """The evidence log of a folder, of all processes that write it.

    Args:
        folder: of the log.
        log: of this process; it is flushed first. None when this process writes none.
        item_columns: features that say nothing of the person, and stay.
        name: of the part.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        log: EvidenceStore | None = None,
        item_columns: Collection[str] = (),
        name: str = "evidence",
    ) -> None:
        self.name = name
        self._folder = Path(folder)
        self._log = log
        self._item_columns = frozenset(item_columns)

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Blank the decisions of a person; see `Erasable.erase`.

        Raises:
            StoreError: a segment cannot be read or written; what was done before stays done.
        """
        if not self._folder.is_dir():
            return {"decisions": 0}
        if self._log is not None:
            self._log.flush()
        time.sleep(SETTLE_S)
        count = 0
        try:
            with held(housekeeping(self._folder)):
                for stale in self._folder.glob("*.evd.draft"):
                    stale.unlink()
                for place in listed(self._folder):
                    self._seal(place)
                    count += self._rewrite(place, subject)
        except OSError as error:
            raise StoreError(
                f"{self._folder}: decisions could not be erased ({error.strerror}); make room and "
                "finish the erasure"
            ) from error
        return {"decisions": count}

    def residue(self, subject: Subject) -> Sequence[Residue]:  # noqa: ARG002 - nothing is left
        """Nothing: a blanked decision says what was shown, and not to whom."""
        return ()

    def _seal(self, place: Place) -> None:
        with held(turn(self._folder, place.worker)):
            if not sealed(self._folder, place):
                seal(self._folder, place)

    def _rewrite(self, place: Place, subject: Subject) -> int:
        mine = user_hash(subject.tenant, subject.user)
        path = place.data(self._folder)
        with mapped(path) as raw:
            found = list(frames(raw, BEGIN))
            count = sum(frame.user == mine for frame in found)
            # bytes that are no frame may be a part of anything
            if not count and BEGIN + sum(f.end - f.at for f in found) == len(raw):
                if Index.load(self._folder, place) is None:  # an earlier run was killed before it
                    seal(self._folder, place)
                return 0
            generation = int.from_bytes(raw[12:16], "little") + 1
            pieces = [prologue(generation)]
            for frame in found:
                whole = raw[frame.at : frame.end]
                pieces.append(self._blanked(raw, frame, subject) if frame.user == mine else whole)
        replace_file(path, b"".join(pieces))
        seal(self._folder, place)
        return count

    def _blanked(self, raw: Bytes, frame: Frame, subject: Subject) -> bytes:
        evidence = blanked(unpacked(raw, frame), subject, self._item_columns)
        record = encode(evidence)
        if frame.codec == ZSTD:
            record = zstandard.ZstdCompressor(level=1).compress(record)
        return packed(
            record,
            codec=frame.codec,
            flags=frame.flags | ERASED,
            tenant=frame.tenant,
            time=frame.time,
            request=request_hash(evidence.ask.request_id),
            user=NOBODY,
        )


def blanked(
    evidence: Evidence, subject: Subject, item_columns: Collection[str] = frozenset()
) -> Evidence:
    """A decision without the person.

    The request's id stays, unless it holds the user's: then a hash of it takes its place.
    """
    ask, answer = evidence.ask, evidence.answer
    name = ask.request_id
    if subject.user and subject.user in name:
        name = f"erased-{request_hash(name):016x}"
    items = tuple(
        msgspec.structs.replace(item, score=float("nan"), probability={}, reason=None, groups={})
        for item in answer.items
    )
    value_NF = np.full_like(evidence.value_NF, np.nan)
    for place, column in enumerate(evidence.columns):
        if column in item_columns:
            value_NF[:, place] = evidence.value_NF[:, place]
    return replace(
        evidence,
        ask=Ask(name, ask.time, tenant=ask.tenant, count=ask.count, deadline_us=ask.deadline_us),
        answer=Answer(name, items, answer.degraded, answer.versions, -1, answer.stages_us),
        value_NF=value_NF,
        hits=tuple(replace(hit, items=()) for hit in evidence.hits),
        user_index=-1,
        vector_D=None,
        history_L=None,
    )
