"""What every family of features must do: offline, online and by definition the same, bit for bit.

Subclass, name the blocks of a recipe, and run with pytest (needs hypothesis):

class TestMine(FeatureSuite):
    component = Mine
    blocks = {"mine": {"use": "mine.Mine", "keys": ["user"], "windows": ["1h/5m"]}}

    @staticmethod
    def formula(config, ask):
        window = parse_window("1h/5m")
        return {f"{key}.mine.1h": ask.total(key, window, "any") for key in config.keys}

Worlds are drawn around the lengths of time that the blocks name. The columns of a component without
a formula are only held against each other: what the online engine says against the offline one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muma.backends.state_memory import MemoryStore
from muma.config import build, parse
from muma.features.activity import components
from muma.features.catalogue import Catalogue
from muma.features.config import FeaturesConfig
from muma.features.feature import FeatureTable, Moment
from muma.features.followers import Followers
from muma.features.offline.as_of import as_of
from muma.features.online.engine import Engine, EngineConfig
from muma.features.online.reader import FeatureReader
from muma.features.plan import Plan
from muma.features.span import parse_span
from muma.features.store import StateStore
from muma.features.window import Decay, Gap
from muma.rng import derive
from muma.testing.arrivals import Feed, groups
from muma.testing.feature_formulas import FORMULAS, Formula
from muma.testing.feature_parity import assert_same_tables, expect, joined
from muma.testing.world_strategies import worlds
from muma.testing.worlds import ORIGIN, World, assemble, random_world, spans_of

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))]
CALM = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


class FeatureSuite:
    """Contract tests of a `Family` under both engines.

    Attributes:
        component: the class under test, for tests that look for untested families.
        blocks: `[features.blocks]` of a recipe.
        filters: `[features.filters]`.
        sequences: `[features.sequences]`.
        lateness: `features.lateness`.
        formula: `(config, ask) -> {column: value}`, the component's columns in plain Python; by
            default the one in `feature_formulas.py`, if it has one.
    """

    component: type | None = None
    blocks: Mapping[str, Mapping[str, Any]] = {}
    filters: Mapping[str, Mapping[str, Any]] = {}
    sequences: Mapping[str, Mapping[str, Any]] = {}
    lateness: str = "10m"
    formula: Formula | None = None

    def test_names_and_shapes_are_sound(self) -> None:
        plan = self._plan()
        assert len(set(plan.columns)) == len(plan.columns)
        assert all(name.isascii() and name and " " not in name for name in plan.columns)
        for _, family in self._families():
            features = family.features()
            assert len({(len(f.cells), len(f.columns)) for f in features}) == 1
            assert features == family.features(), "the same config must give the same features"

    def test_an_empty_state_has_values_or_nan(self) -> None:
        plan, rows = self._plan(), 3
        nothing = np.zeros((rows, plan.merged), np.int64)
        values = plan.values(nothing, np.ones((rows, len(plan.kinds)), bool), self._moment(rows))
        assert values.shape == (rows, len(plan.columns))
        assert values.dtype == np.float64
        assert not np.isinf(values).any()

    @pytest.mark.parametrize("seed", [1, 2])
    def test_the_batch_leaves_no_trace_in_values(self, seed: int) -> None:
        plan, rows, rng = self._plan(), 37, derive(seed, "values")
        merged = rng.integers(0, 200, size=(rows, plan.merged)) * rng.integers(0, 2, size=(rows, 1))
        present = np.ones((rows, len(plan.kinds)), bool)
        moment = self._moment(rows)
        whole = plan.values(merged.copy(), present, moment)
        reverse = plan.values(merged[::-1], present, _part(moment, slice(None, None, -1)))
        np.testing.assert_array_equal(whole, reverse[::-1])
        for row in range(rows):
            own = slice(row, row + 1)
            alone = plan.values(merged[own].copy(), present[own], _part(moment, own))
            np.testing.assert_array_equal(whole[own], alone)

    def test_without_its_key_a_feature_is_nan(self) -> None:
        plan = self._plan()
        first = 0
        for _, family in self._families():
            for feature in family.features():
                needs = bool(feature.keys or feature.cells)
                columns = slice(first, first := first + len(feature.columns))
                absent = np.zeros((2, len(plan.kinds)), bool)
                merged = np.ones((2, plan.merged), np.int64)
                values = plan.values(merged, absent, self._moment(2))[:, columns]
                assert np.isnan(values).all() or not needs

    @settings(CALM, max_examples=12)
    @given(data=st.data())
    def test_offline_is_what_the_definition_says(self, data: st.DataObject) -> None:
        self._try_offline(data.draw(worlds(self._spans())))

    @pytest.mark.slow
    @settings(CALM, max_examples=400)
    @given(data=st.data())
    def test_offline_in_many_worlds(self, data: st.DataObject) -> None:
        self._try_offline(data.draw(worlds(self._spans(), most_events=40)))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_offline_in_a_larger_world(self, seed: int) -> None:
        self._same(self._offline(self._world(seed)), self._expected(seed))

    @settings(CALM, max_examples=6)
    @given(data=st.data())
    def test_online_is_what_the_definition_says(self, data: st.DataObject) -> None:
        self._try_online(data.draw(worlds(self._spans())))

    @pytest.mark.slow
    @settings(CALM, max_examples=200)
    @given(data=st.data())
    def test_online_in_many_worlds(self, data: st.DataObject) -> None:
        self._try_online(data.draw(worlds(self._spans(), most_events=40)))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_online_in_order(self, seed: int) -> None:
        self._same(self._serve(self._world(seed), seed), self._expected(seed))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_online_late_and_sent_again(self, seed: int) -> None:
        found = self._serve(
            self._world(seed), seed, late=True, partitions=3, again=0.4, twice=0.4, together=0.5
        )
        self._same(found, self._expected(seed))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_online_late_over_the_whole_bound(self, seed: int) -> None:
        """Few looks, so that the order between them is as wild as it may be."""
        world = random_world(seed, self._spans(), events=120).moments(4)
        found = self._serve(world, seed, late=True, again=0.4, twice=0.4, forget=0.5)
        self._same(found, self._expect(world))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_online_however_late_but_for_sessions_and_decay(self, seed: int) -> None:
        world, log = self._world(seed).moments(3), derive(seed, "any order")
        feed = Feed.of(world.log, log)
        engine, found, before = self._engine(world, None), [], -(2**62)
        for at, places in groups(world.at_B):
            feed.send(engine, log.permutation(feed.rows(before, at)))
            before = at
            found.append(
                engine.table(world.user_B[places], world.item_B[places], world.at_B[places])
            )
        bound = {
            column
            for _, family in self._families()
            for feature in family.features()
            if any(isinstance(cell.window, (Decay, Gap)) for cell in feature.cells)
            for column in feature.columns
        }
        wanted = self._expect(world)
        columns = [name for name in wanted.columns if name not in bound]
        assert_same_tables(joined(found), wanted, columns=columns)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_one_user_with_many_items(self, seed: int) -> None:
        found = self._serve(self._world(seed), seed, by_user=True)
        self._same(found, self._expected(seed))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_what_was_committed_is_what_a_reader_sees(self, seed: int) -> None:
        store = MemoryStore()
        found = self._serve(self._world(seed), seed, late=True, store=store, read=True)
        self._same(found, self._expected(seed))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_reader_of_some_columns_reads_the_same(self, seed: int) -> None:
        world, store = self._world(seed), MemoryStore()
        engine = self._engine(world, store)
        feed = Feed.of(world.log, derive(seed, "serve"), horizon=parse_span("1h"))
        last = int(world.at_B.max())
        feed.send(engine, feed.rows(-(2**62), last))
        engine.commit()
        plan, catalogue = self._plan(), Catalogue.of(world.log)
        asked = (world.user_B, world.item_B, np.full(len(world.at_B), last))
        whole = FeatureReader(plan, store, catalogue).table(*asked)
        columns = plan.columns[::-2]
        names = [spec.name for spec, _, _ in plan.sequences]
        reader = FeatureReader(plan, store, catalogue, columns=columns, sequences=names)
        part = reader.table(*asked)
        assert part.columns == columns
        assert_same_tables(part, whole, columns=columns)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_resumes_from_its_last_commit(self, seed: int) -> None:
        world, store = self._world(seed).moments(12), MemoryStore()
        found = self._serve(
            world, seed, late=True, store=store, partitions=2, twice=0.3, crash=0.5, forget=0.5
        )
        self._same(found, self._expect(world))

    def test_nothing_happened(self) -> None:
        asked = [(0, 0, ORIGIN), (-1, 2, ORIGIN), (1, -1, ORIGIN + 7), (9, 99, ORIGIN + 7)]
        world = assemble([], [], [], [], asked)
        wanted = self._expect(world)
        self._same(self._offline(world), wanted)
        self._same(self._serve(world, 1), wanted)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_one_hot_key(self, seed: int) -> None:
        world = random_world(seed, self._spans(), events=150, hot=True).moments(10)
        wanted = self._expect(world)
        self._same(self._offline(world), wanted)
        self._same(self._serve(world, seed, late=True, again=0.3), wanted)

    @classmethod
    @cache
    def _config(cls) -> FeaturesConfig:
        whole = {
            "filters": cls.filters,
            "blocks": cls.blocks,
            "sequences": cls.sequences,
            "lateness": cls.lateness,
        }
        return parse(FeaturesConfig, whole)

    @classmethod
    @cache
    def _plan(cls) -> Plan:
        return Plan(cls._config())

    @classmethod
    @cache
    def _spans(cls) -> tuple[int, ...]:
        return spans_of(cls._config())

    @classmethod
    @cache
    def _world(cls, seed: int) -> World:
        return random_world(seed, cls._spans())

    @classmethod
    @cache
    def _expected(cls, seed: int) -> FeatureTable:
        return cls._expect(cls._world(seed))

    @classmethod
    def _expect(cls, world: World) -> FeatureTable:
        """By formula, and by the offline engine where there is none."""
        formulas = dict(FORMULAS)
        if cls.formula is not None and cls.component is not None:
            path = f"{cls.component.__module__}.{cls.component.__qualname__}"
            formulas[path] = cls.formula
        asked = (world.user_B, world.item_B, world.at_B)
        known = expect(cls._config(), world.log, *asked, formulas=formulas)
        if set(known.columns) == set(cls._plan().columns):
            return known
        whole = cls._offline(world)
        for place, name in enumerate(whole.columns):
            if name in known.columns:
                whole.values_BF[:, place] = known.column(name)
        return whole

    def _families(self) -> Iterator[tuple[str, Any]]:
        for name, spec in self._config().blocks.items():
            yield name, build(spec, where=name)

    def _moment(self, rows: int) -> Moment:
        at = ORIGIN + np.arange(rows, dtype=np.int64) * 7_777_777_777
        nobody = np.zeros(rows, np.int64)
        parts = components(self._plan(), Catalogue.empty(3), nobody, nobody)
        return Moment(at, np.where(np.arange(rows) % 2, at - 10**9, -1), parts)

    def _same(self, found: FeatureTable, wanted: FeatureTable) -> None:
        assert set(wanted.columns) == set(found.columns) == set(self._plan().columns)
        assert_same_tables(found, wanted)

    def _try_offline(self, world: World) -> None:
        self._same(self._offline(world), self._expect(world))

    def _try_online(self, world: World) -> None:
        wanted = self._expect(world)
        self._same(self._serve(world, 1, late=True, again=0.3, twice=0.3), wanted)

    @classmethod
    def _offline(cls, world: World) -> FeatureTable:
        rows = {"user_id": world.user_B, "item_id": world.item_B, "timestamp": world.at_B}
        return as_of(world.log, pl.DataFrame(rows), cls._plan())

    def _engine(self, world: World, store: StateStore | None) -> Engine:
        catalogue, followers = Catalogue.of(world.log), Followers.of(world.log)
        return Engine(self._plan(), catalogue=catalogue, followers=followers, store=store)

    def _serve(
        self,
        world: World,
        seed: int,
        *,
        late: bool = False,
        by_user: bool = False,
        store: StateStore | None = None,
        read: bool = False,
        crash: float = 0.0,
        forget: float = 0.0,
        **options: float,
    ) -> FeatureTable:
        """Apply what came before each moment, and look up the moment's requests."""
        rng = derive(seed, "serve")
        feed = Feed.of(world.log, rng, horizon=parse_span(EngineConfig().dedup_horizon), **options)
        lateness = self._plan().lateness if late else 0
        engine, found, before = self._engine(world, store), [], -(2**62)
        for at, places in groups(world.at_B):
            feed.send(engine, feed.rows(before, at, lateness=lateness))
            before = at
            if read or rng.random() < crash:
                engine.commit()
            if rng.random() < forget:
                engine.expire()
            if store is not None and rng.random() < crash:
                engine = self._engine(world, store)
                with store.snapshot() as view:
                    feed.replay(engine, view.offsets())
            users, items = world.user_B[places], world.item_B[places]
            if read:
                assert store is not None
                reader = FeatureReader(self._plan(), store, Catalogue.of(world.log))
                found.append(_each_user(reader.lookup, users, items, at))
            elif by_user:
                found.append(_each_user(engine.lookup, users, items, at))
            else:
                found.append(engine.table(users, items, world.at_B[places]))
        return joined(found)


def _each_user(
    lookup: Callable[[int, np.ndarray, int], FeatureTable],
    users: np.ndarray,
    items: np.ndarray,
    at: int,
) -> FeatureTable:
    """One lookup for each run of requests of one user."""
    cuts = [0, *(np.flatnonzero(np.diff(users)) + 1).tolist(), len(users)]
    return joined([lookup(int(users[a]), items[a:b], at) for a, b in pairwise(cuts)])


def _part(moment: Moment, rows: slice) -> Moment:
    parts = {name: values[rows] for name, values in moment.components.items()}
    return Moment(moment.at_B[rows], moment.published_B[rows], parts)
