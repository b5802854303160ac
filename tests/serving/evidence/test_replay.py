"""A replay that comes out again says so; one changed bit anywhere is named."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from muma.errors import ArtifactError
from muma.serving.evidence.record import decode, encode
from muma.serving.evidence.replay import replay
from muma.serving.recommending import ServedItem
from muma.testing.evidence_suite import small


class Ranks:
    """Scores candidates by the kept features; a bias is another model."""

    def __init__(self, bias=0.0, has=("m1",)):
        self.bias, self.has = bias, has

    def replay(self, evidence):
        if (version := evidence.answer.versions["model"]) not in self.has:
            raise ArtifactError(f"model {version} is not here")
        score_N = np.nansum(np.where(np.isfinite(evidence.value_NF), evidence.value_NF, 0), axis=1)
        score_N = score_N.astype(np.float64) + self.bias
        order = np.argsort(-score_N, kind="stable")[: len(evidence.propensity_K)]
        items = tuple(
            ServedItem(
                f"i{evidence.item_N[n]}", None, None, float(score_N[n]), 1 / 3, False, {}, ()
            )
            for n in order
        )
        return replace(evidence.answer, items=items, stages_us={"rank": 1})

    def answer(self, ask):
        raise NotImplementedError

    similar = user = answer


def kept():
    made = replace(small("r"), propensity_K=np.array([1 / 3, 1 / 3]))
    return decode(encode(replace(made, answer=Ranks().replay(made))))


def test_the_same_answer_is_equal_from_disk():
    found = replay(kept(), Ranks())
    assert found.equal
    assert str(found) == "r: the same, bit for bit"


def test_a_missing_version_is_said():
    found = replay(kept(), Ranks(has=()))
    assert not found.equal
    assert str(found) == "r: cannot be replayed: model m1 is not here"


def test_one_bit_of_a_score_is_named():
    found = replay(kept(), Ranks(bias=2.0**-52))
    assert [d.where for d in found.found] == ["items[0].score", "items[1].score"]
    assert found.count == 2
    assert "items[0].score: was 1.5, is 1.5000000000000002" in str(found)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("versions['model']", lambda a: replace(a, versions={**a.versions, "model": "m2"})),
        ("versions['new']", lambda a: replace(a, versions={**a.versions, "new": "1"})),
        ("as_of", lambda a: replace(a, as_of=77)),
        ("number of items", lambda a: replace(a, items=a.items[:1])),
        ("degraded", lambda a: replace(a, degraded=("rank: late",))),
        ("items[1].item", lambda a: replace(a, items=(a.items[0], msgspec.structs.replace(a.items[1], item="x")))),
        ("items[0].propensity",
         lambda a: replace(a, items=(msgspec.structs.replace(a.items[0], propensity=float(np.nextafter(1 / 3, 1))), a.items[1]))),
        ("items[0].score", lambda a: replace(a, items=(msgspec.structs.replace(a.items[0], score=np.nan), a.items[1]))),
        ("items[0].score", lambda a: replace(a, items=(msgspec.structs.replace(a.items[0], score=-0.0), a.items[1]))),
        ("items[0].probability['click']",
         lambda a: replace(a, items=(msgspec.structs.replace(a.items[0], probability={"click": 0.1}), a.items[1]))),
    ],
)  # fmt: skip
def test_every_difference_is_named(where, change):
    class Changed(Ranks):
        def replay(self, evidence):
            return change(super().replay(evidence))

    found = replay(kept(), Changed())
    assert where in [d.where for d in found.found]
    assert not found.equal


def test_many_differences_are_counted():
    class Empty(Ranks):
        def replay(self, evidence):
            many = tuple(f"part-{k}: late" for k in range(80))
            return replace(super().replay(evidence), degraded=many)

    made = kept()
    was = replace(made, answer=replace(made.answer, degraded=tuple("x" for _ in range(80))))
    found = replay(was, Empty())
    assert (len(found.found), found.count) == (50, 80)
    assert "and 30 more" in str(found)


def test_nan_equals_the_same_nan():
    class Unranked(Ranks):
        def replay(self, evidence):
            answer = super().replay(evidence)
            return replace(
                answer,
                items=tuple(msgspec.structs.replace(i, score=float("nan")) for i in answer.items),
            )

    made = kept()
    was = decode(encode(replace(made, answer=Unranked().replay(made))))
    assert replay(was, Unranked()).equal
