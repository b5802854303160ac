"""Every source against the contract suite, the published data sets against their known traps."""

from __future__ import annotations

import gzip
import importlib
import inspect
import pkgutil
import re
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import muma.events.sources
from muma.config import build, config_type
from muma.errors import SourceError
from muma.events.cleaning.cleaning import Cleaning, CleaningConfig
from muma.events.formats import csv, jsonl, parquet
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine
from muma.events.sources import adapter
from muma.events.sources.ebnerd import Ebnerd, EbnerdConfig
from muma.events.sources.files import Files
from muma.events.sources.globo import GloboClicks, GloboConfig
from muma.events.sources.kuairand import KuaiRandConfig, KuaiRandPure
from muma.events.sources.lastfm import LastFm, LastFmConfig
from muma.events.sources.movielens import MovieLens, MovieLensConfig
from muma.testing.source_suite import SourceSuite

T = 1_700_000_000
FORMS = ["csv", "tsv", "jsonl", "parquet", "csv.gz", "csv.zst", "jsonl.gz", "glob", "folder"]


@pytest.fixture(scope="module")
def table():
    n = 4000
    at = pl.int_range(n, eager=True)
    text = {"user": "u" + (at % 97).cast(pl.String), "item": "é" + (at % 41).cast(pl.String)}
    return pl.DataFrame({**text, "ts": T + at * 37 % 90_001, "dwell": 500 + at % 500})


def write(table: pl.DataFrame, form: str, folder):
    """Write the table in a form and return what to read."""
    name = {"glob": "csv", "folder": "csv"}.get(form, form)
    if form in ("glob", "folder"):
        half = table.height // 2
        write(table[:half], name, folder / "b")
        write(table[half:], "jsonl", folder / "a")
        (folder / "b" / "notes.md").write_text("not data")
        return folder / "?" / "data.*[lv]" if form == "glob" else folder
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / f"data.{name.removesuffix('.gz').removesuffix('.zst')}"
    if ".csv" in plain.name or plain.suffix == ".tsv":
        table.write_csv(plain, separator="\t" if plain.suffix == ".tsv" else ",")
        broken = plain.read_bytes().splitlines(keepends=True)
        broken[5:5] = [b"ragged\n", b"\n"]
        broken.append(b"ragged\n")
        plain.write_bytes(b"".join(broken))
    elif plain.suffix == ".jsonl":
        table.write_ndjson(plain)
        plain.write_bytes(plain.read_bytes() + b"\n[]\n")
    else:
        table.write_parquet(plain)
    if name.endswith(".gz"):
        (folder / "data.gz").write_bytes(gzip.compress(plain.read_bytes()))
    elif name.endswith(".zst"):
        (folder / "data.zst").write_bytes(pa.compress(plain.read_bytes(), "zstd", asbytes=True))
    else:
        return plain
    packed = folder / f"{plain.name}.{name.rpartition('.')[2]}"
    (folder / f"data.{packed.suffix[1:]}").rename(packed)
    plain.unlink()
    return packed


@pytest.mark.parametrize("form", FORMS)
class TestFiles(SourceSuite):
    component = Files

    @pytest.fixture
    def make(self, form, table, tmp_path, files_source, monkeypatch):
        monkeypatch.setattr(csv, "BLOCK", 9_000)  # several pieces a file
        monkeypatch.setattr(jsonl, "BLOCK", 9_000)
        monkeypatch.setattr(parquet, "ROWS", 700)
        pattern = write(table, form, tmp_path / "in")
        return lambda: files_source(pattern)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_log(form, table, tmp_path, files_source, monkeypatch):
    monkeypatch.setattr(csv, "BLOCK", 9_000)
    monkeypatch.setattr(jsonl, "BLOCK", 9_000)
    pattern = write(table, form, tmp_path / "in")
    report = ingest(files_source(pattern), tmp_path / "log")
    log = open_log(tmp_path / "log")
    events = log.events.collect()
    found = pl.DataFrame(
        {
            "user": log.user_ids.decode(events["user_id"]),
            "item": log.item_ids.decode(events["item_id"]),
            "ts": events["timestamp"] // 1_000_000,
            "dwell": events["dwell_ms"].cast(pl.Int64),
        }
    )
    order = ["ts", "user", "item", "dwell"]
    assert found.sort(order).equals(table.sort(order))
    places = quarantine(tmp_path / "log").select("row", "column", "value").collect().rows()
    last = table.height // 2 if form in ("glob", "folder") else table.height
    ragged = [(5, None, "ragged"), (last + 2, None, "ragged")]
    odd = [(last + 2, None, "[]")]
    expected = {"parquet": [], "jsonl": odd, "jsonl.gz": odd}.get(form, ragged)
    expected = odd + ragged if form in ("glob", "folder") else expected
    assert places == expected
    assert report.events.read == table.height + len(places)


