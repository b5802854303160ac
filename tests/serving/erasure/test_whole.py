"""After an erasure no file holds the person, others read the same, and a kill is gone on from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from polars.testing import assert_frame_equal

import erasure_support
from erasure_support import (
    ME,
    NEEDLES,
    T0,
    build,
    decision,
    erasure_of,
    found,
    others,
    pump_of,
    states,
    streams,
)
from muma.events.vocabulary import Vocabulary
from muma.serving.evidence.frames import ERASED
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.training import join
from muma.testing.evidence_suite import same
from muma.testing.stream_suite import blanked


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build(folder)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "data"))


def check(folder, built):
    """The person is gone from `folder`, and everything else is as in `built`."""
    assert found(folder) == []
    decisions, events, state = others(folder)
    was_decisions, was_events, was_state = others(built)
    kept = {name: e for name, e in was_decisions.items() if e.ask.user != ME}
    assert decisions.keys() == kept.keys()
    assert all(same(decisions[name], kept[name]) for name in kept)
    erased = blanked(was_events, 2)
    assert_frame_equal(events.drop_nulls("user_id"), erased.drop_nulls("user_id"))
    assert events.get_column("user_id").null_count() == 30
    assert state.items() < was_state.items()
    gone = was_state.keys() - state.keys()
    assert all(2 in (key, key >> 32) and "user" in table for table, key in gone)


def test_nothing_is_left_and_others_stay(folder, built):
    assert found(folder) == NEEDLES
    with erasure_of(folder) as erasure:
        receipt = erasure.erase(ME)
        assert erasure.receipt(receipt.id) == receipt
        assert erasure.unfinished() == 0
    check(folder, built)
    assert receipt.sound
    assert receipt.is_of(ME)
    assert not receipt.is_of("u1")
    assert receipt.parts["events"] == {"events": 30}
    assert receipt.parts["evidence"] == {"decisions": 12}
    assert receipt.parts["features"]["keys"] > 1
    assert [(one.where, one.until_us) for one in receipt.residue][1] == (
        "model rank 7",
        T0 + 60_000_000,
    )
    stream, store = streams(folder), states(folder)
    pump = pump_of(stream, store)  # the engine stands where it stood, and goes on
    assert pump.lag() == 0
    assert pump.engine.counters.events == 150
    pump.close()
    store.close()
    stream.close()


def test_decisions_stay_of_use_without_the_person(folder):
    with erasure_of(folder) as erasure:
        erasure.erase(ME)
    reader = EvidenceReader(folder / "evidence")
    assert reader.get("needle-user-r7") is None
    got, was = reader.get("r2"), decision(2)
    assert [i.item for i in got.answer.items] == [i.item for i in was.answer.items]
    assert [i.propensity for i in got.answer.items] == [0.25, 0.5]
    for name in ("item_N", "propensity_K", "support_K", "floor"):
        assert same(getattr(got, name), getattr(was, name))
    assert (got.ask.time, got.ask.user, got.ask.session, got.ask.region) == (T0 + 2, None, (), None)
    assert (got.vector_D, got.history_L, got.user_index, got.answer.as_of) == (None, None, -1, -1)
    assert np.isnan(got.value_NF[:, 0]).all()
    assert same(got.value_NF[:, 1].copy(), was.value_NF[:, 1].copy())  # the item's own feature
    flags = [f.flags for f in reader.heads()]
    assert flags.count(ERASED) == 12
    assert flags.count(0) == 48
    joined = join(reader, [], folder / "out", now=T0 * 2, item_ids=Vocabulary())
    assert (joined.decisions, joined.erased) == (48, 12)


def test_another_tenant_of_the_same_name_stays(folder):
    with erasure_of(folder) as erasure:
        erasure._parts = erasure._parts[2:3]
        receipt = erasure.erase(ME, tenant="other")
    assert receipt.parts == {"evidence": {"decisions": 0}}
    assert EvidenceReader(folder / "evidence").get("r2").ask.user == ME


def test_nobody_and_twice(folder, built):
    with erasure_of(folder) as erasure:
        before = {p: p.read_bytes() for p in (folder / "stream").rglob("*") if p.is_file()}
        nobody = erasure.erase("who")
        assert nobody.parts == {"events": {"events": 0}, "features": {"keys": 0},
                                "evidence": {"decisions": 0}, "models": {}}  # fmt: skip
        assert nobody.residue == ()
        assert {p: p.read_bytes() for p in before} == before
        erasure.erase(ME)
        again = erasure.erase(ME)
    assert again.parts["events"] == {"events": 0}
    check(folder, built)


def killed(folder, at):
    """Erase in another process, killed before its `at`-th step; how many steps it took, or None."""
    script = erasure_support.__file__
    env = {**os.environ, "PYTHONPATH": str(Path(script).parent)}
    done = subprocess.run([sys.executable, script, str(folder), str(at)], capture_output=True,
                          text=True, env=env, check=False)  # fmt: skip
    if done.returncode == -9:
        return None
    assert not done.returncode, done.stderr
    return int(done.stdout.split()[1])


def go_on(folder):
    with erasure_of(folder) as erasure:
        return erasure.unfinished(), erasure.finish()


@pytest.mark.parametrize("at", [9, 20, 40])
def test_a_kill_is_gone_on_from(folder, built, at):
    assert killed(folder, at) is None
    unfinished, receipts = go_on(folder)
    assert unfinished == len(receipts) == 1
    assert receipts[0].sound
    assert receipts[0].is_of(ME)
    check(folder, built)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 4))
def test_a_kill_before_every_step(built, tmp_path, first):
    steps = killed(Path(shutil.copytree(built, tmp_path / "whole")), 10_000)
    assert steps > 30
    for at in range(first, steps + 1, 3):
        folder = Path(shutil.copytree(built, tmp_path / f"killed-{at}"))
        assert killed(folder, at) is None
        unfinished, receipts = go_on(folder)
        assert len(receipts) == unfinished
        if not unfinished and not list((folder / "erasures" / "receipts").glob("*")):
            assert others(folder)[2] == others(built)[2]  # nothing was begun
            with erasure_of(folder) as erasure:
                erasure.erase(ME)
        check(folder, built)
        shutil.rmtree(folder)
