"""What a propensity model is made of: terms over named covariates, in a small language.

    age             the covariate itself            log(re74)      natural logarithm, of positive values
    age^2           a whole power                   log1p(re74)    log(1 + x), of values above -1
    re74=0          1 where it equals the number    sqrt(re74)     root, of values of 0 and more
    age:education   a product of any of these       `odd:name`     backticks around an unusual name

Shape: N units, F covariates, P terms.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from muma.errors import ConfigError, DataError
from muma.evaluation.causal.study import Study

_FACTOR = re.compile(
    r"(?:(?P<function>log1p|log|sqrt)\((?P<inside>.+)\)|(?P<name>.+?))"
    r"(?:\^(?P<power>[1-9])|=(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^:^=()`]+")
_SPANNED = 1e-9  # a term whose own part is smaller, relative to the largest, is spanned by others


@dataclass(frozen=True)
class Basis:
    """The terms worked out.

    Attributes:
        value_NP: float64 [N, P], without a constant column.
        terms: P terms, in order.
        dropped: terms left out, because the constant and earlier terms already span them.
    """

    value_NP: np.ndarray
    terms: tuple[str, ...]
    dropped: tuple[str, ...] = ()


def basis(study: Study, terms: Sequence[str]) -> Basis:
    """Work out the terms; those that the constant and earlier ones span are left out and named.

    Args:
        study: the covariates.
        terms: texts of the language above; a term given twice counts once.

    Raises:
        ConfigError: there is no term, it cannot be read, or its covariate is unknown.
        DataError: a logarithm or a root has no value somewhere, or a term is not finite.

    Example:
        >>> from muma.evaluation.causal.study import study_of
        >>> study = study_of(np.array([0, 1, 1]), np.array([[1.0], [2.0], [3.0]]), ["age"])
        >>> basis(study, ["age", "age^2", "age=2"]).dropped
        ('age=2',)
    """
    terms = tuple(dict.fromkeys(term.strip() for term in terms))
    if not terms:
        raise ConfigError("a specification needs a term at least; name the covariates")
    return basis_of(terms, np.stack([column(study, term) for term in terms], axis=1))


def basis_of(terms: Sequence[str], value_NP: np.ndarray) -> Basis:
    """The same from terms that are worked out already, all different."""
    keep_P = _own(value_NP)
    return Basis(
        value_NP[:, keep_P],
        tuple(term for term, keep in zip(terms, keep_P, strict=True) if keep),
        tuple(term for term, keep in zip(terms, keep_P, strict=True) if not keep),
    )


def column(study: Study, term: str) -> np.ndarray:
    """One term's values, float64 [N].

    Raises:
        ConfigError: the term cannot be read, or its covariate is unknown.
        DataError: a logarithm or a root has no value somewhere, or the term is not finite.
    """
    value_N = np.ones(len(study))
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        for factor in _factors(term):
            value_N = value_N * _factor(study, factor, term)
    if not np.isfinite(value_N).all():
        raise DataError(f"term {term!r} is not finite in row {np.argmin(np.isfinite(value_N))}")
    return value_N


def quoted(name: str) -> str:
    """A covariate's name as a term: in backticks if it has a sign of the language.

    Example:
        >>> quoted("age"), quoted("a:b")
        ('age', '`a:b`')
    """
    return name if _PLAIN.fullmatch(name) and name == name.strip() else f"`{name}`"


def _factors(term: str) -> list[str]:
    """Split at colons that stand outside backticks."""
    factors = [""]
    for part in re.findall(r"`[^`]*`|:|[^`:]+", term):
        if part == ":":
            factors.append("")
        else:
            factors[-1] += part
    return [factor.strip() for factor in factors]


def _factor(study: Study, factor: str, term: str) -> np.ndarray:
    found = _FACTOR.fullmatch(factor)
    if found is None:
        raise ConfigError(
            f"term {term!r} cannot be read; write age, age^2, re74=0, log1p(re74) or age:education"
        )
    value_N = _covariate(study, (found["inside"] or found["name"]).strip(), term)
    if function := found["function"]:
        least = {"log": 0.0, "log1p": -1.0, "sqrt": 0.0}[function]
        bad_N = value_N < least if function == "sqrt" else value_N <= least
        if bad_N.any():
            raise DataError(
                f"term {term!r}: {function} has no value for {value_N[bad_N][0]:g} in row "
                f"{np.argmax(bad_N)}; take another term"
            )
        value_N = {"log": np.log, "log1p": np.log1p, "sqrt": np.sqrt}[function](value_N)
    if found["value"] is not None:
        return (value_N == float(found["value"])).astype(np.float64)
    return value_N ** int(found["power"] or 1)


def _covariate(study: Study, text: str, term: str) -> np.ndarray:
    name = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "`" else text
    if name not in study.columns:
        near = difflib.get_close_matches(name, study.columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(study.columns)}"
        raise ConfigError(f"term {term!r}: there is no covariate {name!r}; {hint}")
    return study.covariate_NF[:, study.columns.index(name)]


def _own(value_NP: np.ndarray) -> np.ndarray:
    """Which columns are not spanned by the constant and those before them."""
    centred_NP = value_NP - value_NP.mean(axis=0)
    length_P = np.linalg.norm(centred_NP, axis=0)
    keep_P = length_P > _SPANNED * np.maximum(np.linalg.norm(value_NP, axis=0), 1e-300)
    kept = np.flatnonzero(keep_P)
    if len(kept):
        scaled_NP = centred_NP[:, kept] / length_P[kept]
        root_PP = np.asarray(qr(scaled_NP, mode="r")[0])[: len(kept)]
        own_P = np.zeros(len(kept))
        own_P[: len(root_PP)] = np.abs(np.diag(root_PP))
        keep_P[kept] = own_P > _SPANNED**0.75
    return keep_P
