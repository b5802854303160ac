"""What may be used of whom; what is kept of it; which columns and events it is about."""

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from muma.config import parse
from muma.errors import StoreError
from muma.events.stream import ACTIONS
from muma.features.config import FeaturesConfig
from muma.features.feature import Sequences
from muma.features.plan import Plan
from muma.serving.consent.book import ConsentBook
from muma.serving.consent.columns import columns_of, without_kinds
from muma.serving.consent.consent import (
    SOURCES,
    ConsentConfig,
    applied,
    given,
    kinds_of,
    source_of,
    withheld,
)
from muma.serving.erasure.erasable import Subject
from muma.serving.recommending import Ask


def test_every_kind_of_event_has_one_source():
    assert sorted(kind for source in SOURCES for kind in kinds_of(source)) == sorted(ACTIONS)
    assert all(kind in kinds_of(source_of(kind)) for kind in ACTIONS)


@pytest.mark.parametrize(
    ("said", "default", "sender"),
    list(product((None, True, False), (True, False), (True, False))),
)
def test_what_was_said_counts_then_the_sender_or_the_default(said, default, sender):
    held = {} if said is None else {"gaze": said}
    found = given("gaze", held, ConsentConfig(gaze=default), ["gaze"] if sender else [])
    assert found == (said if said is not None else default or sender)


def test_a_request_reads_what_may_be_read():
    law = ConsentConfig()
    ask = Ask("r", 0, user="u", consent=("social",))
    assert withheld(Ask("r", 0, user="u")) == ("gaze", "social")
    assert applied(ask, {}, law) is ask
    assert applied(ask, {"social": False}, law).consent == ()
    assert withheld(applied(ask, {"gaze": True}, law)) == ()
    off = applied(ask, {"behaviour": False}, law)
    assert not off.profiling
    assert withheld(off) == ("behaviour", "gaze")
    nobody = Ask("r", 0)
    assert applied(
        nobody, {}, ConsentConfig(behaviour=False)
    ).profiling  # a session is not a user's past
    assert not applied(Ask("r", 0, user="u", profiling=False), {"behaviour": True}, law).profiling


def test_a_book_keeps_what_was_said(tmp_path):
    clock = SimpleNamespace(now=5)
    path = tmp_path / "consent.jsonl"
    book = ConsentBook(path, clock=lambda: clock.now)
    assert book.get("u").at == -1
    book.put("u", {"gaze": True, "social": False})
    clock.now = 6
    book.put("u", {"gaze": None})
    book.put("ü\n", {"gaze": True})
    for one in (book, ConsentBook(path, clock=lambda: 0)):
        assert (one.get("u").sources, one.get("u").at) == ({"social": False}, 6)
        assert one.get("ü\n").sources == {"gaze": True}
    assert book.erase(Subject("u")) == {"consents": 1}
    assert book.erase(Subject("u")) == {"consents": 0}
    assert b'"u"' not in path.read_bytes()
    assert ConsentBook(path, clock=lambda: 0).get("u").sources == {}
    assert ConsentBook(path, clock=lambda: 0).get("ü\n").sources == {"gaze": True}


def test_a_torn_line_is_left_out_and_a_wrong_one_is_told(tmp_path):
    path = tmp_path / "consent.jsonl"
    ConsentBook(path, clock=lambda: 1).put("u", {"gaze": True})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"user": "v", "sa')
    assert ConsentBook(path, clock=lambda: 1).get("u").sources == {"gaze": True}
    assert path.read_bytes() == whole
    for wrong in (b"[]\n", b"{}\n", b"no\n", b'{"user": "v", "said": {"gaze": 1}, "at": 3}\n'):
        path.write_bytes(whole + wrong)
        with pytest.raises(StoreError, match="line 2"):
            ConsentBook(path, clock=lambda: 1)


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    book = ConsentBook(tmp_path / "consent.jsonl", clock=lambda: 1)
    book.put("u", {"gaze": True})
    before = (tmp_path / "consent.jsonl").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("muma.serving.consent.book.flush", full)
    with pytest.raises(OSError, match="No space"):
        book.put("u", {"gaze": False})
    assert book.get("u").sources == {"gaze": True}
    assert (tmp_path / "consent.jsonl").read_bytes() == before


def test_many_changes_are_written_together_at_the_next_start(tmp_path):
    path = tmp_path / "consent.jsonl"
    line = {"user": "u", "said": {"gaze": True}, "at": 1}
    path.write_text((json.dumps(line) + "\n") * 1_500)
    assert ConsentBook(path, clock=lambda: 1).get("u").sources == {"gaze": True}
    assert len(path.read_text().splitlines()) == 1


FEATURES = {
    "filters": {
        "headline": {"kinds": ["fixation"], "area": [0, 0, 1, 0.5]},
        "wanted": {"kinds": ["click", "follow"]},
    },
    "blocks": {
        "a": {
            "use": "muma.features.families.count.Count",
            "keys": ["user", "item", "friends", "friends x item"],
            "of": ["click", "follow", "wanted"],
            "windows": ["1d/2h"],
        },
        "g": {
            "use": "muma.features.families.gaze.Gaze",
            "keys": ["user", "item"],
            "of": ["headline"],
            "windows": ["1d/2h"],
        },
    },
}


def test_columns_of_each_source():
    plan = Plan(parse(FeaturesConfig, FEATURES))
    found = {
        source: {plan.columns[place] for place in places}
        for source, places in columns_of(plan).items()
    }
    expected = {"social": set(), "gaze": set()}
    for name in plan.columns:
        if name.startswith("friends") or name == "user.follow.count.1d":
            expected["social"].add(name)
        if name.startswith("user.gaze"):
            expected["gaze"].add(name)
    assert len(expected["social"]) == 7
    assert len(expected["gaze"]) == 2
    assert found == expected


def test_columns_may_be_none():
    blocks = {"a": {**FEATURES["blocks"]["a"], "keys": ["item"]}}
    plan = Plan(parse(FeaturesConfig, {**FEATURES, "blocks": blocks}))
    assert all(len(places) == 0 for places in columns_of(plan).values())


def test_a_history_without_a_source_is_as_if_it_had_never_been():
    kinds = [-1, ACTIONS.index("click"), ACTIONS.index("follow"), ACTIONS.index("like")]
    kind_BL = np.array([kinds])
    sequence = Sequences(
        np.array([[-1, 5, 6, 7]]), np.array([[0, 1, 2, 3]]), kind_BL, np.array([[-1, 0, 0, 0]]),
        np.array([[-1, 8, 9, -1]]), np.array([[False, True, True, True]]),
    )  # fmt: skip
    assert without_kinds(sequence, ["gaze"]) is sequence
    left = without_kinds(sequence, ["social", "gaze"])
    assert left.item_BL.tolist() == [[-1, -1, 5, 7]]
    assert left.time_BL.tolist() == [[0, 0, 1, 3]]
    assert left.kind_BL.tolist() == [[-1, -1, kinds[1], kinds[3]]]
    assert left.domain_BL.tolist() == [[-1, -1, 0, 0]]
    assert left.dwell_BL.tolist() == [[-1, -1, 8, -1]]
    assert left.mask_BL.tolist() == [[False, False, True, True]]
