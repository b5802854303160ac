"""The language of terms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import ConfigError, DataError
from muma.evaluation.causal.specification import basis, column, quoted
from muma.evaluation.causal.study import study_of
from muma.rng import derive

AGE, PAY, ODD = np.array([20.0, 30, 40, 50]), np.array([0.0, 0, 5, 7]), np.array([-1.0, 2, -3, 4])
STUDY = study_of(np.array([0, 1, 0, 1]), np.stack([AGE, PAY, ODD], 1), ["age", "pay", "a:b^2"])


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("age", AGE),
        (" age ^ 2".replace(" ", ""), AGE**2),
        ("age^3", AGE**3),
        ("pay=0", PAY == 0),
        ("pay=7.0", PAY == 7),
        ("pay=7.", PAY == 7),
        ("pay=.7e1", PAY == 7),
        ("log(age)", np.log(AGE)),
        ("log1p(pay)", np.log1p(PAY)),
        ("sqrt(pay)", np.sqrt(PAY)),
        ("log1p(pay)^2", np.log1p(PAY) ** 2),
        ("age:pay", AGE * PAY),
        ("age:pay=0", AGE * (PAY == 0)),
        ("age^2:log1p(pay):pay=5", AGE**2 * np.log1p(PAY) * (PAY == 5)),
        ("`a:b^2`", ODD),
        ("`a:b^2`^2:age", ODD**2 * AGE),
        ("`a:b^2`=-3", ODD == -3),
    ],
)
def test_terms_mean_what_they_say(term, value):
    np.testing.assert_allclose(column(STUDY, term), value, rtol=1e-15)


@pytest.mark.parametrize(
    ("term", "error", "said"),
    [
        ("agee", ConfigError, "did you mean 'age'"),
        ("zzz", ConfigError, "there are: age"),
        ("", ConfigError, "cannot be read"),
        ("age:", ConfigError, "cannot be read"),
        ("pay=1.2.3", ConfigError, "no covariate 'pay=1.2.3'"),
        ("pay=.", ConfigError, "no covariate"),
        ("exp(age)", ConfigError, "no covariate"),
        ("a:b^2", ConfigError, "no covariate 'a'"),
        ("log(pay)", DataError, "no value for 0 in row 0"),
        ("sqrt(`a:b^2`)", DataError, "no value for -1"),
        ("log1p(`a:b^2`)", DataError, "no value for -1"),
    ],
)
def test_wrong_terms_are_named(term, error, said):
    with pytest.raises(error, match=said):
        column(STUDY, term)


def test_an_empty_specification_is_refused():
    with pytest.raises(ConfigError, match="a term at least"):
        basis(STUDY, [])


def test_a_term_that_overflows_is_refused():
    study = study_of(np.array([0, 1]), np.array([[1e200], [1.0]]), ["big"])
    with pytest.raises(DataError, match="not finite"):
        column(study, "big^2")


@given(st.integers(0, 10_000))
def test_spanned_terms_are_dropped_and_no_others(seed):
    rng = derive(seed, "span")
    free = rng.normal(size=(30, 3)) * 10.0 ** rng.integers(-1, 2, 3)
    spanned = free @ rng.normal(size=(3, 1)) + 4
    constant = np.full((30, 1), 7.0)
    study = study_of(rng.permutation([0, 1] * 15), np.hstack([free, spanned, constant]),
                     ["a", "b", "c", "sum", "one"])  # fmt: skip
    found = basis(study, ["a", "b", "c", "sum", "one", "a"])
    assert found.terms == ("a", "b", "c")
    assert found.dropped == ("sum", "one")
    later = basis(study, ["sum", "a", "b", "c"])
    assert later.dropped == ("c",)


def test_more_terms_than_rows():
    study = study_of(np.array([0, 1, 0]), derive(1, "wide").normal(size=(3, 6)))
    assert len(basis(study, list(study.columns)).terms) == 2


@given(st.text(st.characters(codec="ascii", exclude_characters="`"), min_size=1).filter(str.strip))
def test_any_name_can_be_quoted(name):
    study = study_of(np.array([0, 1]), np.array([[3.0], [4.0]]), [name])
    np.testing.assert_array_equal(column(study, f"{quoted(name)}^2"), [9, 16])
