"""Schemathesis over the OpenAPI document, in this process: what a stranger may send, and worse."""

import os

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi

from door_support import house, without
from muma.serving.limits import LimitsConfig

CHECKS = (
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
    openapi.response_headers_conformance,
)
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large,
         HealthCheck.function_scoped_fixture]  # fmt: skip


def send(opened, case, headers):
    """Send a case through the door of this process."""
    made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver.local"))
    ready = made.prepare()
    ready.headers.update(headers)  # in place of the key that was drawn: beyond the first wall
    got = opened.http.request(
        ready.method, ready.url, content=ready.body, headers=dict(ready.headers)
    )
    return Response.from_httpx(got, verify=False)


def run(opened, strategy, cases, sent, seen):
    """Knock with `cases` drawn cases; every answer must be one that the document promises."""

    @settings(max_examples=cases, deadline=None, database=None, derandomize=True,
              suppress_health_check=QUIET, phases=[Phase.generate])  # fmt: skip
    @given(strategy)
    def one(case):
        response = send(opened, case, sent)
        seen[response.status_code] = seen.get(response.status_code, 0) + 1
        assert response.status_code not in (500, 501, 502, 504, 505)
        if response.status_code < 500:
            case.validate_response(response, checks=CHECKS)

    one()


def fuzz(folder, cases):
    """About `cases` cases over all operations, good and bad; returns how often each status came."""
    with house(folder, change=without(limits=LimitsConfig(rate_per_s=1e6, burst=10**6))) as opened:
        schema = schemathesis.openapi.from_dict(opened.call("GET", "/schema").json())
        operations = [found.ok() for found in schema.get_all_operations()]
        each, seen = max(1, cases // (2 * len(operations))), {}
        sent = {"authorization": f"Bearer {opened.tokens['admin']}"}
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    run(opened, operation.as_strategy(generation_mode=mode), each, sent, seen)
                except (Unsatisfiable, schemathesis.errors.SchemathesisError):
                    continue  # nothing in this operation can be made wrong
        counted = opened.call("GET", "/metrics").text
    wrong = [line for line in counted.splitlines() if line.startswith("muma_unexpected")]
    assert wrong == ["muma_unexpected_errors_total 0"]
    assert 401 not in seen
    return sum(seen.values()), seen


def test_some_cases(tmp_path):
    ran, seen = fuzz(tmp_path, 200)
    assert ran >= 150, seen
    assert {200, 404, 422} <= set(seen)


@pytest.mark.slow
def test_twenty_thousand_cases(tmp_path):
    ran, seen = fuzz(tmp_path, int(os.environ.get("MUMA_FUZZ_CASES", "24000")))
    assert ran >= 20_000, seen
