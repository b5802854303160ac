"""`muma loadtest` against a small service in a process of its own."""

import json
from functools import partial

import pytest
from typer.testing import CliRunner

from muma.cli import show_load
from muma.cli.main import app
from muma.client.load.search import highest_rate
from served_support import served


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with served(tmp_path_factory.mktemp("load")) as (url, token, *_):
        yield url, token


def loadtest(*args):
    return CliRunner().invoke(app, ["loadtest", *map(str, args)])


def test_every_route_is_timed(service, tmp_path):
    url, token = service
    users = tmp_path / "users.txt"
    users.write_text("u1\n\nu2\n")
    shown = loadtest(
        url, "--key", token, "--rps", 40, "--rank-rps", 10, "--events-per-s", 100, "--batch", 10,
        "--seconds", 1.5, "--warm-s", 0.5, "--users", users, "--rank-items", 3, "--json",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["errors"] == 0
    requests = [found[f"{route}_requests"] for route in ("recommendations", "rank", "events")]
    assert requests == [60, 15, 15]
    assert 0 < found["rank_p50_ms"] <= found["rank_p99_ms"] <= found["rank_max_ms"]


def test_failures_are_told_and_the_exit_code_says_so(service):
    url, _ = service
    shown = loadtest(url, "--key", "muma_wrong", "--rps", 20, "--seconds", 0.5, "--warm-s", 0)
    assert shown.exit_code == 1
    assert "10 of recommendations failed: 401" in shown.stdout


def test_the_highest_rate_is_searched(service, monkeypatch):
    url, token = service
    monkeypatch.setattr(show_load, "SETTLE_S", 0.1)
    monkeypatch.setattr(show_load, "highest_rate", partial(highest_rate, within=0.5))
    shown = loadtest(url, "--key", token, "--rps", 4_000, "--seconds", 0.2, "--find")
    assert shown.exit_code == 0, shown.output
    assert "lists a second with p99 < 50 ms" in shown.stdout


def test_mistakes_are_said(service, tmp_path):
    url, token = service
    (tmp_path / "empty").write_text("\n")
    for args, message in (
        (("--users", tmp_path / "empty"), "holds no id"),
        (("--users", tmp_path / "none"), "No such file"),
        (("--seconds", -1), "seconds"),
    ):
        shown = loadtest(url, "--key", token, *args)
        assert shown.exit_code == 2, shown.stdout
        assert message in shown.stderr
