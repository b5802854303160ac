"""`muma rules check` as an editor uses it."""

import json

from typer.testing import CliRunner

from muma.cli.main import app

GOOD = '[[rules]]\nkind = "author_cap"\nid = "two"\nmost = 2\n'
PINS = "".join(
    f'[[rules]]\nkind = "pin"\nid = "p{n}"\nitem = "{item}"\nslot = 0\n'
    for n, item in enumerate("ab")
)


def check(path, *args):
    return CliRunner().invoke(app, ["rules", "check", str(path), *map(str, args)])


def test_good_rules(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(GOOD)
    shown = check(file)
    assert shown.exit_code == 0, shown.output
    for text in ("1 rules, version", "two", "author_cap", "limit", "no conflicts"):
        assert text in shown.stdout
    told = json.loads(check(file, "--json").stdout)
    assert (told["rules"], told["conflicts"]) == (1, [])
    assert told["version"] in shown.stdout


def test_conflicts_and_errors(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(GOOD + PINS)
    shown = check(file)
    assert shown.exit_code == 1
    assert "both pin an item to slot 0" in shown.output
    told = json.loads(check(file, "--json").stdout)
    assert told["conflicts"] == [{"rules": ["p0", "p1"], "text": "both pin an item to slot 0"}]
    file.write_text(GOOD + '[[rules]]\nkind = "pun"\nid = "x"\n' + GOOD)
    shown = check(file)
    assert shown.exit_code == 2
    assert "did you mean 'pin'" in shown.output
    assert "two rules have the id 'two'" in shown.output
    assert check(tmp_path / "none.toml").exit_code == 2


def test_against_the_items_of_a_recipe(tmp_path):
    (tmp_path / "events.csv").write_text(
        "user_id,item_id,timestamp,kind,domain\nu,a,1700000000,click,news\nv,b,1700000100,click,news\n"
    )
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        name = "tiny"
        runs = "{tmp_path / "runs"}"
        [events.source]
        use = "muma.events.sources.files.Files"
        events = {{ files = ["{tmp_path / "events.csv"}"], time_unit = "s" }}
        [candidates.models.popular]
        use = "muma.candidates.popularity.Popularity"
        """
    )
    file = tmp_path / "rules.toml"
    file.write_text(PINS.replace('"b"', '"c"').replace("slot = 0", "slot = 1", 1))
    shown = check(file, "--recipe", recipe)
    assert shown.exit_code == 2
    assert "run `muma ingest" in shown.output
    done = CliRunner().invoke(app, ["ingest", str(recipe)])
    assert done.exit_code == 0, done.output
    shown = check(file, "--recipe", recipe)
    assert shown.exit_code == 1
    assert "there is no item 'c'" in shown.output
    assert "'a'" not in shown.stderr
