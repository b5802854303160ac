"""Statistics in the feature store: equal to those in memory, counted once, exact after kills."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from muma import artifact
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.state_memory import MemoryStore
from muma.errors import StoreError
from muma.features.store import Changes
from muma.policy.discounted import Discounted, DiscountedConfig
from muma.policy.forgetting import Stationary
from muma.policy.policy import Feedback
from muma.policy.shared_statistics import SharedStatistics, SharedStatisticsConfig
from muma.policy.sliding_window import SlidingWindow, SlidingWindowConfig
from muma.policy.statistics import ArmStatistics
from muma.policy.thompson import Thompson
from muma.rng import derive
from muma.testing.policy_suite import NOW, PolicySuite, context_of, feedback_of, slate_of

HOUR = 3_600_000_000
RULES = [
    Stationary(),
    Discounted(DiscountedConfig(half_life_us=HOUR // 5)),
    SlidingWindow(SlidingWindowConfig(length_us=HOUR // 2, pane_us=HOUR // 12)),
]
ROWS = 5  # of a worker's batch

# argv: folder of the store, worker's number, batches to send
WORKER = """
import sys
import numpy as np
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.policy.policy import Feedback
from muma.policy.shared_statistics import SharedStatistics
from muma.rng import derive

path, worker, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = LmdbStore(LmdbConfig(path=path, shared=True, sync="commit"))
arms = SharedStatistics(store=store)
done = arms.offsets().get(worker, 0)
print("from", done, flush=True)
while done < batches * 5:
    rng = derive(worker, "batch", done // 5)
    item_E, one = rng.integers(0, 50, 5), np.ones(5)
    reward_E = (rng.random(5) < 0.3).astype(float)
    arms.add(Feedback(item_E, reward_E, np.arange(done, done + 5), one, source=(worker, done)))
    done += 5
    print(done, flush=True)
store.close()
"""


class TestThompsonOnASharedStore(PolicySuite):
    draws = 200

    def make(self):
        return Thompson(statistics=SharedStatistics(store=MemoryStore()))


def pieces(feedback: Feedback, size: int, partition: int) -> list[Feedback]:
    """Batches of a log of feedback, with their source."""
    return [
        Feedback(
            *(
                getattr(feedback, f"{name}_E")[at : at + size]
                for name in ("item", "reward", "time", "propensity")
            ),
            source=(partition, at),
        )
        for at in range(0, len(feedback), size)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_equal_to_statistics_in_memory(rule, backend, tmp_path):
    store = (
        MemoryStore() if backend == "memory" else LmdbStore(LmdbConfig(path=str(tmp_path / "s")))
    )
    shared = SharedStatistics(store=store, forgetting=rule)
    alone = ArmStatistics(rule)
    assert shared.as_of == alone.as_of == -1
    for number in range(4):
        batch = feedback_of(300, seed=number)
        shared.add(batch)
        alone.add(batch)
    item_N = np.array([3, 599, 10_000, 3, 0])
    for at in (NOW - HOUR, NOW, NOW + HOUR // 3):
        (ours, our_total), (theirs, their_total) = shared.read(item_N, at), alone.read(item_N, at)
        for name in ("count_N", "sum_N", "square_N"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert our_total == their_total
    assert shared.as_of == alone.as_of
    for mine, other in zip(shared.rows(), alone.rows(), strict=True):
        np.testing.assert_array_equal(mine, other)
    store.close()


def test_counted_once_whatever_is_sent_again():
    log = feedback_of(400)
    store, alone = MemoryStore(), ArmStatistics()
    alone.add(log)
    shared = SharedStatistics(store=store)
    rng = derive(1, "again")
    for size in (7, 40, 400):
        for batch in pieces(log, size, partition=3):
            shared.add(batch)
            if rng.random() < 0.3:
                shared.add(batch)
    assert shared.offsets() == {3: 400}
    np.testing.assert_array_equal(shared.rows()[0], alone.rows()[0])
    np.testing.assert_array_equal(shared.rows()[1], alone.rows()[1])
    shared.add(pieces(log, 400, partition=0)[0])  # another partition is other feedback
    assert shared.read(log.item_E[:1], NOW)[1] == 800


def test_a_gap_in_the_log_is_refused_and_adds_nothing():
    log = pieces(feedback_of(100), 10, partition=0)
    shared = SharedStatistics(store=MemoryStore())
    shared.add(log[0])
    with pytest.raises(StoreError, match=r"begins at offset 20, but .* up to 10"):
        shared.add(log[2])
    assert shared.read(np.array([1]), NOW)[1] == 10


def test_another_rule_or_a_damaged_row_is_refused():
    store = MemoryStore()
    SharedStatistics(store=store).add(feedback_of(10))
    other = SharedStatistics(store=store, forgetting=RULES[1])
    for act in (lambda: other.add(feedback_of(10)), lambda: other.read(np.array([1]), NOW)):
        with pytest.raises(StoreError, match=r"were made by .*Stationary"):
            act()
    fine = SharedStatistics(SharedStatisticsConfig(name="arm2"), store=store, forgetting=RULES[1])
    fine.add(feedback_of(10))
    assert fine.read(np.array([1]), NOW)[1] == pytest.approx(
        SharedStatistics(
            store=store, forgetting=RULES[1], config=SharedStatisticsConfig(name="arm2")
        ).read(np.array([1]), NOW)[1]
    )
    store.commit(Changes(blobs={"arm/total": b"short"}))
    with pytest.raises(StoreError, match="another length"):
        SharedStatistics(store=store).read(np.array([1]), NOW)


def test_a_policy_is_saved_with_what_the_store_holds(tmp_path):
    policy = Thompson(statistics=SharedStatistics(store=MemoryStore()))
    policy.learn(feedback_of(500))
    with artifact.write(tmp_path / "p", kind="policy", version=1) as writer:
        policy.save(writer)
    loaded = Thompson.load(artifact.read(tmp_path / "p", kind="policy", version=1))
    slate = slate_of(30)
    np.testing.assert_array_equal(
        loaded.next_slot(slate, context_of(), []), policy.next_slot(slate, context_of(), [])
    )


@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_threads_lose_no_increment(backend, tmp_path):
    store = (
        MemoryStore() if backend == "memory" else LmdbStore(LmdbConfig(path=str(tmp_path / "s")))
    )

    def work(number):
        shared = SharedStatistics(store=store)
        for batch in pieces(feedback_of(200, seed=number), 5, partition=number):
            shared.add(batch)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = ArmStatistics()
    for number in range(4):
        alone.add(feedback_of(200, seed=number))
    row_IW, total_1W = SharedStatistics(store=store).rows()
    np.testing.assert_array_equal(row_IW, alone.rows()[0])
    np.testing.assert_array_equal(total_1W, alone.rows()[1])
    store.close()


def spawn(path, worker, batches):
    code = [sys.executable, "-c", WORKER, str(path), str(worker), str(batches)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("workers", "batches", "kills"),
    [
        pytest.param(2, 30, 1, id="2 workers x 30 batches, 1 kill"),
        pytest.param(6, 150, 12, id="6 workers x 150 batches, 12 kills", marks=pytest.mark.slow),
    ],
)
def test_worker_processes_that_are_killed_lose_and_repeat_nothing(
    tmp_path, workers, batches, kills
):
    path = tmp_path / "arms"
    chance = random.Random(workers)
    children = {w: spawn(path, w, batches) for w in range(workers)}
    killed = 0
    while killed < kills and any(child.poll() is None for child in children.values()):
        victim = chance.randrange(workers)
        child = children[victim]
        if child.poll() is not None:
            continue
        assert child.stdout is not None
        child.stdout.readline()  # it has started
        child.stdout.readline()
        time.sleep(chance.random() * 0.08)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            killed += 1
        child.stdout.close()
        children[victim] = spawn(path, victim, batches)
    for child in children.values():
        child.communicate(timeout=240)
        assert child.returncode == 0
    assert killed == kills
    alone = ArmStatistics()
    for worker in range(workers):
        for number in range(batches):
            rng = derive(worker, "batch", number)
            item_E = rng.integers(0, 50, ROWS)
            reward_E = (rng.random(ROWS) < 0.3).astype(float)
            time_E = np.arange(number * ROWS, (number + 1) * ROWS)
            alone.add(Feedback(item_E, reward_E, time_E, np.ones(ROWS)))
    store = LmdbStore(LmdbConfig(path=str(path)))
    shared = SharedStatistics(store=store)
    assert shared.offsets() == dict.fromkeys(range(workers), batches * ROWS)
    np.testing.assert_array_equal(shared.rows()[0], alone.rows()[0])
    np.testing.assert_array_equal(shared.rows()[1], alone.rows()[1])
    store.close()
