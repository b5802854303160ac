"""Errors, progress, optional libraries and random generators."""

from __future__ import annotations

import numpy as np
import pytest

from muma import errors
from muma.errors import MissingExtraError, MumaError, SourceError
from muma.optional import require
from muma.progress import reporting, task, track
from muma.rng import derive


def test_every_error_is_a_muma_error_and_drawn_in_the_tree():
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(found) == 16
    for error in found:
        assert issubclass(error, MumaError)
        assert error.__name__ in (errors.__doc__ or "")
    assert issubclass(MissingExtraError, ImportError)


def test_a_source_error_says_where():
    assert str(SourceError("bad")) == "bad"
    assert str(SourceError("bad", file="f.csv")) == "f.csv: bad"
    error = SourceError("bad", file="f.csv", row=3)
    assert (str(error), error.file, error.row) == ("f.csv, row 3: bad", "f.csv", 3)


class Recorder:
    def __init__(self):
        self.calls = []

    def start(self, label, total):
        self.calls.append(("start", label, total))
        return len(self.calls)

    def advance(self, task, amount):
        self.calls.append(("advance", task, amount))

    def finish(self, task):
        self.calls.append(("finish", task))


def _fail():
    with task("broken", total=9) as opened:
        opened.advance(2.5)
        raise KeyError


def test_progress_goes_to_the_reporter_and_nowhere_else(capfd):
    recorder = Recorder()
    assert list(track([1, 2], label="silent")) == [1, 2]
    with reporting(recorder):
        assert list(track(iter("ab"), label="loud")) == ["a", "b"]
        with reporting(None):
            list(track([1], label="hushed"))
        with pytest.raises(KeyError):
            _fail()
        list(track([], label="sized"))
    list(track([1], label="silent again"))
    assert recorder.calls == [
        ("start", "loud", None), ("advance", 1, 1), ("advance", 1, 1), ("finish", 1),
        ("start", "broken", 9), ("advance", 5, 2.5), ("finish", 5),
        ("start", "sized", 0), ("finish", 8),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_progress_ends_when_the_loop_is_left_early():
    recorder = Recorder()
    with reporting(recorder):
        for _ in track(range(5), label="left"):
            break
        del _
    assert recorder.calls[-1][0] == "finish"


def test_require(tmp_path, monkeypatch):
    assert require("os.path", extra="none").sep
    with pytest.raises(MissingExtraError, match=r'no_such_lib\.deep is not installed; run: pip install "muma\[x\]"'):  # fmt: skip
        require("no_such_lib.deep", extra="x")
    (tmp_path / "broken_lib.py").write_text("import another_missing_one\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="another_missing_one") as caught:
        require("broken_lib", extra="x")
    assert not isinstance(caught.value, MumaError)


def test_generators_depend_on_seed_and_names_only():
    first = derive(1, "a", 2).random(5)
    assert np.array_equal(first, derive(1, "a", 2).random(5))
    others = [
        derive(2, "a", 2),
        derive(1, "a", 3),
        derive(1, "a"),
        derive(1, "a2"),
        derive(1, 2, "a"),
    ]
    draws = np.array([first, *(g.random(5) for g in others)])
    assert len(np.unique(draws)) == draws.size
    pairs = np.array([derive(7, "user", k).random() for k in range(4_000)])
    assert abs(pairs.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(pairs[:-1], pairs[1:])[0, 1]) < 0.05
