"""A set of features, compiled: which integers each kind of key keeps (`kind_plan.py`), and how columns
read them.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from muma.config import build
from muma.errors import ConfigError
from muma.features.cells import CellReader, plain_cells, without_key
from muma.features.config import FeaturesConfig
from muma.features.feature import Cell, Family, Feature, Moment, Partial, SequenceSpec
from muma.features.keys import KeyKind
from muma.features.kind_plan import (
    ADD,
    ALL_TIME,
    BEST,
    BUCKET,
    DECAY,
    GAP,
    HLL,
    LIVE_EPOCHS,
    SEQUENCE,
    SLIDING,
    Column,
    KindPlan,
    Read,
    State,
    Write,
)  # fmt: skip
from muma.features.measure import IDS, Measure
from muma.features.span import parse_span
from muma.features.where import Where, filters
from muma.features.window import AllTime, Decay, Gap, Sliding, Window


@dataclass(frozen=True)
class _Block:
    """A family with the places of its cells: what `values` needs."""

    name: str
    family: Family
    features: tuple[Feature, ...]
    readers: tuple[CellReader, ...]  # per cell position
    plain: tuple[slice | None, ...]  # place of each among the plain cells, if it is one
    kinds: np.ndarray  # bool [F, K]: kinds of key a feature needs
    columns: slice


class Plan:
    """A compiled set of features.

    Attributes:
        config: what it was compiled from.
        filters: every filter by name.
        kinds: key kinds that keep state, each a `KindPlan`.
        writes, columns_: what is prepared of an event (`activity.py`).
        columns: names of the scalar columns, in order.
        sequences: the sequences, with the kind and the state that keep each.
        needed: bool [K], kinds of key that a column or a sequence reads.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config
        self.lateness = parse_span(config.lateness)
        self.ahead = parse_span(config.ahead)
        self.filters: dict[str, Where] = filters(config.filters)
        self.kinds: list[KindPlan] = []
        self.writes: list[Write] = []
        self.event_columns: list[Column] = []
        self.sequences: list[tuple[SequenceSpec, int, int]] = []
        self._blocks: list[_Block] = []
        self._plain_2W = np.empty((2, 0), dtype=np.int64)  # words and half-lives of sums and counts
        families = {
            name: build(spec, where=f"features.blocks.{name}", methods=("features", "values"))
            for name, spec in config.blocks.items()
        }
        declared = {name: tuple(family.features()) for name, family in families.items()}
        self._reads = self._keep(declared)
        self._keep_sequences()
        for kind in self.kinds:
            self._lay_out(kind)
        self.offsets = np.cumsum([0, *(kind.merged for kind in self.kinds)])
        names: list[str] = []
        for name, features in declared.items():
            self._blocks.append(self._block(name, families[name], features, len(names)))
            names += [column for feature in features for column in feature.columns]
        self.columns = tuple(names)
        self._taken: np.ndarray | None = (
            None  # columns of the blocks that are asked for; None is all
        )
        self.needed = self._needed()
        self._keys_FK = self._keys()
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise ConfigError(
                f"two features have the name {repeated[0]!r}; change a window or a block"
            )
        if not names and not self.sequences:
            raise ConfigError(
                "features: there is neither a block nor a sequence; name at least one"
            )

    @property
    def merged(self) -> int:
        """Words of merged integers per request, over all kinds of key."""
        return int(self.offsets[-1])

    @property
    def components(self) -> tuple[str, ...]:
        """Components of keys that events and requests must resolve."""
        return tuple(dict.fromkeys(part for kind in self.kinds for part in kind.key.components))

    @property
    def features(self) -> tuple[Feature, ...]:
        """Every feature, in the order of the columns."""
        return tuple(feature for block in self._blocks for feature in block.features)

    def kind(self, name: str) -> int:
        """Place of a kind of key in `kinds`."""
        return next(i for i, kind in enumerate(self.kinds) if kind.name == name)

    def select(self, columns: Sequence[str], sequences: Sequence[str] = ()) -> Plan:
        """A plan for reading only some columns of the same state.

        What is not read for them costs nothing: a ranker that uses 50 columns pays for 50.

        Args:
            columns: names, in the order wanted.
            sequences: names of the sequences wanted.

        Raises:
            ConfigError: an unknown or repeated name.
        """
        _known("columns", columns, self.columns)
        _known("sequences", sequences, [spec.name for spec, _, _ in self.sequences])
        part = copy.copy(self)
        part._narrow(tuple(columns), sequences)  # noqa: SLF001 - a copy of ours
        return part

    def _narrow(self, columns: tuple[str, ...], sequences: Sequence[str]) -> None:
        wanted = set(columns)
        whole, self._blocks, self._plain_2W = self._blocks, [], np.empty((2, 0), dtype=np.int64)
        names: list[str] = []
        for block in whole:
            features = tuple(f for f in block.features if not wanted.isdisjoint(f.columns))
            if features:
                self._blocks.append(self._block(block.name, block.family, features, len(names)))
                names += [column for feature in features for column in feature.columns]
        self.columns = columns
        self._taken = None
        if columns != tuple(names):
            place = {name: i for i, name in enumerate(names)}
            self._taken = np.array([place[name] for name in columns], dtype=np.int64)
        self.sequences = [entry for entry in self.sequences if entry[0].name in sequences]
        self.needed = self._needed()
        self._keys_FK = self._keys()
        cells = {cell for feature in self.features for cell in feature.cells}
        used = {id(self._reads[_signature(cell)][1]) for cell in cells}
        self.kinds = [_only(kind, used) for kind in self.kinds]

    def values(self, merged_BM: np.ndarray, present_BK: np.ndarray, moment: Moment) -> np.ndarray:
        """Turn merged integers into features.

        Args:
            merged_BM: int64, the kinds' merged words side by side (`offsets`).
            present_BK: bool, whether the request has a key of each kind.
            moment: the requests.

        Returns:
            float64 [B, F], NaN where there is no value.
        """
        width = self._blocks[-1].columns.stop if self._blocks else 0
        values_BF = np.empty((len(moment), width))
        plain_BW = plain_cells(
            merged_BM, moment.at_B, *self._plain_2W
        )  # in one go: calls cost most
        for block in self._blocks:
            cells = [
                reader.read(merged_BM, moment.at_B) if where is None else plain_BW[:, where]
                for reader, where in zip(block.readers, block.plain, strict=True)
            ]
            found = block.family.values(cells, moment)
            values_BF[:, block.columns] = found.reshape(len(moment), -1)
        if self._blocks and not present_BK.all():
            without_key(values_BF, present_BK, self._keys_FK)
        return values_BF if self._taken is None else values_BF[:, self._taken]

    def explain(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """(block, description of what it reads, columns) of every feature, for people."""
        found = []
        for block in self._blocks:
            for feature in block.features:
                reads = ", ".join(
                    f"{c.partial.op} {c.partial.measure.column} of {c.partial.where} by {c.key} over {c.window.label}"
                    for c in feature.cells
                )
                found.append((block.name, reads or "the moment", feature.columns))
        return found

    def _kind(self, name: str) -> KindPlan:
        key = KeyKind.parse(name)
        for kind in self.kinds:
            if kind.name == key.name:
                return kind
        self.kinds.append(KindPlan(key))
        return self.kinds[-1]

    def _write(self, where: str, needs: str) -> int:
        if where not in self.filters:
            raise ConfigError(
                f"unknown filter {where!r}; allowed: {', '.join(sorted(self.filters))}"
            )
        write = Write(where, needs)
        if write not in self.writes:
            self.writes.append(write)
        return self.writes.index(write)

    def _column(self, column: Column) -> int:
        if column not in self.event_columns:
            self.event_columns.append(column)
        return self.event_columns.index(column)

    def _state(self, kind: KindPlan, window: Window) -> State:
        """The state that keeps partials of `window`; rings grow to the longest length asked of them."""
        label = type(window).__name__
        if isinstance(window, Sliding):
            slots = window.panes + -(-self.ahead // window.pane)
            made = State(SLIDING, window.pane, slots, -1, -1, label)
        elif isinstance(window, Decay):
            if (LIVE_EPOCHS - 1) * window.half_life < self.lateness:
                raise ConfigError(
                    f"a half-life of {window.label} cannot take events {self.config.lateness} late; "
                    f"make it at least a third of features.lateness"
                )
            made = State(DECAY, window.half_life, LIVE_EPOCHS, -1, -1, label)
        elif isinstance(window, AllTime):
            horizon = -1 if window.horizon is None else window.horizon
            made = State(ALL_TIME, 0, 1, horizon, -1, label)
        else:
            slots = -(-self.lateness // window.gap) + 3
            member = self._write(window.member, "one")
            made = State(GAP, window.gap, slots, window.horizon, member, label)
        for state in kind.states:
            same = (state.kind, state.span, state.horizon, state.member)
            if same == (made.kind, made.span, made.horizon, made.member):
                state.slots = max(state.slots, made.slots)
                return state
        kind.states.append(made)
        return made

    def _keep(
        self, declared: Mapping[str, Sequence[Feature]]
    ) -> dict[tuple, tuple[KindPlan, Read]]:
        reads: dict[tuple, tuple[KindPlan, Read]] = {}
        for features in declared.values():
            for feature in features:
                for extra in feature.keys:
                    self._kind(extra)
                for cell in feature.cells:
                    kind = self._kind(cell.key)
                    signature = _signature(cell)
                    if signature in reads:
                        continue
                    _check(cell.window, cell.partial)
                    state = self._state(kind, cell.window)
                    if cell.partial not in state.partials:
                        state.partials.append(cell.partial)
                    window = cell.window
                    argument = window.panes if isinstance(window, Sliding) else 0
                    if isinstance(window, Gap):
                        argument = int(window.which == "closed")
                    read = Read(
                        kind.states.index(state),
                        state.partials.index(cell.partial),
                        argument,
                        kind.merged,
                        cell.partial.words,
                    )
                    kind.merged += cell.partial.words
                    kind.reads.append(read)
                    reads[signature] = (kind, read)
        return reads

    def _keep_sequences(self) -> None:
        for name, config in self.config.sequences.items():
            kind = self._kind(config.key)
            horizon = None if config.horizon is None else parse_span(config.horizon)
            spec = SequenceSpec(name, kind.name, config.of, config.length, horizon)
            member = self._write(config.of, "one")
            state = State(
                SEQUENCE, 0, config.length, -1 if horizon is None else horizon, member, name
            )
            kind.states.append(state)
            self.sequences.append((spec, self.kinds.index(kind), len(kind.states) - 1))

    def _lay_out(self, kind: KindPlan) -> None:
        parts: list[list[int]] = []
        signs: list[int] = []
        for state in kind.states:
            state.first_part, state.offset = len(parts), kind.width
            place = state.head
            for partial in state.partials:
                parts.append(self._part(partial, place))
                signs.append(-1 if partial.op == "min" else 1)
                place += partial.words
            state.stride = 3 if state.kind == SEQUENCE else place
            kind.width += state.words
        kind.state_table = np.array(
            [
                [s.kind, s.span, s.slots, s.offset, s.stride, s.first_part,
                 s.first_part + len(s.partials), s.horizon, s.member]
                for s in kind.states
            ],
            dtype=np.int64,
        ).reshape(-1, 9)  # fmt: skip
        kind.part_table = np.array(parts, dtype=np.int64).reshape(-1, 6)
        kind.sign_table = np.array(signs, dtype=np.int64)
        kind.read_table = np.array(
            [
                [r.state, kind.states[r.state].first_part + r.part, r.argument, r.place, r.words]
                for r in kind.reads
            ],
            dtype=np.int64,
        ).reshape(-1, 5)

    def _part(self, partial: Partial, place: int) -> list[int]:
        measure = partial.measure
        needs = measure.column
        op = {"add": ADD, "count": ADD, "min": BEST, "max": BEST, "hll": HLL, "bucket": BUCKET}
        bound = 0
        if partial.op == "count":
            measure = Measure("one")
        elif partial.op == "max":
            bound = measure.low - 1
        elif partial.op == "min":
            bound = measure.high + 1
        column = self._column(Column(measure, hashed=partial.op == "hll"))
        write = self._write(partial.where, needs)
        return [op[partial.op], write, column, partial.words, place, bound]

    def _needed(self) -> np.ndarray:
        needed = np.zeros(len(self.kinds), dtype=bool)
        for block in self._blocks:
            needed |= block.kinds.any(axis=0)
        needed[[place for _, place, _ in self.sequences]] = True
        return needed

    def _keys(self) -> np.ndarray:
        """Kinds of key that each column of the blocks needs, bool [F, K]."""
        none = np.zeros((0, len(self.kinds)), dtype=bool)
        return np.concatenate(
            [none, *(np.repeat(b.kinds, len(b.features[0].columns), axis=0) for b in self._blocks)]
        )

    def _block(
        self,
        name: str,
        family: Family,
        features: tuple[Feature, ...],
        first: int,
    ) -> _Block:
        shapes = {(len(f.cells), len(f.columns)) for f in features}
        if len(shapes) != 1:
            raise ConfigError(f"features.blocks.{name}: features of one block must have one shape")
        readers, plain = [], []
        for position in range(len(features[0].cells)):
            cells = [feature.cells[position] for feature in features]
            found = [self._reads[_signature(cell)] for cell in cells]
            places = [int(self.offsets[self.kinds.index(k)]) + read.place for k, read in found]
            reader = CellReader.of(places, [c.partial for c in cells], [c.window for c in cells])
            readers.append(reader)
            begin = self._plain_2W.shape[1]
            if reader.plain:
                both = np.stack([reader.words_F, reader.life_F])
                self._plain_2W = np.concatenate([self._plain_2W, both], axis=1)
            plain.append(slice(begin, begin + len(cells)) if reader.plain else None)
        needed = np.zeros((len(features), len(self.kinds)), dtype=bool)
        for row, feature in enumerate(features):
            for key in (*feature.keys, *(cell.key for cell in feature.cells)):
                needed[row, self.kind(KeyKind.parse(key).name)] = True
        width = sum(len(feature.columns) for feature in features)
        return _Block(
            name,
            family,
            features,
            tuple(readers),
            tuple(plain),
            needed,
            slice(first, first + width),
        )


def _signature(cell: Cell) -> tuple[str, Window, Partial]:
    """What tells reads apart."""
    return KeyKind.parse(cell.key).name, cell.window, cell.partial


def _only(kind: KindPlan, used: set[int]) -> KindPlan:
    """The same state with some of its reads."""
    keep = [place for place, read in enumerate(kind.reads) if id(read) in used]
    return replace(
        kind, reads=[kind.reads[place] for place in keep], read_table=kind.read_table[keep]
    )


def _known(what: str, asked: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise ConfigError(
            f"{what}: there is no {unknown[0]!r} among the {len(known)} of this plan; "
            f"'muma features RECIPE --list' prints them"
        )
    repeated = [name for name, times in Counter(asked).items() if times > 1]
    if repeated:
        raise ConfigError(f"{what}: {repeated[0]!r} is asked for twice")


def _check(window: Window, partial: Partial) -> None:
    """Refuse what a window cannot keep."""
    if partial.op in ("hll", "bucket") and partial.measure.column not in IDS:
        raise ConfigError(f"{partial.op} counts an id, not {partial.measure.column!r}")
    if partial.op not in ("hll", "bucket") and partial.measure.column in IDS:
        raise ConfigError(f"{partial.op} of the id {partial.measure.column!r} means nothing")
    if isinstance(window, Decay) and partial.op == "add" and partial.measure.low < 0:
        raise ConfigError(f"{partial.measure.column!r} can be negative and does not decay")
    if isinstance(window, Decay) and partial.op not in ("add", "count", "bucket"):
        raise ConfigError(f"{partial.op} does not decay; use sums and counts with {window.label!r}")
    if isinstance(window, Gap) and partial.op in ("hll", "bucket"):
        raise ConfigError(f"a session cannot keep a {partial.op}")
    timed = partial.op == "max" and partial.measure.column == "time"
    if isinstance(window, AllTime) and window.horizon is not None and not timed:
        raise ConfigError(
            f"window {window.label!r} forgets by the time of the last event: only a recency can use it"
        )
