"""The process that keeps features up to date beside a service: it dies, waits, comes back, and leaves nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from muma.app.config import read_recipe
from muma.app.service.make import open_service
from muma.app.streaming import state_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from muma.serving.parts import Event
from muma.serving.recommending import Ask
from process_support import alive
from trained_support import trained


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return trained(tmp_path_factory)


@pytest.fixture
def config(recipe, tmp_path):
    shutil.copytree(read_recipe(recipe).folder, tmp_path / "feed")
    return read_recipe(recipe, overrides=[f"runs={str(tmp_path)!r}"])


@pytest.fixture
def opened(config):
    found = open_service(config, time_of="log")
    found.clock.go()
    yield found
    found.close()


def until(true, within=120.0):
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def send(opened, name, n=1, user="u1"):
    parts = opened.service.tenants.get("default")
    at = opened.clock()
    events = [
        Event(f"{name}-{i}", user, "click", item_id=f"a{i % 20}", timestamp=at) for i in range(n)
    ]
    return parts.intake.put(events, received_at=at)


def seen(opened, user="u1"):
    """Clicks that the state holds of a user."""
    return opened.running.state.told(
        opened.engine.versions.bundle, opened.engine.index_of(user), opened.engine.versions.facts
    )["features"]["user.click.count.1d"]


def test_what_comes_is_applied_by_another_process(opened):
    assert opened.running.trouble() is None
    assert opened.running.pump.pid != os.getpid()
    before, steps = seen(opened), []
    opened.running.on_step = lambda: steps.append(opened.running.pump.report)
    send(opened, "come", 7)
    until(lambda: seen(opened) == before + 7)
    until(lambda: steps and not opened.running.lag())


def test_one_that_is_killed_comes_back_and_counts_everything_once(opened):
    before, first = seen(opened), opened.running.pump.pid
    send(opened, "a", 5)
    os.kill(first, signal.SIGKILL)
    until(lambda: opened.running.trouble() is not None)
    assert "ended with -9" in opened.running.trouble()
    send(opened, "b", 5)  # events are taken in meanwhile
    answer = opened.engine.answer(Ask("x", opened.clock(), user="u1", deadline_us=10**9)).answer
    assert len(answer.items) == 10  # and lists answered
    assert not answer.degraded
    until(lambda: opened.running.trouble() is None)
    assert opened.running.pump.pid != first
    until(lambda: not opened.running.lag())
    assert seen(opened) == before + 10


def test_one_that_stands_still_holds_nobody_up_and_is_behind(opened):
    before, pid = seen(opened), opened.running.pump.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(50):
            send(opened, f"still-{n}", 2)
        assert opened.running.lag() == 100
        assert seen(opened) == before
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not opened.running.lag())
    assert seen(opened) == before + 100


def test_events_go_on_coming_in_while_an_erasure_has_the_state(opened, config):
    before, running = seen(opened), opened.running
    with running.paused() as store:
        assert running.trouble() == "paused"
        with pytest.raises(StoreError, match="paused"):
            running.state.newest()
        send(opened, "meanwhile", 3)
        assert running.lag() == 3
        answer = opened.engine.answer(Ask("p", opened.clock(), user="u1", deadline_us=10**9))
        assert len(answer.answer.items) == 10
        assert answer.answer.degraded
        with store.snapshot() as view:
            assert view.offsets()
    pid = running.pump.pid
    running.resume()
    running.resume()
    assert running.trouble() is None
    assert running.pump.pid == pid  # the same process went on
    until(lambda: not running.lag())
    assert seen(opened) == before + 3


def test_one_that_dies_while_it_is_paused_does_not_take_the_state(opened):
    running = opened.running
    with running.paused():
        first = running.pump.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: running.pump.pid != first and running.pump.report.state == "paused")
    running.resume()
    assert running.trouble() is None


def test_state_that_another_process_holds_is_said(config):
    holder = LmdbStore(LmdbConfig(path=str(state_folder(config))))
    try:
        with pytest.raises(StoreError, match="another process is writing"):
            open_service(config, time_of="log")
    finally:
        holder.close()
    open_service(config, time_of="log").close()  # nothing was left open


LIFE = """
import os, sys, time
from muma.app.config import read_recipe
from muma.app.service.make import open_service
opened = open_service(read_recipe(sys.argv[1], overrides=sys.argv[2:]), time_of="log")
print(opened.running.pump.pid, flush=True)
time.sleep(600)
"""


def test_when_its_service_is_killed_it_ends_and_the_state_is_free(recipe, config, tmp_path):
    command = [sys.executable, "-c", LIFE, str(recipe), f"runs={str(tmp_path)!r}"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE)
    pump = int(service.stdout.readline())
    service.kill()
    service.wait()
    service.stdout.close()
    until(lambda: not alive(pump))
    LmdbStore(LmdbConfig(path=str(state_folder(config)), lock_s=5)).close()
