"""Joins against a brute force over random decisions and events; counts add up."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence_support import opened
from muma.errors import ConfigError, DataError
from muma.events.vocabulary import Vocabulary
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.training import Joined, TrainingConfig, join
from muma.testing.evidence_suite import small

HOUR = 3_600_000_000
RULE = TrainingConfig(signals={"click": 0.5, "like": 1.0}, horizon="1h")
IDS = Vocabulary(pl.Series("id", [f"i{k}" for k in range(9)]))


def log_of(folder, made):
    log = opened(folder)
    for each in made:
        log.put(each)
    log.close()
    return EvidenceReader(folder)


def events(*rows):
    names = ["request_id", "item_id", "kind", "timestamp"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String) | {"timestamp": pl.Int64},
                        orient="row")  # fmt: skip


def table(folder, what="decisions"):
    return pl.read_parquet(folder / f"{what}-*.parquet")


def test_a_decision_with_what_came(tmp_path):
    log = log_of(tmp_path / "log", [small("r", time=10)])
    came = events(
        ("r", "i0", "impression", 11), ("r", "i0", "click", 15), ("r", "i0", "click", 12),
        ("r", "i1", "play", 12),
    )  # fmt: skip
    got = join(log, came, tmp_path / "out", now=2 * HOUR, item_ids=IDS, config=RULE)
    assert got == Joined(decisions=1, slots=2, events=3, matched=3)
    first, second = table(tmp_path / "out").rows(named=True)
    assert first == {
        "request_id": "r", "time": 10, "slot": 0, "item": "i0", "propensity": 0.25, "support": 4,
        "floor": 0.01, "explored": False, "score": 1.5, "policy": "p1",
        "versions": '{"model": "m1", "policy": "p1"}', "user": "ann", "degraded": False,
        "impression_at": 11, "click_at": 12, "like_at": None, "reward": 0.5, "shown": True,
    }  # fmt: skip
    assert (second["reward"], second["shown"], second["click_at"]) == (0.0, False, None)
    rows = table(tmp_path / "out", "features")
    assert rows.columns == [
        "_request_id", "_time", "_slot", "_item", "_propensity", "_reward", "_shown",
        "user_age", "item_age",
    ]  # fmt: skip
    assert rows.get_column("_reward").to_list() == [0.5, 0.0]
    saw = rows.select("user_age", "item_age").to_numpy()
    assert saw.tobytes() == small("r").value_NF[:2].tobytes()
    assert rows.schema["item_age"] == pl.Float32
    told = json.loads((tmp_path / "out" / "joined.json").read_text())
    assert told["counts"]["matched"] == 3
    assert told["settings"]["horizon"] == "1h"


def test_what_does_not_belong_is_counted(tmp_path):
    made = [
        small("r", time=10), small("again", time=20), small("again", time=30),
        small("open", time=5 * HOUR), small("r", time=10, tenant="other"),
        replace(small("pin", time=40), item_N=np.arange(4) + 1),
    ]  # fmt: skip
    log = log_of(tmp_path / "log", made)
    came = events(
        ("r", "i0", "click", 9), ("r", "i0", "click", 10), ("r", "i0", "click", 10),
        ("r", "i1", "click", 10 + HOUR), ("r", "i1", "like", 11 + HOUR), ("r", "i7", "click", 12),
        ("r", None, "click", 12), ("none", "i0", "click", 12), (None, "i0", "click", 12),
        ("again", "i0", "click", 25), ("open", "i0", "click", 5 * HOUR),
    )  # fmt: skip
    got = join(
        log, [came[:4], came[4:]], tmp_path / "out", now=6 * HOUR - 1, item_ids=IDS, config=RULE
    )
    assert got == Joined(
        decisions=3, slots=6, repeated=1, open=1, unranked=1, events=10, matched=2, duplicates=1,
        early=2, late=1, unknown_request=2, unknown_item=2,
    )  # fmt: skip
    rows = {(r["request_id"], r["slot"]): r["reward"] for r in table(tmp_path / "out").to_dicts()}
    assert rows == {("r", 0): 0.5, ("r", 1): 0.5, ("again", 0): 0, ("again", 1): 0,
                    ("pin", 0): 0, ("pin", 1): 0}  # fmt: skip


def test_an_event_id_tells_what_came_again(tmp_path):
    log = log_of(tmp_path / "log", [small("r", time=10)])
    came = events(*[("r", "i0", "click", 10 + k) for k in range(4)])
    named = came.with_columns(event_id=pl.Series(["a", "a", None, "b"]))
    got = join(log, named, tmp_path / "out", now=HOUR * 2, config=RULE)
    assert (got.events, got.duplicates, got.matched) == (4, 1, 3)
    assert not list((tmp_path / "out").glob("features*"))  # nobody said what the ids mean


def test_two_models_have_rows_of_their_own(tmp_path):
    other = replace(small("b", time=2), columns=("x",), value_NF=np.zeros((4, 1), np.float32))
    bare = replace(small("c", time=3), columns=(), value_NF=np.zeros((4, 0), np.float32))
    log = log_of(tmp_path / "log", [small("a", time=1), other, bare])
    got = join(log, events(), tmp_path / "out", now=HOUR * 2, item_ids=IDS, config=RULE)
    assert (got.decisions, got.slots, got.unranked) == (3, 6, 2)
    sets = {tuple(pl.read_parquet(p).columns[7:]) for p in (tmp_path / "out").glob("feat*")}
    assert sets == {("user_age", "item_age"), ("x",)}


def test_nothing_at_all(tmp_path):
    assert join(EvidenceReader(tmp_path / "no"), [], tmp_path / "out", now=0) == Joined()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["joined.json"]


def test_refusals(tmp_path):
    log = EvidenceReader(tmp_path)
    with pytest.raises(DataError, match="lack the column 'kind'"):
        join(log, events().drop("kind"), tmp_path / "out", now=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(DataError, match="not empty"):
        join(log, [], tmp_path / "full", now=0)
    for wrong in ({"signals": {"click": 1.5}}, {"signals": {}}, {"horizon": "1 moon"}):
        with pytest.raises((ConfigError, ValueError)):
            TrainingConfig(**wrong)


request = st.sampled_from(["r0", "r1", "r2", "r3"])
event = st.tuples(request | st.just("zz"), st.sampled_from(["i0", "i1", "i5"]),
                  st.sampled_from(["impression", "click", "like", "play"]),
                  st.integers(0, 4).map(lambda k: k * HOUR // 2))  # fmt: skip


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    st.lists(st.tuples(request, st.integers(0, 3).map(lambda k: k * HOUR // 2)), max_size=6,
             unique=True),
    st.lists(event, max_size=25), st.integers(0, 3),
)  # fmt: skip
def test_against_brute_force(tmp_path_factory, made, came, hours):
    folder, now = tmp_path_factory.mktemp("join"), hours * HOUR
    log = log_of(folder / "log", [small(name, time=time) for name, time in made])
    got = join(log, events(*came), folder / "out", now=now, config=RULE)
    newest = {name: max(t for n, t in made if n == name) for name, _ in made}
    kept = {name: time for name, time in newest.items() if time + HOUR <= now}
    rewards, fates, seen = {}, Counter(), set()
    for name, item, kind, time in came:
        if kind == "play":
            continue
        fate = "matched"
        if (name, item, kind, time) in seen:
            fate = "duplicates"
        elif name not in kept:
            fate = "unknown_request"
        elif item == "i5":
            fate = "unknown_item"
        elif time < kept[name]:
            fate = "early"
        elif time > kept[name] + HOUR:
            fate = "late"
        else:
            weight = RULE.signals.get(kind, 0.0)
            rewards[name, item] = max(weight, rewards.get((name, item), 0.0))
        fates[fate] += 1
        seen.add((name, item, kind, time))
    assert {fate: getattr(got, fate) for fate in fates} == fates
    assert got.events == fates.total()
    assert (got.decisions, got.repeated) == (len(kept), len(made) - len(newest))
    assert got.open == len(newest) - len(kept)
    if kept:
        rows = {(r["request_id"], r["item"]): r for r in table(folder / "out").to_dicts()}
        assert len(rows) == 2 * len(kept)
        for key, row in rows.items():
            assert row["reward"] == rewards.get(key, 0.0)
            assert row["shown"] == (key in rewards)
