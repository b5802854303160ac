"""What keeps a recipe from being served is said all at once."""

import socket
import subprocess
from contextlib import closing

import pytest
from typer.testing import CliRunner

from muma.app.config import read_recipe
from muma.app.service.checking import Place, check
from muma.app.service.make import open_service
from muma.cli.main import app
from ranked_support import write_feed
from trained_support import trained


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return trained(tmp_path_factory)


def wheres(faults):
    return [fault.where for fault in faults]


def serve(*args):
    return CliRunner().invoke(app, ["serve", *map(str, args)])


def test_a_trained_recipe_has_no_fault_and_nothing_is_written(recipe):
    before = {path: path.stat().st_mtime_ns for path in recipe.parent.rglob("*")}
    assert check(recipe) == ()
    assert {path: path.stat().st_mtime_ns for path in recipe.parent.rglob("*")} == before
    shown = serve(recipe, "--check")
    assert (shown.exit_code, shown.stdout) == (0, "nothing is wrong\n")


def test_many_faults_are_told_together(recipe, tmp_path):
    sets = [
        'policy.use="muma.policy.softmax.SoftMaxPolicy"',
        'serving.history="wished"',
        'serving.editorial=["a1", "b7", "b8"]',
        'serving.similar="moon"',
        'ranking.item_attributes=["attr_words", "attr_none"]',
        'ranking.context=["tab"]',
        'candidates.models.knn.use="muma.candidates.item_knn.ItemKMM"',
    ]
    rules = read_recipe(recipe).folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "current").write_text("seven")
    items = rules.parent / "items.jsonl"
    items.write_text('{"item_id": 7}\n{"item_id": "b7"}\n{"item_')
    keys = rules.parent / "keys.json"
    keys.write_text("{")
    try:
        with closing(socket.create_server(("127.0.0.1", 0))) as other:
            port = other.getsockname()[1]
            place = Place(port=port, certificate=str(tmp_path / "no.pem"))
            found = check(recipe, sets, place=place)
            arguments = [part for one in sets for part in ("--set", one)]
            shown = serve(recipe, "--check", "--port", port, *arguments)
            started = serve(recipe, "--port", port, *arguments)
    finally:
        (rules / "current").unlink()
        items.unlink()
        keys.unlink()
    expected = {
        "tls", "tls-certificate", "port", "policy", "serving.history", "serving.editorial",
        "serving.similar", "ranking.item_attributes", "ranking.context", "candidates.models.knn",
        "rules", "items", "keys", "training",
    }  # fmt: skip
    assert set(wheres(found)) == expected
    texts = {fault.where: fault.text for fault in found}
    assert "did you mean 'SoftmaxPolicy'" in texts["policy"]
    assert texts["serving.editorial"].startswith("there is no item 'b8'")
    assert wheres(found).count("serving.editorial") == 1  # b7 was put
    assert (shown.exit_code, started.exit_code) == (1, 2)
    assert "training" in shown.output
    for where in expected - {"tls", "tls-certificate", "training"}:
        assert f"{where}: " in shown.output
        assert f"{where}: " in started.output
    assert "listening" not in started.output


def test_every_wrong_key_of_a_recipe_is_named(recipe):
    found = check(recipe, ["serving.hystory=1", "stream.partitions=0", "evaluation.level=2"])
    assert len(found) == 3
    assert set(wheres(found)) == {"recipe"}
    assert check(recipe.parent / "none.toml")[0].where == "recipe"


def test_what_is_not_trained_can_be_told_apart(tmp_path):
    place = write_feed(tmp_path / "feed", blocks="[features.sequences.wanted]\nof = 'click'\n")
    found = check(place)
    assert set(wheres(found)) == {"training"}
    assert serve(place, "--check").exit_code == 1
    assert serve(place, "--check", "--untrained").exit_code == 0
    assert not (tmp_path / "feed" / "runs").exists()
    (tmp_path / "feed" / "log.csv").unlink()
    assert "events.source" in wheres(check(place))


def test_a_run_that_is_being_served(recipe):
    with closing(open_service(read_recipe(recipe), time_of="log")):
        found = check(recipe)
        assert wheres(found) == ["stream"]
        assert "another process" in found[0].text
    assert check(recipe) == ()


def test_tls_files_that_are_no_pair(recipe, tmp_path):
    for name in ("one", "two"):
        subject = [
            "-subj",
            "/CN=x",
            "-keyout",
            f"{tmp_path}/{name}.key",
            "-out",
            f"{tmp_path}/{name}.pem",
        ]
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        subprocess.run([*made, *subject], check=True, capture_output=True)
    good = Place(certificate=f"{tmp_path}/one.pem", key=f"{tmp_path}/one.key")
    assert check(recipe, place=good) == ()
    mixed = Place(certificate=f"{tmp_path}/one.pem", key=f"{tmp_path}/two.key")
    assert wheres(check(recipe, place=mixed)) == ["tls"]
    (tmp_path / "one.pem").write_text("no certificate")
    assert wheres(check(recipe, place=good)) == ["tls"]


def test_a_host_that_is_not_of_this_machine(recipe):
    assert wheres(check(recipe, place=Place(host="192.0.2.1", port=8000))) == ["port"]
