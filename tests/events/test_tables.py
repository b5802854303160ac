"""The tables beside the events: items, users, social edges, gaze fixations, from files."""

import polars as pl

from muma.config import build
from muma.events.event import EVENT_COLUMNS, GAZE_COLUMNS, TABLES
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine

FILES = {
    "events": "user_id,item_id,kind,timestamp\nu,i,click,1700000000\n",
    "items": "item_id,title,tags,published_at\ni,Über,a|b,1600000000\nj,,,\ni,Later,c,1600000000\n",
    "users": "user_id,attr_plan\nu,gold\nw,free\n",
    "social": "src,dst,relation,since\nu,v,follow,1700000000\nu,,follow,1700000000\n",
    "gaze": (
        "user_id,item_id,screen,x,y,start,duration_ms\n"
        "u,i,,0.5,0.25,1700000000,180\n"
        "u,,home,0,1,1700000000.5,20\n"
        "u,,,0.1,0.1,1700000000,20\n"
        "u,i,,1.5,0.2,1700000000,20\n"
        "u,i,,nan,0.2,1700000000,20\n"
        "u,i,,0.5,0.2,1700000000,-1\n"
    ),
}


def read(folder):
    sections = {}
    for table, text in FILES.items():
        (folder / f"{table}.csv").write_text(text, encoding="utf-8")
        sections[table] = {"files": [str(folder / f"{table}.csv")], "time_unit": "s"}
        if table in ("events", "items"):
            sections[table]["constants"] = {"domain": "news"}
    source = build({"use": "muma.events.sources.files.Files", **sections})
    return ingest(source, folder / "log", fail_above=0.9), open_log(folder / "log")


def test_every_table_comes_through_with_its_ids(tmp_path):
    report, log = read(tmp_path)
    for count in (report.events, *report.tables.values()):
        assert count.read == count.kept + count.quarantined
    assert log.user_ids.ids.to_list() == ["u", "w", "v"]
    assert log.item_ids.ids.to_list() == ["i", "j"]
    items = log.items.collect()
    assert items["title"].to_list() == [None, "Later"]  # the last row of an id counts
    assert items["tags"].to_list() == [None, ["c"]]
    assert log.users.collect()["attr_plan"].to_list() == ["gold", "free"]
    assert log.social.select("src", "dst", "relation").collect().rows() == [(0, 2, "follow")]
    gaze = log.gaze.select("user_id", "item_id", "screen", "x", "start").collect()
    assert gaze.rows() == [
        (0, 0, None, 0.5, 1_700_000_000_000_000),
        (0, None, "home", 0.0, 1_700_000_000_500_000),
    ]


def test_refused_rows_say_why(tmp_path):
    read(tmp_path)
    rows = quarantine(tmp_path / "log").sort("table", "row").collect()
    found = rows.select("table", "row", "column", "rule").rows()
    assert found == [
        ("gaze", 3, "screen", "missing"),
        ("gaze", 4, "x", "max"),
        ("gaze", 5, "x", "nan"),
        ("gaze", 6, "duration_ms", "min"),
        ("items", 1, "item_id", "duplicate_id"),
        ("social", 2, "dst", "missing"),
    ]


def test_declared_columns_read_as_null_where_a_source_has_none(tmp_path):
    _, log = read(tmp_path)
    assert set(EVENT_COLUMNS) <= set(log.events.collect_schema().names())
    assert log.events.select("propensity", "request_id").collect().null_count().row(0) == (1, 1)
    for table, columns in TABLES.items():
        schema = getattr(log, table).collect_schema()
        assert {name: schema[name] for name in columns} == {
            n: pl.Series(dtype=t).dtype for n, t in columns.items()
        }
    assert set(GAZE_COLUMNS) == set(log.gaze.collect_schema().names())
