"""A log without a user: no file names them, everybody else's rows and indices are as they were."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from muma.errors import ArtifactError, UnknownIdError
from muma.events import forget as forgetting
from muma.events.forget import ERASED, forget_user
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine
from muma.events.vocabulary import Vocabulary, forgotten, forgotten_word

T = 1_700_000_000


@pytest.fixture
def make(tmp_path, files_source):
    """Write a log with all tables that hold users, with rows that are refused; its folder."""

    def write(me):
        other = "u1" if isinstance(me, str) else 11
        users = [me, other, me, other, other]
        rows = [f"{u},i{k},{T + k},{k}" for k, u in enumerate(users)]
        rows += [f"{me},i1,not-a-time,1", f"{other},i1,of {me} too,1", f"{me}{me},i1,{T},x{me}y"]
        (tmp_path / "e.csv").write_text("user,item,ts,dwell\n" + "\n".join(rows) + "\n")
        (tmp_path / "s.csv").write_text(
            f"src,dst\n{me},{other}\n{other},{me}\n{other},{users[1]}\n"
        )
        social = {"files": [str(tmp_path / "s.csv")], "columns": {"src": "src", "dst": "dst"}}
        source = files_source(tmp_path / "e.csv", social=social)
        ingest(source, tmp_path / "log", fail_above=0.9)
        return tmp_path / "log"

    return write


def raw(folder):
    """All bytes of a log, its Parquet files as text."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            parts.append(pl.read_parquet(path, glob=False).write_ndjson())
        elif path.is_file():
            parts.append(path.read_text())
    return "\n".join(parts)


def test_nobody_else_changes(make):
    folder = make("needle")
    before = open_log(folder)
    events, social = before.events.collect(), before.social.collect()
    refused = quarantine(folder).collect()
    index = before.user_ids.encode(["needle"])[0]
    assert "needle" in raw(folder)
    gone = events.filter(pl.col("user_id") == index).height
    linked = social.filter((pl.col("src") == index) | (pl.col("dst") == index)).height
    assert gone > 0
    assert forget_user(folder, "needle") == gone + linked
    after = open_log(folder, verify=True)
    assert_frame_equal(after.events.collect(), events.filter(pl.col("user_id") != index))
    assert "needle," not in raw(folder)
    assert '"needle"' not in raw(folder)
    with pytest.raises(UnknownIdError):
        after.user_ids.encode(["needle"])
    assert len(after.user_ids) == len(before.user_ids)
    assert after.user_ids.encode(["u1"]).to_list() == before.user_ids.encode(["u1"]).to_list()
    assert after.item_ids.ids.equals(before.item_ids.ids)
    assert after.fingerprint == before.fingerprint  # what was made from it stays valid
    now = quarantine(folder).collect()
    assert now.height == refused.height
    assert_frame_equal(now.drop("value", "reason"), refused.drop("value", "reason"))
    assert ERASED in now.get_column("value").to_list()
    assert forget_user(folder, "needle") == 0
    assert forget_user(folder, "u1") > 0
    assert open_log(folder).fingerprint == before.fingerprint


def test_integers(make):
    folder = make(77)
    before = open_log(folder)
    assert forget_user(folder, 77) > 0
    after = open_log(folder, verify=True)
    assert forgotten(after.user_ids.ids).to_list() == [str(i) == "77" for i in before.user_ids.ids]
    with pytest.raises(UnknownIdError):
        after.user_ids.encode([77])


def test_a_failure_leaves_the_log(make, monkeypatch):
    folder = make("needle")
    before = raw(folder)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(forgetting, "_copy", full)
    with pytest.raises(ArtifactError):
        forget_user(folder, "needle")
    assert raw(folder) == before


def test_what_is_no_log(tmp_path):
    with pytest.raises(ArtifactError):
        forget_user(tmp_path, "x")


def test_forgotten_words():
    for ids, index in ((pl.Series([5, 6, 7]), 1), (pl.Series(["a", "b", "c"]), 2)):
        text = ids.dtype == pl.String
        word = pl.Series([forgotten_word(index)[text]])
        cut = pl.concat([ids.head(index), word, ids.slice(index + 1)])
        assert forgotten(ids).to_list() == [False] * 3
        assert forgotten(cut).to_list() == [k == index for k in range(3)]
        assert forgotten(cut.cast(pl.String)).to_list() == [k == index for k in range(3)]
        assert forgotten(cut.reverse()).sum() == (index == 1)
    assert forgotten(Vocabulary().ids).to_list() == []
