"""train, explain, drift and recommend --explain as a person uses them."""

import json

import pytest
from typer.testing import CliRunner

from muma.cli.main import app
from ranked_support import write_feed


def muma(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe that has been trained once, and what that printed."""
    recipe = write_feed(tmp_path_factory.mktemp("ranking"))
    return recipe, muma("train", recipe, "--ablate")


def test_train_prints_each_label_and_writes_a_page(trained):
    recipe, shown = trained
    assert shown.exit_code == 0, shown.output
    for text in (
        "stages made now: rows, sources, features, rankers; there already: none",
        "click: 711 test impressions of 57 users",
        "long_view: 711",
        "XGBoost alone",
        "without candidate scores",
        "calibration error",
        "weight of the first engine",
        "excludes 0",
    ):
        assert text in shown.stdout
    folder = recipe.parent / "runs" / "feed"
    for name in ("calibration", "importance", "beeswarm", "dependence"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text()
    assert "without candidate scores" in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page


def test_train_again_says_that_all_is_there(trained):
    recipe, _ = trained
    found = json.loads(muma("train", recipe, "--json").stdout)
    assert found["reused"] == ["rows", "sources", "features", "rankers"]
    pipeline = found["labels"]["click"]["pipeline"]
    assert pipeline["auc"]["low"] < pipeline["auc"]["value"] < pipeline["auc"]["high"]
    assert pipeline["auc_gain"] is None
    assert found["weighings"]["lists"]["taken"]["first"] == "XGBoost"


def test_recommend_explains_known_and_unknown_users(trained):
    recipe, _ = trained
    shown = muma("recommend", recipe, "--user", "u3", "-k", "3", "--explain")
    assert shown.exit_code == 0, shown.output
    assert "warm user u3" in shown.stdout
    assert shown.stdout.count("Story") >= 3
    assert "P(click)" in shown.stdout
    assert "why" in shown.stdout
    found = json.loads(
        muma("recommend", recipe, "-u", "zz", "-k", "3", "--explain", "--json").stdout
    )
    assert found["known"] is False
    assert [item["sentence"].split(":")[0] for item in found["items"]] == [
        "Shown first", "Shown second", "Shown third",
    ]  # fmt: skip


def test_recommend_trains_when_there_are_no_rankers(tmp_path):
    shown = muma("recommend", write_feed(tmp_path), "-u", "u1", "--explain")
    assert shown.exit_code == 0, shown.output
    assert "training them first" in shown.stderr


def test_explain_shows_everything_or_one_user(trained):
    recipe, _ = trained
    shown = muma("explain", recipe)
    assert shown.exit_code == 0, shown.output
    assert "candidate.knn" in shown.stdout
    assert (recipe.parent / "runs" / "feed" / "explanation.html").is_file()
    shown = muma(
        "explain", recipe, "-u", "u3", "-k", "4", "--above", 1, 3, "--without", "candidates"
    )
    assert shown.exit_code == 0, shown.output
    for text in ("rank without candidates", "why place 1 stands", "It scores higher", "by group: "):
        assert text in shown.stdout
    found = json.loads(muma("explain", recipe, "-u", "u3", "--above", 1, 2, "--json").stdout)
    assert found["above"]["gap"] >= 0
    assert json.loads(muma("explain", recipe, "--json").stdout)["importance"][0]["mean"] > 0


def test_drift_prints_statistics(trained):
    recipe, _ = trained
    shown = muma("drift", recipe)
    assert shown.exit_code == 0, shown.output
    assert "click: 711 rows of 57 users of test against 709 rows of valid" in shown.stdout
    assert "recalibration of now: slope" in shown.stdout
    found = json.loads(muma("drift", recipe, "--label", "long_view", "--json").stdout)
    assert found["label"] == "long_view"
    assert (recipe.parent / "runs" / "feed" / "drift.json").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["drift", "{recipe}", "--current", "train"], "must come later than 'valid'"),
        (["explain", "{recipe}", "--above", "1", "2"], "give --user as well"),
        (
            ["explain", "{recipe}", "-u", "u1", "--without", "magic"],
            "no feature is of group 'magic'",
        ),
        (["recommend", "{recipe}", "-u", "u1", "--at", "2024-01-01"], "--at needs --explain"),
        (["recommend", "{recipe}", "-u", "u1", "--explain", "--model", "knn"], "leave --model out"),
        (["recommend", "{recipe}", "-u", "u1", "--explain", "--at", "noon"], "is not a moment"),
        (
            ["recommend", "{recipe}", "-u", "u1", "--explain", "--at", "2001-01-01"],
            "ask for a later",
        ),
        (["train", "{recipe}", "--set", "ranking.sources=['als']"], "not a model of the recipe"),
    ],
)
def test_mistakes_are_messages_with_exit_code_2(trained, args, message):
    shown = muma(*(arg.format(recipe=trained[0]) for arg in args))
    assert shown.exit_code == 2, shown.output
    assert message in shown.stderr.replace("\n", " ")


@pytest.mark.parametrize("command", ["train", "explain", "drift"])
def test_a_recipe_without_ranking_is_told(small_recipe, command):
    shown = muma(command, small_recipe)
    assert shown.exit_code == 2
    assert "has no section [ranking]" in shown.stderr


@pytest.mark.parametrize("command", ["train", "explain", "drift", "recommend"])
def test_help_shows_an_example_and_the_python_equivalent(command):
    shown = muma(command, "--help").stdout
    for text in (f"Example: muma {command}", "Python:", "--json"):
        assert text in shown


def test_train_without_attributions_says_so(tmp_path):
    shown = muma("train", write_feed(tmp_path), "--set", "ranking.lists.fusion='literal'")
    assert shown.exit_code == 0, shown.output
    assert "no attributions" in shown.stderr
    assert (tmp_path / "runs" / "feed" / "calibration.png").is_file()
