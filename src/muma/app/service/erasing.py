"""Stream and state of the running service as parts of an erasure: one at a time, and open again afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from muma.app.service.running import Running
from muma.app.streaming import state_folder
from muma.backends.lmdb_purge import purge
from muma.features.forget import OWN
from muma.serving.erasure.erasable import Residue, Subject
from muma.serving.erasure.parts import AGGREGATES, ErasableState, ErasableStream


class LiveStream(ErasableStream):
    """The event stream; the pump reads anew what was blanked."""

    def __init__(self, running: Running, *, kinds: Collection[str] | None = None) -> None:
        super().__init__(running.stream, kinds=kinds)
        self._running = running

    def find(self, user: str) -> int:
        """Dense index of a raw id, -1 for none."""
        with self._running.turns:
            return super().find(user)

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """See `ErasableStream.erase`."""
        with self._running.turns:
            try:
                return super().erase(subject)
            finally:
                self._running.pump.forget()


class LiveState(ErasableState):
    """The feature state; the pump is paused meanwhile, and answers do without it."""

    def __init__(
        self,
        running: Running,
        *,
        components: Collection[str] = OWN,
        residue: Sequence[Residue] = (AGGREGATES,),
    ) -> None:
        path = str(state_folder(running.config))
        super().__init__(
            running.paused, purge=lambda: purge(path), components=components, residue=residue
        )
        self._running = running

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """See `ErasableState.erase`."""
        with self._running.turns:
            try:
                return super().erase(subject)
            finally:
                self._running.resume()
