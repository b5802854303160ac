"""A stream and its log number users alike, even when one of them has forgotten somebody."""

import polars as pl
import pytest

from muma.app.streaming import _same_ids
from muma.events.vocabulary import forgotten_word


@pytest.mark.parametrize("ids", [pl.Series([5, 6, 7]), pl.Series(["a", "b", "c"])])
def test_a_forgotten_id_agrees_with_any(ids):
    word = pl.Series([forgotten_word(1)[ids.dtype == pl.String]])
    cut = pl.concat([ids.head(1), word, ids.slice(2)])
    assert _same_ids(ids, ids)
    assert _same_ids(cut, ids)
    assert _same_ids(ids, cut)
    assert _same_ids(cut, cut)
    assert not _same_ids(cut, ids.reverse())
    assert not _same_ids(ids.head(2), ids)
    assert not _same_ids(ids.cast(pl.String), pl.Series([5, 6, 7]))
    assert not _same_ids(pl.concat([word, ids.slice(1)]), ids)  # not its own place
