"""The OpenAPI document: whole, valid, with examples that are what is really sent and answered."""

import json

import jsonschema_rs
import pytest

from door_support import CALLS
from muma.serving.http.app import ROUTES
from muma.serving.http.operation import OPERATION
from muma.serving.http.wire import RankRequest, RecommendationRequest


@pytest.fixture(scope="module")
def document(at):
    sent = at.call("GET", "/schema", key=None)
    assert sent.headers["content-type"].startswith("application/vnd.oai.openapi+json")
    return sent.json()


def schema(document, part):
    """A part of the document as a schema of its own."""
    whole = json.loads(json.dumps({**part, "components": document["components"]}))
    return jsonschema_rs.validator_for(whole)


def operations(document):
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield path, method.upper(), told


def test_every_route_is_in_it(document):
    told = {(path, method) for path, method, _ in operations(document)}
    real = {
        (path.replace(":str}", "}"), method)
        for route in ROUTES for path in route.paths for method in route.http_methods
    }  # fmt: skip
    assert told == real
    assert len({op["operationId"] for _, _, op in operations(document)}) == len(told)


def test_every_body_and_answer_has_an_example_of_its_type(document):
    for path, method, told in operations(document):
        contents = [response["content"] for response in told["responses"].values()]
        if "requestBody" in told:
            contents.append(told["requestBody"]["content"])
        for content in contents:
            for kind, part in content.items():
                if kind != "text/plain":
                    schema(document, part["schema"]).validate(part["example"])
        for parameter in told.get("parameters", ()):
            if "example" in parameter:
                schema(document, parameter["schema"]).validate(parameter["example"])
        assert told["summary"], (path, method)
        assert ("security" in told) == bool(set(told["responses"]) & {"401"})


def test_every_example_that_is_sent_is_taken_and_the_answer_is_of_its_type(fresh):
    document = fresh.call("GET", "/schema", key=None).json()
    fresh.call("POST", "/v1/recommendations", {}, headers={"x-request-id": "9f86d081884c7d65"})
    for path, method, told in operations(document):
        if "security" not in told or path == "/metrics":
            continue
        body, query, address = None, {}, path
        for parameter in told.get("parameters", ()):
            if parameter["in"] == "path":
                name = "{" + parameter["name"] + "}"
                example = {"version": "2", "rule_id": "no-gore"}.get(
                    parameter["name"], parameter["example"]
                )
                address = address.replace(name, example)
            elif parameter["in"] == "query" and "example" in parameter:
                query[parameter["name"]] = parameter["example"]
        if "requestBody" in told:
            body = told["requestBody"]["content"]["application/json"]["example"]
        if "promote" in path:
            fresh.mine.models.__init__()
        if "rollback" in path:
            fresh.mine.models.promote("2", who="test")
        if method == "DELETE" and "rules/" in path:
            fresh.mine.rules.__init__()
            fresh.mine.rules.put(
                [{"id": "no-gore"}], version=fresh.mine.rules.get().version, who="t"
            )
        if "users" in path:
            fresh.mine.engine.learn("u1", "n2", time=0)
        sent = fresh.call(method, address, body, params=query or None)
        assert sent.status_code == 200, (method, path, sent.text)
        answer = told["responses"]["200"]["content"]["application/json"]["schema"]
        schema(document, answer).validate(sent.json())
        for header, wanted in told["responses"]["200"]["headers"].items():
            assert not wanted["required"] or header in sent.headers


def test_its_bounds_are_the_enforced_ones(document):
    schemas = document["components"]["schemas"]
    for kind in (RecommendationRequest, RankRequest):
        told = schemas[kind.__name__]
        assert told["additionalProperties"] is False
        assert set(told["properties"]) == set(kind.__struct_fields__)
    assert schemas["RecommendationRequest"]["properties"]["count"]["maximum"] == 200
    assert schemas["Event"]["properties"]["event_id"]["maxLength"] == 200


def test_it_says_which_role_a_route_needs(document):
    for route in ROUTES:
        operation = route.opt[OPERATION]
        for path in route.paths:
            told = document["paths"][path.replace(":str}", "}")]
            for method in route.http_methods:
                shown = told[method.lower()].get("description", "")
                assert operation.role is None or f"role {operation.role}." in shown


def test_calls_of_the_other_tests_are_in_it(document):
    assert len(CALLS) == len([1 for _, _, told in operations(document) if "security" in told])
