"""Versions under a running service: promoted warm, rolled back at once, replayed by the one that answered."""

import dataclasses
import shutil
import time
from threading import Event as Signal
from threading import Thread

import pytest
from litestar.testing import TestClient

from muma.app.config import read_recipe
from muma.app.service.make import open_service
from muma.app.serving_bundle import versions_of
from muma.app.versions import Pointer
from muma.errors import ArtifactError, RefusedError, UnknownIdError
from muma.serving.evidence.replay import replay
from muma.serving.http.app import build
from muma.serving.recommending import Ask
from versions_support import FEWER, rescored, train, trained

THIN = "\n[serving.gate]\nleast_decisions = 1000000\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe with two versions, the second one trained last."""
    place, first = trained(tmp_path_factory.mktemp("feed"), more=THIN)
    return place, first, train(place, FEWER)


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run, and its versions; the pointer names the first."""
    place, first, second = made
    shutil.copytree(read_recipe(place).folder, tmp_path / "feed")
    config = read_recipe(place, overrides=[f"runs={str(tmp_path)!r}"])
    versions_of(config).point(Pointer(first))
    return config, first, second


@pytest.fixture
def opened(run):
    found = open_service(run[0], time_of="log")
    yield found
    found.close()


def ask(opened, name, **more):
    return Ask(name, opened.clock(), **{"deadline_us": 10**9, **more})


def room(opened):
    return opened.service.tenants.get("default").models


def answers(opened, name="a"):
    found = opened.engine.answer(ask(opened, name, user="u3", count=6))
    return found.answer.versions["models"]


def states(opened):
    return {one.version: one.state for one in room(opened).list()}


def test_promotion_and_roll_back(opened, run):
    _, first, second = run
    assert answers(opened) == first
    assert states(opened) == {second: "candidate", first: "live"}
    found = room(opened).promote(second, who="k")
    assert (found.version, found.state) == (second, "live")
    assert answers(opened) == second
    assert states(opened) == {second: "live", first: "previous"}
    with pytest.raises(RefusedError, match="live already"):
        room(opened).promote(second, who="k")
    began = time.perf_counter()
    assert room(opened).roll_back(who="k").version == first
    assert time.perf_counter() - began < 1.0  # nothing is read or warmed
    assert answers(opened) == first
    assert states(opened) == {second: "candidate", first: "live"}
    with pytest.raises(RefusedError, match="no previous"):
        room(opened).roll_back(who="k")
    with pytest.raises(UnknownIdError):
        room(opened).promote("nothing", who="k")


def test_a_restart_comes_up_with_what_was_promoted(run):
    config, first, second = run
    one = open_service(config, time_of="log")
    room(one).promote(second, who="k")
    one.close()
    two = open_service(config, time_of="log")
    try:
        assert answers(two) == second
        assert states(two)[first] == "previous"
        assert room(two).roll_back(who="k").version == first  # read again: it was not in memory
        assert answers(two) == first
    finally:
        two.close()


def test_without_a_pointer_the_last_training_answers(made, run):
    config, _, second = run
    (config.folder / "models" / "pointer.json").unlink()
    with pytest.raises(ArtifactError, match="muma train"):
        open_service(config, time_of="log")  # the last training was by another recipe
    its_own = read_recipe(made[0], overrides=[FEWER, f"runs={config.runs!r}"])
    found = open_service(its_own, time_of="log")
    try:
        assert answers(found) == second
    finally:
        found.close()


def test_a_version_that_cannot_answer_is_refused_and_nothing_changes(opened, run):
    config, first, second = run
    place = next((config.folder / "models" / second / "rankers").glob("data-*/lists/columns.json"))
    place.unlink()
    with pytest.raises(RefusedError, match="missing"):
        room(opened).promote(second, who="k")
    assert answers(opened) == first
    assert states(opened)[first] == "live"


def test_a_version_of_other_features_is_refused(opened, run):
    config, first, _ = run
    kept = versions_of(config)
    made = kept.get(first)
    parts = {
        name: kept.part(first, name, kind="ranking", version=1) for name in ("sources", "rankers")
    }
    about = {**made.about, "features": [*made.about["features"], "user.mood"]}
    kept.keep(dataclasses.replace(made, name="odd", about=about), parts)
    with pytest.raises(RefusedError, match=r"other features .*user\.mood"):
        room(opened).promote("odd", who="k")


def test_a_disk_that_refuses_the_pointer_leaves_what_answers(opened, run, monkeypatch):
    _, first, second = run

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("muma.app.versions.json.dump", full)
        with pytest.raises(OSError, match="No space"):
            room(opened).promote(second, who="k")
    assert answers(opened) == first
    assert room(opened).promote(second, who="k").state == "live"


def test_a_decision_is_replayed_by_the_version_that_made_it(opened, run):
    config, first, second = run
    before = opened.engine.answer(ask(opened, "then", user="u5", explain=True))
    room(opened).promote(second, who="k")
    now = opened.engine.answer(ask(opened, "then", user="u5", explain=True))
    scores = [[one.score for one in found.answer.items] for found in (before, now)]
    assert scores[0] != scores[1]
    for found in (before, now):
        assert replay(found, opened.engine).equal
    rescored(config, first, -1.0, "third")
    room(opened).promote("third", who="k")
    assert replay(before, opened.engine).equal  # neither live nor previous: read again
    room(opened).roll_back(who="k")
    assert replay(now, opened.engine).equal
    shutil.rmtree(config.folder / "models" / first)
    assert "no version" in str(replay(before, opened.engine).missing)


def test_rules_of_then_are_found_for_a_replay(opened):
    book = opened.service.tenants.get("default").rules
    book.put(
        [{"kind": "blocked", "id": "no-a1", "items": ["a1"]}], version=book.get().version, who="k"
    )
    before = opened.engine.answer(ask(opened, "ruled", user="u5", count=20))
    book.put([], version=book.get().version, who="k")
    assert replay(before, opened.engine).equal


def test_no_request_fails_while_versions_change(opened, run):
    _, first, second = run
    stop, failures, kept = Signal(), [], []

    def asking(worker):
        n = 0
        while not stop.is_set():
            n += 1
            try:
                kept.append(
                    opened.engine.answer(ask(opened, f"w{worker} {n}", user=f"u{n % 60}", count=5))
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(error)
            time.sleep(0.002)

    workers = [Thread(target=asking, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(10):
            room(opened).promote(second, who="k")
            room(opened).roll_back(who="k")
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not failures
    made_by = {found.answer.versions["models"] for found in kept}
    assert made_by == {first, second}
    for found in kept:
        assert len(found.answer.items) == 5
        assert not found.answer.degraded
    for found in kept[:: max(len(kept) // 60, 1)]:
        assert replay(found, opened.engine).equal


def test_one_change_at_a_time(opened, run, monkeypatch):
    _, _, second = run
    waiting, go = Signal(), Signal()
    warm = type(room(opened))._warm

    def slowly(self, bundle):
        waiting.set()
        go.wait(20)
        warm(self, bundle)

    monkeypatch.setattr(type(room(opened)), "_warm", slowly)
    thread = Thread(target=room(opened).promote, args=(second,), kwargs={"who": "k"})
    thread.start()
    assert waiting.wait(20)
    with pytest.raises(RefusedError, match="under way"):
        room(opened).roll_back(who="k")
    go.set()
    thread.join()
    assert answers(opened) == second


def test_the_gate_over_http(made, run):
    place, first, second = made
    config = read_recipe(
        place, overrides=[f"runs={run[0].runs!r}", 'serving.gate.on_thin_log="refuse"']
    )
    opened = open_service(config, time_of="log")
    keys = {
        role: opened.keys.create(tenant="default", roles=(role,), name=role)[1]
        for role in ("write", "admin")
    }
    with TestClient(build(opened.service)) as http:

        def promote(query="", role="admin"):
            sent = {"authorization": f"Bearer {keys[role]}"}
            return http.post(f"/v1/models/{second}/promote{query}", headers=sent)

        refused = promote()
        assert refused.status_code == 409
        assert f"version {second} stays out: 0 decisions with feedback" in refused.json()["detail"]
        assert promote("?force=true", "write").status_code == 403
        assert promote("?force=maybe").status_code == 422
        assert answers(opened) == first
        forced = promote("?force=true").json()
        assert forced["state"] == "live"
        assert (forced["gate"]["passed"], forced["gate"]["forced"]) == (False, True)
        assert forced["gate"]["gain"] is None
        assert answers(opened) == second
        lines = (config.folder / "audit.jsonl").read_text()
        assert "forced" in lines
        assert second in lines
