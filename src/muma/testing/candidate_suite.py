"""What every candidate model must do; subclass, give `make()`, and run with pytest.

class TestMine(CandidateSuite):
    def make(self) -> CandidateModel:
        return Mine()
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from muma.artifact import read, write
from muma.candidates.candidate import CandidateModel, Candidates
from muma.candidates.live import History, Live
from muma.errors import ConfigError, DataError, NotFittedError
from muma.events.event import EventLog
from muma.events.interactions import interactions, seen
from muma.events.vocabulary import Vocabulary
from muma.interest.histories import histories
from muma.rng import derive
from muma.testing.logs import SECOND, log_of, random_log, tiny_log
from muma.topk import NO_ITEM

USERS = 30
ITEMS = 20


def models(package: ModuleType) -> list[type]:
    """Concrete classes with `fit`, `score` and `propose` that modules of `package` define."""
    found = []
    for module_info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(module_info.name)
        found += [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and value.__module__ == module.__name__
            and all(callable(getattr(value, name, None)) for name in ("fit", "score", "propose"))
            and not inspect.isabstract(value)
            and not getattr(value, "_is_protocol", False)
        ]
    return found


def distinct_log(label_I: np.ndarray) -> EventLog:
    """A log whose items all have different counts; item i is called `label_I[i]`."""
    rng = derive(5, "distinct_log")
    user = [rng.choice(40, size=2 * item + 3, replace=False) for item in range(len(label_I))]
    item = np.repeat(label_I, [len(users) for users in user])
    events = pl.DataFrame(
        {
            "user_id": np.concatenate(user),
            "item_id": item,
            "timestamp": rng.permutation(len(item)) * SECOND,
        }
    )
    return log_of(events, n_users=40, n_items=len(label_I))


class CandidateSuite:
    """Contract of `CandidateModel`."""

    live: float | None = 1e-5
    """Relative error allowed between a history in hand and the log's; None for models not `Live`."""

    def make(self) -> CandidateModel:
        raise NotImplementedError

    @pytest.fixture
    def log(self) -> EventLog:
        """The last user and the last item of the vocabularies never appear."""
        log = random_log(3, USERS - 1, ITEMS - 1, 300)
        users, items = (Vocabulary(pl.Series("id", range(n))) for n in (USERS, ITEMS))
        return replace(log, user_ids=users, item_ids=items)

    @pytest.fixture
    def model(self, log: EventLog) -> CandidateModel:
        return self.make().fit(log)

    def test_fit_returns_self_and_twice_gives_the_same(self, log: EventLog) -> None:
        model = self.make()
        assert model.fit(log) is model
        first = model.propose(np.arange(USERS), 10)
        assert_same(first, model.propose(np.arange(USERS), 10))
        assert_same(first, self.make().fit(log).propose(np.arange(USERS), 10))
        assert_same(first, model.fit(random_log(8)).fit(log).propose(np.arange(USERS), 10))

    def test_lists_are_ordered_without_duplicates_or_unknown_items(
        self, model: CandidateModel, log: EventLog
    ) -> None:
        fitted = np.flatnonzero(interactions(log).counts)
        found = model.propose(np.arange(USERS), ITEMS + 5)
        assert found.item_BN.shape == (USERS, ITEMS + 5)
        assert found.item_BN.dtype == np.int64
        order_BN = next(iter(found.scores.values()))
        for items, scores in zip(found.item_BN, order_BN, strict=True):
            real = items[items != NO_ITEM]
            assert sorted(real) == fitted.tolist()
            assert np.all(items[len(real) :] == NO_ITEM)
            assert np.all(np.diff(scores[: len(real)]) <= 0)
            assert np.all(np.isnan(scores[len(real) :]))
        assert model.name == next(iter(found.scores))

    def test_scores_agree_with_lists(self, model: CandidateModel, log: EventLog) -> None:
        score_BI = model.score(np.arange(USERS))
        assert score_BI.dtype == np.float32
        assert score_BI.shape == (USERS, ITEMS)
        never = interactions(log).counts == 0
        assert np.all(np.isneginf(score_BI[:, never]))
        assert np.all(np.isfinite(score_BI[:, ~never]))
        found = model.propose(np.arange(USERS), 5)
        listed_BN = np.take_along_axis(score_BI, found.item_BN, axis=1)
        np.testing.assert_array_equal(listed_BN, found.scores[model.name])

    def test_excluded_items_are_absent(self, model: CandidateModel, log: EventLog) -> None:
        user_B = np.arange(USERS)[::-1]
        found = model.propose(user_B, ITEMS, exclude=seen(log, user_B))
        for user, items in zip(user_B, found.item_BN, strict=True):
            taken = set(interactions(log).histories[user])
            assert not taken & set(items.tolist())
        everything = csr_array(np.ones((1, ITEMS), dtype=bool))
        assert np.all(model.propose(np.array([0]), 3, exclude=everything).item_BN == NO_ITEM)

    def test_false_cells_do_not_exclude(self, model: CandidateModel) -> None:
        nothing = csr_array(np.ones((1, ITEMS)))
        nothing.data[:] = 0
        assert_same(
            model.propose(np.array([0]), 3), model.propose(np.array([0]), 3, exclude=nothing)
        )

    def test_users_in_any_order_and_number(self, model: CandidateModel) -> None:
        whole = model.propose(np.arange(USERS), 4)
        asked = np.array([7, 3, 7])
        np.testing.assert_array_equal(model.propose(asked, 4).item_BN, whole.item_BN[asked])
        assert model.propose(np.array([], dtype=np.int64), 4).item_BN.shape == (0, 4)
        assert model.propose(np.arange(2), 0).item_BN.shape == (2, 0)

    def test_size_of_blocks_leaves_no_trace(
        self, model: CandidateModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = model.propose(np.arange(USERS), 6)
        for cells in (1, 3 * ITEMS, 7 * ITEMS):
            monkeypatch.setattr(model, "cells", cells, raising=False)
            assert_same(whole, model.propose(np.arange(USERS), 6))
        rows = [model.score(np.array([user]))[0] for user in range(USERS)]
        np.testing.assert_allclose(model.score(np.arange(USERS)), rows, rtol=1e-6)

    def test_cold_user_is_given_popular_items(self, model: CandidateModel, log: EventLog) -> None:
        count_I = interactions(log).counts
        items = model.propose(np.array([USERS - 1]), 3).item_BN[0]
        assert count_I[items].tolist() == sorted(count_I, reverse=True)[:3]

    def test_a_history_in_hand_scores_like_the_user_of_the_log(
        self, model: CandidateModel, log: EventLog
    ) -> None:
        if self.live is None:
            return
        assert isinstance(model, Live)
        taken, events = interactions(log), histories(log)
        for user in (0, 5, USERS - 1):
            mine = slice(taken.indptr[user], taken.indptr[user + 1])
            sequence = events.sequences(np.array([user]), 40)
            history = History(taken.item_E[mine], taken.weight_E[mine], sequence, SECOND)
            found_I, expected_I = model.score_history(history), model.score(np.array([user]))[0]
            assert found_I.dtype == np.float32
            np.testing.assert_allclose(found_I, expected_I, rtol=self.live, atol=self.live)

    @pytest.mark.parametrize("user", [-1, USERS, 10**12])
    def test_unknown_user_is_an_error(self, model: CandidateModel, user: int) -> None:
        with pytest.raises(DataError, match=str(user)):
            model.propose(np.array([0, user]), 3)
        with pytest.raises(DataError, match=str(user)):
            model.score(np.array([user]))

    def test_wrong_arguments_are_errors(self, model: CandidateModel) -> None:
        with pytest.raises(ConfigError, match="k is -1"):
            model.propose(np.array([0]), -1)
        with pytest.raises(DataError, match="exclude has shape"):
            model.propose(np.array([0]), 1, exclude=csr_array((2, ITEMS), dtype=bool))
        with pytest.raises(DataError, match="vector of integers"):
            model.score(np.array([0.5]))

    def test_not_fitted_is_an_error(self, tmp_path: Path) -> None:
        model = self.make()
        with pytest.raises(NotFittedError, match=model.name):
            model.score(np.array([0]))
        with pytest.raises(NotFittedError, match=model.name):
            model.propose(np.array([0]), 1)
        with (
            pytest.raises(NotFittedError, match=model.name),
            write(tmp_path / "m", kind="model", version=1) as writer,
        ):
            model.save(writer)

    def test_log_without_positives_is_an_error(self, log: EventLog) -> None:
        with pytest.raises(DataError, match="no positive interaction"):
            self.make().fit(log.where(pl.lit(value=False)))
        with pytest.raises(DataError, match="no positive interaction"):
            self.make().fit(tiny_log({}))

    def test_saved_and_loaded_gives_the_same(
        self, model: CandidateModel, log: EventLog, tmp_path: Path
    ) -> None:
        with write(tmp_path / "m", kind="model", version=1) as writer:
            model.save(writer)
        artifact = read(tmp_path / "m", kind="model", version=1)
        assert not [name for name in artifact.files if not name.endswith((".npz", ".json"))]
        again = type(model).load(artifact, log)
        assert again.name == model.name
        assert_same(model.propose(np.arange(USERS), 8), again.propose(np.arange(USERS), 8))

    def test_loaded_with_a_grown_vocabulary(
        self, model: CandidateModel, log: EventLog, tmp_path: Path
    ) -> None:
        with write(tmp_path / "m", kind="model", version=1) as writer:
            model.save(writer)
        artifact = read(tmp_path / "m", kind="model", version=1)
        users, items = (Vocabulary(pl.Series("id", range(n + 2))) for n in (USERS, ITEMS))
        grown = type(model).load(artifact, replace(log, user_ids=users, item_ids=items))
        found = grown.propose(np.arange(USERS + 2), 8)
        np.testing.assert_array_equal(
            found.item_BN[:USERS], model.propose(np.arange(USERS), 8).item_BN
        )
        np.testing.assert_array_equal(found.item_BN[USERS], found.item_BN[USERS - 1])
        assert grown.score(np.arange(2)).shape == (2, ITEMS + 2)
        with pytest.raises(DataError, match="items"):
            type(model).load(artifact, random_log(1, USERS, 3))

    def test_names_of_items_do_not_matter(self) -> None:
        label_I = derive(6, "labels").permutation(15)
        plain = self.make().fit(distinct_log(np.arange(15))).propose(np.arange(40), 15)
        named = self.make().fit(distinct_log(label_I)).propose(np.arange(40), 15)
        np.testing.assert_array_equal(label_I[plain.item_BN], named.item_BN)

    @pytest.mark.filterwarnings("error")
    def test_one_user_and_one_item(self, capfd: pytest.CaptureFixture[str]) -> None:
        found = self.make().fit(tiny_log({0: [0]})).propose(np.array([0]), 2)
        assert found.item_BN.tolist() == [[0, NO_ITEM]]
        assert capfd.readouterr() == ("", "")


def assert_same(one: Candidates, two: Candidates) -> None:
    """Fail unless both hold the same users, items and scores."""
    np.testing.assert_array_equal(one.user_B, two.user_B)
    np.testing.assert_array_equal(one.item_BN, two.item_BN)
    assert list(one.scores) == list(two.scores)
    for name, score_BN in one.scores.items():
        np.testing.assert_allclose(score_BN, two.scores[name], rtol=1e-6)
