"""No answer ever holds a forbidden item: every endpoint, every fallback, while editors change the rules.

The oracle is a timeline: an answer that was asked for and given while certain sets of rules were in force
must wholly obey one of them.
"""

import dataclasses
import itertools
import random
import threading
import time
from contextlib import contextmanager

import pytest
from litestar.testing import TestClient

from muma.app.config import read_recipe
from muma.app.service.make import open_service
from muma.errors import ArtifactError, StoreError
from muma.serving.bundle import LISTS
from muma.serving.http.app import build
from muma.serving.http.service import DoorConfig
from muma.serving.recommending import Ask
from trained_support import trained

ITEMS = [f"a{n}" for n in range(24)]
NEVER = {"a0", "a9", "a23"}  # in every set of rules
PARTS = [set(ITEMS[start::4]) - {"a5"} for start in range(4)]
EDITORIAL = tuple(ITEMS)
SECONDS = 0.7


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    found = open_service(read_recipe(trained(tmp_path_factory)), time_of="log")
    yield found
    found.close()


@pytest.fixture(scope="module")
def http(opened):
    _, token = opened.keys.create(tenant="default", roles=("admin",), name="all")
    config = DoorConfig(answer_threads=3)
    with TestClient(build(dataclasses.replace(opened.service, config=config))) as made:
        made.headers["authorization"] = f"Bearer {token}"
        yield made


def asked(http, request_id, **body):
    sent = http.post(
        "/v1/recommendations", json={"count": 20, "deadline_ms": 10_000, **body},
        headers={"x-request-id": request_id},
    )  # fmt: skip
    assert sent.status_code == 200, sent.text
    return sent.json()


def ranked(http, request_id, **body):
    sent = http.post(
        "/v1/rank", json={"items": ITEMS, "deadline_ms": 10_000, **body},
        headers={"x-request-id": request_id},
    )  # fmt: skip
    assert sent.status_code == 200, sent.text
    return sent.json()


def near(http, request_id):
    sent = http.get("/v1/items/a5/similar?count=20", headers={"x-request-id": request_id})
    assert sent.status_code == 200, sent.text
    return sent.json()


ENDPOINTS = {
    "known": lambda http, name: asked(http, name, user="u1"),
    "explained": lambda http, name: asked(http, name, user="u2", explain=True),
    "cold": lambda http, name: asked(http, name, user="never seen"),
    "session": lambda http, name: asked(http, name, session=["a3", "a8", "a0"]),
    "nobody": asked,
    "unprofiled": lambda http, name: asked(http, name, user="u1", profiling=False),
    "hurried": lambda http, name: asked(http, name, user="u1", deadline_ms=1),
    "rank": lambda http, name: ranked(http, name, user="u3"),
    "rank for nobody": lambda http, name: ranked(http, name, deadline_ms=1),
    "similar": near,
}


def refused(*_, **__):
    raise StoreError("the disk is gone")


class Broken:
    """A ranker that fails."""

    columns = ()

    def rank(self, *_):
        raise ArtifactError("gone")

    def probability(self, *_):
        raise ArtifactError("gone")


@contextmanager
def fallback(opened, name, monkeypatch):
    """The service with something missing."""
    before = opened.engine.versions

    def bundle(**parts):
        opened.engine.swap(
            lambda v: dataclasses.replace(v, bundle=dataclasses.replace(v.bundle, **parts))
        )

    def config(**parts):
        monkeypatch.setattr(opened.engine, "config", opened.engine.config.model_copy(update=parts))

    if name == "no store":
        monkeypatch.setattr(opened.running.state, "known", refused)
        monkeypatch.setattr(opened.running.state, "features", refused)
    elif name == "no ranker":
        bundle(rankers={LISTS: Broken()})
    elif name == "editorial list":
        bundle(sources={})
        config(editorial=EDITORIAL)
    elif name == "newest":
        bundle(sources={})
    elif name == "no time":
        config(reserve_us=10**9)
    elif name == "all of it":
        monkeypatch.setattr(opened.running.state, "known", refused)
        monkeypatch.setattr(opened.running.state, "features", refused)
        bundle(rankers={LISTS: Broken()}, sources={})
        config(editorial=EDITORIAL)
    try:
        yield
    finally:
        opened.engine.swap(lambda v: dataclasses.replace(v, bundle=before.bundle))


