"""What a request says: learned from impressions, read from a request, absent from lists."""

import numpy as np
import polars as pl
import pytest

from muma.app.config import read_recipe
from muma.app.context import request_context
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.errors import ConfigError, DataError
from ranked_support import feed_rows, write_feed


def on_page(request):
    """Every third request comes from the search page, where nothing is clicked."""
    return "search" if int(request[1:]) % 3 == 0 else "home"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feed")
    rows = [row for row in feed_rows() if row[3] == "impression" or on_page(row[4]) == "home"]
    place = write_feed(folder, rows)
    lines = [",".join([*map(str, row), on_page(row[4]), str(int(row[4][1:]) % 7)]) for row in rows]
    (folder / "log.csv").write_text("\n".join(["uid,article,ts,what,rid,page,hour", *lines]) + "\n")
    text = place.read_text()
    text = text.replace(
        'request_id = "rid"', 'request_id = "rid", ctx_page = "page", ctx_hour = "hour"'
    )
    place.write_text(text.replace("slices = 3", 'slices = 3\ncontext = ["page", "ctx_hour"]'))
    return place


@pytest.fixture(scope="module")
def trained(recipe):
    return train_recipe(read_recipe(recipe))


def test_columns_are_the_impressions_alone(trained):
    shown, lists = (trained.matrices[table] for table in ("impressions", "lists"))
    assert shown.columns == (*lists.columns, "context.page", "context.hour")
    assert "context.page" in trained.categorical  # a text file's columns are words


def test_every_row_holds_its_own_context(trained):
    shown = trained.matrices["impressions"]
    carried = {}
    events = trained.log.events.collect()
    for row in events.filter(events["kind"] == "impression").iter_rows(named=True):
        key = (row["user_id"], row["item_id"], row["timestamp"])
        carried[key] = (row["ctx_page"], row["ctx_hour"])
    rows = shown.rows
    for place in range(0, len(rows), 37):
        key = (rows.user_N[place], rows.item_N[place], rows.at_N[place])
        page, hour = carried[key]
        expected = [["home", "search"].index(page), float(hour)]  # codes of 0 ... 6 are themselves
        assert shown.value_NF[place, -2:].tolist() == expected


def test_probability_follows_the_request(trained, recipe):
    served = PipelineRecommender(trained.config)
    answers = [
        served.answer("u1", 4, context=said).items
        for said in ({"page": "home", "hour": 3}, {"page": "search", "hour": 3})
    ]
    assert [a.item for a in answers[0]] == [a.item for a in answers[1]]
    for home, search in zip(*answers, strict=True):
        assert search.probability["click"] < 0.15 < home.probability["click"] + 0.1
        assert search.probability["click"] < home.probability["click"]


def test_a_request_is_read_with_care(trained):
    numbers = trained.log.events.with_columns(pl.col("ctx_hour").cast(pl.Int32))
    read = request_context(trained.log.with_events(numbers), ["page", "hour"])
    assert read.categorical == ("context.page",)
    assert read.of_request({"page": "search", "hour": "4"}).tolist() == [1.0, 4.0]
    assert np.isnan(read.of_request({})).all()
    assert np.isnan(read.of_request({"page": "never seen"})[0])
    with pytest.raises(DataError, match="no request context 'tab'; known: page, hour"):
        read.of_request({"tab": 1})
    with pytest.raises(DataError, match="'hour' is 'noon'"):
        read.of_request({"hour": "noon"})


def test_an_unknown_name_is_refused(trained):
    with pytest.raises(ConfigError, match=r"no context 'tab'; the log has: .*page"):
        request_context(trained.log, ["tab"])
