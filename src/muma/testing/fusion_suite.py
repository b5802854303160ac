"""What every fuser and every encoder must do; subclass, give `make()`, and run with pytest.

class TestMine(FusionSuite):
    def make(self, **changes) -> Fuser:
        return MyFuser(MyConfig(sources=SOURCES, width=WIDTH, **changes))
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from muma.errors import DataError, NotFittedError
from muma.events.event import EventLog
from muma.events.vocabulary import Vocabulary
from muma.fusion.encoder import Encoder
from muma.fusion.fuser import Fuser
from muma.fusion.layers import generator
from muma.testing.fusion_logs import media_log

BATCH, SOURCES, WIDTH, CONTEXT = 64, 4, 8, 3


Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class FusionSuite:
    """Contract of `Fuser`."""

    def make(self, **changes: object) -> Fuser:
        """A fuser of `SOURCES` sources and `WIDTH`, with `changes` to its config."""
        raise NotImplementedError

    @pytest.fixture(params=[0, CONTEXT], ids=["plain", "context"])
    def fuser(self, request: pytest.FixtureRequest) -> Fuser:
        return self.make(context=request.param).eval()

    @pytest.fixture
    def batch(self) -> Inputs:
        """Vectors, a mask whose first row is empty and last row full, and context."""
        rng = generator(3, "fusion_suite")
        z_BSD = torch.randn(BATCH, SOURCES, WIDTH, generator=rng)
        present_BS = torch.rand(BATCH, SOURCES, generator=rng) < 0.6
        present_BS[0], present_BS[-1] = False, True
        return z_BSD, present_BS, torch.randn(BATCH, CONTEXT, generator=rng)

    def test_weights_are_shares_of_the_present_sources(self, fuser: Fuser, batch: Inputs) -> None:
        fused = fuser(*batch)
        weight_BS, present_BS = fused.weight_NS, batch[1]
        assert fused.vector_ND.shape == (BATCH, WIDTH)
        assert bool((weight_BS >= 0).all())
        assert bool((weight_BS[~present_BS] == 0).all())
        some_B = present_BS.any(dim=1)
        torch.testing.assert_close(weight_BS.sum(dim=1), some_B.to(weight_BS.dtype))

    def test_missing_sources_cannot_change_a_bit(self, fuser: Fuser, batch: Inputs) -> None:
        z_BSD, present_BS, context_BC = batch
        before = fuser(z_BSD, present_BS, context_BC)
        for junk in (0.0, 1e6, float("nan"), float("inf")):
            other_BSD = torch.where(present_BS[..., None], z_BSD, junk)
            after = fuser(other_BSD, present_BS, context_BC)
            assert torch.equal(before.vector_ND, after.vector_ND)
            assert torch.equal(before.weight_NS, after.weight_NS)

    def test_present_sources_matter(self, fuser: Fuser, batch: Inputs) -> None:
        z_BSD, present_BS, context_BC = batch
        before = fuser(z_BSD, present_BS, context_BC).vector_ND
        for source in range(SOURCES):
            other_BSD = z_BSD.clone()
            other_BSD[:, source] += 1
            after = fuser(other_BSD, present_BS, context_BC).vector_ND
            changed_B = (before != after).any(dim=1)
            assert torch.equal(changed_B, present_BS[:, source])

    def test_rows_are_independent(self, fuser: Fuser, batch: Inputs) -> None:
        order = torch.randperm(BATCH, generator=generator(4))
        whole, mixed = fuser(*batch), fuser(*(part[order] for part in batch))
        torch.testing.assert_close(whole.vector_ND[order], mixed.vector_ND)
        torch.testing.assert_close(whole.weight_NS[order], mixed.weight_NS)
        for row in range(0, BATCH, 16):
            alone = fuser(*(part[row : row + 1] for part in batch))
            torch.testing.assert_close(whole.vector_ND[row : row + 1], alone.vector_ND)

    def test_a_row_without_sources_gets_the_learned_default(
        self, fuser: Fuser, batch: Inputs
    ) -> None:
        fused = fuser(*batch)
        assert torch.equal(fused.vector_ND[0], fuser.default_D)
        fused.vector_ND[0].sum().backward()
        grad_D = fuser.default_D.grad
        assert grad_D is not None
        assert torch.equal(grad_D, torch.ones(WIDTH))

    def test_gradients_are_finite_and_reach_every_parameter(
        self, fuser: Fuser, batch: Inputs
    ) -> None:
        z_BSD, present_BS, context_BC = batch
        z_BSD = torch.where(present_BS[..., None], z_BSD, float("nan")).requires_grad_()
        fuser(z_BSD, present_BS, context_BC).vector_ND.square().sum().backward()
        assert z_BSD.grad is not None
        assert bool((z_BSD.grad[~present_BS] == 0).all())
        for name, parameter in [("z", z_BSD), *fuser.named_parameters()]:
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            assert bool((parameter.grad != 0).any()), name

    def test_gradcheck(self, fuser: Fuser, batch: Inputs) -> None:
        z_BSD, present_BS, context_BC = (part[:5] for part in batch)
        fuser = fuser.double()
        z_BSD = z_BSD.double().requires_grad_()

        def both(z_BSD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            fused = fuser(z_BSD, present_BS, context_BC.double())
            if fused.weight_NS.requires_grad:
                return fused.vector_ND, fused.weight_NS
            return fused.vector_ND, fused.vector_ND

        assert torch.autograd.gradcheck(both, (z_BSD,))

    def test_dropout_hides_sources_in_training_but_never_all(self, batch: Inputs) -> None:
        fuser, rng = self.make(source_dropout=0.9).train(), generator(5)
        z_BSD, present_BS, _ = batch
        kept = torch.stack([fuser(z_BSD, present_BS, rng=rng).present_NS for _ in range(50)])
        assert not bool((kept & ~present_BS).any())
        assert torch.equal(kept.any(dim=2).all(dim=0), present_BS.any(dim=1))
        full = kept[:, -1].float()
        assert 0.15 < full.mean() < 0.4  # 0.1, and a quarter of the 0.9^4 in which one must stay
        assert bool((full.mean(dim=0) > 0).all())
        again = fuser(z_BSD, present_BS, rng=generator(6))
        assert torch.equal(again.vector_ND, fuser(z_BSD, present_BS, rng=generator(6)).vector_ND)
        assert torch.equal(fuser.eval()(z_BSD, present_BS).present_NS, present_BS)

    def test_equal_seeds_make_equal_fusers(self) -> None:
        one, two, other = self.make(), self.make(), self.make(seed=9)
        for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b), name
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)

    def test_wrong_shapes_are_errors(self, batch: Inputs) -> None:
        z_BSD, present_BS, context_BC = batch
        fuser = self.make(context=CONTEXT)
        with pytest.raises(DataError, match="source vectors have shape"):
            fuser(z_BSD[:, 1:], present_BS, context_BC)
        with pytest.raises(DataError, match="source vectors have shape"):
            fuser(z_BSD, present_BS[:, 1:], context_BC)
        with pytest.raises(DataError, match="context is None"):
            fuser(z_BSD, present_BS)


class EncoderSuite:
    """Contract of `Encoder`, on `media_log` or a log of your own."""

    n_present: int | None = None
    """Entities of `log` that have data, when it is known."""

    def make(self) -> Encoder:
        """A fresh encoder."""
        raise NotImplementedError

    @pytest.fixture
    def log(self) -> EventLog:
        return media_log()

    @pytest.fixture
    def encoder(self, log: EventLog) -> Encoder:
        return self.make().fit(log).eval()

    def size(self, encoder: Encoder, log: EventLog) -> int:
        return log.n_items if encoder.entity == "item" else log.n_users

    def test_unknown_entities_are_missing_and_zero(self, encoder: Encoder, log: EventLog) -> None:
        size = self.size(encoder, log)
        index_N = torch.tensor([-1, *range(size), size, 10**12])
        present_N, z_ND = encoder.present(index_N), encoder(index_N)
        assert z_ND.shape == (size + 3, encoder.width)
        assert present_N[[0, -3, -2, -1]].tolist() == [False] * 4  # the last entity has no data
        assert bool((z_ND[~present_N] == 0).all())
        assert bool(torch.isfinite(z_ND).all())
        assert bool((z_ND[present_N] != 0).any(dim=1).all())
        assert present_N.sum() == self.n_present or self.n_present is None
        assert encoder(index_N[:0]).shape == (0, encoder.width)

    def test_batch_order_and_company_do_not_matter(self, encoder: Encoder, log: EventLog) -> None:
        index_N = torch.arange(self.size(encoder, log))
        whole_ND = encoder(index_N)
        torch.testing.assert_close(encoder(index_N.flip(0)), whole_ND.flip(0))
        alone_ND = torch.cat([encoder(index_N[at : at + 1]) for at in range(len(index_N))])
        torch.testing.assert_close(alone_ND, whole_ND)

    def test_equal_seeds_and_logs_give_equal_vectors(self, encoder: Encoder, log: EventLog) -> None:
        index_N = torch.arange(self.size(encoder, log))
        assert torch.equal(self.make().fit(log)(index_N), encoder(index_N))

    def test_gradients_are_finite(self, encoder: Encoder, log: EventLog) -> None:
        encoder(torch.arange(self.size(encoder, log))).square().sum().backward()
        found = [p.grad for p in encoder.parameters() if p.grad is not None]
        assert found
        assert all(bool(torch.isfinite(grad).all()) for grad in found)

    def test_statistics_are_frozen(self, encoder: Encoder, log: EventLog) -> None:
        index_N = torch.arange(self.size(encoder, log))
        before_ND = encoder(index_N)
        state = {k: v.clone() for k, v in encoder.named_parameters()}
        encoder.update(media_log(2), keep=False)
        encoder.update(log, keep=False)
        assert torch.equal(encoder(index_N), before_ND)
        assert all(torch.equal(v, state[k]) for k, v in encoder.named_parameters())

    def test_new_entities_enter_and_old_ones_stay(self, encoder: Encoder, log: EventLog) -> None:
        size = self.size(encoder, log)
        index_N = torch.arange(size)
        present_N = encoder.present(index_N)
        users, items = (
            Vocabulary(pl.Series("id", np.arange(n + 20))) for n in (log.n_users, log.n_items)
        )
        later = moved(replace(log, user_ids=users, item_ids=items), by=1)
        encoder.update(later)
        assert bool(encoder.present(index_N[-1:])[0])
        assert bool(encoder(index_N[-1:]).any())
        assert bool(encoder.present(index_N)[present_N].all())
        assert not bool(encoder.present(index_N[-1:] + 1)[0])
        after_ND = encoder(index_N)
        encoder.update(later)
        assert torch.equal(encoder(index_N), after_ND)

    def test_not_fitted_is_an_error(self) -> None:
        encoder = self.make()
        with pytest.raises(NotFittedError, match=encoder.name):
            encoder(torch.tensor([0]))


def moved(log: EventLog, *, by: int) -> EventLog:
    """The log with every user and item index raised by `by`; the vocabularies must allow it."""
    shift = [pl.col(name) + by for name in ("user_id", "item_id")]
    return replace(
        log,
        events=log.events.with_columns(*shift),
        items=log.items.with_columns(shift[1]),
        users=log.users.with_columns(shift[0]),
        social=log.social.with_columns(pl.col("src") + by, pl.col("dst") + by),
        gaze=log.gaze.with_columns(*shift),
    )
