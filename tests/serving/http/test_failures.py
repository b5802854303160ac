"""Parts that fail: which status, when to come again, and what the log and the counts say."""

import errno
import json
import logging
import time

import pytest

from door_support import NOW, house, with_engine, without
from muma.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    MumaError,
    NotFittedError,
    RetryLater,
    SourceError,
    StoreError,
    StreamError,
    UnknownIdError,
)  # fmt: skip
from muma.serving.http.logs import JsonLines

SECRET = "/srv/secret/place"
EVENT = {"event_id": "e", "user_id": "u-personal", "kind": "click"}


def raising(error):
    def method(*_, **__):
        raise error

    return method


def full(kind=StreamError):
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as cause:
        error = kind(f"{SECRET} is full")
        error.__cause__ = cause
        return error


class Failing:
    def __init__(self, error):
        self.put = self.get = self.erase = self.list = self.promote = raising(error)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RetryLater("queue of " + SECRET, after_s=2.2), 503, "busy"),
        (full(), 507, "disk-full"),
        (full(StoreError), 507, "disk-full"),
        (OSError(errno.ENOSPC, SECRET), 507, "disk-full"),
        (OSError(errno.EDQUOT, SECRET), 507, "disk-full"),
        (OSError(errno.EIO, SECRET), 503, "unavailable"),
        (StreamError(SECRET), 503, "unavailable"),
        (StoreError(SECRET), 503, "unavailable"),
        (NotFittedError(SECRET), 503, "unavailable"),
        (ArtifactError(SECRET), 503, "artifacts"),
        (SourceError("x", file=SECRET), 503, "unavailable"),
        (MumaError(SECRET), 503, "unavailable"),
        (RuntimeError(SECRET), 503, "internal"),
        (KeyError(SECRET), 503, "internal"),
        (RecursionError(SECRET), 503, "internal"),
        (UnknownIdError(SECRET), 404, "not-found"),
        (DataError("what you sent"), 422, "invalid"),
        (ConfigError("what you sent"), 422, "invalid"),
    ],
)
def test_what_becomes_of_an_error(tmp_path, error, status, kind):
    parts = dict.fromkeys(("intake", "decisions", "items", "forgetting", "models"), Failing(error))

    def change(tenant):
        return without(**parts)(with_engine(answer=raising(error), user=raising(error))(tenant))

    with house(tmp_path, change=change) as opened:
        for method, path, body in (
            ("POST", "/v1/events", EVENT), ("POST", "/v1/recommendations", {}),
            ("GET", "/v1/users/u", None), ("GET", "/v1/decisions/r", None),
            ("PUT", "/v1/items", {"items": [{"item_id": "a"}]}), ("DELETE", "/v1/users/u", None),
            ("GET", "/v1/models", None), ("POST", "/v1/models/2/promote", None),
        ):  # fmt: skip
            sent = opened.call(method, path, body)
            assert (sent.status_code, sent.json()["type"]) == (status, f"urn:muma:{kind}"), path
            assert SECRET not in sent.text
            assert ("retry-after" in sent.headers) == (status == 503)
        if kind == "busy":
            assert sent.headers["retry-after"] == "3"
        counted = opened.call("GET", "/metrics").text
        assert ('muma_unexpected_errors_total{kind="internal"} 8' in counted) == (
            kind == "internal"
        )


def test_an_unexpected_error_is_in_the_log_with_its_trace_and_request(tmp_path, caplog):
    with house(tmp_path, change=with_engine(answer=raising(RuntimeError("why")))) as opened:
        opened.call("POST", "/v1/recommendations", {}, headers={"x-request-id": "find-me"})
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    line = json.loads(JsonLines().format(record))
    assert line["request_id"] == "find-me"
    assert "RuntimeError: why" in line["trace"]


