"""A small feed that is trained once a session; whoever writes into the run takes a copy."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from muma.app.config import read_recipe
from muma.app.training import train_recipe
from ranked_support import BLOCKS, WANTED, write_feed


@cache
def _trained(root, blocks):
    place = write_feed(Path(mkdtemp(dir=root)), blocks=blocks)
    train_recipe(read_recipe(place))
    return place


def trained(factory, blocks=BLOCKS + WANTED):
    """A trained recipe of one's own: its run folder is a copy.

    Args:
        factory: pytest's `tmp_path_factory`.
        blocks: features of the recipe.
    """
    place = _trained(factory.getbasetemp(), blocks)
    folder = factory.mktemp("trained")
    shutil.copytree(place.parent / "runs", folder / "runs")
    mine = folder / "feed.toml"
    runs = place.read_text().replace(str(place.parent / "runs"), str(folder / "runs"))
    mine.write_text(runs)
    return mine
