"""One id found in the writer's index, as a whole column of them is."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.backends.growing_ids import _View
from muma.errors import UnknownIdError
from muma.events.vocabulary import Vocabulary

NUMBERS = pl.Series("id", [0, 7, -3, 2**62], dtype=pl.Int64)
WORDS = pl.Series("id", ["7", "a", "07", " 7", "é"], dtype=pl.String)
TEXT = st.one_of(
    st.sampled_from(
        ["7", "07", "+7", " 7", "7 ", "-3", "-03", "0", "-0", "1_0", "\u0667", "a", "é", ""]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.text(max_size=4),
)


def answer(find, text):
    try:
        return find(text)
    except UnknownIdError:
        return None


@pytest.mark.parametrize("ids", [NUMBERS, WORDS], ids=["numbers", "words"])
@given(text=TEXT)
def test_an_index_is_the_one_that_encode_finds(ids, text):
    shared = {value: place for place, value in enumerate([*ids.to_list(), "later", 99])}
    view, plain = _View(ids, shared), Vocabulary(ids)
    expected = answer(lambda one: int(plain.encode([one])[0]), text)
    assert answer(view.index, text) == answer(plain.index, text) == expected


def test_what_the_writer_added_later_is_not_known_here():
    view = _View(WORDS, {**{w: n for n, w in enumerate(WORDS.to_list())}, "later": 5})
    with pytest.raises(UnknownIdError, match="'later'"):
        view.index("later")
