"""A recipe as a running service: what it answers, what it keeps, what it forgets."""

import dataclasses
import time
from threading import Event as Signal
from threading import Thread

import numpy as np
import pytest

from muma.app.config import read_recipe
from muma.app.service.make import open_service
from muma.app.service.parts import EventsIn
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.candidates.live import History
from muma.config import build
from muma.errors import ArtifactError, DataError, StoreError, StreamError, UnknownIdError
from muma.serving.evidence.replay import replay
from muma.serving.facts import ItemFact
from muma.serving.parts import Event, Item
from muma.serving.reading import Known
from muma.serving.recommending import Ask, Filters
from muma.serving.rules.rule import UserState
from muma.serving.rules.ruleset import RuleSet
from ranked_support import BLOCKS, WANTED, write_feed

GREEDY = 'policy={use = "muma.policy.greedy.Greedy"}'


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    place = write_feed(tmp_path_factory.mktemp("feed"), blocks=BLOCKS + WANTED)
    train_recipe(read_recipe(place))
    return place


@pytest.fixture(scope="module")
def opened(recipe):
    found = open_service(read_recipe(recipe), time_of="log")
    found.clock.go()
    yield found
    found.close()


def ask(opened, name, **more):
    return Ask(name, opened.clock(), **{"deadline_us": 10**9, **more})


def items(evidence):
    return [one.item for one in evidence.answer.items]


def parts(opened):
    return opened.service.tenants.get("default")


def test_the_best_list_is_that_of_the_offline_pipeline(recipe, opened):
    config = read_recipe(recipe, overrides=[GREEDY])
    offline = PipelineRecommender(config, at_us=opened.clock())
    live = opened.engine.versions
    greedy = dataclasses.replace(live, policy=build(config.policy, where="policy"))
    opened.engine.swap(lambda _: greedy)
    try:
        for user in ("u1", "u7", "u20"):
            expected = offline.answer(user, 6)
            at = offline.at_us
            found = opened.engine.answer(
                Ask(f"same {user}", at, user=user, count=6, deadline_us=10**9)
            )
            assert items(found) == [one.item for one in expected.items]
            for mine, theirs in zip(found.answer.items, expected.items, strict=True):
                assert mine.score == pytest.approx(theirs.score, abs=1e-5)
                assert mine.propensity == 1.0
                assert mine.sources == theirs.sources
                for label, p in theirs.probability.items():
                    assert mine.probability[label] == pytest.approx(p, abs=1e-5)
    finally:
        opened.engine.swap(lambda _: live)


def test_propensities_are_of_a_stochastic_policy_and_choices_reproduce(opened):
    one, two = (opened.engine.answer(ask(opened, "again", user="u3", count=8)) for _ in range(2))
    other = opened.engine.answer(ask(opened, "another", user="u3", count=8))
    assert items(one) == items(two)
    np.testing.assert_array_equal(one.propensity_K, two.propensity_K)
    assert ((one.propensity_K > 0) & (one.propensity_K <= 1)).all()
    assert (one.support_K > 1).all()
    drawn = [
        items(opened.engine.answer(ask(opened, f"r{n}", user="u3", count=8))) for n in range(8)
    ]
    assert any(each != items(other) for each in drawn)


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("user", ["u5", "nobody", None])
def test_an_answer_replays_bit_for_bit(opened, user, explain):
    evidence = opened.engine.answer(ask(opened, "replayed", user=user, count=5, explain=explain))
    found = replay(evidence, opened.engine)
    assert found.equal, str(found)
    if explain:
        assert all(one.reason for one in evidence.answer.items)


def test_a_replay_needs_the_versions_of_then(opened):
    before = opened.engine.versions
    other = dataclasses.replace(before.bundle, version="other")
    opened.engine.swap(lambda v: dataclasses.replace(v, bundle=other))
    try:
        evidence = opened.engine.answer(ask(opened, "old", user="u5"))
    finally:
        opened.engine.swap(lambda _: before)
    with pytest.raises(ArtifactError, match="no version 'other'"):
        opened.engine.replay(evidence)


