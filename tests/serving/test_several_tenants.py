"""Several recipes behind one door: with the key of one, nothing of another can be read, changed or told."""

import shutil

import pytest
from litestar.testing import TestClient

from muma.app.config import read_recipe
from muma.app.service.tenants import check_tenants, make, open_tenants
from muma.errors import ConfigError, MumaError
from muma.serving.http.app import build
from versions_support import rescored, trained

ROLES = ("read", "write", "admin")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two recipes of one feed, each with a run of its own; b has a version more."""
    home = tmp_path_factory.mktemp("home")
    place, first = trained(home / "a")
    runs = home / "b" / "runs"
    shutil.copytree(home / "a" / "runs", runs)
    text = place.read_text().replace(str(home / "a" / "runs"), str(runs))
    other = home / "b" / "feed.toml"
    other.write_text(
        text + '\n[serving]\ntenant = "b"\n[serving.limits]\nburst = 200\nrate_per_s = 0.001\n'
    )
    rescored(read_recipe(other), first, -1.0, "ofb")
    return str(place), str(other)


class House:
    def __init__(self, opened, http):
        self.opened, self.http = opened, http
        self.tokens = {
            name: one.keys.create(tenant=name, roles=ROLES, name="test")[1]
            for name, one in opened.opened.items()
        }

    def call(self, tenant, method, path, json=None, *, name="same"):
        headers = {"authorization": f"Bearer {self.tokens[tenant]}", "x-request-id": name}
        if path.startswith("/v1/rules") and method != "GET":
            headers["if-match"] = "*"
        return self.http.request(method, path, json=json, headers=headers)


@pytest.fixture(scope="module")
def house(places):
    opened = open_tenants([read_recipe(place) for place in places], operators="default")
    with TestClient(build(opened.service)) as http:
        yield House(opened, http)


@pytest.fixture(scope="module")
def of_b(house):
    """What b has, and nobody else: a user, an item, a decision, a rule; set up with b's key."""
    good = []
    good.append(
        house.call("b", "PUT", "/v1/items", {"items": [{"item_id": "secret", "title": "T"}]})
    )
    event = {"event_id": "e1", "user_id": "only-b", "kind": "click", "item_id": "secret"}
    good.append(house.call("b", "POST", "/v1/events", event))
    wish = {"user": "only-b", "count": 5}
    good.append(house.call("b", "POST", "/v1/recommendations", wish, name="of-b"))
    rules = {"rules": [{"id": "no-a1", "kind": "blocked", "items": ["a1"]}]}
    good.append(house.call("b", "PUT", "/v1/rules", rules))
    assert [response.status_code for response in good] == [200] * 4, [r.text for r in good]
    for _ in range(200):
        if house.call("b", "GET", "/v1/users/only-b").status_code == 200:
            return
    raise AssertionError("b does not know its own user")


def alike(one, other):
    """The same answer, but for the id that was asked for."""
    assert one.status_code == other.status_code
    assert one.json() == other.json()
    kept = ("content-type", "cache-control")
    assert {k: one.headers.get(k) for k in kept} == {k: other.headers.get(k) for k in kept}


@pytest.mark.parametrize(
    ("method", "path", "nothing"),
    [
        ("GET", "/v1/users/only-b", "/v1/users/nobody"),
        ("GET", "/v1/items?item_id=secret", "/v1/items?item_id=nothing"),
        ("GET", "/v1/items/secret/similar", "/v1/items/nothing/similar"),
        ("GET", "/v1/decisions/of-b", "/v1/decisions/of-nobody"),
        ("POST", "/v1/models/ofb/promote", "/v1/models/none/promote"),
        ("POST", "/v1/models/ofb/promote?force=true", "/v1/models/none/promote?force=true"),
        ("DELETE", "/v1/rules/no-a1", "/v1/rules/no-such"),
    ],
)
def test_what_is_anothers_is_not_there(house, of_b, method, path, nothing):
    alike(house.call("default", method, path), house.call("default", method, nothing))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/users/only-b", None),
        ("GET", "/v1/decisions/of-b", None),
        ("GET", "/v1/items/secret/similar", None),
    ],
)
def test_the_owner_finds_them(house, of_b, method, path, body):
    assert house.call("b", method, path, body).status_code == 200


