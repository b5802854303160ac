"""Processes that answer beside the door: the same answers, every change obeyed, nothing lost when one dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from muma.app.config import read_recipe
from muma.app.service.answer_wire import Change, Wish
from muma.app.service.answerers import Answerers
from muma.app.service.make import open_service
from muma.errors import DataError
from muma.serving.engine import ServingEngine
from muma.serving.parts import Event, Item
from muma.serving.recommending import Ask
from process_support import alive
from trained_support import trained


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def opened(recipe):
    found = open_service(read_recipe(recipe, overrides=["serving.processes=2"]), time_of="log")
    for begin in found.service.on_start:
        begin()
    yield found
    found.close()


@pytest.fixture
def here(monkeypatch):
    """Counts the answers that are made at the door."""
    made = []
    answer = ServingEngine.answer

    def counted(engine, ask):
        made.append(ask.request_id)
        return answer(engine, ask)

    monkeypatch.setattr(ServingEngine, "answer", counted)
    return made


def tenant(opened):
    return opened.service.tenants.get("default")


def ask(opened, name, **more):
    return Ask(name, opened.clock(), **{"user": "u1", "deadline_us": 60_000_000, **more})


def test_an_answer_is_the_one_of_the_door(opened, here):
    """The same slots, draws, numbers and words; with the evidence kept at the door."""
    for n in range(30):
        asked = ask(opened, f"same-{n}", user=[None, f"u{n % 9}"][n % 2], explain=n % 3 == 0)
        there = tenant(opened).engine.answer(asked)
        assert not here
        own = opened.engine.answer(there.ask)
        here.clear()
        assert replace(there.answer, stages_us={}) == replace(own.answer, stages_us={})
        assert there.user_index == own.user_index
        np.testing.assert_array_equal(there.value_NF, own.value_NF)
        kept = opened.evidence.get(asked.request_id)
        assert kept is not None
        assert kept.answer.items == there.answer.items
        assert tenant(opened).engine.replay(kept).items == there.answer.items


def test_callers_own_items_and_errors_come_back(opened, here):
    own = tenant(opened).engine.answer(ask(opened, "own", candidates=("a1", "a2", "no"), count=9))
    assert {one.item for one in own.answer.items} == {"a1", "a2"}
    with pytest.raises(DataError, match="page"):
        tenant(opened).engine.answer(ask(opened, "odd", context={"page": float("inf")}))
    assert not here


def test_rules_hold_from_the_next_answer_on(opened, here):
    """Under load, in every process: what an editor forbade is in no answer that begins after."""
    engine, rules, over, faults = tenant(opened).engine, tenant(opened).rules, threading.Event(), []
    forbidden: set[str] = set()

    def load(place):
        n = 0
        while not over.is_set():
            n += 1
            known = set(forbidden)
            shown = {
                one.item
                for one in engine.answer(ask(opened, f"load-{place}-{n}", count=20)).answer.items
            }
            if shown & known:
                faults.append((shown & known, n))

    threads = [threading.Thread(target=load, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for k in range(15):  # one more each time: none comes back while they ask
        out = [f"a{n}" for n in range(k + 1)]
        rule = {"kind": "blocked", "id": "out", "items": out}
        rules.put([rule], version=rules.get().version, who="editor")
        forbidden.update(out)
        time.sleep(0.02)
    over.set()
    for thread in threads:
        thread.join()
    rules.put([], version=rules.get().version, who="editor")
    assert not faults
    engine.answer(ask(opened, "after"))
    assert "after" not in here  # the door answered only while a rule was on its way


def test_a_rule_holds_though_they_cannot_be_told_yet(opened, here):
    """A process that begins may take minutes, and changes wait for it: the door obeys them meanwhile."""
    parts, answerers = tenant(opened), opened.answerers
    out = [{"kind": "blocked", "id": "out", "items": ["a1", "a2"]}]
    change = {"version": parts.rules.get().version, "who": "editor"}
    put = threading.Thread(target=lambda: parts.rules.put(out, **change))
    with answerers._telling:
        put.start()
        until = time.monotonic() + 30
        while opened.engine.versions.rules.tables != tuple(out):
            assert time.monotonic() < until
            time.sleep(0.01)
        asked = ask(opened, "held", candidates=("a1", "a2", "a3"), count=3)
        while "held" not in here:
            shown = {one.item for one in parts.engine.answer(asked).answer.items}
            assert time.monotonic() < until
    put.join()
    assert shown == {"a3"}
    parts.rules.put([], version=parts.rules.get().version, who="editor")
    here.clear()
    parts.engine.answer(ask(opened, "told"))
    assert not here


def test_an_answer_that_a_change_overtook_is_made_again(opened, here, monkeypatch):
    asked, overtaken = Answerers._asked, []

    def overtake(self, process, said):
        found = asked(self, process, said)
        if isinstance(said, Wish) and not overtaken:
            overtaken.append(found.answer.request_id)
            self.tell(Change())
        return found

    monkeypatch.setattr(Answerers, "_asked", overtake)
    tenant(opened).engine.answer(ask(opened, "overtaken"))
    assert overtaken == here == ["overtaken"]


def test_one_that_cannot_follow_is_asked_no_more(opened, here):
    """It answers nothing by what held before, and another one takes its place."""
    answerers = opened.answerers
    before = set(answerers.pids())
    answerers.tell(Change(models="no-such-version"))
    assert not before & set(answerers.pids())
    tenant(opened).engine.answer(ask(opened, "alone"))
    assert here == ["alone"]
    until = time.monotonic() + 120
    while len(answerers.pids()) < len(before):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_new_items_and_events_reach_them(opened, here):
    parts = tenant(opened)
    parts.items.put([Item("fresh-item", title="New", category="c9", least_age=99)])
    at = opened.clock()
    shown = parts.engine.answer(ask(opened, "fresh", candidates=("fresh-item", "a1"), age=100))
    titles = {one.item: one.title for one in shown.answer.items}
    assert titles["fresh-item"] == "New"
    too_young = parts.engine.answer(ask(opened, "young", candidates=("fresh-item", "a1"), age=9))
    assert [one.item for one in too_young.answer.items] == ["a1"]
    parts.intake.put([Event("seen-1", "u1", "click", item_id="a3", timestamp=at)], received_at=at)
    until = time.monotonic() + 60
    while parts.engine.answer(ask(opened, f"seen-{time.time_ns()}")).answer.as_of < at:
        assert time.monotonic() < until
    assert not here


def test_one_that_is_killed_fails_no_request_and_comes_back(opened):
    before = set(opened.answerers.pids())
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for n in range(20):
        answer = tenant(opened).engine.answer(ask(opened, f"killed-{n}")).answer
        assert answer.items
        assert not answer.degraded
    until = time.monotonic() + 120
    while len(now := set(opened.answerers.pids())) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not now & before


def test_they_know_what_was_changed_before_they_came(opened, here):
    parts, before = tenant(opened), set(opened.answerers.pids())
    rule = {"kind": "blocked", "id": "out", "items": ["a2"]}
    parts.rules.put([rule], version=parts.rules.get().version, who="editor")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 120
    while len(set(opened.answerers.pids()) - before) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    here.clear()
    for n in range(6):
        shown = parts.engine.answer(ask(opened, f"before-{n}", candidates=("a1", "a2"), count=2))
        assert [one.item for one in shown.answer.items] == ["a1"]
    parts.rules.put([], version=parts.rules.get().version, who="editor")
    assert not here


def test_erasure_has_the_store_alone_and_leaves_nothing_with_them(opened, here):
    """After it no process has the file that was replaced open, nor an answer any of the person."""
    parts = tenant(opened)
    at = opened.clock()
    gone = [Event(f"gone-{k}", "to-forget", "click", item_id=f"a{k}", timestamp=at) for k in (1, 2)]
    parts.intake.put(gone, received_at=at)
    until = time.monotonic() + 60
    while (
        parts.engine.answer(ask(opened, f"g-{time.time_ns()}", user="to-forget")).answer.as_of < at
    ):
        assert time.monotonic() < until
    parts.forgetting.erase("to-forget", who="test")
    for n in range(4):
        found = parts.engine.answer(ask(opened, f"after-{n}", user="to-forget")).answer
        assert found.as_of == -1
        assert not found.degraded
        known = parts.engine.answer(ask(opened, f"other-{n}", user="u1")).answer
        assert known.as_of > 0
    for pid in [os.getpid(), *opened.answerers.pids()]:
        with Path(f"/proc/{pid}/maps").open() as maps:
            assert not [line for line in maps if "(deleted)" in line and "state" in line]
    assert not here


LIFE = """
import sys, time
from muma.app.config import read_recipe
from muma.app.service.make import open_service
opened = open_service(read_recipe(sys.argv[1], overrides=sys.argv[2:]), time_of="log")
for begin in opened.service.on_start:
    begin()
print(*opened.answerers.pids(), flush=True)
time.sleep(600)
"""


def test_when_their_service_is_killed_they_end(recipe, tmp_path):
    shutil.copytree(read_recipe(recipe).folder, tmp_path / "feed")
    own = [f"runs={str(tmp_path)!r}", "serving.processes=2"]
    command = [sys.executable, "-c", LIFE, str(recipe), *own]
    service = subprocess.Popen(command, stdout=subprocess.PIPE)
    pids = [int(pid) for pid in service.stdout.readline().split()]
    assert len(pids) == 2
    service.kill()
    service.wait()
    service.stdout.close()
    until = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)
