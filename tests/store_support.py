"""Numbered commits, by which a view can tell that it shows exactly one whole commit; and processes
that write or read them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from muma.features.store import Changes, Records, TableChange

USERS = np.arange(40, dtype=np.uint64)
START = """
import sys
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.errors import StoreError
from store_support import number_of, numbered, shown
"""


def numbered(n):
    """Every user's record says n; the items are the last five numbers."""
    sizes = np.random.default_rng(n).integers(1, 700, 40).tolist()
    users = TableChange("user", USERS, Records.of([b"%d." % n * size for size in sizes]))
    gone = np.array([n - 5] if n > 5 else [], dtype=np.uint64)
    item = TableChange("item", np.array([n], np.uint64), Records.of([b"%d" % n]), removed=gone)
    return Changes([users, item], {0: n}, {"n": b"%d" % n})


def number_of(view):
    """The one commit that a view shows; an AssertionError when it shows a part or a mixture."""
    n = view.version
    records = view.get("user", USERS)
    said = {number for i in range(40) for number in records[i].split(b".")[:-1]}
    assert said == ({b"%d" % n} if n else set()), (n, said)
    assert view.offsets() == ({0: n} if n else {})
    assert view.blob("n") == (b"%d" % n if n else None)
    items = sorted(key for piece, _ in view.scan("item") for key in piece.tolist())
    assert items == list(range(max(1, n - 4), n + 1)), (n, items)
    return n


def shown(store):
    """The commit that a store holds."""
    with store.snapshot() as view:
        return number_of(view)


def commit(store, *numbers):
    """Commit these numbers."""
    for n in numbers:
        assert store.commit(numbered(n)) == n


def crash(place, elsewhere):
    """The folder as a writer that is still at work leaves it."""
    shutil.copytree(place, elsewhere)
    return elsewhere


def start(script, *arguments, **options):
    """Run a script that prints "ready", up to there."""
    process = subprocess.Popen(
        [sys.executable, "-c", START + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        **options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