class Editors(threading.Thread):
    """Change the rules again and again; `timeline` holds (begun, acknowledged, forbidden)."""

    def __init__(self, http, stop):
        super().__init__()
        self.http, self.stop, self.timeline, self.failures = http, stop, [], []
        self.put(PARTS[0])

    def put(self, part):
        out = NEVER | part
        half = sorted(out)[::2]
        rules = [
            {"kind": "blocked", "id": "some", "items": half},
            {"kind": "without", "id": "others", "select": {"items": sorted(out - set(half))}},
            {"kind": "pin", "id": "wrong", "item": sorted(out)[0], "slot": 0},
            {"kind": "boost", "id": "push", "select": {"items": sorted(out)}, "log_odds": 9.0},
        ]
        begun = time.perf_counter()
        sent = self.http.put("/v1/rules", json={"rules": rules}, headers={"if-match": "*"})
        if sent.status_code != 200:
            self.failures.append(sent.text)
        self.timeline.append((begun, time.perf_counter(), frozenset(out)))

    def run(self):
        for part in itertools.cycle(PARTS):
            if self.stop.is_set():
                return
            self.put(part)
            time.sleep(0.005)


class Asking(threading.Thread):
    """Ask all endpoints in turn; `answers` holds (endpoint, sent, got, items, answer)."""

    def __init__(self, http, stop, number, names):
        super().__init__()
        self.http, self.stop, self.number, self.names = http, stop, number, names
        self.answers, self.failures = [], []

    def run(self):
        for turn in itertools.count():
            for name in random.Random(self.number + turn).sample(self.names, len(self.names)):
                if self.stop.is_set() and turn:
                    return
                sent = time.perf_counter()
                try:
                    found = ENDPOINTS[name](
                        self.http, f"{self.number}-{turn}-{name.replace(' ', '_')}"
                    )
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                    self.failures.append(repr(error))
                    return
                got = time.perf_counter()
                items = [one["item"] for one in found["items"]]
                self.answers.append((name, sent, got, items, found))


def in_force(timeline, sent, got):
    """Sets of rules that may have been in force at some moment between two."""
    for place, (begun, _, out) in enumerate(timeline):
        replaced = timeline[place + 1][1] if place + 1 < len(timeline) else float("inf")
        if begun <= got and replaced >= sent:
            yield out


FALLBACKS = ["nothing", "no store", "no ranker", "editorial list", "newest", "no time", "all of it"]


@pytest.mark.parametrize("name", FALLBACKS)
def test_no_forbidden_item_over_http_while_the_rules_change(opened, http, name, monkeypatch):
    stop = threading.Event()
    with fallback(opened, name, monkeypatch):
        names = [n for n in ENDPOINTS if n != "similar" or opened.engine.versions.bundle.sources]
        editors = Editors(http, stop)
        asking = [Asking(http, stop, number, names) for number in range(3)]
        threads = [editors, *asking]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        stop.set()
        for thread in threads:
            thread.join()
    assert not editors.failures
    assert not [text for each in asking for text in each.failures]
    assert len(editors.timeline) >= 4
    answers = [answer for each in asking for answer in each.answers]
    assert {answer[0] for answer in answers} == set(names)
    for endpoint, sent, got, items, _ in answers:
        assert len(set(items)) == len(items)
        assert not NEVER & set(items), (name, endpoint, items)
        allowed = list(in_force(editors.timeline, sent, got))
        assert any(not out & set(items) for out in allowed), (name, endpoint, items)
        assert items, (name, endpoint)
    assert len({tuple(sorted(set(ITEMS) - set(items))) for *_, items, _ in answers}) > 1
    if name not in ("nothing", "newest", "editorial list"):
        assert any(found["degraded"] for *_, found in answers)


def test_a_deadline_of_nothing_at_all(opened, http):
    http.put("/v1/rules", json={"rules": [{"kind": "blocked", "id": "x", "items": sorted(NEVER)}]},
             headers={"if-match": "*"})  # fmt: skip
    for user in ("u1", None):
        found = opened.engine.answer(
            Ask("late", opened.clock(), user=user, count=24, deadline_us=0)
        )
        assert {one.item for one in found.answer.items} == set(ITEMS) - NEVER


def test_the_oracle_can_fail(opened, http, monkeypatch):
    """With the last look and the first one gone, the same test would see forbidden items."""
    stop = threading.Event()
    editors = Editors(http, stop)
    monkeypatch.setattr("muma.serving.rules.ruling.Ruling._forbidding", lambda *_: [])
    monkeypatch.setattr("muma.serving.engine.recheck", lambda items, *_: (list(items), ()))
    items = [one["item"] for one in asked(http, "seen", user="u1", count=24)["items"]]
    assert NEVER & set(items)
    assert all(out & set(items) for out in in_force(editors.timeline, 0.0, time.perf_counter()))
