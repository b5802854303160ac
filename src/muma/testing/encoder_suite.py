"""What every sequence encoder must do; subclass, give `make()`, and run with pytest.

class TestMine(SequenceEncoderSuite):
    def make(self) -> InterestNetwork:
        return InterestNetwork(NetworkConfig(width=8), ItemTable(8, items=ITEMS))

The encoder is tried in evaluation mode. Its table must have `ITEMS` items, and its state must keep at
least `LENGTH` events.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from muma.errors import DataError
from muma.interest.batch import FIRST_ROW, KINDS, UNKNOWN_ROW, Events
from muma.interest.network import InterestNetwork
from muma.rng import derive

ITEMS = 30
LENGTH = 12
TEN_YEARS = 10 * 365.25 * 86_400


def random_events(
    seed: int, counts: list[int], *, length: int = LENGTH, source_width: int = 0
) -> Events:
    """Histories of `counts` events, with unknown items, equal times and gaps of ten years."""
    rng = derive(seed, "events")
    shape = (len(counts), length)
    mask = np.arange(length) >= length - np.array(counts)[:, None]
    gap = rng.choice([0.0, 1.0, 60.0, 86_400.0, TEN_YEARS], shape) * rng.random(shape)
    gap = np.where(mask & (np.cumsum(mask, 1) > 1), gap, 0.0)
    dwell = np.where(rng.random(shape) < 0.5, rng.exponential(3.0, shape), -1.0)
    wait = np.append(gap[:, 1:], rng.random((shape[0], 1)) * TEN_YEARS, axis=1)
    events = Events(
        torch.from_numpy(rng.integers(UNKNOWN_ROW, FIRST_ROW + ITEMS, shape) * mask),
        torch.from_numpy(gap.astype(np.float32)),
        torch.from_numpy(rng.integers(0, KINDS, shape) * mask),
        torch.from_numpy(np.where(mask, dwell, -1.0).astype(np.float32)),
        torch.from_numpy(mask),
        wait_BL=torch.from_numpy((wait * mask).astype(np.float32)),
    )
    if not source_width:
        return events
    source = (rng.normal(size=(*shape, source_width)) * mask[..., None]).astype(np.float32)
    return replace(events, source_BLD=torch.from_numpy(source))


class SequenceEncoderSuite:
    """Contract of a sequence encoder."""

    def make(self) -> InterestNetwork:
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> InterestNetwork:
        return self.make().eval()

    @pytest.fixture
    def events(self, network: InterestNetwork) -> Events:
        return self.some(network, [LENGTH, 5, 1, LENGTH - 1])

    def some(self, network: InterestNetwork, counts: list[int], seed: int = 1) -> Events:
        """Random histories that this network can read."""
        return random_events(seed, counts, source_width=network.config.source_width)

    @pytest.mark.parametrize("moment", [0, 4, LENGTH - 2])
    def test_the_future_leaves_the_past_unchanged(
        self, network: InterestNetwork, moment: int
    ) -> None:
        events = self.some(network, [LENGTH] * 3)
        other = self.some(network, [LENGTH] * 3, seed=2)

        def spliced(one: Tensor, two: Tensor, end: int) -> Tensor:
            return torch.cat([one[:, :end], two[:, end:]], 1)

        mixed = {
            name: spliced(value, getattr(other, name), moment + 1)
            for name, value in vars(events).items()
            if value is not None
        }
        before, after = network(events), network(Events(**mixed))
        assert_close(before[:, : moment + 1], after[:, : moment + 1])
        assert (before[:, moment + 1 :] != after[:, moment + 1 :]).any()

    def test_the_past_matters(self, network: InterestNetwork) -> None:
        events = self.some(network, [LENGTH])
        row_BL = events.row_BL.clone()
        row_BL[:, -3] = FIRST_ROW + (row_BL[:, -3] + 1) % ITEMS
        changed = network(replace(events, row_BL=row_BL))
        assert (network(events)[:, -1] != changed[:, -1]).any()

    def test_more_padding_changes_nothing(self, network: InterestNetwork, events: Events) -> None:
        wider = self.some(network, [LENGTH, 5, 1, LENGTH - 1])
        padded = wider.map(lambda value: torch.cat([torch.zeros_like(value[:, :7]), value], 1))
        assert_close(network(padded)[:, 7:], network(events))
        assert_close(network.user(padded), network.user(events))

    def test_other_users_of_the_batch_change_nothing(
        self, network: InterestNetwork, events: Events
    ) -> None:
        whole = network(events)
        for user in range(len(events)):
            alone = network(events.map(lambda value, user=user: value[user : user + 1]))
            assert_close(alone[0], whole[user])

    def test_padding_is_zeros(self, network: InterestNetwork, events: Events) -> None:
        found = network(events)
        assert found.shape[:2] == events.mask_BL.shape
        assert found.shape[-1] == network.config.width
        assert (found[~events.mask_BL] == 0).all()
        assert (found[:, -1] != 0).any()

    def test_user_is_the_newest_position(self, network: InterestNetwork, events: Events) -> None:
        assert_close(network.user(events), network(events)[:, -1])

    def test_steps_equal_the_whole(self, network: InterestNetwork) -> None:
        events = self.some(network, [LENGTH] * 3)
        assert events.wait_BL is not None
        whole, state = network(events), network.start(3)
        for place in range(LENGTH):
            one = events.map(lambda value, place=place: value[:, place : place + 1])
            _, state = network.step(one, state)
            stepped = network.user_of(state, events.wait_BL[:, place])
            assert_close(stepped, whole[:, place])

    def test_steps_of_users_with_unequal_histories(self, network: InterestNetwork) -> None:
        counts = [2, LENGTH]
        events = self.some(network, counts)
        assert events.wait_BL is not None
        parts = []
        for user, count in enumerate(counts):
            state = network.start(1)
            for place in range(LENGTH - count, LENGTH):
                at = (slice(user, user + 1), slice(place, place + 1))
                state = network.step(events.map(lambda value, at=at: value[at]), state)[1]
            parts.append(state)
        both = type(parts[0])(*(
            torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])
        ))  # fmt: skip
        found = network.user_of(both, events.wait_BL[:, -1])
        assert_close(found, network.user(events))

    def test_no_history_is_zeros(self, network: InterestNetwork) -> None:
        events = self.some(network, [0, 3])
        alone = events.map(lambda value: value[:1])
        assert (network.user(events)[0] == 0).all()
        assert (network.user(events)[1] != 0).any()
        assert (network(alone) == 0).all()
        assert (network.user_of(network.start(2), torch.zeros(2)) == 0).all()
        nobody = events.map(lambda value: value[:0])
        assert network(nobody).shape[:2] == (0, LENGTH)
        assert len(network.user(nobody)) == 0

    def test_unknown_items_share_a_row(self, network: InterestNetwork) -> None:
        events = self.some(network, [4])
        unknown = replace(
            events, row_BL=torch.full_like(events.row_BL, UNKNOWN_ROW) * events.mask_BL
        )
        found = network.user(unknown)
        assert torch.isfinite(found).all()
        assert (found != network.user(events)).any()

    @pytest.mark.parametrize("gap", [0.0, TEN_YEARS])
    def test_gaps_of_nothing_and_of_ten_years(self, network: InterestNetwork, gap: float) -> None:
        events = self.some(network, [LENGTH, 3])
        later_BL = events.mask_BL & (events.mask_BL.cumsum(1) > 1)
        events = replace(events, gap_BL=later_BL * gap)
        network.train()
        found = network(events)
        assert torch.isfinite(found).all()
        (found**2).sum().backward()
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name

    def test_every_weight_learns(self, network: InterestNetwork, events: Events) -> None:
        found = network(events)
        (found * torch.from_numpy(derive(3, "g").normal(size=found.shape))).sum().backward()
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name
            assert (weight.grad != 0).any(), name

    def test_a_longer_history_is_cut_to_its_newest_events(self, network: InterestNetwork) -> None:
        length = network.config.max_length
        sources = network.config.source_width
        longer = random_events(5, [length + 4], length=length + 4, source_width=sources)
        cut = longer.map(lambda value: value[:, 4:])
        gap_BL = cut.gap_BL.clone()
        gap_BL[:, 0] = 0.0
        cut = replace(cut, gap_BL=gap_BL)
        assert_close(network.user(longer), network.user(cut))
        assert_close(network(longer)[:, 4:], network(cut))
        assert (network(longer)[:, :4] == 0).all()

    @pytest.mark.parametrize("name", ["gap_BL", "dwell_BL", "source_BLD", "wait_BL"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_not_finite_is_named(
        self, network: InterestNetwork, events: Events, name: str, value: float
    ) -> None:
        if getattr(events, name) is None:
            events = replace(events, source_BLD=torch.zeros(*events.mask_BL.shape, 3))
        poisoned = getattr(events, name).clone()
        poisoned[0, -1] = value
        with pytest.raises(DataError, match=name):
            network(replace(events, **{name: poisoned}))
        with pytest.raises(DataError, match=name):
            network.user(replace(events, **{name: poisoned}))

    def test_disorder_is_an_error(self, network: InterestNetwork, events: Events) -> None:
        with pytest.raises(DataError, match="before padding"):
            network(events.map(lambda value: value.flip(1)))
        with pytest.raises(DataError, match="negative"):
            network(replace(events, gap_BL=events.gap_BL - 1.0))
        with pytest.raises(DataError, match="kind_BL"):
            network(replace(events, kind_BL=events.kind_BL + KINDS))
        with pytest.raises(DataError, match="grow"):
            network(replace(events, row_BL=events.row_BL + FIRST_ROW + ITEMS))
        with pytest.raises(DataError, match="shape"):
            network(replace(events, gap_BL=events.gap_BL[:, 1:]))
        with pytest.raises(DataError, match="one event a user"):
            network.step(events, network.start(len(events)))

    def test_evaluation_repeats_itself(self, network: InterestNetwork, events: Events) -> None:
        assert torch.equal(network(events), network(events))


def assert_close(one: Tensor, two: Tensor) -> None:
    """Fail unless both are equal but for the rounding of float32."""
    torch.testing.assert_close(one, two, rtol=1e-5, atol=2e-6)