def test_a_stranger_a_session_and_a_wish_not_to_be_profiled(opened):
    stranger = opened.engine.answer(ask(opened, "s", user="who?"))
    nobody = opened.engine.answer(ask(opened, "s"))
    unprofiled = opened.engine.answer(ask(opened, "s", user="u1", session=("a3",), profiling=False))
    assert items(stranger) == items(nobody) == items(unprofiled)
    assert unprofiled.user_index == -1
    assert not len(unprofiled.history_L)
    session = opened.engine.answer(ask(opened, "s", session=("a3", "a5", "unheard of")))
    assert session.history_L.tolist() == [
        opened.engine.versions.facts.dense(name) for name in ("a3", "a5")
    ]


def test_own_candidates_are_ranked_and_unknown_ones_said(opened):
    found = opened.engine.answer(
        ask(opened, "own", user="u2", count=5, candidates=("a1", "a2", "a9", "nothing"))
    )
    assert sorted(items(found)) == ["a1", "a2", "a9"]
    assert found.answer.degraded == ("candidates: 1 are not known",)


def test_rules_and_wishes_hold_whatever_fails(opened, monkeypatch):
    before = opened.engine.versions
    rules = RuleSet.parse([{"kind": "blocked", "id": "out", "items": ["a1", "a3", "a5"]}])
    opened.engine.swap(lambda v: dataclasses.replace(v, rules=rules))
    forbidden = {"a1", "a3", "a5", "a7"}

    def refused(*_, **__):
        raise StoreError("the disk is gone")

    try:
        for broken in ((), ("known",), ("features",), ("known", "features")):
            with monkeypatch.context() as patch:
                for name in broken:
                    patch.setattr(opened.running.state, name, refused)
                for count in (1, 20, 30):
                    found = opened.engine.answer(
                        ask(opened, "ruled", user="u1", count=count, exclude=("a7",))
                    )
                    assert not forbidden & set(items(found))
                    assert len(items(found)) == min(count, 20)  # 24 items, four forbidden
                    assert len(found.answer.degraded) == len(broken)
        near = opened.engine.similar("a9", 20, ask(opened, "near"))
        assert not {"a1", "a3", "a5", "a9"} & {one.item for one in near.items}
    finally:
        opened.engine.swap(lambda _: before)


def test_the_editors_list_stands_in_where_no_source_can(opened, monkeypatch):
    before = opened.engine.versions
    monkeypatch.setattr(
        opened.engine, "config", opened.engine.config.model_copy(update={"editorial": ("a4", "a2")})
    )
    empty = dataclasses.replace(before.bundle, sources={})
    opened.engine.swap(lambda v: dataclasses.replace(v, bundle=empty))
    try:
        found = opened.engine.answer(ask(opened, "edited", user="u1", count=3))
        assert {"a4", "a2"} <= set(items(found))
        by = {one.item: one.sources for one in found.answer.items}
        assert by["a4"] == ("editors",)
        assert len(found.answer.items) == 3
    finally:
        opened.engine.swap(lambda _: before)


def test_no_time_left_is_said(opened):
    found = opened.engine.answer(ask(opened, "late", user="u1", explain=True, deadline_us=1))
    assert found.answer.degraded == ("rank: no time was left", "words: no time was left")
    assert len(found.answer.items) == 10
    assert replay(found, opened.engine).equal


def test_filters_and_empty_results(opened):
    found = opened.engine.answer(ask(opened, "f", user="u1", filters=Filters(tags_any=("none",))))
    assert found.answer.items == ()
    assert len(found.propensity_K) == 0


