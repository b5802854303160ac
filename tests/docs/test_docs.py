"""Every command and every snippet in the documentation runs, in the order it is printed."""

import gzip
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from muma.app.config import AppConfig
from muma.config import parse
from tests_support import RECIPE, write_small_log

HOME = Path(__file__).parents[2]
PAGES = [HOME / "README.md", *sorted((HOME / "docs").glob("*.md")), HOME / "CONTRIBUTING.md"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent
FEATURES = """
[features.blocks.activity]
use = "muma.features.families.count.Count"
keys = ["user", "item"]
of = ["click"]
windows = ["1d/1h"]
"""


def blocks(kind):
    for page in PAGES:
        for found, text in FENCE.findall(page.read_text()):
            if found == kind:
                yield page.name, text


def commands():
    for page, text in blocks("bash"):
        for line in text.splitlines():
            command = line.split(" # ")[0].strip()
            if command.startswith("muma "):
                yield pytest.param(command, id=f"{page}: {command}", marks=marks(command))


def marks(text):
    return pytest.mark.slow if "demo" in text else ()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder as the pages assume it: the clone's files, some logs, and my.toml."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("recipes", "data"):
        (folder / name).symlink_to(HOME / name)
    write_small_log(folder)
    lines = (folder / "log.csv").read_text().replace("u1,", "42,").splitlines()
    (folder / "logs").mkdir()
    with gzip.open(folder / "logs" / "day.csv.gz", "wt") as stream:
        stream.write("uid,item_id,timestamp,kind\n" + "\n".join(lines[1:]) + "\n")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    recipe = RECIPE.format(runs="runs", log="log.csv", items="items.csv")
    (folder / "my.toml").write_text(recipe + FEATURES)
    return folder


@pytest.mark.parametrize("command", list(commands()))
def test_command_runs(command, workplace):
    shown = subprocess.run(
        f"{BIN}/{command}",
        shell=True,
        cwd=workplace,
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert shown.returncode == 0, shown.stderr + shown.stdout
    assert shown.stdout.strip()


def test_there_are_commands_to_run():
    found = {p.values[0].split()[1] for p in commands()}
    assert found >= {"validate", "ingest", "evaluate", "recommend", "features", "stream", "inspect"}


@pytest.mark.parametrize("page", [pytest.param(p, id=i) for i, p in blocks("toml")])
def test_recipe_in_the_docs_is_valid(page):
    parse(AppConfig, tomllib.loads(page))


@pytest.mark.parametrize(
    "code", [pytest.param(c, id=f"{p}: {c[:40]!r}", marks=marks(c)) for p, c in blocks("python")]
)
def test_snippet_runs(code, workplace):
    subprocess.run(
        f"{BIN}/muma ingest recipes/kuairand.toml --output runs/guide-log",
        shell=True, cwd=workplace, check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=workplace, check=True, timeout=400)


def test_links_inside_the_docs_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_named_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert name in targets, f"{page.name}: make {name}"


def test_the_numbers_table_is_what_the_benchmarks_kept():
    command = [sys.executable, str(HOME / "benchmarks" / "table.py"), "--check"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
