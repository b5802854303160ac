"""The command line as a person uses it: what it prints, its exit codes, its JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MUMA = Path(sys.executable).parent / "muma"


def muma(*args, cwd=None):
    return subprocess.run(
        [str(MUMA), *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A recipe that has been evaluated once."""
    from tests_support import RECIPE, write_small_log

    folder = tmp_path_factory.mktemp("cli")
    write_small_log(folder)
    recipe = folder / "small.toml"
    recipe.write_text(
        RECIPE.format(
            runs=str(folder / "runs"), log=str(folder / "log.csv"), items=str(folder / "items.csv")
        )
    )
    return recipe, muma("evaluate", recipe)


def test_help_shows_an_example_and_the_python_equivalent():
    listing = muma("--help")
    assert listing.returncode == 0
    for command in ("demo", "ingest", "validate", "evaluate", "recommend", "doctor"):
        assert command in listing.stdout
        shown = muma(command, "--help").stdout
        assert f"Example: muma {command}" in shown
        assert "Python:" in shown
        assert "--json" in shown


def test_evaluate_prints_the_comparison_and_draws_it(finished):
    recipe, shown = finished
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""  # quiet when piped
    for text in ("markov", "ndcg@10", "95% interval", "vs popularity", "what became of every row"):
        assert text in shown.stdout
    picture = recipe.parent / "runs" / "small" / "comparison.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object(finished):
    recipe, _ = finished
    found = json.loads(muma("evaluate", recipe, "--json").stdout)
    assert found["models"]["markov"]["views"]["all"]["ndcg@10"]["low"] > 0
    found = json.loads(muma("ingest", recipe, "--json").stdout)
    assert found["events"]["read"] == found["events"]["kept"] + found["events"]["quarantined"]
    assert found["reused"] is True
    found = json.loads(muma("recommend", recipe, "--user", "u1", "-k", "3", "--json").stdout)
    assert len(found["items"]) == 3
    assert json.loads(muma("doctor", "--json").stdout)["extra mf"] == "ready"


def test_recommend_names_titles(finished):
    recipe, _ = finished
    shown = muma("recommend", recipe, "--user", "u1", "-k", "3")
    assert "warm user u1" in shown.stdout
    assert shown.stdout.count("Story") >= 3
    assert "never seen in the log" in muma("recommend", recipe, "-u", "zz").stdout


def test_recommend_fits_when_there_is_no_run(small_recipe):
    shown = muma("recommend", small_recipe, "--user", "u1", "-k", "2")
    assert shown.returncode == 0, shown.stderr
    assert "fitting the recipe's models first" in shown.stderr


def test_ingest_writes_a_log_and_replaces_it(small_recipe, tmp_path):
    target = tmp_path / "log"
    assert muma("ingest", small_recipe, "-o", target).returncode == 0
    assert (target / "manifest.json").is_file()
    second = muma("ingest", small_recipe, "-o", target, "--again")
    assert second.returncode == 0, second.stderr
    assert len(list(target.glob("data-*"))) == 1


def test_validate_passes_good_files_and_names_bad_rows(tmp_path, small_recipe):
    good = muma("validate", tmp_path / "log.csv", "--recipe", small_recipe)
    assert good.returncode == 0, good.stderr
    assert "1,000 pass" in good.stdout
    bad = tmp_path / "bad.csv"
    bad.write_text("user_id,item_id,kind,timestamp\n1,2,click,1700000000\n1,2,clack,1700000000\n")
    shown = muma("validate", bad, "--constant", "domain=news", "--time-unit", "s", "--json")
    assert shown.returncode == 2
    found = json.loads(shown.stdout)
    assert (found["read"], found["kept"], found["quarantined"]) == (2, 1, 1)
    assert found["examples"][0]["row"] == 2
    assert found["examples"][0]["value"] == "clack"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ingest", "no-such.toml"], "does not exist"),
        (["evaluate", "{recipe}", "--set", "seed"], "not of the form"),
        (["evaluate", "{recipe}", "--set", "sede=1"], "did you mean 'seed'"),
        (["ingest", "{recipe}", "--output", "{recipe}"], "is a file"),
        (["validate", "nothing-*.csv"], "no such file"),
        (["recommend", "{recipe}", "--user", "u1", "--model", "als"], "not in the run"),
        (["evaluate", "{recipe}", "--set", "runs='/proc/none'"], "/proc/none"),
        (["ingest", "{recipe}", "-o", "x" * 300], "File name too long"),
        (["evaluate", "{recipe}", "--set", "evaluation.views=['cold_user']"], "must hold 'all'"),
        (["ingest", "{recipe}", "--set", "events.source.events.files=['gone.csv']"], "gone.csv"),
    ],
)
def test_mistakes_are_messages_with_exit_code_2(small_recipe, args, message):
    shown = muma(*(arg.format(recipe=small_recipe) for arg in args), cwd=small_recipe.parent)
    assert shown.returncode == 2, shown.stdout
    assert "Traceback" not in shown.stderr
    assert message in shown.stderr.replace("\n", " ")


def test_version():
    import muma as package

    assert muma("--version").stdout.strip() == package.__version__
