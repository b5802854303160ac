"""Objectives against torch's own cross-entropy, finite differences, and the limit of large samples."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from muma.config import parse
from muma.interest.objectives.full_softmax import (
    FullSoftmax,
    FullSoftmaxConfig,
    chunked_cross_entropy,
)
from muma.interest.objectives.multi_task import MultiTask, MultiTaskConfig
from muma.interest.objectives.objective import Targets, dead_rows
from muma.interest.objectives.sampled_softmax import SampledSoftmax, SampledSoftmaxConfig
from muma.interest.table import ItemTable

N, D, ITEMS = 23, 6, 30


def random(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def table_of(seed=2, items=ITEMS, width=D):
    table = ItemTable(width, items=items)
    with torch.no_grad():
        table.weight[2:] = random(items, width, seed=seed).float()
    return table


def targets_of(row_N, table, **changes):
    empty = {
        "row_N": row_N,
        "skipped_N": torch.zeros_like(row_N),
        "completion_N": torch.full(row_N.shape, torch.nan),
        "count_S": torch.arange(table.size, dtype=torch.float32),
    }
    return Targets(**{**empty, **changes})


def rows(n=N, seed=3):
    return torch.randint(8, ITEMS + 2, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cells", [1, 100, 10**6])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_full_softmax_is_cross_entropy(cells, smoothing):
    h, w = random(N, D).requires_grad_(), random(ITEMS + 2, D, seed=2).requires_grad_()
    dead = torch.zeros(ITEMS + 2, dtype=torch.bool)
    dead[[0, 1, 5]] = True
    found = chunked_cross_entropy(h, w, rows(), dead, smoothing=smoothing, scale=1.7, cells=cells)
    place = torch.cumsum(~dead, 0) - 1
    wanted = functional.cross_entropy(
        (1.7 * h @ w.T)[:, ~dead], place[rows()], label_smoothing=smoothing
    )
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(
        torch.autograd.grad(3 * found, (h, w)), torch.autograd.grad(3 * wanted, (h, w)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_full_softmax_passes_gradcheck():
    h, w = random(5, 3).requires_grad_(), random(9, 3, seed=2).requires_grad_()
    dead = torch.arange(9) < 2
    row = torch.tensor([2, 3, 8, 8, 4])
    assert torch.autograd.gradcheck(
        lambda h, w: chunked_cross_entropy(h, w, row, dead, smoothing=0.1, cells=20), (h, w)
    )


def test_full_softmax_survives_large_and_equal_scores():
    h, w = torch.full((2, 1), 300.0, requires_grad=True), torch.full((4, 1), 300.0)
    loss = chunked_cross_entropy(h, w, torch.tensor([2, 3]), torch.arange(4) < 2)
    assert loss.item() == pytest.approx(np.log(2), abs=1e-2)
    assert torch.isfinite(torch.autograd.grad(loss, h)[0]).all()


@pytest.mark.parametrize("n", [64, 4096])
def test_memory_does_not_grow_with_positions_times_items(n, monkeypatch):
    """No tensor of the pass, forward or backward, is larger than a chunk or the inputs."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    items, cells = 500, 10_000
    table = table_of(items=items)
    h_ND = random(n, D).float().requires_grad_()
    row_N = torch.arange(n) % items + 2
    with Watch():
        objective = FullSoftmax(FullSoftmaxConfig(cells=cells))
        objective(h_ND, table, targets_of(row_N, table))["loss"].backward()
    assert 0 < largest <= max(cells, n * D, table.weight.numel())


def test_evicted_items_have_no_chance_and_no_gradient():
    table, row_N = table_of(), rows()
    before = FullSoftmax()(random(N, D).float(), table, targets_of(row_N, table))["loss"]
    table.evict(np.array([4, 6]))
    assert dead_rows(table).nonzero().flatten().tolist() == [0, 1, 4, 6]
    loss = FullSoftmax()(random(N, D).float(), table, targets_of(row_N, table))["loss"]
    loss.backward()
    assert loss < before
    assert not table.weight.grad[[0, 1, 4, 6]].any()
    assert not SampledSoftmax().chance(table, torch.ones(table.size))[[0, 1, 4, 6]].any()


