"""The growable item table: rows stay, capacity grows rarely, the optimiser goes on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import ConfigError, DataError
from muma.interest.table import ItemTable, carry_moments


def test_reserved_rows():
    table = ItemTable(4, items=3)
    assert (table.size, table.capacity, table.width) == (5, 5, 4)
    assert (table.weight[0] == 0).all()
    assert (table.weight[1:] != 0).all()
    row_BL = torch.tensor([[0, 1, 4]])
    assert torch.equal(table(row_BL)[0], table.weight[[0, 1, 4]])


def test_padding_never_learns():
    table = ItemTable(4, items=3)
    table(torch.tensor([[0, 0, 2]])).sum().backward()
    assert (table.weight.grad[0] == 0).all()
    assert (table.weight.grad[2] == 1).all()


def test_known_rows_keep_their_values_when_the_table_grows():
    table = ItemTable(4, items=3)
    before = table.weight.detach().clone()
    init_ND = np.arange(8.0).reshape(2, 4)
    assert table.grow(2, init_ND).tolist() == [5, 6]
    assert torch.equal(table.weight[:5], before)
    assert torch.equal(table.weight[5:7], torch.arange(8.0).view(2, 4))
    assert torch.equal(table.live(), table.weight[:7])


def test_capacity_grows_geometrically():
    table, changes = ItemTable(2, items=8), 0
    for _ in range(500):
        before = table.weight
        table.grow(1)
        changes += table.weight is not before
    assert table.size == 510
    assert changes <= 12
    assert table.capacity < 1.6 * table.size
    assert (table.weight[table.size :] == 0).all()


def test_rows_do_not_depend_on_how_the_table_grew():
    one, two = ItemTable(3, items=1), ItemTable(3, items=1)
    one.grow(4)
    for _ in range(4):
        two.grow(1)
    assert torch.equal(one.live(), two.live())
    assert len(np.unique(one.live().detach().numpy(), axis=0)) == 7


def test_evicted_rows_are_zeros_and_are_given_again():
    table = ItemTable(4, items=5)
    table.evict(np.array([3, 5]))
    assert table.free().tolist() == [3, 5]
    assert (table.weight[[3, 5]] == 0).all()
    assert table.grow(3).tolist() == [3, 5, 7]
    assert table.free().tolist() == []
    assert (table.weight[[3, 5, 7]] != 0).any(1).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=12))
def test_a_row_has_one_item_at_a_time(moves):
    table, owner, newcomer = ItemTable(2, items=2), {2: 0, 3: 1}, 2
    for grows, n in moves:
        if grows:
            init_ND = np.repeat(np.arange(newcomer, newcomer + n)[:, None] + 1.0, 2, axis=1)
            for row in table.grow(n, init_ND).tolist():
                assert row not in owner
                owner[row], newcomer = newcomer, newcomer + 1
        else:
            gone = sorted(owner)[:n]
            table.evict(np.array(gone, dtype=np.int64))
            for row in gone:
                del owner[row]
        assert set(owner) | set(table.free().tolist()) == set(range(2, table.size))
        for row, item in owner.items():
            if item >= 2:
                assert (table.weight[row] == item + 1.0).all()


def test_wrong_arguments():
    table = ItemTable(4, items=2)
    with pytest.raises(ConfigError):
        ItemTable(0)
    with pytest.raises(DataError, match="shape"):
        table.grow(2, np.zeros((2, 3)))
    with pytest.raises(DataError, match="finite"):
        table.grow(1, np.full((1, 4), np.nan))
    with pytest.raises(DataError, match="-1 rows"):
        table.grow(-1)
    for rows in ([0], [1], [4], [-1]):
        with pytest.raises(DataError, match="rows must lie"):
            table.evict(np.array(rows))
    with pytest.raises(DataError, match="twice"):
        table.evict(np.array([2, 2]))
    table.evict(np.array([2]))
    with pytest.raises(DataError, match="before"):
        table.evict(np.array([2]))
    with pytest.raises(DataError, match="grow it first"):
        table(torch.tensor([[4]]))
    assert table.grow(0).tolist() == []


def test_saved_and_loaded_with_another_size():
    table = ItemTable(3, items=2)
    table.grow(7)
    table.evict(np.array([4, 6]))
    again = ItemTable(3)
    again.load_state_dict(table.state_dict())
    assert torch.equal(again.weight, table.weight)
    assert (again.size, again.capacity) == (table.size, table.capacity)
    assert again.grow(3).tolist() == table.grow(3).tolist() == [4, 6, 11]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_training_goes_on_as_if_the_rows_had_been_there(kind):
    """A table that grows between steps ends where one of the final size does."""
    target = torch.from_numpy(np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32))

    def step(table, optimizer):
        optimizer.zero_grad()
        ((table.weight[2:6] - target[2:6]) ** 2).sum().backward()
        optimizer.step()

    grown, whole = ItemTable(3, items=4), ItemTable(3, items=4)
    whole.grow(3)
    optimizers = [kind([table.weight], lr=0.1) for table in (grown, whole)]
    for _ in range(3):
        step(grown, optimizers[0])
        step(whole, optimizers[1])
    old = grown.weight
    grown.grow(3)
    carry_moments(optimizers[0], old, grown.weight)
    for _ in range(3):
        step(grown, optimizers[0])
        step(whole, optimizers[1])
    torch.testing.assert_close(grown.weight[:6], whole.weight[:6], rtol=0, atol=0)


def test_moments_of_an_unknown_weight_are_refused():
    table = ItemTable(3, items=1)
    optimizer = torch.optim.Adam([table.weight])
    carry_moments(optimizer, table.weight, table.weight)
    other = torch.nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(DataError, match="does not hold"):
        carry_moments(optimizer, other, table.weight)
