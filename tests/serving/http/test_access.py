"""Keys, roles, pace, and the wall between tenants, over all routes."""

import pytest

from door_support import CALLS, house, without
from muma.serving.http.app import ROUTES
from muma.serving.http.operation import OPERATION
from muma.serving.limits import LimitsConfig

ROLES = ("read", "write", "admin")


def test_the_calls_of_these_tests_are_all_routes_that_need_a_key():
    closed = {
        (method, path.replace(":str}", "}"))
        for route in ROUTES if route.opt[OPERATION].role is not None
        for path in route.paths for method in route.http_methods
    }  # fmt: skip
    assert len(closed) == len(CALLS)
    for method, path, _, role in CALLS:
        own = [
            route for route in ROUTES
            if method in route.http_methods
            and any(_matches(pattern, path.partition("?")[0]) for pattern in route.paths)
        ]  # fmt: skip
        assert [route.opt[OPERATION].role for route in own] == [role], path


def _matches(pattern, path):
    parts, given = pattern.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        part == text or part.startswith("{") for part, text in zip(parts, given, strict=True)
    )


@pytest.mark.parametrize(("method", "path", "body", "role"), CALLS)
def test_without_a_good_key_nothing(at, method, path, body, role):
    good = at.tokens[role]
    for wrong in (
        None, "", "Bearer", "Bearer ", f"Basic {good}", good, f"Bearer {good[:-1]}",
        f"Bearer {good}x", "Bearer " + "a" * 5_000, "Bearer muma_\xff\xfe",
    ):  # fmt: skip
        headers = {} if wrong is None else {"authorization": wrong.encode("latin-1")}
        sent = at.http.request(method, path, json=body, headers=headers)
        assert sent.status_code == 401, wrong
        assert sent.headers["www-authenticate"] == "Bearer"
        assert sent.headers["content-type"] == "application/problem+json"
        assert good not in sent.text


@pytest.mark.parametrize(("method", "path", "body", "role"), CALLS)
@pytest.mark.parametrize("has", ROLES)
def test_only_its_role_lets_a_key_in(at, method, path, body, role, has):
    sent = at.call(method, path, body, key=has)
    assert (sent.status_code == 403) == (has not in (role, "admin"))
    if sent.status_code == 403:
        assert sent.json()["type"] == "urn:muma:role"


def test_a_revoked_key_is_no_key(fresh):
    assert fresh.call("GET", "/v1/rules", key="read").status_code == 200
    fresh.keys.revoke(fresh.known["read"].id)
    revoked = fresh.call("GET", "/v1/rules", key="read")
    unknown = fresh.call("GET", "/v1/rules", headers={"authorization": "Bearer no"})
    assert revoked.status_code == unknown.status_code == 401
    shown = [{**sent.json(), "request_id": ""} for sent in (revoked, unknown)]
    assert shown[0] == shown[1]


def test_a_key_of_a_tenant_that_is_not_served_is_no_key(fresh):
    _, token = fresh.keys.create(tenant="gone", roles=("admin",), name="n")
    sent = fresh.call("GET", "/v1/rules", headers={"authorization": f"Bearer {token}"})
    assert sent.status_code == 401


