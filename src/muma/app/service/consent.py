"""Consent over the running service: what may come in, what may be read, and what goes when it is withdrawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from muma.app.config import AppConfig
from muma.app.service.erasing import LiveState, LiveStream
from muma.app.service.running import Running
from muma.serving.consent.book import ConsentBook
from muma.serving.consent.consent import (
    SOURCES,
    Consent,
    Said,
    Source,
    applied,
    given,
    kinds_of,
    source_of,
)
from muma.serving.erasure.erasable import Erasable, Residue
from muma.serving.erasure.erasure import Erasure
from muma.serving.erasure.parts import ErasableLog, Left
from muma.serving.parts import Event, Refusal
from muma.serving.recommending import Ask

KEYS: dict[Source, str] = {"behaviour": "user", "social": "friends"}
TABLES: dict[Source, tuple[str, ...]] = {"behaviour": (), "social": ("social",), "gaze": ("gaze",)}
ANSWERS = Residue(
    "features in the evidence of answers given before",
    "the end of its retention, or the user's erasure",
)
MODELS = Residue("models that learned before", "the next training that takes their place")
COUNTED: dict[Source, Residue] = {
    "behaviour": Residue(
        "counts of items, categories and authors, and what followers saw", "the end of each window"
    ),
    "social": Residue(
        "counts of the user's own follows, mixed with other counts; they are not read",
        "the end of each window, or the user's erasure",
    ),
    "gaze": Residue(
        "sums of the user's own fixations, mixed with other counts; they are not read",
        "the end of each window, or the user's erasure",
    ),
}


class ConsentsHeld:
    """What users agreed to; see `muma.serving.consent.consent.Consents`.

    Args:
        config: the recipe.
        running: whose stream and state a withdrawal takes from.
        book: what was said.
        tenant: whose users.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        config: AppConfig,
        running: Running,
        book: ConsentBook,
        *,
        tenant: str,
        clock: Callable[[], int],
    ) -> None:
        self._defaults, self._book, self._tenant = config.serving.consent, book, tenant
        self._find = LiveStream(running).find
        self._withdrawals = {s: _withdrawal(s, config, running, clock) for s in SOURCES}

    def get(self, user: str) -> Consent:
        """What holds for a user."""
        return self._consent(self._book.get(user))

    def put(self, user: str, said: Mapping[str, bool | None]) -> Consent:
        """Change some sources; what was kept of those that are withdrawn is removed."""
        after = self._book.put(user, said)
        off = [s for s in SOURCES if s in said and not given(s, after.sources, self._defaults)]
        receipts: list[Mapping[str, object]] = []
        for source in off if self._find(user) >= 0 else ():
            done = self._withdrawals[source].erase(user, tenant=self._tenant)
            receipts.append({"source": source} | json.loads(done.to_json()))
        return self._consent(after, tuple(receipts))

    def finish(self) -> None:
        """Finish withdrawals that a kill has interrupted; to be called at every start."""
        for withdrawal in self._withdrawals.values():
            withdrawal.finish()

    def applied(self, ask: Ask) -> Ask:
        """A request with the sources that may be read of its user."""
        said = {} if ask.user is None else self._book.get(ask.user).sources
        return applied(ask, said, self._defaults)

    def refusals(self, events: Sequence[Event]) -> tuple[list[Refusal], Mapping[str, int]]:
        """Events that must not be kept, with the reason; and how many they are by source."""
        found, counts = [], Counter[str]()
        for place, event in enumerate(events):
            source = source_of(event.kind)
            said = self._book.get(event.user_id).sources
            if not given(source, said, self._defaults, event.consent):
                why = "it was refused" if source in said else "there is none"
                text = f"{source} needs the user's consent, and {why}; nothing of it was kept"
                found.append(Refusal(place, text))
                counts[source] += 1
        return found, counts

    def _consent(self, said: Said, receipts: tuple[Mapping[str, object], ...] = ()) -> Consent:
        holds = {s: given(s, said.sources, self._defaults) for s in SOURCES}
        return Consent(holds, said.sources, said.at, receipts)


def _withdrawal(
    source: Source, config: AppConfig, running: Running, clock: Callable[[], int]
) -> Erasure:
    """What is taken of a user when a source is withdrawn: events, rows of the log, keys of the state."""
    stream = LiveStream(running, kinds=kinds_of(source))
    parts: list[Erasable] = [
        stream,
        ErasableLog(config.folder / "log", tables=TABLES[source], kinds=kinds_of(source)),
    ]
    kept = {part for kind in running.world.plan.kinds for part in kind.key.components}
    if KEYS.get(source) in kept:
        parts.append(LiveState(running, components=(KEYS[source],), residue=()))
    parts.append(Left("others", COUNTED[source], ANSWERS, MODELS))
    folder = config.folder / "withdrawals" / source
    return Erasure(folder, parts, clock=clock, find=stream.find)
