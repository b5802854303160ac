"""Versions on disk: whole, in order, and never lost to somebody else's change."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from muma.errors import ConfigError, StoreError, UnknownIdError, VersionConflictError
from muma.serving.rules.kinds import KINDS
from muma.serving.rules.store import RuleStore


def cap(most):
    return [{"kind": "author_cap", "id": "cap", "most": most}]


def made(folder, **more):
    ticks = iter(range(1000))
    return RuleStore(folder, clock=lambda: next(ticks), **more)


def test_versions_history_and_rolling_back(tmp_path):
    store = made(tmp_path / "rules")
    first = store.get()
    assert (first.rules, len(store.rule_set()), store.history()) == ((), 0, [])
    one = store.put(cap(1), version=first.version, who="anna", note="too many")
    two = store.put(cap(2), version=one.version, who="ben")
    assert store.get() == two
    assert store.rule_set().rules[0].config.most == 2
    assert [(e.number, e.who, e.at, e.note, e.before) for e in store.history()] == [
        (2, "ben", 1, "", 1), (1, "anna", 0, "too many", 0),
    ]  # fmt: skip
    back = store.roll_back(who="anna")
    assert back.rules == one.rules
    assert back.version != one.version
    assert store.history()[0].note == f"rolled back to {one.version}"
    assert store.roll_back(who="anna", to=two.version).rules == two.rules
    assert store.at(one.version).rules[0].config.most == 1
    assert store.at(store.rule_set().version) == store.rule_set()
    assert len(store.at(first.version)) == 0
    again = made(tmp_path / "rules")
    assert again.history() == store.history()
    for wrong in ("9-abc", ""):
        with pytest.raises(UnknownIdError):
            store.at(wrong)
    with pytest.raises(UnknownIdError, match="to roll back to"):
        store.roll_back(who="anna", to="nothing")
    with pytest.raises(UnknownIdError, match="to roll back to"):
        made(tmp_path / "empty").roll_back(who="anna")


def test_a_change_of_an_old_version_is_refused(tmp_path):
    store = made(tmp_path)
    old = store.get().version
    new = store.put(cap(1), version=old, who="anna")
    with pytest.raises(VersionConflictError, match=f"'{new.version}' by 'anna' is"):
        store.put(cap(2), version=old, who="ben")
    assert store.get() == new


def test_wrong_rules_change_nothing(tmp_path):
    store = made(tmp_path)
    with pytest.raises(ConfigError, match="greater than or equal"):
        store.put(cap(0), version=store.get().version, who="anna")
    with pytest.raises(ConfigError, match="may not be named"):
        store.put([{"use": KINDS["seen"], "id": "x"}], version=store.get().version, who="anna")
    assert store.get().rules == ()
    own = made(tmp_path, own=(KINDS["seen"],))
    assert own.put([{"use": KINDS["seen"], "id": "x"}], version=own.get().version, who="anna")


def test_of_many_writers_each_change_is_kept_or_refused(tmp_path):
    done, refused, seen, stop = [], [], [], threading.Event()

    def write(n):
        store = made(tmp_path)
        for k in range(15):
            try:
                before = store.get()
                done.append(store.put(cap(n * 100 + k + 1), version=before.version, who=f"w{n}"))
            except VersionConflictError:
                refused.append(n)

    def read():
        store = made(tmp_path)
        while not stop.is_set():
            seen.append(store.get())
            store.rule_set()

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    history = made(tmp_path).history()
    assert len(history) == len(done) == 60 - len(refused)
    assert {e.version for e in history} == {rules.version for rules in done}
    assert [e.before for e in history] == [e.number - 1 for e in history]
    whole = {rules.version: rules.rules for rules in done}
    assert all(rules.rules == whole.get(rules.version, ()) for rules in seen)


WRITER = """
import itertools, sys
from muma.serving.rules.store import RuleStore
store = RuleStore(sys.argv[1], clock=lambda: 0)
for n in itertools.count(1):
    rules = [{"kind": "author_cap", "id": "cap", "most": n}]
    store.put(rules, version=store.get().version, who="w")
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_kill_leaves_a_whole_version(tmp_path):
    acknowledged = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5):
                writer.stdout.readline()
            time.sleep(0.01)
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged += 5 + len(writer.stdout.read().split())
        store = made(tmp_path)
        assert len(store.history()) in (acknowledged, acknowledged + 1)
        acknowledged = len(store.history())
        store.rule_set()


def test_a_file_that_no_pointer_named_is_passed_over(tmp_path):
    store = made(tmp_path)
    one = store.put(cap(1), version=store.get().version, who="anna")
    (tmp_path / "versions" / "000002.json").write_text("{torn")
    assert store.get() == one
    two = store.put(cap(2), version=one.version, who="anna")
    assert two.version.startswith("3-")
    assert [e.number for e in store.history()] == [3, 1]


def test_damage_is_said(tmp_path):
    store = made(tmp_path)
    store.put(cap(1), version=store.get().version, who="anna")
    file = tmp_path / "versions" / "000001.json"
    data = json.loads(file.read_text())
    data["rules"][0]["most"] = 9
    file.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="the file was changed"):
        store.rule_set()
    file.write_text("{")
    with pytest.raises(StoreError, match="missing or damaged"):
        store.get()
    file.unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        store.get()
    (tmp_path / "current").write_text("x")
    with pytest.raises(StoreError, match="holds no number"):
        store.get()
