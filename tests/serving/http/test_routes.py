"""Every route, once as it should be; what it does is seen through another route."""

import msgspec
import pytest

from door_support import CALLS, NOW
from muma.serving.http.answers import AnswerBody, DecisionBody
from muma.testing.small_engine import SmallEngine


def good(response):
    assert response.status_code == 200, response.text
    return response.json()


def test_a_list_and_its_evidence(at):
    body = {"user": "u1", "count": 3, "domains": ["news"], "explain": True, "session": ["n3"]}
    sent = at.call("POST", "/v1/recommendations", body, headers={"x-request-id": "my-1"})
    answer = good(sent)
    assert sent.headers["x-request-id"] == answer["request_id"] == "my-1"
    assert sorted(slot["item"] for slot in answer["items"]) == ["n1", "n2"]
    assert all(slot["reason"] for slot in answer["items"])
    found = good(at.call("GET", "/v1/decisions/my-1"))
    assert found["answer"] == answer
    assert found["propensities"] == [slot["propensity"] for slot in answer["items"]]
    assert found["columns"] == ["clicks"]
    assert len(found["values"]) == len(found["candidates"]) == 2
    assert found["ask"]["user"] == "u1"
    assert found["ask"]["request_id"] == "my-1"
    assert found["ask"]["time"] == NOW


def test_the_same_request_id_gives_the_same_answer(at):
    body = {"user": "u1", "count": 4}
    headers = {"x-request-id": "again"}
    answers = {at.call("POST", "/v1/recommendations", body, headers=headers).text for _ in range(5)}
    assert len(answers) == 1
    others = {at.call("POST", "/v1/recommendations", body).text for _ in range(5)}
    assert len(others) == 5


def test_everything_of_a_wish_reaches_the_engine(at, monkeypatch):
    asked = []
    whole = SmallEngine.answer
    monkeypatch.setattr(
        SmallEngine, "answer", lambda self, ask: asked.append(ask) or whole(self, ask)
    )
    body = {
        "user": "u1", "session": ["n1"], "count": 7, "domains": ["news", "video"],
        "context": {"page": "home", "device": 2}, "region": "NO", "age": 30,
        "filters": {"tags_any": ["a"], "tags_none": ["b"], "categories": ["c"], "authors": ["d"]},
        "exclude": ["n2"], "explain": True, "profiling": False, "consent": ["gaze"],
        "deadline_ms": 20,
    }  # fmt: skip
    good(at.call("POST", "/v1/recommendations", body))
    (ask,) = asked
    plain = msgspec.to_builtins(ask)
    for name in ("user", "count", "context", "region", "age", "explain", "profiling"):
        assert plain[name] == body[name]
    assert ask.session == ("n1",)
    assert ask.exclude == ("n2",)
    assert ask.consent == ("gaze",)
    assert ask.deadline_us == 20_000
    assert ask.filters.domains == ("news", "video")
    assert (ask.filters.tags_any, ask.filters.tags_none) == (("a",), ("b",))
    assert (ask.filters.categories, ask.filters.authors) == (("c",), ("d",))
    assert ask.candidates is None
    assert ask.tenant == "default"
    assert ask.time == NOW


def test_ranking_keeps_to_the_callers_items(at):
    answer = good(at.call("POST", "/v1/rank", {"items": ["n1", "v1", "zzz", "n1"]}))
    assert sorted(slot["item"] for slot in answer["items"]) == ["n1", "v1"]
    answer = good(at.call("POST", "/v1/rank", {"items": ["n1", "v1"], "count": 1}))
    assert len(answer["items"]) == 1


def test_similar_items(at):
    answer = good(at.call("GET", "/v1/items/n2/similar?count=2&domains=news&domains=video"))
    assert [slot["item"] for slot in answer["items"]] == ["n1", "v1"]
    answer = good(at.call("GET", "/v1/items/v1/similar?region=NO&count=2"))
    assert [slot["item"] for slot in answer["items"]] == ["n2", "v3"]
    assert at.call("GET", "/v1/items/zzz/similar").status_code == 404


def test_an_event_changes_what_is_known(fresh):
    event = {"event_id": "e1", "user_id": "neu/er ?#%", "kind": "click", "item_id": "n3"}
    assert good(fresh.call("POST", "/v1/events", event)) == {
        "accepted": 1, "duplicates": 0, "refused": [], "withheld": {}
    }  # fmt: skip
    assert good(fresh.call("POST", "/v1/events", event))["duplicates"] == 1
    known = good(fresh.call("GET", "/v1/users/neu%2Fer%20%3F%23%25"))
    assert known == {"user": "neu/er ?#%", "known": {"clicks": ["n3"], "as_of": NOW}}


def test_erasing_leaves_nothing(fresh):
    good(fresh.call("POST", "/v1/recommendations", {"user": "u1"}, headers={"x-request-id": "r"}))
    receipt = good(fresh.call("DELETE", "/v1/users/u1"))["receipt"]
    assert receipt["decisions"] == 1
    assert receipt["clicks"] == 1
    assert fresh.call("GET", "/v1/users/u1").status_code == 404
    assert fresh.call("GET", "/v1/decisions/r").status_code == 404
    assert good(fresh.call("DELETE", "/v1/users/u1"))["receipt"]["clicks"] == 0
    assert "u1" not in str(fresh.mine.audit.lines)


