"""A small recipe trained more than once: versions side by side, as a service finds them."""

import atexit
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from muma import artifact
from muma.app.config import read_recipe
from muma.app.serving_bundle import keep_training, versions_of
from muma.app.stages import KIND, VERSION
from muma.app.training import train_recipe
from muma.candidates.storage import artifact_within, writer_within
from muma.ranking.multi import MultiRanker
from ranked_support import BLOCKS, WANTED, write_feed

FEWER = "ranking.lists.first.trees=4"


@cache
def _master():
    """One training for all tests of this process."""
    home = Path(mkdtemp(prefix="muma-versions-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    place = write_feed(home, blocks=BLOCKS + WANTED)
    return place, train(place)


def trained(folder, *, more=""):
    """A recipe and one version of it, in a run of its own; returns its path and the version's name."""
    master, name = _master()
    runs = folder / "runs"
    shutil.copytree(master.parent / "runs", runs)
    place = folder / "feed.toml"
    place.write_text(master.read_text().replace(str(master.parent / "runs"), str(runs)) + more)
    return place, name


def train(place, *overrides):
    """Train, keep, and return the version's name."""
    config = read_recipe(place, overrides=list(overrides))
    return keep_training(config, train_recipe(config).log).name


def rescored(config, name, weight, new):
    """Version `new`: lists are ordered by `weight` times the log-odds of version `name`."""
    kept = versions_of(config)
    made = kept.get(name)
    sources, rankers = (
        kept.part(name, part, kind=KIND, version=VERSION) for part in ("sources", "rankers")
    )
    aside = config.folder / "rescored"
    with artifact.write(aside, kind=KIND, version=VERSION) as writer:
        for table in ("impressions", "lists"):
            ranker = MultiRanker.load(artifact_within(rankers, table))
            if table == "lists":
                labels = dict.fromkeys(ranker.config.labels, weight)
                ranker.config = ranker.config.model_copy(update={"labels": labels})
            ranker.save(writer_within(writer, table))
    stored = artifact.read(aside, kind=KIND, version=VERSION)
    other = replace(made, name=new, made_at=made.made_at + 1)
    return kept.keep(other, {"sources": sources, "rankers": stored}).name
