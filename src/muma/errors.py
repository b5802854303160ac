"""Every error MUMA raises on purpose.

    MumaError
    ├── ConfigError        a recipe, a flag or a constructor argument is wrong
    ├── DataError          an input cannot be used
    │   ├── SourceError    a file cannot be read (carries file and row)
    │   └── SchemaError    a table lacks a column or holds the wrong type
    ├── UnknownIdError     a user or item that the vocabulary has never seen
    ├── NotFittedError     a model was asked before it was fitted
    ├── TrainingError      a training went wrong: a loss that is not finite, or explodes
    ├── ArtifactError      a saved folder is missing, damaged or of another format
    ├── StreamError        an event stream cannot be read or written
    │   └── RetryLater     too much is waiting; nothing was taken, send it again (carries seconds)
    ├── StoreError         a state store cannot be read or written
    ├── VersionConflictError  somebody else changed it since it was read
    ├── RefusedError       understood, and not done now; the message says why
    ├── ServiceError       a service answered with a problem, or not at all (carries status and kind)
    └── MissingExtraError  an optional library is not installed (names the extra)

A message says what was got, what is allowed and what to do next. The command line maps every
`MumaError` to exit code 2 without a traceback.
"""

from __future__ import annotations


class MumaError(Exception):
    """Base of every error raised on purpose; catch it to catch them all."""


class ConfigError(MumaError):
    """A recipe, a flag or a constructor argument is wrong."""


class DataError(MumaError):
    """An input cannot be used."""


class SourceError(DataError):
    """A file cannot be read.

    Args:
        message: what was got, what is allowed, what to do next.
        file: path of the file, when there is one.
        row: 1-based number of the offending record, when it is known.
    """

    def __init__(self, message: str, *, file: str | None = None, row: int | None = None) -> None:
        self.file = file
        self.row = row
        where = "" if file is None else (f"{file}: " if row is None else f"{file}, row {row}: ")
        super().__init__(where + message)


class SchemaError(DataError):
    """A table lacks a column or holds the wrong type."""


class UnknownIdError(MumaError):
    """A user or item that the vocabulary has never seen."""


class NotFittedError(MumaError):
    """A model was asked for scores before it was fitted."""


class TrainingError(MumaError):
    """A training cannot go on: its loss or a gradient is not finite, or its loss explodes.

    Args:
        message: what was seen and what to try.
        epoch: epoch under way, from 0.
        step: step of that epoch, from 0.
    """

    def __init__(self, message: str, *, epoch: int, step: int) -> None:
        self.epoch = epoch
        self.step = step
        super().__init__(message)


class ArtifactError(MumaError):
    """A saved folder is missing, damaged or of another format."""


class StreamError(MumaError):
    """An event stream cannot be read or written."""


class RetryLater(StreamError):  # noqa: N818 - an answer to the sender, not a fault
    """Too much is waiting; nothing of the request was taken.

    Args:
        message: what is full.
        after_s: seconds after which to send it again.
    """

    def __init__(self, message: str, *, after_s: float) -> None:
        self.after_s = after_s
        super().__init__(f"{message}; retry after {after_s:.2g} s")


class StoreError(MumaError):
    """A state store cannot be read or written."""


class VersionConflictError(MumaError):
    """Somebody else has changed it since it was read: read it again and repeat the change on that."""


class RefusedError(MumaError):
    """The wish is understood and will not be done now; the message says why."""


class ServiceError(MumaError):
    """A service answered with a problem, or not at all.

    Args:
        message: what the service said, or what became of the call.
        status: HTTP status; 0 when there was no answer.
        kind: kind of the problem, as the service names it; empty when there was no answer.
        request_id: as in the service's log.
        errors: everything that is wrong, when the service gave a list.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        kind: str = "",
        request_id: str = "",
        errors: tuple[str, ...] = (),
    ) -> None:
        self.status, self.kind, self.request_id, self.errors = status, kind, request_id, errors
        super().__init__(message)


class MissingExtraError(MumaError, ImportError):
    """An optional library is not installed; the message names the extra to install."""
