"""The section `[features]` of a recipe: filters, blocks of features, sequences, and their bounds.

[features.filters]
evening = { kinds = ["click"], context = { ctx_tab = ["1"] } }

[features.blocks.activity]
use = "muma.features.families.count.Count"
keys = ["user", "item", "user x category"]
of = ["click", "evening"]
windows = ["1h/5m", "1d/1h", "7d/1d"]

[features.sequences.recent]
key = "user"
of = "click"
length = 50
"""

from __future__ import annotations

from pydantic import Field, field_validator

from muma.config import Config, Spec
from muma.features.keys import KeyKind
from muma.features.span import parse_span
from muma.features.where import Where


class SequenceConfig(Config):
    """A last-L sequence.

    Attributes:
        key: kind of key.
        of: filter.
        length: events kept.
        horizon: older events are left out, such as `"90d"`; None keeps them for ever.
    """

    key: str = "user"
    of: str = "any"
    length: int = Field(default=50, ge=1, le=10_000)
    horizon: str | None = None

    @field_validator("key")
    @classmethod
    def _key_exists(cls, key: str) -> str:
        return KeyKind.parse(key).name


class FeaturesConfig(Config):
    """What is known, and how late it may arrive.

    Attributes:
        filters: named filters beside the built-in ones (`any`, and one per kind of event).
        blocks: families of features by import path, each a block of columns.
        sequences: last-L sequences by name.
        lateness: sessions and decayed sums are exact for events that come at most this late; all
            other features are exact however late an event comes.
        ahead: an event this far in the future of its arrival is quarantined.
    """

    filters: dict[str, Where] = {}
    blocks: dict[str, Spec] = {}
    sequences: dict[str, SequenceConfig] = {}
    lateness: str = "10m"
    ahead: str = "1m"

    @field_validator("lateness", "ahead")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        parse_span(text)
        return text