class Small(SourceSuite):
    """The adapters in small batches, so that resuming is tried inside a table."""

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch):
        monkeypatch.setattr(adapter, "ROWS", 90_000)


class TestKuaiRand(Small):
    component = KuaiRandPure

    @pytest.fixture
    def make(self, data_home):
        path = str(data_home("kuairand-pure"))
        return lambda: KuaiRandPure(KuaiRandConfig(path=path, prehistory=False))


class TestMovieLens(Small):
    component = MovieLens

    @pytest.fixture
    def make(self, data_home):
        path = str(data_home("movielens-latest-small"))
        return lambda: MovieLens(MovieLensConfig(path=path))


class TestMovieLensAtomic(SourceSuite):
    @pytest.fixture
    def make(self, tmp_path):
        (tmp_path / "ml.inter").write_text(
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            "1\t2\t3.5\t9e8\n1\t3\t2\t900000001.5\n"
        )
        (tmp_path / "ml.item").write_text(
            'item_id:token\tmovie_title:token_seq\tclass:token_seq\n2\tA "B\tX Y\n3\tC\tX\n'
        )
        shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, ".")
        path = str(tmp_path / "packed.zip")
        return lambda: MovieLens(MovieLensConfig(path=path, name="ml"))

    def test_loose_and_packed_agree(self, make, tmp_path):
        loose = MovieLens(MovieLensConfig(path=str(tmp_path), name="ml"))
        for a, b in zip(make().batches(), loose.batches(), strict=True):
            assert a.frame.equals(b.frame)
        times = next(make().batches()).frame["timestamp"].to_list()
        assert times == [900_000_000_000_000, 900_000_001_500_000]

    def test_a_damaged_archive(self, make, tmp_path):
        source = make()
        data = (tmp_path / "packed.zip").read_bytes()
        (tmp_path / "packed.zip").write_bytes(data[: len(data) // 2])
        with pytest.raises(SourceError, match=r"packed.zip: is not a whole zip file"):
            list(source.batches())


class TestGlobo(Small):
    component = GloboClicks

    @pytest.fixture
    def make(self, data_home):
        path = str(data_home("globo-news-clicks"))
        return lambda: GloboClicks(GloboConfig(path=path))


class TestEbnerd(Small):
    component = Ebnerd

    @pytest.fixture
    def make(self, data_home):
        path = str(data_home("ebnerd-test-sample"))
        return lambda: Ebnerd(EbnerdConfig(path=path))


class TestLastFm(Small):
    component = LastFm

    @pytest.fixture
    def make(self, data_home):
        path = str(data_home("lastfm-hetrec2011"))
        return lambda: LastFm(LastFmConfig(path=path))


def test_every_source_has_a_suite():
    sources = set()
    for found in pkgutil.iter_modules(muma.events.sources.__path__):
        module = importlib.import_module(f"muma.events.sources.{found.name}")
        for _, value in inspect.getmembers(module, inspect.isclass):
            if value.__module__ == module.__name__ and not inspect.isabstract(value):
                sources |= {value} if hasattr(value, "batches") else set()
    suites = [v for v in globals().values() if inspect.isclass(v) and issubclass(v, SourceSuite)]
    assert len(sources) >= 6
    assert sources <= {suite.component for suite in suites}


def test_kuairand(data_home, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_home("kuairand-pure"), folder)
    statistics = folder / "video_features_statistic_pure.parquet"
    statistics.write_bytes(b"opening this is an error")  # it sums up the future
    source = KuaiRandPure(KuaiRandConfig(path=str(folder)))
    assert str(statistics) not in source.files()
    raw = pl.read_parquet(folder / "log_standard_20220425_20220504.parquet")
    report = ingest(source, tmp_path / "log")
    assert raw.height == 171_671
    shown = pl.concat(
        b.frame.filter(pl.col("kind") == "impression").select("kind")
        for b in source.batches()
        if b.table == "events" and "request_id" in b.frame.columns
    )
    assert shown.height == 171_671
    log = open_log(tmp_path / "log")
    repeated = quarantine(tmp_path / "log").filter(pl.col("rule") == "cleaning.duplicates")
    impressions = log.events.filter(pl.col("kind") == "impression")
    assert raw.height - raw.unique(["user_id", "video_id", "time_ms"]).height == 4_739
    assert impressions.select(pl.len()).collect().item() == 171_671 - 4_739
    assert repeated.select(pl.len()).collect().item() >= 4_739
    zero = impressions.filter(pl.col("item_duration_ms").is_null()).select(pl.len())
    kept_zero = raw.unique(["user_id", "video_id", "time_ms"]).filter(pl.col("duration_ms") == 0)
    assert (raw["duration_ms"] == 0).sum() == 2_646
    assert zero.collect().item() == kept_zero.height > 0
    assert log.events.select(pl.col("item_duration_ms").min()).collect().item() > 0
    counts = [report.events, *report.tables.values()]
    assert all(c.read == c.kept + c.quarantined for c in counts)
    _check_prehistory(folder, log)


def _check_prehistory(folder, log):
    """Inferred events keep the order of the lists they came from."""
    history = pl.read_parquet(folder / "user_prehistory_until_20220424.parquet")
    inferred = log.events.filter(pl.col("time_inferred") & (pl.col("kind") == "play")).collect()
    got = inferred.group_by("user_id", maintain_order=True).agg("item_id", "timestamp")
    users = log.user_ids.decode(got["user_id"])
    wanted = dict(zip(history["user_id"], history["watch_seq"].to_list(), strict=True))
    last = dict(zip(history["user_id"], history["last_time_ms"], strict=True))
    assert len(users) > 20_000
    for user, items, times in zip(users, got["item_id"], got["timestamp"], strict=True):
        assert log.item_ids.decode(items) == [int(item) for item in wanted[user]]
        assert times[-1] == last[user] * 1000


def test_movielens(data_home, tmp_path):
    source = MovieLens(MovieLensConfig(path=str(data_home("movielens-latest-small"))))
    off = Cleaning(CleaningConfig.model_validate({"bots": {"enabled": False}}))
    report = ingest(source, tmp_path / "log", cleaning=off)
    log = open_log(tmp_path / "log")
    ratings = log.events.filter(pl.col("kind") == "rating").collect()
    assert (ratings.height, ratings["user_id"].n_unique()) == (100_836, 610)
    assert report.events.quarantined == 0
    assert (report.events.read, report.tables["items"].kept) == (100_836 + 3_683, 9_742)
    assert set(ratings["value"]) == {x / 2 for x in range(1, 11)}
    cleaned = ingest(source, tmp_path / "log")  # one user rates by the hundred in a minute
    assert {k: v for k, v in cleaned.refused.items() if v} == {"events.cleaning.bots": 392}
    assert quarantine(tmp_path / "log").collect()["value"].unique().to_list() == ["534"]


def test_globo(data_home, tmp_path):
    config = GloboConfig(path=str(data_home("globo-news-clicks")), dwell_from_gaps=True)
    events = pl.concat(batch.frame for batch in GloboClicks(config).batches())
    assert events.height == 297_914
    per_session = events.group_by("ctx_session").agg(pl.col("time_inferred").sum())
    assert per_session.height == 104_726
    assert per_session["time_inferred"].unique().to_list() == [1]
    assert (events["dwell_ms"] == 30_000).sum() == 0
    assert events["dwell_ms"].count() == 297_914 - 2 * 104_726  # not the last, nor the one before
    assert abs(events["dwell_ms"].median() / 1000 - 161) < 1
    plain = next(GloboClicks(GloboConfig(path=config.path)).batches()).frame
    assert "dwell_ms" not in plain.columns


def test_ebnerd(data_home):
    home = data_home("ebnerd-test-sample")
    raw = pl.read_parquet(home / "behaviors.parquet")
    events, history = Ebnerd(EbnerdConfig(path=str(home))).batches()
    assert raw.height == 1_046
    for kind, column in [("impression", "article_ids_inview"), ("click", "article_ids_clicked")]:
        count = events.frame.filter(pl.col("kind") == kind).height
        assert count == raw[column].list.len().sum()
    shown = events.frame.filter(pl.col("kind") == "impression")
    lists = shown.group_by("row", maintain_order=True).agg("item_id", "position")
    assert lists["item_id"].to_list() == raw["article_ids_inview"].to_list()
    assert lists["position"].to_list() == [list(range(len(x))) for x in lists["item_id"]]
    clicks = events.frame.filter(pl.col("kind") == "click")
    seconds = raw["next_read_time"].gather(clicks["row"] - 1)
    assert clicks["dwell_ms"].round().to_list() == (seconds * 1000).round().to_list()
    assert history.frame.height == 8_303


def test_lastfm(data_home, tmp_path):
    report = ingest(LastFm(LastFmConfig(path=str(data_home("lastfm-hetrec2011")))), tmp_path / "l")
    wrong = quarantine(tmp_path / "l").filter(pl.col("rule") == "unreadable").collect()
    assert wrong.height == 5
    assert set(wrong["value"]) == {"1956", "1957", "1979"}
    assert set(wrong["column"]) == {"timestamp"}
    log = open_log(tmp_path / "l")
    assert report.tables["social"].kept == 2 * 12_717
    edges = log.social.select("src", "dst").collect()
    assert set(edges.rows()) == set(edges.select("dst", "src").rows())
    times = log.events.filter(pl.col("kind") == "tag").select(
        pl.from_epoch("timestamp", time_unit="us").alias("t"), "time_inferred"
    )
    when = times.collect()
    assert when.height == 186_479 - 5
    assert when["time_inferred"].all()
    assert set(when["t"].dt.day()) <= {1, 5, 6, 9}
    assert (when["t"].min().year, when["t"].max().year) == (2005, 2011)
    plays = log.events.filter(pl.col("kind") == "play").collect()
    assert plays.height == 92_834
    assert plays["timestamp"].unique().to_list() == [when["t"].dt.timestamp("us").max()]


def test_data_fingerprint(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = adapter.data_fingerprint([str(tmp_path / "a")])
    assert adapter.data_fingerprint([str(tmp_path / "a")]) == first
    (tmp_path / "a").write_bytes(b"2")
    assert adapter.data_fingerprint([str(tmp_path / "a")]) != first
    with pytest.raises(SourceError, match="nowhere: cannot be read"):
        adapter.data_fingerprint([str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (KuaiRandPure, "kuairand-pure"),
        (GloboClicks, "globo-news-clicks"),
        (Ebnerd, "ebnerd-test-sample"),
        (LastFm, "lastfm-hetrec2011"),
        (MovieLens, "movielens-latest-small"),
    ],
)
def test_damaged_data_sets(kind, name, data_home, tmp_path):
    source = kind(config_type(kind)(path=str(tmp_path / "absent")))
    with pytest.raises(SourceError, match=r"absent: "):
        list(source.batches())
    for number, original in enumerate(kind(config_type(kind)(path=str(data_home(name)))).files()):
        folder = tmp_path / str(number)
        shutil.copytree(data_home(name), folder)
        damaged = folder / Path(original).name
        damaged.chmod(0o644)
        data = bytearray(damaged.read_bytes())
        if number % 2 or damaged.suffix == ".parquet":  # which checks no sums inside
            data = data[: len(data) * 2 // 3]
        else:
            data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
        damaged.write_bytes(data)
        place = str(damaged if kind is GloboClicks else folder)
        with pytest.raises(SourceError, match=re.escape(damaged.name)):
            list(kind(config_type(kind)(path=place)).batches())


THIRD_PARTY = '''
import polars as pl
from muma.config import Config
from muma.events.event import Batch, Position

class OursConfig(Config):
    n: int

class Ours:
    """Numbers from nowhere."""

    def __init__(self, config: OursConfig) -> None:
        self.config = config

    def files(self):
        return [__file__]

    def batches(self, after=None):
        if after is None:
            at = pl.int_range(self.config.n, eager=True)
            frame = pl.DataFrame({"row": at + 1, "user_id": at % 3, "item_id": at,
                                  "timestamp": 10**15 + at})
            frame = frame.with_columns(domain=pl.lit("game"), kind=pl.lit("play"))
            yield Batch("events", frame, __file__, Position(0, self.config.n))
'''


def test_a_source_of_somebody_else(tmp_path, monkeypatch):
    (tmp_path / "somebody_elses.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = build({"use": "somebody_elses.Ours", "n": 9})
    config = CleaningConfig.model_validate({"mad": {"enabled": False}})
    report = ingest(source, tmp_path / "log", cleaning=Cleaning(config))
    assert (report.events.kept, report.users, report.items) == (9, 3, 9)
    events = open_log(tmp_path / "log").events.collect()
    assert events["kind"].unique().to_list() == ["play"]
