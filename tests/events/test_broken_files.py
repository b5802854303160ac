"""Files that are wrong in every way we could think of; each case states what must come of it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from muma.errors import ConfigError, DataError, MumaError, SourceError
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine

T = 1_700_000_000
HEAD = b"user,item,ts,dwell\n"
GOOD = HEAD + b"".join(b"u%d,i%d,%d,%d\n" % (k, k, T + k, 900 + k) for k in range(1, 301))
LINE = {"user": "u", "item": "i", "ts": T, "dwell": 5}
LATE_US = (T + 86_400) * 1_000_000


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def parquet(**columns: Any) -> bytes:
    n = max(len(v) if v is not None else 1 for v in columns.values())
    base = {"user": ["u"] * n, "item": ["i"] * n, "ts": list(range(T, T + n)), "dwell": [5] * n}
    stream = BytesIO()
    given = {name: v for name, v in {**base, **columns}.items() if v is not None}
    pl.DataFrame(given).write_parquet(stream)
    return stream.getvalue()


def jsonl(*records: Any) -> bytes:
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    return b"\n".join(lines) + b"\n"


def twice_ts() -> bytes:
    stream = BytesIO()
    column = pa.array([T])
    pa.parquet.write_table(pa.table([column] * 5, ["user", "item", "ts", "dwell", "ts"]), stream)
    return stream.getvalue()


@dataclass(frozen=True)
class Refused:
    """The whole file is an error, whose text has all of `says`."""

    name: str
    file: str
    data: bytes
    says: tuple[str, ...]
    error: type[MumaError] = SourceError
    table: dict[str, Any] = field(default_factory=dict)
    fail_above: float = 0.5


SEMI = GOOD.replace(b",", b";")
SWAPPED = HEAD + b"".join(b"u,i,%d,%d\n" % (900 + k, T * 1000 + k) for k in range(9))
OPEN_QUOTE = GOOD + b'u9,i9,%d,"7\n' % T + b"u9,i9,1,1\n" * 50
IDS = "lacks the column"
REFUSED = [
    Refused("gzip cut off", "a.csv.gz", gzip.compress(GOOD)[:-20], ("truncated or damaged",)),
    Refused("gzip bit rot", "a.csv.gz", gzip.compress(GOOD)[:40] + b"\xff" * 90, ("damaged",)),
    Refused("gz that is not gzip", "a.csv.gz", GOOD, ("Not a gzipped file",)),
    Refused("zstd cut off", "a.csv.zst", zstd(GOOD)[:-9], ("Truncated", "copy it again")),
    Refused("zst that is not zstd", "a.csv.zst", GOOD, ("ZSTD",)),
    Refused("jsonl in cut gzip", "a.jsonl.gz", gzip.compress(jsonl(LINE) * 500)[:-9], ("truncat",)),
    Refused("parquet cut off", "a.parquet", parquet(dwell=[5] * 999)[:-10], ("Parquet",)),
    Refused("parquet that is text", "a.parquet", GOOD, ("not a readable Parquet", "truncated")),
    Refused("parquet names a column twice", "a.parquet", twice_ts(), ("'ts' 2 times",)),
    Refused("wrong delimiter", "a.csv", SEMI, (IDS, "delimiter = ';'")),
    Refused("wrong delimiter zstd", "a.csv.zst", zstd(SEMI), (IDS, "delimiter = ';'")),
    Refused("tabs in csv", "a.csv", GOOD.replace(b",", b"\t"), (IDS, "delimiter = '\\t'")),
    Refused("missing column", "a.csv", GOOD.replace(b"dwell", b"dwel"), (IDS, "'dwell'", "'dwel'")),
    Refused("padded header", "a.csv", b" user, item,ts,dwell\n1,2,3,4\n", ("'user', 'item'", "' user'")),
    Refused("header twice", "a.csv", b"user,item,ts,ts,dwell\n1,2,3,4,5\n", ("'ts' 2 times",)),
    Refused("missing keys", "a.jsonl", jsonl({"a": 1}, {"b": 2}), (IDS, "'user'", "it has: 'a'")),
    Refused("missing parquet column", "a.parquet", parquet(dwell=None), (IDS,)),
    Refused("empty file", "a.csv", b"", ("no events", "empty"), DataError),
    Refused("empty gzip", "a.csv.gz", b"", ("no events",), DataError),
    Refused("empty jsonl", "a.jsonl", b"\n\n\n", ("no events",), DataError),
    Refused("header only", "a.csv", HEAD, ("no events",), DataError),
    Refused("header without line end", "a.csv", HEAD.strip(), ("no events",), DataError),
    Refused("quote never closed", "a.csv", OPEN_QUOTE, ("row 301", "never closed")),
    Refused("quote never closed, far", "a.csv", OPEN_QUOTE + b"u,i,1,1\n" * 2_000_000, ("never closed",)),
    Refused("no ending", "a.bin", GOOD, ("unknown ending", ".parquet", "set format")),
    Refused(
        "swapped columns", "a.csv", SWAPPED,
        ("9 of 9 rows", "swapped", "fail_above = 50%", "9 x type, such as", "row 1: dwell_ms="),
        DataError,
    ),
    Refused("all garbage", "a.jsonl", b"not json\n" * 9, ("not a JSON object", "row 1"), DataError),
    Refused(
        "seconds declared as ms", "a.csv", GOOD, ("no event is left", "time unit", "row 1"),
        DataError, {"time_unit": "ms"},
    ),
    Refused("every row refused", "a.csv", SWAPPED, ("no event is left", "row 1"), DataError, {}, 1.0),
    Refused("no time unit", "a.csv", GOOD, ("time_unit", "'ms'"), ConfigError, {"time_unit": None}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.name)
def test_refused(case, tmp_path, files_source, log_at, tree):
    output = log_at()
    before = tree(output)
    path = tmp_path / case.file
    path.write_bytes(case.data)
    with pytest.raises(case.error) as caught:
        ingest(files_source(path, **case.table), output, fail_above=case.fail_above)
    for text in case.says:
        assert text in str(caught.value)
    if case.error is SourceError:
        assert str(path) in str(caught.value)
    assert tree(output) == before


def test_places_that_are_no_files(tmp_path, files_source, log_at, tree):
    output = log_at()
    before = tree(output)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.md").write_text("nothing to read")
    (tmp_path / "f.parquet").symlink_to("/dev/null")
    for place, says in [
        ("pipe.csv", "is not a regular file"),
        ("f.parquet", "is not a regular file"),
        ("folder", "no file matches"),
        ("absent.csv", "no such file"),
        ("absent-*.csv", "no such file"),
    ]:
        with pytest.raises(SourceError, match=says) as caught:
            ingest(files_source(tmp_path / place), output)
        assert place in str(caught.value)
    assert tree(output) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "xml"}, "xml"),
        ({"delimiter": "§"}, "one ASCII character"),
        ({"time_zone": "Mars/Base"}, "not a time zone"),
        ({"time_unit": "days"}, "'iso'"),
        ({"colunms": {}}, "did you mean 'columns'"),
    ],
)
def test_settings_that_are_wrong(change, says, tmp_path):
    from muma.config import build

    spec = {"use": "muma.events.sources.files.Files", "events": {"files": ["a.csv"], **change}}
    with pytest.raises(ConfigError, match=says):
        build(spec)


def test_names_and_constants_that_are_wrong(files_source):
    for change, says in [
        ({"columns": {"user": "u"}}, "'user' is not a declared column"),
        ({"columns": {"attr_x": "u"}}, "ctx_<name>"),
        ({"values": {"kind": {"a": "click"}}}, "'kind' is not a mapped column"),
        ({"constants": {"kind": ["click"]}}, "not a single value"),
    ]:
        with pytest.raises(ConfigError, match=says):
            files_source("a.csv", **change)


@dataclass(frozen=True)
class Kept:
    """Bad rows go to the quarantine: (row, column, value, words of the reason); `kept` others."""

    name: str
    file: str
    data: bytes
    kept: int
    bad: tuple[tuple[int, str | None, str | None, str], ...]
    table: dict[str, Any] = field(default_factory=dict)


def rows(*lines: str) -> bytes:
    return HEAD + "".join(f"{line}\n" for line in lines).encode()


ok = f"u,i,{T},5"
BIG = str(2**63)
WHOLE32, WHOLE64 = "whole number that fits 32", "not a time"
KEPT = [
    Kept("nan and infinity", "a.csv", rows(ok, f"u,i,{T},NaN", "u,i,inf,5", f"u,i,{T},-Infinity"), 1,
         ((2, "dwell_ms", "NaN", "whole number"), (3, "timestamp", "inf", "not a time"),
          (4, "dwell_ms", "-Infinity", "whole number"))),
    Kept("nan is missing", "a.csv", rows(ok, f"u,i,{T + 1},NaN", f"u,i,{T + 2},nan "), 3, (),
         {"nan_is_missing": True}),
    Kept("nan in parquet", "a.parquet", parquet(dwell=[1.0, float("nan"), float("inf"), 2.4]), 2,
         ((2, "dwell_ms", "NaN", "whole"), (3, "dwell_ms", "inf", "whole"))),
    Kept("propensities", "a.jsonl", jsonl(*({**LINE, "p": p, "ts": T + k} for k, p in enumerate(
         [0.5, 1, 0, 1.5, "NaN", "inf", -1, None]))), 3,
         ((3, "propensity", "0.0", "not above zero"), (4, "propensity", "1.5", "above the highest"),
          (5, "propensity", "NaN", "NaN"), (6, "propensity", "inf", "infinite"),
          (7, "propensity", "-1.0", "not above zero")), {"columns": {
              "user_id": "user", "item_id": "item", "timestamp": "ts", "propensity": "p"}}),
    Kept("negative and future", "a.csv", rows(ok, "u,i,-5,1", f"u,i,{T * 3},1", f"u,i,{T},-1"), 1,
         ((2, "timestamp", "-5000000", "below"), (3, "timestamp", f"{T * 3}000000", "later than now"),
          (4, "dwell_ms", "-1", "below"))),
    Kept("too early, too long", "a.csv", rows(ok, "u,i,5,1", f"u,i,{T + 1},86400001"), 1,
         ((2, "timestamp", "5000000", "before 1990"), (3, "dwell_ms", "86400001", "dwell above"))),
    Kept("overflows", "a.csv", rows(ok, f"u,i,{BIG},1", f"u,i,{T},{2**31}", f"u,i,-{BIG},1",
                                    f"u,i,{T},1e300", f"u,i,{2**62 // 1000},1"), 1,
         ((2, "timestamp", BIG, WHOLE64), (3, "dwell_ms", str(2**31), WHOLE32),
          (4, "timestamp", f"-{BIG}", WHOLE64), (5, "dwell_ms", "1e300", WHOLE32),
          (6, "timestamp", str(2**62 // 1000), WHOLE64))),
    Kept("mixed types", "a.jsonl", jsonl(LINE, {**LINE, "user": 7, "ts": T + 1}, {**LINE, "dwell": "x"},
         {**LINE, "dwell": {"a": 1}}, {**LINE, "ts": True}, {**LINE, "dwell": True},
         {**LINE, "user": None}, {**LINE, "user": " "}), 2,
         ((3, "dwell_ms", "x", "whole"), (4, "dwell_ms", '{"a": 1}', "whole"),
          (5, "timestamp", "true", "not a time"), (6, "dwell_ms", "true", "whole"),
          (7, "user_id", None, "missing"), (8, "user_id", " ", "not a usable id"))),
    Kept("not objects", "a.jsonl", jsonl(LINE, b"[1]", b"", b"{", b"NaN", b'{"user": NaN}', b'"x"',
         {**LINE, "ts": T + 1}), 2,
         ((2, None, "[1]", "JSON list"), (4, None, "{", "not a JSON object"),
          (5, None, "NaN", "NaN is not JSON"), (6, None, '{"user": NaN}', "NaN"),
          (7, None, '"x"', "JSON str"))),
    Kept("odd text in jsonl", "a.jsonl", b"\xef\xbb\xbf" + jsonl(LINE, b'{"user": "\xff"}',
         b'{"user": "\\ud800", "item": "i"}', {**LINE, "user": "\U0001f600", "ts": T + 1}), 2,
         ((2, None, '{"user": "\ufffd"}', "utf-8"), (3, None, '{"user": "\\ud800", "item": "i"}', "utf-8"))),
    Kept("deep nesting", "a.jsonl", jsonl(LINE, b"[" * 100_000), 1, ((2, None, "[" * 200, "JSON"),)),
    Kept("invalid UTF-8", "a.csv", HEAD + b"u,i,%d,1\n\xff\xc3,i,%d,1\n\xfe,i\nu,i,%d,2\n" % (T, T, T), 2,
         ((2, "user_id", "\ufffd\ufffd", "not valid UTF-8"), (3, None, "\ufffd,i", "2 fields"))),
    Kept("ragged and blank", "a.csv", rows("u", ok, "", "u,i", "", f"u,i,{T},1,2", f"u,i,{T},6"), 2,
         ((1, None, "u", "1 fields where the header has 4"), (3, None, "u,i", "2 fields"),
          (4, None, f"u,i,{T},1,2", "5 fields"))),
    Kept("byte order mark, CRLF", "a.csv", b"\xef\xbb\xbf" + rows(ok, "u", f"u,i,{T},6").replace(
         b"\n", b"\r\n"), 2, ((2, None, "u", "1 fields"),)),
    Kept("leading blank lines", "a.csv", b"\n\n" + rows(ok), 1, ()),
    Kept("quotes that are closed", "a.csv", rows(f'"a\nb",i,{T},1', f'5" screen,i,{T},1', f"u,i,{T},x"), 2,
         ((3, "dwell_ms", "x", "whole"),)),
    Kept("NUL bytes", "a.csv", rows(ok, f"a\0b,i,{T},1", "\0\0\0\0", f"u,i,{T},\0"), 1,
         ((2, "user_id", "a\0b", "not a usable id"), (3, None, "\0\0\0\0", "1 fields"),
          (4, "dwell_ms", "\0", "whole"))),
    Kept("long id", "a.csv", rows(ok, f"{'x' * 513},i,{T},1", f"{'x' * 512},i,{T},1"), 2,
         ((2, "user_id", "x" * 200, "not a usable id"),)),
    Kept("id is a list", "a.parquet", parquet(user=[[1], None]), 0,
         ((1, "user_id", "[1]", "not a usable id"), (2, "user_id", None, "missing"))),
    Kept("id is bytes", "a.parquet", parquet(user=[b"\xff"]), 0, ((1, "user_id", "b'\\xff'", "usable"),)),
    Kept("id is decimal", "a.parquet", parquet(user=[Decimal("1.5")]), 0,
         ((1, "user_id", "1.5", "not a usable id"),)),
    Kept("id is real", "a.parquet", parquet(user=[1.0, 1.5, float("nan")]), 1,
         ((2, "user_id", "1.5", "not a usable id"), (3, "user_id", "NaN", "not a usable id"))),
    Kept("id is a flag", "a.parquet", parquet(user=[True]), 0, ((1, "user_id", "true", "usable"),)),
    Kept("id is huge", "a.parquet", parquet(user=pl.Series([2**64 - 1, 3], dtype=pl.UInt64)), 1,
         ((1, "user_id", str(2**64 - 1), "not a usable id"),)),
    Kept("time is bytes", "a.parquet", parquet(ts=[b"x", None]), 0,
         ((1, "timestamp", "b'x'", "not a time"), (2, "timestamp", None, "missing"))),
    Kept("time is a list", "a.parquet", parquet(ts=[[1]]), 0, ((1, "timestamp", "[1]", "not a time"),)),
    Kept("time is decimal", "a.parquet", parquet(ts=[Decimal(f"{T}.5")]), 1, ()),
    Kept("time is null", "a.parquet", parquet(ts=[None]), 0, ((1, "timestamp", None, "missing"),)),
    Kept("dwell is a list", "a.parquet", parquet(dwell=[[1], None]), 1, ((1, "dwell_ms", "[1]", "whole"),)),
    Kept("dwell is bytes", "a.parquet", parquet(dwell=[b"5"]), 0, ((1, "dwell_ms", "b'5'", "whole"),)),
    Kept("dwell is decimal", "a.parquet", parquet(dwell=[Decimal("1.50"), Decimal("1e9")]), 1,
         ((2, "dwell_ms", "1000000000", "dwell above"),)),
    Kept("kind is a number", "a.parquet", parquet(kind=[1]), 0, ((1, "kind", "1", "unknown kind; allowed"),),
         {"columns": {"user_id": "user", "item_id": "item", "timestamp": "ts", "kind": "kind"},
          "constants": {"domain": "news"}}),
    Kept("kind is unknown", "a.csv", rows(ok, f"u,i,{T},5") + b"", 0,
         ((1, "kind", "clicked", "unknown kind; allowed: impression, click"), (2, "kind", "clicked", "unk")),
         {"constants": {"domain": "news", "kind": "clicked"}}),
]  # fmt: skip


@pytest.mark.parametrize("case", KEPT, ids=lambda c: c.name)
def test_quarantined(case, tmp_path, files_source, log_at, tree):
    from muma.events.cleaning.cleaning import Cleaning, CleaningConfig

    config = CleaningConfig.model_validate({"duplicates": {"enabled": False}})
    cleaning = Cleaning(config, now_us=LATE_US)
    path = tmp_path / case.file
    path.write_bytes(case.data)
    # one good event beside the case, so that there is a log even when the case keeps nothing
    (tmp_path / "beside.csv").write_bytes(rows(f"z,z,{T + 50},1"))
    source = files_source(path, **case.table)
    beside = files_source(tmp_path / "beside.csv")

    class Both:
        def batches(self, after=None):
            yield from source.batches(after)
            yield from beside.batches()

        def files(self):
            return [*source.files(), *beside.files()]

    output = log_at()
    report = ingest(Both(), output, cleaning=cleaning, fail_above=1.0)
    found = quarantine(output).collect().sort("row")
    assert found.get_column("file").unique().to_list() in ([str(path)], [])
    assert found.select("row", "column", "value").rows() == [bad[:3] for bad in case.bad]
    for reason, (*_, words) in zip(found.get_column("reason"), case.bad, strict=True):
        assert words in reason
    assert report.events.kept == case.kept + 1
    assert report.events.quarantined == len(case.bad) == sum(report.refused.values())
    assert report.events.read == report.events.kept + report.events.quarantined
    assert open_log(output, verify=True).events.collect().height == case.kept + 1


def test_duplicate_ids_in_items_keep_the_last(tmp_path, files_source, good_csv):
    (tmp_path / "e.csv").write_bytes(good_csv(3))
    (tmp_path / "i.csv").write_text("id,title\ni0,old\ni1,one\ni0,new\n,none\n")
    items = {
        "files": [str(tmp_path / "i.csv")],
        "columns": {"item_id": "id", "title": "title"},
        "constants": {"domain": "news"},
    }
    report = ingest(files_source(tmp_path / "e.csv", items=items), tmp_path / "log")
    count = report.tables["items"]
    assert (count.read, count.kept, count.quarantined) == (4, 2, 2)
    log = open_log(tmp_path / "log")
    titles = dict(log.items.select("item_id", "title").collect().iter_rows())
    assert {log.item_ids.decode([k])[0]: v for k, v in titles.items()} == {"i1": "one", "i0": "new"}
    found = quarantine(tmp_path / "log").select("table", "row", "column", "value", "rule").collect()
    assert sorted(found.rows()) == [
        ("items", 1, "item_id", "i0", "duplicate_id"),
        ("items", 4, "item_id", None, "missing"),
    ]


def test_own_columns_of_unlike_types(tmp_path, files_source):
    """Numbers and text meet as text in every part of the log; a list beside a number is an error."""
    base = {"user": ["u"], "item": ["i"], "dwell": [1]}
    for name, ts, own in [("a", T, 1), ("b", T + 9_999, "x"), ("c", T + 99_999, None)]:
        pl.DataFrame({**base, "ts": [ts], "own": [own]}).write_parquet(tmp_path / f"{name}.parquet")
    columns = {"user_id": "user", "item_id": "item", "timestamp": "ts", "ctx_own": "own"}
    source = files_source(tmp_path / "*.parquet", columns=columns)
    ingest(source, tmp_path / "log", rows_in_memory=1)
    assert open_log(tmp_path / "log").events.collect()["ctx_own"].to_list() == ["1", "x", None]
    pl.DataFrame({**base, "ts": [T], "own": [[1]]}).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="ctx_own"):
        ingest(source, tmp_path / "log")


GIANT = """
import re, sys
from pathlib import Path
from muma.errors import SourceError
from muma.events.ingest import ingest
from muma.events.sources.files import Files, FilesConfig
table = {"files": [sys.argv[1]], "columns": {"user_id": "user", "item_id": "item", "timestamp": "ts"},
         "constants": {"domain": "news", "kind": "click"}, "time_unit": "s"}
try:
    ingest(Files(FilesConfig.model_validate({"events": table})), sys.argv[2])
except SourceError as error:
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(int(peak) // 1024, str(error))  # ru_maxrss would count the parent's size too
"""


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.csv.gz", b"user,item,ts\n"), ("b.csv.gz", b""), ("c.jsonl.gz", b'{"user": 1}\n')],
)
def test_a_line_of_a_gigabyte_stops_early(name, head, tmp_path):
    member = gzip.compress(b"x" * (16 << 20), compresslevel=1)  # members of one file just follow
    (tmp_path / name).write_bytes(gzip.compress(head) + member * 64)
    run = [sys.executable, "-c", GIANT, str(tmp_path / name), str(tmp_path / "log")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    mib, text = done.stdout.split(" ", 1)
    assert re.search(r"longer than \d+ MiB", text)
    assert str(tmp_path / name) in text
    assert int(mib) < 600  # the line alone is 1,024
    assert not (tmp_path / "log").exists()
