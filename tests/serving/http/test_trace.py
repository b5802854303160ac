"""Traces: a sender's is followed, a wrong one is passed over, and every log line says where it stands."""

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from door_support import house, with_engine
from muma.errors import StoreError
from muma.serving.http.logs import JsonLines
from muma.serving.http.trace import HERE, trace_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


def returned(response):
    return FORM.fullmatch(response.headers["traceparent"]).groups()


@pytest.mark.parametrize(
    ("sent", "flags"),
    [(GOOD, "01"), (GOOD[:-2] + "00", "00"), (GOOD[:-2] + "ff", "01"), (GOOD[:-2] + "02", "00"),
     ("01" + GOOD[2:], "01"), ("cc" + GOOD[2:] + "-more", "01"), (f" {GOOD} ", "01")],
)  # fmt: skip
def test_a_senders_trace_goes_on(at, sent, flags):
    got = at.call("POST", "/v1/recommendations", {}, headers={"traceparent": sent})
    trace, span, sampled = returned(got)
    assert (trace, sampled) == (TRACE, flags)
    assert span not in (PARENT, "0" * 16)


@pytest.mark.parametrize(
    "sent",
    ["", "nonsense", GOOD.upper(), GOOD + "-more", "ff" + GOOD[2:], GOOD[:-1], GOOD + "0",
     f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"0x-{TRACE}-{PARENT}-01",
     f"00-{TRACE}-{PARENT}", f"00_{TRACE}_{PARENT}_01", "01" + GOOD[2:] + ".more", GOOD + "\u00e4"],
)  # fmt: skip
def test_a_malformed_one_is_passed_over(at, sent):
    headers = {"traceparent": sent.encode("latin-1")}
    got = at.call("POST", "/v1/recommendations", {}, headers=headers)
    assert got.status_code == 200
    trace, _, sampled = returned(got)
    assert trace not in (TRACE, "0" * 32)
    assert sampled == "00"


def test_two_headers_are_none(at):
    pairs = [(b"traceparent", GOOD.encode())] * 2
    assert trace_of(pairs, "r").parent_id is None
    assert trace_of(pairs[:1], "r").parent_id == PARENT


@given(st.binary(max_size=80))
def test_whatever_is_sent_a_trace_comes_out(raw):
    trace = trace_of([(b"traceparent", raw)], "r")
    assert FORM.fullmatch(trace.header.decode())


def test_errors_and_strangers_have_one_too(at):
    for path, key in (("/v1/none", "read"), ("/v1/users/u1", None), ("/healthz", None)):
        assert returned(at.call("GET", path, key=key, headers={"traceparent": GOOD}))[0] == TRACE


@pytest.fixture
def formatted():
    """Lines as the service writes them, formatted where they are written."""
    lines = []

    class Keeping(logging.Handler):
        def emit(self, record):
            lines.append(json.loads(self.format(record)))

    handler, log = Keeping(), logging.getLogger("muma")
    handler.setFormatter(JsonLines())
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.mark.parametrize("threads", [0, 2])
def test_every_line_of_a_request_carries_its_ids(tmp_path, formatted, threads):
    def broken(*_):
        logging.getLogger("muma.serving.engine").warning("store failed")
        raise StoreError("gone")

    def slow(*_):
        logging.getLogger("muma.serving.rules").warning("slow")
        raise StoreError("gone")

    with house(
        tmp_path, change=with_engine(answer=broken), config={"answer_threads": threads}
    ) as one:
        one.mine.items.get = slow  # always in a thread of work
        headers = {"traceparent": GOOD, "x-request-id": "mine"}
        formatted.clear()
        for method, path, body in (
            ("POST", "/v1/recommendations", {}),
            ("GET", "/v1/items?item_id=a", None),
        ):
            got = one.call(method, path, body, headers=headers)
            assert got.status_code == 503
            span = returned(got)[1]
            mine = [line for line in formatted if line.get("span_id") == span]
            assert {line["message"] for line in mine} >= {"request", "failed"}
            assert {line["message"] for line in mine} & {"slow", "store failed"}
            for line in mine:
                assert (line["request_id"], line["trace_id"]) == ("mine", TRACE)
                assert line["parent_id"] == PARENT
    assert HERE.get() is None


def test_a_line_outside_of_requests_has_none():
    record = logging.makeLogRecord({"msg": "started", "created": 0.0, "levelname": "INFO"})
    assert "trace_id" not in json.loads(JsonLines().format(record))