def test_an_unknown_context_is_refused(opened):
    with pytest.raises(DataError, match="'tab'"):
        opened.engine.answer(ask(opened, "c", user="u1", context={"tab": 1}))


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_a_click_changes_the_next_answer(opened):
    assert isinstance(parts(opened).intake, EventsIn)
    now = opened.clock()
    click = Event("e1", "new one", "click", item_id="a2", timestamp=now, domain="news")
    taken = parts(opened).intake.put([click], received_at=now)
    assert taken.accepted == 1

    def read():
        return opened.engine.answer(ask(opened, "n", user="new one")).history_L.tolist()

    until(lambda: read() == [opened.engine.versions.facts.dense("a2")])
    told = opened.engine.user("new one")
    assert [one["item"] for one in told["history"]] == ["a2"]
    with pytest.raises(UnknownIdError):
        opened.engine.user("never")


def test_an_item_that_is_put_can_be_held_back(opened):
    catalogue = parts(opened).items
    now = opened.clock()
    assert catalogue.put([Item("fresh", title="Fresh", embargo_until=now + 10**15)]) == 1
    assert opened.engine.versions.facts.dense("fresh") == len(opened.running.items()) - 1
    wanted = ask(opened, "fr", candidates=("fresh", "a1"))
    assert items(opened.engine.answer(wanted)) == ["a1"]
    assert catalogue.put([Item("fresh", title="Fresh now")]) == 0
    assert "fresh" in items(opened.engine.answer(wanted))
    assert [one.item_id for one in catalogue.get(["fresh", "no", "a1"])] == ["fresh", "a1"]


def test_rules_that_are_put_hold_for_the_next_answer(opened):
    book = parts(opened).rules
    first = book.get()
    then = book.put(
        [{"kind": "blocked", "id": "no-a1", "items": ["a1"]}], version=first.version, who="k"
    )
    assert "a1" not in items(opened.engine.answer(ask(opened, "r", user="u1", count=24)))
    book.put([], version=then.version, who="k")
    assert "a1" in items(opened.engine.answer(ask(opened, "r", user="u1", count=24)))


def test_evidence_is_kept_and_forgotten_with_the_user(opened):
    engine = parts(opened).engine
    kept = engine.answer(ask(opened, "kept", user="u9"))
    opened.evidence.flush()
    found = parts(opened).decisions.get("kept")
    assert found.answer.items == kept.answer.items
    receipt = parts(opened).forgetting.erase("u9", who="k")
    assert {"evidence", "events", "features"} <= set(receipt["parts"])
    assert receipt["residue"]  # the models, until their next fit
    after = parts(opened).decisions.get("kept")
    assert after.ask.user != "u9"
    np.testing.assert_array_equal(after.propensity_K, kept.propensity_K)
    until(lambda: opened.running.trouble() is None)
    with pytest.raises(UnknownIdError):
        opened.engine.user("u9")
    stranger, gone = (
        opened.engine.answer(ask(opened, "same", user=user)) for user in ("who?", "u9")
    )
    assert items(stranger) == items(gone)


