"""muma models: which version answers, while the service stands still; and several recipes to serve."""

import json

import pytest
from typer.testing import CliRunner

from muma.app.config import read_recipe
from muma.app.service.make import keys_of, open_service
from muma.app.serving_bundle import versions_of
from muma.cli.main import app
from versions_support import FEWER, trained


def muma(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe that was trained by the command once, and once otherwise."""
    place, first = trained(tmp_path_factory.mktemp("feed"))
    shown = muma("train", place, "--set", FEWER, "--json")
    assert shown.exit_code == 0, shown.output
    return place, first, json.loads(shown.stdout)["version"]


def listed(place):
    shown = muma("models", "list", place, "--json")
    assert shown.exit_code == 0, shown.output
    return {one["version"]: one for one in json.loads(shown.stdout)}


def test_models_are_listed_promoted_and_rolled_back(made):
    place, first, second = made
    assert first != second
    found = listed(place)
    assert [found[name]["state"] for name in (first, second)] == ["retired", "live"]
    assert set(found[second]["metrics"]) == {
        f"{label} {name}"
        for label in ("click", "long_view")
        for name in ("auc", "log_loss", "ndcg@10")
    }
    assert "no version was promoted" in muma("models", "list", place).stdout
    shown = muma("models", "promote", place, first)
    assert shown.exit_code == 0, shown.output
    assert "no gate was asked" in shown.stdout
    assert [listed(place)[name]["state"] for name in (first, second)] == ["live", "previous"]
    config = read_recipe(place)
    opened = open_service(config, time_of="log")
    try:
        assert opened.engine.versions.bundle.version == first
        for command in (["promote", place, second], ["rollback", place]):
            refused = muma("models", *command)
            assert refused.exit_code == 2
            assert "POST /v1/models/VERSION/promote" in refused.stderr.replace("\n", " ")
        assert listed(place)[first]["state"] == "live"
    finally:
        opened.close()
    assert muma("models", "rollback", place).exit_code == 0
    assert listed(place)[second]["state"] == "live"
    again = muma("models", "rollback", place)
    assert again.exit_code == 2
    assert "no previous version" in again.stderr
    assert muma("models", "promote", place, "nothing").exit_code == 2


def test_training_again_keeps_no_second_copy(made):
    place, _, second = made
    before = len(listed(place))
    shown = muma("train", place, "--set", FEWER, "--json")
    assert json.loads(shown.stdout)["version"] == second
    assert len(listed(place)) == before


def test_old_versions_go(made):
    place, first, _ = made
    muma("models", "promote", place, first)
    names = set()
    for trees in (5, 6, 7):
        more = ("--set", f"ranking.lists.first.trees={trees}", "--set", "serving.keep_versions=2")
        names.add(json.loads(muma("train", place, *more, "--json").stdout)["version"])
    kept = set(listed(place))
    assert first in kept  # it is live
    assert len(kept & names) == 2


def test_a_replay_is_answered_by_the_version_of_then(made):
    place, first, second = made
    config = read_recipe(place)
    assert first in listed(place)
    opened = open_service(config, time_of="log")
    from muma.serving.recommending import Ask

    ask = Ask("then", opened.clock(), user="u3", count=5, deadline_us=10**9)
    made_by = opened.service.tenants.get("default").engine.answer(ask).answer.versions["models"]
    opened.close()
    other = next(name for name in listed(place) if name != made_by)
    versions_of(config).point(type(versions_of(config).pointer())(other, made_by))
    shown = muma("replay", place, "then")
    assert shown.exit_code == 0, shown.output
    assert "bit for bit" in shown.stdout
    assert made_by != second or second in listed(place)


def test_several_recipes_are_checked_together(made, tmp_path):
    place, *_ = made
    shown = muma("serve", place, place, "--operators", "who", "--port", 1)
    assert shown.exit_code != 0
    other = tmp_path / "other.toml"
    other.write_text(place.read_text() + '\n[serving]\ntenant = "b"\n')
    said = muma("serve", place, other, "--check", "--log-time").stderr.replace("\n", " ")
    assert "several recipes run in" in said or "--log-time" in said
    alone = muma("serve", place, "--check", "--operators", "default")
    assert "--operators" in alone.stderr


def test_keys_are_made_for_the_recipes_tenant(made):
    place, *_ = made
    sets = ("--set", 'serving.tenant="b"')
    shown = muma("keys", "create", place, "--name", "page", *sets)
    assert shown.exit_code == 0, shown.output
    keys = keys_of(read_recipe(place), clock=lambda: 0)
    assert keys.find(shown.stdout.strip()).tenant == "b"
