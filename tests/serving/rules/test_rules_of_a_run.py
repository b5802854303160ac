"""`muma rules preview|put|show` on a trained run, and the preview of a running service."""

import json
from contextlib import closing

import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner

from muma.app.config import read_recipe
from muma.app.service.make import open_service
from muma.cli.main import app
from muma.serving.http.app import build
from trained_support import trained

TOML = """
[[rules]]
kind = "blocked"
id = "no-a1"
items = ["a1"]

[[rules]]
kind = "pin"
id = "top"
item = "a2"
slot = 0
"""
TABLES = [
    {"kind": "blocked", "id": "no-a1", "items": ["a1"]},
    {"kind": "pin", "id": "top", "item": "a2", "slot": 0},
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    place = trained(tmp_path_factory)
    (place.parent / "rules.toml").write_text(TOML)
    return place


def muma(*args):
    return CliRunner().invoke(app, ["rules", *map(str, args)])


def test_a_preview_of_a_run(recipe):
    rules = recipe.parent / "rules.toml"
    wish = ("preview", recipe, rules, "--users", "u1,u2,who?", "--count", 24)
    shown = muma(*wish)
    assert shown.exit_code == 0, shown.output
    for text in ("gone: a1", "by no-a1", "of 3 lists would change", "nothing is known"):
        assert text in shown.stdout
    told = json.loads(muma(*wish, "--json").stdout)
    assert told["differ"] == ["no-a1", "top"]
    assert [one["known"] for one in told["changes"]] == [True, True, False]
    for one in told["changes"]:
        assert sorted(one["before"]) == sorted([*one["after"], "a1"])
        assert one["after"][0] == "a2"
        assert one["gone"] == [
            {"item": "a1", "before": one["before"].index("a1"), "after": None, "rules": ["no-a1"]}
        ]
        for move in one["moved"]:
            assert one["before"][move["before"]] == one["after"][move["after"]] == move["item"]
            assert set(move["rules"]) <= {"no-a1", "top"}
    assert {"rule": "no-a1", "action": "removed", "before": 0, "after": 3} in told["touched"]
    known = json.loads(muma("preview", recipe, rules, "--json").stdout)
    assert len(known["changes"]) == 20
    assert all(one["known"] for one in known["changes"])


def test_what_is_wrong_with_a_preview_is_said(recipe, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text('[[rules]]\nkind = "pun"\nid = "x"\n')
    shown = muma("preview", recipe, bad)
    assert (shown.exit_code, "did you mean 'pin'" in shown.output) == (2, True)
    assert muma("preview", recipe, recipe.parent / "rules.toml", "--users", ",").exit_code == 2
    away = muma("preview", "http://127.0.0.1:9", bad, "--users", "u1", "--key", "k")
    assert away.exit_code == 2
    both = tmp_path / "both.toml"
    both.write_text(TOML.replace("a2", "a1"))
    shown = muma("preview", recipe, both, "--users", "u1")
    assert "conflict: " in shown.output
    assert "no-a1" in shown.output.partition("conflict: ")[2]


def test_put_and_show_a_runs_rules(recipe, tmp_path):
    run = f"runs={str(tmp_path)!r}"
    rules = recipe.parent / "rules.toml"
    put = muma("put", recipe, rules, "--who", "anna", "--note", "why not", "--set", run)
    assert put.exit_code == 0, put.output
    shown = json.loads(muma("show", recipe, "--history", "--json", "--set", run).stdout)
    assert shown["version"].startswith("1-")
    assert shown["rules"] == TABLES
    assert [(one["who"], one["note"]) for one in shown["history"]] == [("anna", "why not")]
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    late = muma("put", recipe, empty, "--version", "0-none", "--set", run)
    assert late.exit_code == 2
    assert shown["version"] in late.output
    again = muma("put", recipe, empty, "--version", shown["version"], "--set", run, "--json")
    assert json.loads(again.stdout)["version"].startswith("2-")
    text = muma("show", recipe, "--history", "--set", run).stdout
    assert "0 rules, version 2-" in text
    assert "anna" in text
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rules]]\nkind = "pin"\n')
    assert muma("put", recipe, wrong, "--set", run).exit_code == 2
    assert json.loads(muma("show", recipe, "--json", "--set", run).stdout)["rules"] == []


def test_a_running_service_previews_and_keeps_its_rules_from_files(recipe):
    with closing(open_service(read_recipe(recipe), time_of="log")) as opened:
        put = muma("put", recipe, recipe.parent / "rules.toml")
        assert put.exit_code == 2
        assert "is running: give its address" in put.output
        _, read = opened.keys.create(tenant="default", roles=("read",), name="r")
        _, write = opened.keys.create(tenant="default", roles=("write",), name="w")
        with TestClient(build(opened.service)) as http:

            def ask(body, token):
                sent = {"authorization": f"Bearer {token}"}
                return http.post("/v1/rules/preview", json=body, headers=sent)

            body = {"rules": TABLES, "users": ["u1", "u1", "?"], "count": 24}
            assert ask(body, read).status_code == 403
            told = ask(body, write).json()
            one, same, _ = told["changes"]
            assert one == same
            assert one["gone"][0]["rules"] == ["no-a1"]
            assert opened.service.tenants.get("default").rules.get().rules == ()
            assert opened.evidence.get("preview:u1") is None
            assert (
                ask({"rules": [{"kind": "pun", "id": "x"}], "users": ["u"]}, write).status_code
                == 422
            )
            own = [{"use": "os.system", "id": "x"}]
            assert ask({"rules": own, "users": ["u"]}, write).status_code == 422
            assert ask({"rules": [], "users": []}, write).status_code == 422
            assert ask({"rules": [], "users": ["u"] * 101}, write).status_code == 422
            assert ask({"rules": [], "users": ["u"], "count": 201}, write).status_code == 422