def test_changes_from_many_threads_do_not_undo_each_other(opened):
    before = opened.engine.versions
    facts, rules = opened.engine.versions.facts, opened.engine.versions.rules
    done = []

    def slowly(change):
        def changed(versions):
            time.sleep(0.001)  # as long as a race needs
            return change(versions)

        opened.engine.swap(changed)
        done.append(1)

    def add_item(n):
        slowly(
            lambda v: dataclasses.replace(v, facts=v.facts.with_items([ItemFact(f"thread {n}")]))
        )

    def add_rule(n):
        rule = {"kind": "blocked", "id": f"r{n}", "items": ["a1"]}
        slowly(lambda v: dataclasses.replace(v, rules=RuleSet.parse([*v.rules.tables, rule])))

    try:
        threads = [Thread(target=add, args=(n,)) for n in range(10) for add in (add_item, add_rule)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 20
        assert len(opened.engine.versions.facts) == len(facts) + 10
        assert len(opened.engine.versions.rules) == len(rules) + 10
    finally:
        opened.engine.swap(lambda _: before)


def test_what_a_user_hid_stays_hidden_in_a_session(opened, monkeypatch):
    facts = opened.engine.versions.facts
    hidden = np.array([facts.dense("a1")])
    empty = History(np.zeros(0, np.int64), np.zeros(0, np.float32))
    known = Known(empty, UserState(blocked_n=hidden), 5)
    monkeypatch.setattr(opened.running.state, "known", lambda *_: known)
    found = opened.engine.answer(ask(opened, "h", user="u1", session=("a3",), count=24))
    assert found.history_L.tolist() == [facts.dense("a3")]
    assert "a1" not in items(found)
    assert found.answer.as_of == 5


def test_what_was_put_is_there_after_a_restart_and_a_torn_line(recipe, tmp_path):
    config = read_recipe(recipe, overrides=[f"runs={str(tmp_path)!r}"])
    train_recipe(config)
    first = open_service(config, time_of="log")
    later = first.clock() + 10**15
    first.service.tenants.get("default").items.put(
        [Item("a1", title="Held back", embargo_until=later), Item("fresh", title="Fresh")]
    )
    first.service.tenants.get("default").rules.put(
        [{"kind": "blocked", "id": "no-a2", "items": ["a2"]}],
        version=first.service.tenants.get("default").rules.get().version, who="k",
    )  # fmt: skip
    first.close()
    with (config.folder / "items.jsonl").open("ab") as file:
        file.write(b'{"item_id": "a3", "embar')  # killed in the middle of a line
    again = open_service(config, time_of="log")
    try:
        found = again.engine.answer(ask(again, "r", user="u1", count=30))
        assert not {"a1", "a2"} & set(items(found))
        assert "a3" in items(found)
        assert (
            again.engine.versions.facts.one(again.engine.versions.facts.dense("fresh")).title
            == "Fresh"
        )
        assert (config.folder / "items.jsonl").read_bytes().endswith(b"\n")
    finally:
        again.close()
    (config.folder / "items.jsonl").write_text('{"item_id": 7}\n')
    with pytest.raises(StoreError, match=r"items.jsonl, line 1: no item"):
        open_service(config, time_of="log")
    (config.folder / "items.jsonl").unlink()
    open_service(config, time_of="log").close()  # nothing was left open


def test_an_erasure_waits_for_those_who_read(opened):
    stop, failures, answers = Signal(), [], []

    def reading():
        n = 0
        while not stop.is_set():
            n += 1
            try:
                answers.append(opened.engine.answer(ask(opened, f"e{n}", user="u2")).answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(error)

    readers = [Thread(target=reading) for _ in range(3)]
    for thread in readers:
        thread.start()
    parts(opened).forgetting.erase("u11", who="k")
    stop.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert answers
    assert all(len(one.items) == 10 for one in answers)


def test_the_log_can_be_held_back_for_a_replay(recipe, tmp_path):
    sets = [f"runs={str(tmp_path)!r}", 'serving.begin="test"']
    config = read_recipe(recipe, overrides=sets)
    trained = train_recipe(config)
    start = trained.split.test_start
    found = open_service(config, time_of="log")
    try:
        assert start <= found.clock() < start + 60_000_000  # the clock begins where the log was cut
        events = trained.log.events.collect()["timestamp"]
        assert sum(found.running.stream.ends().values()) == int((events < start).sum())
    finally:
        found.close()
    open_service(config, time_of="log").close()
    elsewhere = f"runs={str(tmp_path / 'whole')!r}"
    train_recipe(read_recipe(recipe, overrides=[elsewhere]))
    open_service(read_recipe(recipe, overrides=[elsewhere]), time_of="log").close()
    with pytest.raises(StreamError, match="another part of the log"):
        open_service(read_recipe(recipe, overrides=[elsewhere, sets[1]]), time_of="log")
