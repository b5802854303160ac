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
    """The event stream as it is open now: a pause opens it anew."""

    def __init__(self, running: Running, *, kinds: Collection[str] | None = None) -> None:
        super().__init__(running.opened.stream, kinds=kinds)
        self._running = running

    def find(self, user: str) -> int:
        """Dense index of a raw id, -1 for none."""
        with self._running.turns:
            self._stream = self._running.opened.stream
            return super().find(user)

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """See `ErasableStream.erase`."""
        with self._running.turns:
            self._stream = self._running.opened.stream
            return super().erase(subject)


class LiveState(ErasableState):
    """The feature state; the service is paused meanwhile."""

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
