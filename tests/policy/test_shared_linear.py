"""Linear models in the feature store: as in memory, counted once, exact after kills, seen by all workers."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from muma import artifact
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.state_memory import MemoryStore
from muma.errors import DataError, StoreError
from muma.features.store import Changes
from muma.policy.linear_statistics import LinearConfig
from muma.policy.lints import LinTS, LinTSConfig
from muma.policy.linucb import LinUCB, LinUCBConfig
from muma.policy.neural_linear import NeuralLinear, NeuralLinearConfig
from muma.policy.shared_linear import SharedLinear, SharedRegressions
from muma.rng import derive
from muma.testing.policy_suite import SECOND, PolicySuite, context_of, feedback_of, slate_of

HALF = 900.0 * SECOND
CONFIGS = {
    "linucb": LinUCBConfig(half_life_us=HALF),
    "lints": LinTSConfig(draws=50),
    "neural": NeuralLinearConfig(draws=50, half_life_us=HALF),
}


def make(kind, store=None):
    config = CONFIGS[kind]
    if kind == "neural":
        return NeuralLinear(config, store=store)
    statistics = None if store is None else SharedLinear(config, store=store)
    return {"linucb": LinUCB, "lints": LinTS}[kind](config, statistics=statistics)


def store_of(backend, folder):
    if backend == "memory":
        return MemoryStore()
    return LmdbStore(LmdbConfig(path=str(folder / "store")))


def piece(feedback, at, size, partition=0):
    rows = {
        name: getattr(feedback, name)[at : at + size]
        for name in ("item_E", "reward_E", "time_E", "propensity_E", "value_EF", "vector_ED")
    }
    return replace(feedback, **rows, explored_E=None, source=(partition, at))


def learned(policy):
    return (policy._arms if isinstance(policy, NeuralLinear) else policy.statistics).arrays()


def chances(policy):
    return policy.next_slot(slate_of(30), context_of(), [])


class TestLinUCBOnASharedStore(PolicySuite):
    draws = 200

    def make(self):
        return make("linucb", MemoryStore())


class TestNeuralLinearOnASharedStore(PolicySuite):
    draws = 200

    def make(self):
        return make("neural", MemoryStore())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_equal_to_a_policy_in_memory(kind, backend, tmp_path):
    store, alone = store_of(backend, tmp_path), make(kind)
    shared, other = make(kind, store), make(kind, store)
    assert shared.as_of == alone.as_of == -1
    np.testing.assert_array_equal(chances(shared), chances(alone))
    for number in range(3):
        batch = feedback_of(200, seed=number)
        (shared, other)[number % 2].learn(batch)  # what one worker learns, all know
        alone.learn(batch)
        for reader in (shared, other, make(kind, store)):
            np.testing.assert_array_equal(chances(reader), chances(alone))
            assert reader.as_of == alone.as_of
    with artifact.write(tmp_path / "p", kind="policy", version=1) as writer:
        shared.save(writer)
    loaded = type(alone).load(artifact.read(tmp_path / "p", kind="policy", version=1))
    np.testing.assert_array_equal(chances(loaded), chances(alone))
    store.close()


@pytest.mark.parametrize("kind", CONFIGS)
def test_counted_once_whatever_is_sent_again(kind):
    log, store, alone = feedback_of(120), MemoryStore(), make(kind)
    for at in range(0, 120, 10):
        alone.learn(piece(log, at, 10))
    shared, rng = make(kind, store), derive(2, "again")
    for at in range(0, 120, 10):
        shared.learn(piece(log, at, 10))
        if at and rng.random() < 0.5:
            shared.learn(piece(log, at - 10, 20))  # old rows, and those just sent
    np.testing.assert_array_equal(chances(shared), chances(alone))
    before = chances(shared)
    with pytest.raises(StoreError, match=r"begins at offset 20, but .* up to 0"):
        shared.learn(piece(log, 20, 10, partition=1))
    wide = np.zeros((10, 99), np.float32)
    wrong = replace(piece(log, 0, 10, partition=1), value_EF=wide, vector_ED=wide)
    with pytest.raises(DataError):
        shared.learn(wrong)
    np.testing.assert_array_equal(chances(shared), before)


def test_another_rule_another_width_and_damage_are_refused():
    store = MemoryStore()
    make("linucb", store).learn(feedback_of(20))
    make("neural", store).learn(feedback_of(20))
    other = SharedLinear(LinearConfig(half_life_us=1.0), store=store)
    with pytest.raises(StoreError, match="were made by"):
        other.posterior(3)
    with pytest.raises(StoreError, match="were made by"):
        SharedRegressions(CONFIGS["neural"], 99, store=store)
    store.commit(Changes(blobs={"linear/moments": b"short"}))
    with pytest.raises(StoreError, match="cannot be read"):
        chances(make("linucb", store))


@pytest.mark.parametrize("kind", CONFIGS)
def test_threads_lose_no_increment(kind, tmp_path):
    store, log = store_of("lmdb", tmp_path), feedback_of(40)

    def work(partition):
        policy = make(kind, store)
        for at in range(0, 40, 4):
            policy.learn(piece(log, at, 4, partition))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = make(kind)
    for _ in range(3):
        alone.learn(replace(log, explored_E=None))
    mine, theirs = learned(make(kind, store)), learned(alone)
    order = np.argsort(mine["item"]) if kind == "neural" else slice(None)
    other = np.argsort(theirs["item"]) if kind == "neural" else slice(None)
    for name, value in theirs.items():  # sums in another order differ by rounding
        np.testing.assert_allclose(mine[name][order], value[other], rtol=1e-9, atol=1e-12)
    store.close()


WORKER = """
import sys
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from test_shared_linear import make, piece
from muma.testing.policy_suite import feedback_of

kind, path = sys.argv[1:]
store = LmdbStore(LmdbConfig(path=path, shared=True, sync="commit"))
policy, log = make(kind, store), feedback_of(200)
held = policy._arms if kind == "neural" else policy.statistics
done = 0 if held is None else held.offsets().get(0, 0)
while done < 200:
    policy.learn(piece(log, done, 5))
    done += 5
    print(done, flush=True)
store.close()
"""


@pytest.mark.parametrize("kind", ["linucb", "neural"])
def test_a_worker_that_is_killed_loses_and_repeats_nothing(kind, tmp_path):
    code = [sys.executable, "-c", WORKER, kind, str(tmp_path / "store")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    for kills in range(3):
        child = subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=env)
        assert child.stdout is not None
        if kills < 2:
            for _ in range(6):
                child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=120)
    assert child.returncode == 0
    alone, log = make(kind), feedback_of(200)
    for at in range(0, 200, 5):
        alone.learn(piece(log, at, 5))
    store = LmdbStore(LmdbConfig(path=str(tmp_path / "store")))
    np.testing.assert_array_equal(chances(make(kind, store)), chances(alone))
    store.close()
