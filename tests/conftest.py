"""Shared fixtures: the project's home, published data where present, and a small recipe."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; more threads only wait

import pytest

from tests_support import RECIPE, write_small_log

HOME = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def home():
    """The project's folder."""
    return HOME


@pytest.fixture(scope="session")
def published():
    """Folder of published data sets, or a skip with the reason."""
    for place in (os.environ.get("MUMA_DATA"), HOME.parent / "shared" / "data"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("no published data here: set MUMA_DATA to the folder that holds the data sets")


@pytest.fixture
def small_recipe(tmp_path):
    """Path of a recipe over a small log in files; its run folder is `tmp_path/runs/small`."""
    write_small_log(tmp_path)
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        RECIPE.format(
            runs=str(tmp_path / "runs"),
            log=str(tmp_path / "log.csv"),
            items=str(tmp_path / "items.csv"),
        )
    )
    return recipe
