"""The gate of promotions in a world of known truth: worse is kept out, equal and better pass."""

import time

import numpy as np
import polars as pl
import pytest

from muma.app.config import read_recipe
from muma.app.service.gate import PromotionGate
from muma.app.service.make import open_service
from muma.app.service.shown import earned_by, first_since
from muma.app.serving_bundle import versions_of
from muma.app.versions import Pointer
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import ConfigError, RefusedError
from muma.rng import derive
from muma.serving.evidence.rewards import RewardConfig
from muma.serving.parts import Event
from muma.serving.recommending import Ask
from muma.serving.rescoring import rescored as again
from versions_support import rescored, trained

GATE = """
[policy]
use = "muma.policy.softmax.SoftmaxPolicy"
temperature = 1.0
floor = { least = 0.01 }

[serving.gate]
least_decisions = 100
tolerance = 0.1
on_thin_log = "refuse"
pause_ms = 0.0

window_hours = 1000

[serving.reward]
wait_s = 7200
late_s = 600
"""
SPEED, COUNT, ROUNDS = 4_000.0, 4, 200


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with the trained version, its equal twin, its inverse, and one that hardly knows anything."""
    place, first = trained(tmp_path_factory.mktemp("feed"), more=GATE)
    config = read_recipe(place)
    for name, weight in (("twin", 1.0), ("inverse", -1.0), ("blind", 0.0)):
        rescored(config, first, weight, name)
    return config, first


def likes(user, item):
    """The truth of the feed: chance of a click."""
    return 0.75 if int(item[1:]) % 2 == int(user[1:]) % 2 else 0.15


def live_through(opened, name, rounds=ROUNDS):
    """Answers, and what people made of them; returns when nothing can change any more."""
    tenant, rng = opened.service.tenants.get("default"), derive(3, name)
    events = []
    for n in range(rounds):
        user, at = f"u{rng.integers(60)}", opened.clock()
        request = f"{name} {n}"
        found = tenant.engine.answer(Ask(request, at, user=user, count=COUNT, deadline_us=10**9))
        for slot, one in enumerate(found.answer.items):
            more = {"item_id": one.item, "request_id": request, "position": slot}
            events.append(
                Event(f"{request} {slot} i", user, "impression", timestamp=at + 1, **more)
            )
            if rng.random() < likes(user, one.item):
                events.append(Event(f"{request} {slot} c", user, "click", timestamp=at + 2, **more))
        if len(events) > 60 or n == rounds - 1:
            tenant.intake.put(events, received_at=opened.clock())
            events = []
    opened.evidence.flush()
    time.sleep(8_000 / SPEED)


def served(config, live):
    versions_of(config).point(Pointer(live))
    found = open_service(config, time_of="log", speed=SPEED)
    found.clock.go()
    return found


def room(opened):
    return opened.service.tenants.get("default").models


def test_worse_is_kept_out_and_equal_passes(made):
    config, first = made
    opened = served(config, first)
    try:
        with pytest.raises(RefusedError, match=r"0 decisions with feedback .* 'refuse'"):
            room(opened).promote("twin", who="k")
        live_through(opened, "good")
        assert_same_chances(opened)
        with pytest.raises(RefusedError, match="it may be worse: its reward a slot differs by -"):
            room(opened).promote("inverse", who="k")
        with pytest.raises(RefusedError, match="may be worse"):
            room(opened).promote("blind", who="k")
        assert opened.engine.versions.bundle.version == first
        found = room(opened).promote("twin", who="k").gate
        assert found.passed
        assert (found.gain, found.low, found.high) == (0, 0, 0)  # the same chances, slot by slot
        assert found.decisions > 0.9 * ROUNDS
        forced = room(opened).promote("inverse", who="k", force=True).gate
        assert forced.forced
        assert forced.high < 0
        assert "may be worse" in forced.reason
    finally:
        opened.close()


def test_better_passes_and_its_gain_is_the_truth(made):
    config, first = made
    opened = served(config, "blind")
    try:
        live_through(opened, "blind")
        found = room(opened).promote(first, who="k").gate
        assert found.passed
        assert found.low > 0
        live = value(opened, "blind")
        assert found.live == pytest.approx(live, abs=0.05)
        noise = 0.06  # three standard errors of 800 drawn slots, twice
        assert found.low - noise <= value(opened, first) - live <= found.high + noise
    finally:
        opened.close()


def assert_same_chances(opened):
    """By the version that answered, each slot has the very propensity that was logged."""
    versions = opened.engine.versions
    for number, evidence in enumerate(opened.evidence.iterate()):
        found = again(versions.bundle, evidence, versions, versions.policy)
        slot_K = np.arange(len(found.place_K))
        np.testing.assert_array_equal(found.chance_KN[slot_K, found.place_K], evidence.propensity_K)
        np.testing.assert_allclose(found.chance_KN.sum(axis=1), 1)
        if number == 40:
            return
    raise AssertionError("there were too few")


def value(opened, version):
    """Mean chance of a click of the slots that a version gives, drawn anew many times."""
    versions = opened.engine.versions
    bundle = room(opened)._shelf.get(version)
    opened.engine.swap(lambda now: type(now)(bundle, now.facts, now.rules, now.policy))
    rng, chances = derive(8, version), []
    try:
        for n in range(200):
            user = f"u{rng.integers(60)}"
            ask = Ask(f"v{n}", opened.clock(), user=user, count=COUNT, deadline_us=10**9)
            chances += [likes(user, one.item) for one in opened.engine.answer(ask).answer.items]
    finally:
        opened.engine.swap(lambda _: versions)
    return float(np.mean(chances))


def test_a_thin_log_can_be_let_through(made):
    config, first = made
    gate = config.serving.gate.model_copy(update={"on_thin_log": "allow"})
    serving = config.serving.model_copy(update={"gate": gate})
    opened = served(config.model_copy(update={"serving": serving}), first)
    try:
        since = opened.clock()
        time.sleep(0.05)
        thin = PromotionGate(
            opened.engine, room(opened)._gate._evidence, lambda: opened.running.stream,
            config=gate.model_copy(update={"window_hours": 1e-3}), reward=config.serving.reward,
            tenant="default", clock=lambda: since + 10**15,
        )  # fmt: skip
        found = thin.judge(room(opened)._shelf.get("inverse"))
        assert found.passed
        assert found.decisions == 0
        assert "passed, as serving.gate.on_thin_log = 'allow' says" in found.reason
        assert np.isnan(found.gain)
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ({"use": "muma.evaluation.off_policy.snips.SNIPS"}, None),
        ({"use": "muma.evaluation.off_policy.switch_dr.SwitchDR", "threshold": 5.0}, None),
        ({"use": "muma.evaluation.off_policy.snips.SNIPS", "clip": 3}, "takes no settings"),
        ({"use": "muma.evaluation.off_policy.logged.Logged"}, "has no terms"),
    ],
)
def test_estimators_by_name(made, estimator, message):
    config, _ = made
    gate = type(config.serving.gate)(estimator=estimator)

    def make():
        return PromotionGate(
            None, None, None, config=gate, reward=RewardConfig(), tenant="t", clock=lambda: 0
        )

    if message is None:
        assert make()
    else:
        with pytest.raises(ConfigError, match=message):
            make()


def test_rewards_are_those_of_a_plain_count(tmp_path):
    stream = FileStream(FileStreamConfig(path=str(tmp_path), partitions=3))
    rng, rule = (
        derive(5, "rewards"),
        RewardConfig(kinds={"click": 0.5, "like": 1.0}, wait_s=100, late_s=20),
    )
    decided = {f"r{n}": int(rng.integers(10**9)) for n in range(40)}
    rows, arrived = [], 0
    for _ in range(12):
        arrived += int(rng.integers(10**8))
        piece = []
        for _ in range(60):
            request = f"r{rng.integers(45)}"  # some that nobody asks for
            at = decided.get(request, 0) + int(rng.integers(-(10**7), 12 * 10**7))
            kind = str(rng.choice(["impression", "click", "like", "play"]))
            piece.append((f"u{rng.integers(9)}", f"i{rng.integers(4)}", kind, max(at, 0), request))
        names = ["user_id", "item_id", "kind", "timestamp", "request_id"]
        stream.append(pl.DataFrame(piece, schema=names, orient="row"), received_at=arrived)
        rows += [(*row, arrived) for row in piece]
    expected = {name: {} for name in decided}
    for _, item, kind, at, request, received in rows:
        after = at - decided.get(request, 10**18)
        soon = 0 <= after <= 100 * 10**6 and received - decided[request] <= 120 * 10**6
        if soon and kind != "play":
            worth = {"click": 0.5, "like": 1.0}.get(kind, 0.0)
            expected[request][item] = max(worth, expected[request].get(item, 0.0))
    found = earned_by(stream, decided, rule)
    assert {name: one.reward for name, one in found.items()} == expected
    assert sum(map(len, expected.values())) > 20
    for partition in range(3):
        stamps = stream.read(partition, 0, limit=10**6).frame["received_at"].to_list()
        for since in (0, stamps[len(stamps) // 2], stamps[-1], stamps[-1] + 1):
            plain = sum(stamp < since for stamp in stamps)
            assert first_since(stream, partition, since) == plain
    stream.close()