def test_a_requests_line_names_nobody(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="muma.http")
    with house(tmp_path) as opened:
        opened.call("POST", "/v1/events", EVENT)
        opened.call("GET", "/v1/users/u-personal?x=q-personal")
        opened.call("DELETE", "/v1/users/u-personal")
        opened.call("GET", "/nowhere/u-personal")
        tokens = list(opened.tokens.values())
        ident = opened.known["admin"].id
    lines = [JsonLines().format(record) for record in caplog.records]
    whole = "\n".join(lines)
    assert "personal" not in whole
    for token in tokens:
        assert token.split("_", 2)[2] not in whole
    requests = [line for line in map(json.loads, lines) if line["message"] == "request"]
    assert [(r["method"], r["route"], r["status"]) for r in requests] == [
        ("POST", "/v1/events", 200), ("GET", "/v1/users/{user_id}", 404),
        ("DELETE", "/v1/users/{user_id}", 200), ("GET", "none", 404),
    ]  # fmt: skip
    assert all(r["us"] >= 0 and r["request_id"] for r in requests)
    assert [r.get("key") for r in requests] == [ident, ident, ident, None]


def test_readiness_asks_every_part(tmp_path):
    state = {"model": None, "state": "still catching up"}
    ready = {name: lambda name=name: state[name] for name in state}
    with house(tmp_path, ready=ready) as opened:
        sent = opened.call("GET", "/readyz", key=None)
        assert sent.status_code == 503
        assert [fault["reason"] for fault in sent.json()["errors"]] == ["state: still catching up"]
        assert opened.call("GET", "/healthz", key=None).status_code == 200
        state["state"] = None
        assert opened.call("GET", "/readyz", key=None).json() == {"status": "ready", "time": NOW}
        opened.door.runtime.draining = True
        assert opened.call("GET", "/readyz", key=None).status_code == 503


def test_parts_begin_in_order_and_all_of_them_end(tmp_path):
    seen = []

    def failing():
        seen.append("fails")
        raise OSError("cannot flush")

    ends = (lambda: seen.append("flush"), failing, lambda: seen.append("close"))
    begins = (lambda: seen.append("open"), lambda: seen.append("warm"))

    def live():
        with house(tmp_path, on_start=begins, on_stop=ends) as opened:
            assert seen == ["open", "warm"]
            opened.call("GET", "/healthz")

    with pytest.raises(BaseException) as caught:
        live()
    assert seen == ["open", "warm", "flush", "fails", "close"]
    assert "cannot flush" in repr(caught.value) or "cannot flush" in repr(caught.value.__dict__)


def test_more_work_than_may_wait_is_turned_away(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    class Slow:
        def put(self, events, *, received_at):
            time.sleep(0.3)
            raise StreamError("slow and bad")

    bounds = {"work_threads": 1, "most_waiting": 2}
    with house(tmp_path, change=without(intake=Slow()), config=bounds) as opened:
        with ThreadPoolExecutor(6) as pool:
            kinds = list(
                pool.map(
                    lambda _: opened.call("POST", "/v1/events", EVENT).json()["type"], range(6)
                )
            )
        assert kinds.count("urn:muma:unavailable") >= 2
        assert kinds.count("urn:muma:busy") >= 1
        assert "muma_turned_away_total{} " in opened.call("GET", "/metrics").text


def test_counts_add_up(tmp_path):
    with house(tmp_path) as opened:
        for _ in range(3):
            opened.call("POST", "/v1/recommendations", {})
        opened.call("POST", "/v1/events", [EVENT, {}])
        text = opened.call("GET", "/metrics").text
    route = 'route="/v1/recommendations"'
    assert f'muma_requests_total{{{route},method="POST",status="200"}} 3' in text
    assert f'muma_request_seconds_bucket{{{route},le="+Inf"}} 3' in text
    assert f"muma_request_seconds_count{{{route}}} 3" in text
    assert 'muma_events_total{outcome="accepted"} 1' in text
    assert 'muma_events_total{outcome="refused"} 1' in text


@pytest.mark.parametrize("threads", [0, 4])
def test_answers_on_the_loop_and_in_threads_are_the_same(tmp_path, threads):
    with house(tmp_path, config={"answer_threads": threads}) as opened:
        named = {"x-request-id": "r"}
        sent = opened.call("POST", "/v1/recommendations", {"count": 3}, headers=named)
        expected = opened.mine.engine.answer(opened.mine.engine.log["d:r"].ask).answer
        assert [slot["item"] for slot in sent.json()["items"]] == [i.item for i in expected.items]
