"""A policy that learns from the service's own answers: counted once, kept, the same as a plain count."""

import collections
import shutil
import time

import numpy as np
import pytest

from muma.app.config import read_recipe
from muma.app.service.learning import SLACK_US, Learner
from muma.app.service.make import open_service
from muma.errors import ConfigError, StoreError
from muma.policy.policy import Context
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.serving.evidence.replay import replay
from muma.serving.parts import Event
from muma.serving.recommending import Ask
from versions_support import trained

LEARNING = """
[policy]
use = "muma.policy.thompson.Thompson"

[serving.reward]
kinds = { click = 0.5, like = 1.0 }
wait_s = 600
late_s = 60
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place, _ = trained(tmp_path_factory.mktemp("feed"), more=LEARNING)
    return place


@pytest.fixture
def config(made, tmp_path):
    shutil.copytree(read_recipe(made).folder, tmp_path / "feed")
    return read_recipe(made, overrides=[f"runs={str(tmp_path)!r}"])


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, opened):
        self.clock = opened.clock
        self.clock._elapsed_ns = lambda: self.ns
        self.ns = 0
        self.clock.go()

    def move(self, seconds):
        self.ns += int(seconds * 1e9)


def begun(config):
    opened = open_service(config, time_of="log")
    return opened, Clock(opened)


def tenant(opened):
    return opened.service.tenants.get("default")


def asked(opened, name, user="u1", **more):
    ask = Ask(name, opened.clock(), user=user, count=4, deadline_us=10**9, **more)
    return tenant(opened).engine.answer(ask)


def send(opened, evidence, *kinds, slot=0, user="u1", after=1, name=None):
    """Events of a slot, a microsecond after each other."""
    item = evidence.answer.items[slot].item
    at = evidence.ask.time + after
    events = [
        Event(
            name or f"{evidence.ask.request_id} {slot} {kind} {at}", user, kind, item_id=item,
            request_id=evidence.ask.request_id, timestamp=at + n,
        )
        for n, kind in enumerate(kinds)
    ]  # fmt: skip
    tenant(opened).intake.put(events, received_at=opened.clock())


def counts(opened):
    """Item -> (how often it was shown, what it earned), as the policy has it."""
    facts = opened.engine.versions.facts
    rows, _ = opened.learner.statistics.rows()
    return {facts.ids[n]: (row[1], row[2]) for n, row in enumerate(rows) if row[1]}


def settle(opened):
    while opened.learner.step():
        pass


def test_clicks_raise_an_items_chance_and_a_restart_keeps_it(config):
    opened, clock = begun(config)
    first = asked(opened, "first")
    dense = first.item_N[:8]
    slate = Slate.plain(dense)

    def chance(opened):
        context = Context("c", opened.clock())
        return opened.engine.versions.policy.next_slot(slate, context, [])[0]

    target = opened.engine.versions.facts.one(int(dense[0])).id
    before = chance(opened)
    assert before == pytest.approx(1 / 8, abs=0.03)
    for n in range(60):
        found = asked(opened, f"r{n}", candidates=(target, "a1", "a2", "a3"))
        slot = [one.item for one in found.answer.items].index(target)
        send(opened, found, "impression", "like", slot=slot)
        clock.move(1)
    settle(opened)
    assert counts(opened) == {target: (60, 60)}  # what has earned the most waits for nothing
    after = chance(opened)
    assert after == pytest.approx(61 / 68, abs=0.02)  # Beta(61, 1) above seven of Beta(1, 1)
    opened.close()
    again, _ = begun(config)
    try:
        assert counts(again) == {target: (60, 60)}
        assert chance(again) == pytest.approx(after)
        settle(again)
        assert counts(again) == {target: (60, 60)}
    finally:
        again.close()


def test_an_impression_that_nothing_came_of_counts_when_its_time_is_over(config):
    opened, clock = begun(config)
    try:
        found = asked(opened, "r")
        items = [one.item for one in found.answer.items]
        send(opened, found, "impression", slot=0)
        send(opened, found, "impression", "click", slot=1)
        settle(opened)
        assert counts(opened) == {}  # a like may still come
        clock.move(599)
        send(opened, found, "click", "click", slot=0, after=598_000_000)
        clock.move(62 + SLACK_US / 1e6)
        settle(opened)
        assert counts(opened) == {items[0]: (1, 0.5), items[1]: (1, 0.5)}
        for slot in range(4):  # late, repeated, of a slot that was never seen in time
            send(opened, found, "impression", "like", slot=slot)
        clock.move(1_000)
        settle(opened)
        assert counts(opened) == {items[0]: (1, 0.5), items[1]: (1, 0.5)}
        assert not opened.learner._room.held
    finally:
        opened.close()


def test_it_is_a_plain_count_of_the_log_whatever_comes_and_whenever_it_is_killed(config):
    """Random events, early, late, repeated, of strangers; read in pieces, broken off, begun again."""
    rng = derive(11, "learning")
    opened, clock = begun(config)
    answers, sent = {}, []
    for n in range(120):
        found = asked(opened, f"r{n}", user=f"u{rng.integers(60)}")
        answers[f"r{n}"] = found
        batch, arrived = [], opened.clock()
        for _ in range(int(rng.integers(12))):
            request = f"r{rng.integers(n + 2)}"  # some are of answers that nobody has given
            of = answers.get(request, found)
            one = of.answer.items[int(rng.integers(4))].item
            if rng.random() < 0.1:
                one = "a5"
            at = of.ask.time + int(rng.choice([-5, 0, 1, 100, 599, 601, 700]) * 1e6)
            kind = str(rng.choice(["impression", "impression", "click", "like", "play"]))
            event = Event(
                f"e{n} {rng.integers(10**9)}", of.ask.user, kind, item_id=one, request_id=request,
                timestamp=at,
            )  # fmt: skip
            times = 2 if rng.random() < 0.2 else 1
            batch += [event] * times
            sent.append((request, one, kind, at, arrived))
        tenant(opened).intake.put(batch, received_at=arrived)
        clock.move(float(rng.choice([0.001, 1, 50, 300])))
        if rng.random() < 0.3:
            opened.learner.step()
        if rng.random() < 0.04:  # broken off: what was not committed is not there
            opened.learner._room.held.clear()
            opened.learner._load()
        if rng.random() < 0.03:
            at = opened.clock()
            opened.close()
            opened, clock = begun(config)
            clock.move(max(at - opened.clock(), 0) / 1e6)
    clock.move(2_000)
    settle(opened)
    try:
        assert counts(opened) == plain_count(answers, sent)
        assert len(counts(opened)) > 10
    finally:
        opened.close()


def plain_count(answers, sent):
    """The same by brute force, from the log alone."""
    worth = {"impression": 0.0, "click": 0.5, "like": 1.0}
    best = {}
    for request, item, kind, at, arrived in sent:
        found = answers.get(request)
        if found is None or kind not in worth:
            continue
        after, later = at - found.ask.time, arrived - found.ask.time
        in_time = 0 <= after <= 600 * 10**6 and later <= 660 * 10**6
        if in_time and item in [one.item for one in found.answer.items]:
            best[request, item] = max(worth[kind], best.get((request, item), 0.0))
    total = collections.defaultdict(lambda: np.zeros(2))
    for (_, item), reward in best.items():
        total[item] += (1, reward)
    return {item: tuple(row) for item, row in total.items()}


def test_a_decision_replays_whatever_was_learned_since(config):
    opened, _ = begun(config)
    try:
        before = asked(opened, "then", explain=True)
        assert before.arm_NW.shape[0] == len(before.item_N)
        for n in range(30):
            send(opened, asked(opened, f"r{n}"), "impression", "like")
        settle(opened)
        assert replay(before, opened.engine).equal
        again = opened.engine.answer(before.ask)
        chances = [[one.propensity for one in e.answer.items] for e in (before, again)]
        assert chances[0] != chances[1]
        opened.evidence.flush()
        kept = opened.evidence.get("then")  # as it comes back from the disk
        assert replay(kept, opened.engine).equal
        np.testing.assert_array_equal(kept.arm_NW, before.arm_NW)
    finally:
        opened.close()


def test_who_is_forgotten_leaves_no_answer_that_is_waited_for(config):
    opened, clock = begun(config)
    try:
        mine, other = asked(opened, "mine", user="u7"), asked(opened, "other", user="u8")
        send(opened, mine, "impression", user="u7")
        send(opened, other, "impression", user="u8")
        settle(opened)
        assert len(opened.learner._room.held) == 2
        receipt = tenant(opened).forgetting.erase("u7", who="k")
        assert receipt["parts"]["policy"] == {"answers": 1}
        assert any("policy" in one["where"] for one in receipt["residue"])
        clock.move(1_000)
        settle(opened)
        assert counts(opened) == {other.answer.items[0].item: (1, 0)}
    finally:
        opened.close()


def test_it_learns_in_a_thread_of_its_own(config):
    opened, clock = begun(config)
    try:
        opened.learner.start()
        for n in range(5):
            send(opened, asked(opened, f"r{n}"), "impression", "like")
        end = time.monotonic() + 20
        while sum(n for n, _ in counts(opened).values()) < 5:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert opened.learner.trouble() is None
        assert clock.ns == 0
    finally:
        opened.close()


def test_without_its_statistics_a_policy_answers_by_what_it_believed_before(config, monkeypatch):
    opened, _ = begun(config)
    try:

        def refused(*_):
            raise StoreError("the disk is gone")

        monkeypatch.setattr(opened.learner.statistics, "of", refused)
        found = asked(opened, "r")
        assert found.answer.degraded == ("policy: what it has learned cannot be read",)
        assert len(found.answer.items) == 4
        assert replay(found, opened.engine).equal
    finally:
        opened.close()


def test_other_rewards_are_not_added_to_what_was_counted(config, made):
    opened, _ = begun(config)
    send(opened, asked(opened, "r"), "impression", "like")
    settle(opened)
    opened.close()
    runs = f"runs={config.runs!r}"
    with pytest.raises(StoreError, match="counted by"):
        open_service(read_recipe(made, overrides=[runs, "serving.reward.wait_s=5"]), time_of="log")
    discounted = (
        'policy.forgetting={use="muma.policy.discounted.Discounted", half_life_us=3600000000}'
    )
    with pytest.raises(StoreError, match="were made by"):
        open_service(read_recipe(made, overrides=[runs, discounted]), time_of="log")
    open_service(config, time_of="log").close()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('policy={use="muma.policy.linucb.LinUCB"}', "learns from features"),
        ('policy={use="muma.policy.neural_linear.NeuralLinear"}', "learns from features"),
    ],
)
def test_policies_that_cannot_be_taught_are_refused(config, made, override, message):
    with pytest.raises(ConfigError, match=message):
        open_service(
            read_recipe(made, overrides=[f"runs={config.runs!r}", override]), time_of="log"
        )


def test_every_policy_of_arms_can_be_taught(config, made):
    names = "ucb.UCB stochastic_ucb.StochasticUCB epsilon_greedy.EpsilonGreedy cycle.Cycle"
    for done, use in enumerate(names.split()):
        shutil.rmtree(config.folder / "policy", ignore_errors=True)
        override = f'policy={{use="muma.policy.{use}"}}'
        opened, _ = begun(read_recipe(made, overrides=[f"runs={config.runs!r}", override]))
        try:
            assert isinstance(opened.learner, Learner)
            found = asked(opened, use)
            send(opened, found, "impression", "like")
            settle(opened)
            assert sum(n for n, _ in counts(opened).values()) == done + 1  # those before, anew
            assert replay(found, opened.engine).equal
        finally:
            opened.close()


def test_processes_beside_the_door_answer_by_what_was_learned(config):
    opened, clock = begun(config.model_copy(update={
        "serving": config.serving.model_copy(update={"processes": 1}),
    }))  # fmt: skip
    opened.learner.start = lambda: None
    try:
        for begin in opened.service.on_start:
            begin()
        first = asked(opened, "first", candidates=("a0", "a1", "a2", "a3"))
        send(opened, first, "impression", "like", slot=0)
        clock.move(1)
        settle(opened)
        assert opened.answerers.pids()
        second = asked(opened, "second", candidates=("a0", "a1", "a2", "a3"))
        own = opened.engine.answer(second.ask)
        assert second.arm_NW.sum() > first.arm_NW.sum()
        np.testing.assert_array_equal(second.arm_NW, own.arm_NW)
        np.testing.assert_array_equal(second.arm_total_1W, own.arm_total_1W)
        assert second.answer.items == own.answer.items
    finally:
        opened.close()