@pytest.mark.parametrize("popular", [0.0, 0.5])
def test_sampled_softmax_goes_to_the_full_one(popular):
    """The error of loss and gradient falls like one over the root of the sample, towards none."""
    table, row_N, h_ND = table_of(), rows(), random(N, D).float().requires_grad_()
    targets = targets_of(row_N, table)
    full = FullSoftmax()(h_ND, table, targets)["loss"]
    (wanted,) = torch.autograd.grad(full, h_ND)
    errors = []
    for negatives in (30, 30_000):
        objective = SampledSoftmax(SampledSoftmaxConfig(negatives=negatives, popular=popular))
        torch.manual_seed(5)
        drawn = [objective(h_ND, table, targets)["loss"] for _ in range(20)]
        (found,) = torch.autograd.grad(torch.stack(drawn).mean(), h_ND)
        mean = torch.stack(drawn).mean().item()
        errors.append((abs(mean - full.item()), (found - wanted).norm() / wanted.norm()))
    assert errors[1][0] < 5e-3
    assert errors[1][1] < 2e-2
    assert errors[1][1] < errors[0][1] / 5


def test_the_estimate_of_the_sum_is_unbiased():
    """Over draws, the mean of sum_m exp(z'_m) is the sum over all items but the target."""
    table, h_ND, row_N = table_of(), random(1, D).float(), torch.tensor([9])
    objective = SampledSoftmax(SampledSoftmaxConfig(negatives=5, popular=0.5))
    z_S = (h_ND @ table.weight.T)[0]
    others = torch.ones(table.size, dtype=torch.bool)
    others[[0, 1, 9]] = False
    torch.manual_seed(1)
    targets = targets_of(row_N, table)
    ratio = [
        (objective(h_ND, table, targets)["loss"].exp() - 1).item() * z_S[9].exp().item()
        for _ in range(4000)
    ]
    error = np.std(ratio) / np.sqrt(len(ratio))
    assert abs(np.mean(ratio) - z_S[others].exp().sum().item()) < 4 * error


def multi(**changes):
    torch.manual_seed(3)
    return MultiTask(parse(MultiTaskConfig, {"width": D, "hidden": 8, **changes}))


def test_heads_are_plain_binary_cross_entropies():
    table, row_N, h_ND = table_of(), rows(4), random(4, D).float()
    skipped_N, completion_N = (
        torch.tensor([0, 9, 0, 12]),
        torch.tensor([0.2, torch.nan, 0.9, torch.nan]),
    )
    objective = multi(click_weight=0.5, completion_weight=2.0)
    found = objective(
        h_ND, table, targets_of(row_N, table, skipped_N=skipped_N, completion_N=completion_N)
    )
    click_1, _ = objective.chances(h_ND[[1, 3]], table.weight[row_N[[1, 3]]])
    click_0, _ = objective.chances(h_ND[[1, 3]], table.weight[skipped_N[[1, 3]]])
    wanted = -(click_1.log().mean() + (1 - click_0).log().mean()) / 2
    torch.testing.assert_close(found["click"], wanted)
    _, watched = objective.chances(h_ND[[0, 2]], table.weight[row_N[[0, 2]]])
    label = completion_N[[0, 2]]
    wanted = -(label * watched.log() + (1 - label) * (1 - watched).log()).mean()
    torch.testing.assert_close(found["completion"], wanted)
    torch.testing.assert_close(
        found["loss"], found["next"] + 0.5 * found["click"] + 2.0 * found["completion"]
    )


def test_without_labels_the_heads_are_silent_but_differentiable():
    table, row_N = table_of(), rows()
    objective, h_ND = multi(), random(N, D).float().requires_grad_()
    found = objective(h_ND, table, targets_of(row_N, table))
    assert found["click"].item() == found["completion"].item() == 0.0
    torch.testing.assert_close(
        found["loss"], FullSoftmax()(h_ND, table, targets_of(row_N, table))["loss"]
    )
    found["loss"].backward()
    assert not any(p.grad.any() for p in objective.parameters())


def test_heads_learn_what_they_are_told():
    table, objective = table_of(), multi(next_weight=0.0)
    h_ND = random(200, D).float()
    row_N, skipped_N = torch.full((200,), 3), torch.full((200,), 4)
    completion_N = (h_ND[:, 0] > 0).float()
    targets = targets_of(row_N, table, skipped_N=skipped_N, completion_N=completion_N)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        objective(h_ND, table, targets)["loss"].backward()
        optimizer.step()
    click, completion = objective.chances(h_ND, table.weight[row_N])
    assert click.min() > 0.8
    assert objective.chances(h_ND, table.weight[skipped_N])[0].max() < 0.2
    assert ((completion > 0.5) == (completion_N > 0.5)).float().mean() > 0.95
