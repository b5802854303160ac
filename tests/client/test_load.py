"""Load against a server whose times are known: nothing that waits is left out of the times."""

import json
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from muma.client.load.bodies import Bodies
from muma.client.load.load import LoadConfig, LoadResult, Seen
from muma.client.load.plan import moments
from muma.client.load.run import run
from muma.client.load.search import highest_rate
from muma.errors import ConfigError

SHORT = {"seconds": 1.0, "warm_s": 0.2, "timeout_s": 0.5}


class Server:
    """Answers HTTP/1.1 on threads; `reply` says with what, in pieces, None to hang up."""

    def __init__(self, reply):
        self.reply, self.requests, self.bodies = reply, [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.links = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                link, _ = self.socket.accept()
            except OSError:
                return
            self.links += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        got = b""
        with link:
            while piece := link.recv(65_536):
                got += piece
                while b"\r\n\r\n" in got:
                    head, _, rest = got.partition(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    if len(rest) < length:
                        break
                    got = rest[length:]
                    self.requests.append(head.decode())
                    self.bodies.append(json.loads(rest[:length]))
                    pieces = self.reply(len(self.requests))
                    if pieces is None:
                        return
                    for one in pieces:
                        link.sendall(one)


@contextmanager
def server(reply):
    found = Server(reply)
    try:
        yield found
    finally:
        found.socket.close()


def ok(_):
    return [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]


def test_all_is_sent_at_its_rate_on_few_connections():
    with server(ok) as it:
        config = LoadConfig(
            rps=100, rank_rps=20, events_per_s=200, batch=10, count=7, rank_items=3, **SHORT
        )
        found = run(it.url, "k1", config, users=["u1", 'u"2'], items=["a", "b", "c", "d"], name="t")
    routes = Counter(head.split()[1] for head in it.requests)
    assert routes == {"/v1/recommendations": 120, "/v1/rank": 24, "/v1/events": 24}
    assert found.errors == 0
    assert {name: len(seen.took_R) for name, seen in found.routes.items()} == {
        "recommendations": 100, "rank": 20, "events": 20,
    }  # fmt: skip
    assert it.links < 30
    events = [event for body in it.bodies if isinstance(body, list) for event in body]
    assert sorted(event["event_id"] for event in events) == sorted(f"t-{n}" for n in range(240))
    wishes = [body for body in it.bodies if isinstance(body, dict) and "items" not in body]
    assert {wish["user"] for wish in wishes} == {"u1", 'u"2'}
    assert {wish["count"] for wish in wishes} == {7}
    ranked = [body["items"] for body in it.bodies if isinstance(body, dict) and "items" in body]
    assert all(len(set(items)) == 3 for items in ranked)
    assert all("Authorization: Bearer k1" in head for head in it.requests)
    ids = [head.split("X-Request-Id: ")[1].split("\r\n")[0] for head in it.requests]
    assert len(set(ids)) == len(ids)
    flat = found.flat()
    assert flat["recommendations_p50_ms"] < 20
    assert flat["recommendations_good_per_s"] == pytest.approx(100, rel=0.1)


def test_a_stall_is_charged_to_all_that_wait():
    """A server that sleeps once for 0.4 s, at 100 a second on one connection: 40 requests wait."""
    slept = []

    def reply(n):
        if n == 60:
            slept.append(time.monotonic())
            time.sleep(0.4)
        return ok(n)

    with server(reply) as it:
        found = run(it.url, "k", LoadConfig(rps=100, links=1, **{**SHORT, "timeout_s": 5.0}))
    took_R = np.sort(found.routes["recommendations"].took_R)[::-1]
    assert took_R[0] > 0.39
    waited_R = 0.4 - 0.01 * np.arange(36)
    assert (took_R[:36] > waited_R - 0.03).all()  # not one slow request alone
    assert (took_R[45:] < 0.1).all()
    assert np.sort(found.routes["recommendations"].late_R)[-1] > 0.3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (lambda _: [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"], "503"),
        (lambda _: None, "connection"),
        (lambda _: [b"HTTP/1.1 200 OK\r\n\r\n"], "unreadable"),
        (lambda _: [b"nonsense\r\n\r\n"], "unreadable"),
        (lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], "timeout"),
    ],
)
def test_failures_are_counted_by_kind(reply, kind):
    with server(reply) as it:
        found = run(it.url, "k", LoadConfig(rps=20, **SHORT))
    assert found.routes["recommendations"].errors == {kind: 20}
    assert found.flat()[f"errors_{kind}"] == found.errors == 20
    assert found.flat()["recommendations_good_per_s"] == 0


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    found = run(url, "k", LoadConfig(rps=20, **SHORT))
    assert found.routes["recommendations"].errors == {"connection": 20}


def test_an_answer_may_come_in_pieces():
    def reply(_):
        return [b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 5\r\n\r\n", b"[1,", b"2]"]

    bodies = []
    with server(reply) as it:
        config = LoadConfig(rps=20, **SHORT)
        found = run(
            it.url, "k", config, heard=lambda call, status, body: bodies.append((status, body))
        )
    assert found.errors == 0
    assert set(bodies) == {(200, b"[1,2]")}


def test_it_stops_when_told():
    begun = time.monotonic()
    with server(ok) as it:
        run(
            it.url, "k", LoadConfig(rps=50, seconds=60), stop=lambda: time.monotonic() > begun + 0.5
        )
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("url", "key", "config", "message"),
    [
        ("ftp://x", "k", {}, "no address"),
        ("http://", "k", {}, "no address"),
        ("http://x", "a\nb", {}, "line break"),
        ("http://x", "k", {"events_per_s": 1}, "need items"),
    ],
)
def test_what_is_wrong_is_said(url, key, config, message):
    with pytest.raises(ConfigError, match=message):
        run(url, key, LoadConfig(**config))


def test_poisson_arrivals_are_as_many_and_independent():
    config = LoadConfig(rps=500, seconds=40, warm_s=0, arrivals="poisson")
    at_R, routes = moments(config)
    assert abs(len(at_R) - 20_000) < 5 * np.sqrt(20_000)
    assert set(routes) == {"recommendations"}
    gap_R = np.diff(at_R)
    assert gap_R.min() >= 0
    assert gap_R.std() / gap_R.mean() == pytest.approx(1.0, abs=0.05)  # exponential
    assert np.corrcoef(gap_R[1:], gap_R[:-1])[0, 1] == pytest.approx(0.0, abs=0.04)
    again, _ = moments(config)
    np.testing.assert_array_equal(at_R, again)


def test_no_load_is_no_load():
    found = run("http://127.0.0.1:1", "k", LoadConfig(rps=0))
    assert found.routes == {}
    assert found.errors == 0


def test_equal_seeds_make_equal_bodies():
    def some(seed):
        bodies = Bodies(LoadConfig(seed=seed), users=["a", "b"], items=list("cdefgh"), name="n")
        return [bodies.make(route)[0] for route in ("events", "rank", "recommendations") * 3]

    assert some(1) == some(1)
    assert some(1) != some(2)


def service(limit, *, failing=False):
    def load(rps):
        took = np.full(100, 0.002 if rps <= limit else 0.2)
        errors = {"503": 1} if failing and rps > limit / 2 else {}
        return LoadResult({"recommendations": Seen(took, took, took, errors)}, 1.0, 0.0)

    return load


@pytest.mark.parametrize("limit", [30.0, 51.0, 333.0, 2_000.0])
def test_the_highest_rate_is_found(limit):
    found = highest_rate(service(limit), start=50)
    assert found.rps <= limit < found.refused
    assert found.refused - found.rps <= 0.05 * found.refused
    assert highest_rate(service(limit, failing=True), start=50).rps <= limit / 2


def test_no_rate_beyond_the_bound_and_none_at_all():
    assert highest_rate(service(1e9), start=50, most=400).rps == 400
    assert highest_rate(service(1e9), start=50, most=400).refused is None
    assert highest_rate(service(0.0), start=50).rps == 0.0