def test_lists_do_not_mix(house, of_b):
    a, b = (house.call(name, "GET", "/v1/models").json()["models"] for name in ("default", "b"))
    assert "ofb" not in [one["version"] for one in a]
    assert "ofb" in [one["version"] for one in b]
    assert house.call("default", "GET", "/v1/rules").json()["rules"] == []
    wishes = [{"user": user, "count": 24} for user in ("only-b", "never seen")]
    answers = [
        house.call("default", "POST", "/v1/recommendations", wish, name="r").json()
        for wish in wishes
    ]
    items = [[one["item"] for one in answer["items"]] for answer in answers]
    assert items[0] == items[1]  # b's user is a stranger here
    assert "secret" not in items[0]
    assert "a1" in items[0]  # b's rule does not hold here
    own = {"items": ["secret", "a1", "a2"], "user": "u1"}
    ranked = [house.call(name, "POST", "/v1/rank", own).json() for name in ("default", "b")]
    assert sorted(one["item"] for one in ranked[0]["items"]) == ["a1", "a2"]
    assert sorted(one["item"] for one in ranked[1]["items"]) == ["a2", "secret"]


def test_one_request_id_is_two_decisions(house, of_b):
    for name, user in (("default", "u1"), ("b", "u2")):
        wish = {"user": user, "count": 2}
        assert house.call(name, "POST", "/v1/recommendations", wish, name="both").status_code == 200
    users = [
        house.call(n, "GET", "/v1/decisions/both").json()["ask"]["user"] for n in ("default", "b")
    ]
    assert users == ["u1", "u2"]


def test_changes_stay_at_home(house, of_b):
    rules = {"rules": [{"id": "mine", "kind": "blocked", "items": ["a2"]}]}
    assert house.call("default", "PUT", "/v1/rules", rules).status_code == 200
    assert [one["id"] for one in house.call("b", "GET", "/v1/rules").json()["rules"]] == ["no-a1"]
    receipt = house.call("default", "DELETE", "/v1/users/only-b")
    assert receipt.status_code == 200
    parts = receipt.json()["receipt"]["parts"]
    asked_here = parts.pop("evidence")["decisions"]
    assert asked_here <= 1  # by a test before
    assert not any(n for part in parts.values() for n in part.values())
    assert house.call("b", "GET", "/v1/users/only-b").status_code == 200
    assert house.call("b", "GET", "/v1/decisions/of-b").json()["ask"]["user"] == "only-b"
    event = {
        "event_id": "e9",
        "user_id": "only-a",
        "kind": "click",
        "item_id": "a3",
        "request_id": "of-b",
    }
    assert house.call("default", "POST", "/v1/events", event).status_code == 200
    assert house.call("b", "GET", "/v1/users/only-a").status_code == 404
    lines = {
        name: (one.running.config.folder / "audit.jsonl").read_text()
        for name, one in house.opened.opened.items()
    }
    assert '"b"' not in lines["default"]
    assert '"default"' not in lines["b"]


def test_only_operators_read_the_counts(house):
    assert house.call("default", "GET", "/metrics").status_code == 200
    assert house.call("b", "GET", "/metrics").status_code == 404


def test_nobody_is_told_who_else_is_served(house):
    told = house.http.get("/readyz").text + house.http.get("/healthz").text
    assert '"b' not in told
    assert "default" not in told


def test_a_key_counts_only_for_the_tenant_whose_file_holds_it(house):
    _, token = house.opened.opened["b"].keys.create(tenant="default", roles=ROLES, name="forged")
    sent = {"authorization": f"Bearer {token}"}
    assert house.http.get("/v1/models", headers=sent).status_code == 401


def test_each_tenant_has_its_own_pace(house, of_b):
    def burst(name, count):
        return {house.call(name, "GET", "/v1/rules").status_code for _ in range(count)}

    assert burst("b", 220) == {200, 429}
    assert burst("default", 20) == {200}


def test_recipes_that_would_be_mistaken_for_each_other(places, tmp_path):
    a, b = (read_recipe(place) for place in places)
    with pytest.raises(ConfigError, match=r"of the tenant 'default'; set serving\.tenant") as found:
        check_tenants([a, a], operators="who")
    assert "several recipes run in" in str(found.value)
    assert "operators = 'who' is no tenant" in str(found.value)
    check_tenants([a, b], operators="b")
    untrained = read_recipe(places[1], overrides=[f"runs={str(tmp_path)!r}", 'serving.tenant="c"'])
    with pytest.raises(MumaError):
        open_tenants([a, untrained])


def test_the_factory_of_the_server(places, tmp_path):
    copies = []
    for number, place in enumerate(places):
        config, copy = read_recipe(place), tmp_path / f"{number}.toml"
        runs = tmp_path / f"runs{number}"
        shutil.copytree(config.folder, runs / "feed")
        copy.write_text(open(place).read().replace(config.runs, str(runs)))  # noqa: SIM115, PTH123
        copies.append(str(copy))
    service = make(copies)
    try:
        assert sorted(one.name for one in service.tenants) == ["b", "default"]
        assert service.config.operators == ""
    finally:
        for call in service.on_stop:
            call()