def test_items_come_and_are_recommended(fresh):
    new = {"item_id": "n/9", "title": "New", "domain": "audio", "attributes": {"length": 3.5}}
    assert good(fresh.call("PUT", "/v1/items", {"items": [new]})) == {"taken": 1, "new": 1}
    assert good(fresh.call("PUT", "/v1/items", {"items": [new]})) == {"taken": 1, "new": 0}
    (held,) = good(fresh.call("GET", "/v1/items?item_id=n%2F9&item_id=zzz"))["items"]
    assert held["title"] == "New"
    assert held["attributes"] == {"length": 3.5}
    answer = good(fresh.call("POST", "/v1/recommendations", {"domains": ["audio"]}))
    assert [slot["item"] for slot in answer["items"]] == ["n/9"]


def test_rules_change_only_the_version_that_was_read(fresh):
    first = fresh.call("GET", "/v1/rules")
    version = first.headers["etag"]
    assert version == f'"{first.json()["version"]}"'
    rules = {"rules": [{"id": "a", "kind": "tag", "tags": ["x"]}, {"id": "b"}]}
    second = fresh.call("PUT", "/v1/rules", rules, headers={"if-match": version})
    assert good(second)["rules"] == rules["rules"]
    late = fresh.call("PUT", "/v1/rules", rules, headers={"if-match": version})
    assert late.status_code == 412
    version = second.headers["etag"]
    third = fresh.call("DELETE", "/v1/rules/a", headers={"if-match": version})
    assert good(third)["rules"] == [{"id": "b"}]
    assert fresh.call("DELETE", "/v1/rules/a").status_code == 404
    assert fresh.call("DELETE", "/v1/rules", headers={"if-match": version}).status_code == 412
    assert good(fresh.call("DELETE", "/v1/rules", headers={"if-match": "*"}))["rules"] == []
    assert fresh.call("GET", "/v1/rules").headers["etag"] == first.headers["etag"]
    assert [line[1] for line in fresh.mine.audit.lines] == ["rules"] * 3


def test_a_change_without_a_version_is_not_made(fresh):
    for method, path in (("PUT", "/v1/rules"), ("DELETE", "/v1/rules"), ("DELETE", "/v1/rules/a")):
        sent = fresh.call(method, path, {"rules": []}, headers={"if-match": ""})
        assert sent.status_code == 428


def test_wrong_rules_come_back_with_every_error(fresh):
    sent = fresh.call("PUT", "/v1/rules", {"rules": [{}, {"id": "a"}, {}]})
    assert sent.status_code == 422
    assert [fault["reason"] for fault in sent.json()["errors"]] == [
        "rule 0: 'id' is missing", "rule 2: 'id' is missing"
    ]  # fmt: skip


def test_models_go_forward_and_back(fresh):
    def live():
        models = good(fresh.call("GET", "/v1/models"))["models"]
        return [model["version"] for model in models if model["state"] == "live"]

    assert live() == ["1"]
    assert good(fresh.call("POST", "/v1/models/2/promote"))["state"] == "live"
    assert live() == ["2"]
    assert fresh.call("POST", "/v1/models/2/promote").status_code == 409
    assert fresh.call("POST", "/v1/models/3/promote").status_code == 404
    assert good(fresh.call("POST", "/v1/models/rollback"))["version"] == "1"
    assert live() == ["1"]
    assert fresh.call("POST", "/v1/models/rollback").status_code == 409
    who = fresh.known["admin"].id
    assert fresh.mine.audit.lines == [
        (who, "promote", {"version": "2"}), (who, "roll back", {"version": "1"})
    ]  # fmt: skip


def test_the_answers_types_are_what_is_sent(at):
    """The wire types are for readers; the service encodes the engine's own. They must agree."""
    sent = at.call("POST", "/v1/recommendations", {"user": "u1"}, headers={"x-request-id": "w"})
    body = msgspec.json.decode(sent.content, type=AnswerBody)
    assert msgspec.json.decode(msgspec.json.encode(body)) == sent.json()
    found = at.call("GET", "/v1/decisions/w")
    msgspec.json.decode(found.content, type=DecisionBody)
    assert set(found.json()) == set(DecisionBody.__struct_fields__)


@pytest.mark.parametrize(("method", "path", "body", "role"), CALLS)
def test_every_answer_has_its_id_and_the_security_headers(at, method, path, body, role):
    for key in (role, "read", None):
        sent = at.call(method, path, body, key=key, headers={"x-request-id": "mine-7"})
        assert sent.headers["x-request-id"] == "mine-7"
        assert sent.headers["x-content-type-options"] == "nosniff"
        assert sent.headers["x-frame-options"] == "DENY"
        assert sent.headers["cache-control"] == "no-store"
        assert sent.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in sent.headers["content-security-policy"]
        assert "server" not in sent.headers