def test_who_asks_too_often_is_told_when_to_come_back(tmp_path):
    slow = LimitsConfig(rate_per_s=0.01, burst=3)
    with house(tmp_path, change=without(limits=slow)) as opened:
        statuses = [opened.call("GET", "/v1/rules", key="read").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        sent = opened.call("GET", "/v1/rules", key="read")
        assert 1 <= int(sent.headers["retry-after"]) <= 100
        assert sent.json()["type"] == "urn:muma:too-often"
        assert opened.call("GET", "/v1/rules", key="write").status_code == 403
        assert opened.call("GET", "/v1/rules", key="other").status_code == 200


def test_what_anybody_may_see(at):
    for path in ("/healthz", "/readyz", "/schema"):
        assert at.call("GET", path, key=None).status_code == 200


def test_counts_are_for_the_operators(at):
    assert at.call("GET", "/metrics", key="admin").status_code == 200
    assert at.call("GET", "/metrics", key="read").status_code == 403
    assert at.call("GET", "/metrics", key="other").status_code == 404


def test_another_tenants_things_are_not_there(fresh):
    """The other tenant acts, then each way to its things answers as if they did not exist."""
    event = {"event_id": "e", "user_id": "theirs", "kind": "click", "item_id": "secret-1"}
    assert fresh.call("POST", "/v1/events", event, key="other").status_code == 200
    named = {"x-request-id": "shared"}
    body = {"user": "theirs", "count": 1}
    theirs = fresh.call("POST", "/v1/recommendations", body, key="other", headers=named)
    assert theirs.json()["items"][0]["item"] in {"secret-1", "n1"}
    for path in (
        "/v1/users/theirs", "/v1/decisions/shared", "/v1/decisions/o:shared",
        "/v1/decisions/o%3Ashared", "/v1/items/secret-1/similar",
    ):  # fmt: skip
        mine, never = fresh.call("GET", path), fresh.call("GET", path.replace("s", "q"))
        assert mine.status_code == never.status_code == 404, path
    assert fresh.call("GET", "/v1/items?item_id=secret-1").json() == {"items": []}
    assert fresh.call("POST", "/v1/rank", {"items": ["secret-1"]}).json()["items"] == []
    whole = fresh.call("POST", "/v1/recommendations", {"count": 200, "age": 99, "region": "NO"})
    assert not {"secret-1"} & {slot["item"] for slot in whole.json()["items"]}
    receipt = fresh.call("DELETE", "/v1/users/theirs").json()["receipt"]
    assert receipt["events"] == receipt["decisions"] == 0
    assert fresh.call("GET", "/v1/users/theirs", key="other").status_code == 200
    assert fresh.call("GET", "/v1/decisions/shared", key="other").status_code == 200
    rules = {"rules": [{"id": "mine"}]}
    assert fresh.call("PUT", "/v1/rules", rules).status_code == 200
    assert fresh.call("GET", "/v1/rules", key="other").json()["rules"] == []
    assert fresh.call("POST", "/v1/models/2/promote").status_code == 200
    live = fresh.call("GET", "/v1/models", key="other").json()["models"]
    assert [model["version"] for model in live if model["state"] == "live"] == ["1"]


def test_one_request_id_of_two_tenants_is_two_decisions(fresh):
    named = {"x-request-id": "same"}
    for key in ("admin", "other"):
        fresh.call("POST", "/v1/recommendations", {"count": 1}, key=key, headers=named)
    mine = fresh.call("GET", "/v1/decisions/same").json()
    theirs = fresh.call("GET", "/v1/decisions/same", key="other").json()
    assert (mine["ask"]["tenant"], theirs["ask"]["tenant"]) == ("default", "other")


def test_a_log_that_gives_anothers_decision_is_not_believed(tmp_path):
    """Even when prefixes fail: a decision of another tenant is not there."""
    with house(tmp_path, change=without(prefix="")) as opened:
        body, named = {"count": 1}, {"x-request-id": "x"}
        opened.call("POST", "/v1/recommendations", body, key="other", headers=named)
        assert opened.call("GET", "/v1/decisions/o:x").status_code == 404


def test_parts_that_are_not_offered_are_not_there(tmp_path):
    gone = dict.fromkeys(
        (
            "intake",
            "decisions",
            "items",
            "rules",
            "previews",
            "consents",
            "forgetting",
            "models",
            "audit",
        )
    )
    with house(tmp_path, change=without(**gone)) as opened:
        for method, path, body, _ in CALLS:
            sent = opened.call(method, path, body)
            engine = path.startswith(("/v1/recomm", "/v1/rank", "/metrics", "/v1/items/n1"))
            engine |= (method, path) == ("GET", "/v1/users/u1")
            assert sent.status_code == (200 if engine else 404), path


def test_browsers_of_other_sites_get_nothing_unless_listed(at, tmp_path):
    origin = {"origin": "https://elsewhere.example"}
    sent = at.call("POST", "/v1/recommendations", {}, headers=origin)
    assert not [name for name in sent.headers if name.startswith("access-control")]
    asked = {**origin, "access-control-request-method": "POST"}
    sent = at.http.options("/v1/recommendations", headers=asked)
    assert not [name for name in sent.headers if name.startswith("access-control")]
    with house(tmp_path, config={"origins": ("https://news.example",)}) as opened:
        listed = {"origin": "https://news.example"}
        sent = opened.call("POST", "/v1/recommendations", {}, headers=listed)
        assert sent.headers["access-control-allow-origin"] == "https://news.example"
        sent = opened.call("POST", "/v1/recommendations", {}, headers=origin)
        assert "access-control-allow-origin" not in sent.headers
