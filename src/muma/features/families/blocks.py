"""What most families share: a block of keys x filters x windows, expanded to features."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from pydantic import Field, field_validator

from muma.config import Config
from muma.errors import ConfigError
from muma.features.keys import KeyKind
from muma.features.window import Window, parse_window


class BlockConfig(Config):
    """Every combination of the three lists is a feature.

    Attributes:
        keys: kinds of key, such as `"user"` or `"user x category"`.
        of: names of filters: a kind of event, `"any"`, or one of the recipe's own.
        windows: windows as text, such as `"1h/5m"`, `"all"` or `"decay/7d"`.
    """

    keys: tuple[str, ...] = Field(min_length=1)
    of: tuple[str, ...] = Field(default=("any",), min_length=1)
    windows: tuple[str, ...] = Field(default=("1d/1h",), min_length=1)

    @field_validator("keys")
    @classmethod
    def _keys_exist(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(keys, KeyKind.parse)

    @field_validator("windows")
    @classmethod
    def _windows_exist(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(windows, parse_window)

    def combinations(self) -> Iterator[tuple[KeyKind, str, Window]]:
        """Key, filter and window of each feature, in the order of the columns."""
        for key, of, window in product(self.keys, self.of, self.windows):
            yield KeyKind.parse(key), of, parse_window(window)


def refuse(window: Window, kinds: tuple[type, ...], what: str) -> None:
    """Say that a window cannot be used.

    Raises:
        ConfigError: `window` is one of `kinds`.
    """
    if isinstance(window, kinds):
        raise ConfigError(f"{what} cannot be read over the window {window.label!r}")


def _checked(texts: tuple[str, ...], parse: object) -> tuple[str, ...]:
    for text in texts:
        try:
            parse(text)  # pyright: ignore[reportCallIssue]
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return texts
