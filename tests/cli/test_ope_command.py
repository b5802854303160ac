"""`muma ope` as a person uses it."""

import json

import pytest
from typer.testing import CliRunner

from muma.cli.main import app
from ope_support import frame, ranked, write


def muma(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write(frame(), tmp_path_factory.mktemp("ope") / "log.parquet")


def test_a_policy_is_judged_and_shown(log, tmp_path):
    shown = muma("ope", log, "-p", "greedy", "--by", "country", "--to", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    for text in (
        "greedy: largest predicted reward",
        "1,200 slots of 1,200 answers, 4 items",
        "policy that acted",
        "SNIPS",
        "overlap: 600 units weigh as",
        "gain over the policy that acted (DR, paired)",
        "country = de",
        "do the groups of country differ",
    ):
        assert text in shown.stdout
    for name in ("ope.png", "groups.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "ope.json").read_text())["policy"] == "greedy"


def test_json_is_one_object_and_a_learned_policy_is_kept(log, tmp_path):
    kept = tmp_path / "policy"
    shown = muma("ope", log, "-p", "learned", "--save", kept, "--json", "--to", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["log"] == {
        "rows": 1200,
        "answers": 1200,
        "items": 4,
        "context": ["ctx_a", "ctx_b"],
    }
    assert found["groups"] is None
    again = json.loads(muma("ope", log, "-p", kept, "--json", "--to", tmp_path / "out").stdout)
    assert "flattered" in again["told"]


def test_answers_of_several_slots_are_valued_whole(tmp_path):
    log = write(ranked(), tmp_path / "log.csv")
    shown = muma("ope", log, "-p", "best-constant", "--to", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "reward of an answer, all slots" in shown.stdout
    assert "(cascade-DR, paired, per answer)" in shown.stdout
    assert "the slots above as they were logged" in shown.stdout.replace("\n", " ")


def test_what_cannot_be_trusted_is_said(tmp_path):
    """Thirty rows decide nothing."""
    log = write(frame(30), tmp_path / "log.parquet")
    shown = muma("ope", log, "-p", "uniform", "--by", "country", "--to", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "DO NOT TRUST THIS" in shown.stdout
    assert "undecidable" in shown.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "one of --policy and --target"),
        (["-p", "greedy", "--save", "x"], "--save keeps a policy that was learned"),
        (["-p", "greedy", "--column", "reward"], "not of the form name=value"),
        (["-p", "greedy", "--column", "reward=clicks"], "there is no column 'clicks'"),
        (["-p", "missing.toml"], "does not exist"),
    ],
)
def test_mistakes_are_messages_with_exit_code_2(args, message, log, tmp_path):
    shown = muma("ope", log, *args, "--to", tmp_path / "out")
    assert shown.exit_code == 2, shown.output
    assert message in shown.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_help_shows_an_example_and_the_python_equivalent():
    shown = muma("ope", "--help").stdout
    for text in ("Example: muma ope", "Python:", "--json", "--by"):
        assert text in shown
