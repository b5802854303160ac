"""policy simulate as a person uses it."""

import json

import pytest
from typer.testing import CliRunner

from muma.cli.main import app
from muma.simulation.recipe import POLICIES, WORLDS, SimulationConfig, run

QUICK = ("--rounds", "300", "--seeds", "3")


def muma(*args):
    return CliRunner().invoke(app, ["policy", *map(str, args)])


def test_table_file_and_picture(tmp_path):
    shown = muma(
        "simulate", "-w", "drifting", "-p", "thompson", "-p", "cycle", *QUICK, "--to", tmp_path
    )
    assert shown.exit_code == 0, shown.output
    for text in ("DriftingWorld, 300 rounds, 3 seeds", "saved against thompson", "bias", "cycle"):
        assert text in shown.stdout
    assert (tmp_path / "policies.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "simulation.json").read_text())
    assert kept["baseline"] == "thompson"
    assert kept["seeds"] == [0, 1, 2]
    assert "saved" not in kept["policies"]["thompson"]


def test_json_is_what_python_gives(tmp_path):
    shown = muma("simulate", "-p", "ucb", "-p", "cycle", *QUICK, "--to", tmp_path, "--json")
    found = json.loads(shown.stdout)
    policies = {name: POLICIES[name] for name in ("ucb", "cycle")}
    played = run(SimulationConfig.model_validate({"policies": policies, "rounds": 300, "seeds": 3}))
    for name in policies:
        wanted = played.regret(name)
        told = found["policies"][name]["regret"]
        assert (told["value"], told["low"], told["n"]) == (wanted.value, wanted.low, 3)
    saved = played.saved("cycle", against="ucb")
    assert found["policies"]["cycle"]["saved"]["value"] == saved.value


def test_a_recipe_and_its_overrides(tmp_path):
    recipe = tmp_path / "games.toml"
    recipe.write_text(
        "rounds = 100\nseeds = 2\nbaseline = 'b'\n"
        "[world]\nuse = 'muma.simulation.stationary.StationaryWorld'\narms = 4\n"
        "[policies.a]\nuse = 'muma.policy.ucb.UCB'\n"
        "[policies.b]\nuse = 'muma.policy.thompson.Thompson'\n"
    )
    shown = muma("simulate", recipe, "--set", "world.arms=6", "--to", tmp_path / "o", "--json")
    found = json.loads(shown.stdout)
    assert found["config"]["world"]["arms"] == 6
    assert found["baseline"] == "b"
    assert "saved" in found["policies"]["a"]


def test_one_seed_has_no_interval(tmp_path):
    shown = muma("simulate", "-p", "ucb", "--rounds", 50, "--seeds", 1, "--to", tmp_path, "--json")
    regret = json.loads(shown.stdout)["policies"]["ucb"]["regret"]
    assert regret["low"] is None
    assert regret["value"] > 0
    shown = muma("simulate", "-p", "ucb", "--rounds", 50, "--seeds", 1, "--to", tmp_path)
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "nosuch"], "there is no policy 'nosuch'"),
        (["-w", "nosuch"], "there is no world 'nosuch'"),
        (["-p", "muma.policy.ucb.Nosuch"], "no class 'Nosuch'"),
        (["-w", "muma.policy.ucb.UCB"], "it has no block"),
        (["-p", "ucb", "-p", "ucb"], "each may come once"),
        (["--rounds", "0"], "simulation.rounds"),
        (["--set", "a=1"], "--set changes a recipe"),
        (["nosuch.toml"], "does not exist"),
    ],
)
def test_mistakes_are_told(arguments, told, tmp_path):
    shown = muma("simulate", *arguments, "--to", tmp_path)
    assert shown.exit_code == 2
    assert told in " ".join(shown.output.split())


def test_help_names_examples_worlds_and_policies():
    shown = " ".join(muma("simulate", "--help").output.split())
    for text in ("Example:", "Python:", *WORLDS):
        assert text in shown
    assert "simulate" in muma("--help").output


def test_every_name_can_be_built():
    from muma.config import build

    for spec in POLICIES.values():
        assert build(spec, methods=("choose", "learn", "expected"))
    for spec in WORLDS.values():
        assert build(spec, methods=("block",)).arms == 20
