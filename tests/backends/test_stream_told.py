"""A reader in another process that believes its writer, and not the files: acknowledged events alone."""

import polars as pl
import pytest

from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import ConfigError, StreamError


def frame(*users, kind="click"):
    n = len(users)
    return pl.DataFrame(
        {
            "user_id": list(users),
            "item_id": [f"i{k}" for k in range(n)],
            "kind": [kind] * n,
            "timestamp": list(range(n)),
        }
    )


@pytest.fixture
def pair(tmp_path):
    path = str(tmp_path / "stream")
    writer = FileStream.create(FileStreamConfig(path=path, partitions=1))
    reader = FileStream(FileStreamConfig(path=path, readonly=True, told=True))
    yield writer, reader
    reader.close()
    writer.close()


def kinds(reader, offset=0):
    batch = reader.read(0, offset, limit=100)
    return None if batch is None else batch.frame["kind"].to_list()


def test_nothing_is_read_before_it_is_told_of(pair):
    writer, reader = pair
    writer.append(frame("a", "b"), received_at=1)
    assert kinds(reader) is None
    assert reader.ends() == {0: 0}
    reader.tell(writer.acknowledged())
    assert reader.ends() == {0: 2}
    assert kinds(reader) == ["click", "click"]
    writer.append(frame("c", kind="like"), received_at=2)
    assert kinds(reader) == ["click", "click"]
    assert kinds(reader, 2) is None
    reader.tell(writer.acknowledged())
    assert kinds(reader, 2) == ["like"]


def test_what_a_writer_takes_back_was_never_seen(pair, monkeypatch):
    writer, reader = pair
    writer.append(frame("a"), received_at=1)
    reader.tell(writer.acknowledged())
    assert kinds(reader) == ["click"]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", full)  # the block stands in the file, and is readable
        with pytest.raises(StreamError, match="not appended"):
            writer.append(frame("b", kind="like"), received_at=2)
    assert kinds(reader, 1) is None
    writer.append(frame("c", kind="share"), received_at=3)
    reader.tell(writer.acknowledged())
    assert kinds(reader, 1) == ["share"]


def test_blanked_events_are_read_anew(pair):
    writer, reader = pair
    writer.append(frame("a", "b"), received_at=1)
    reader.tell(writer.acknowledged())
    assert kinds(reader) == ["click", "click"]
    writer.forget(int(writer.user_ids.encode(["a"])[0]))
    reader.tell(writer.acknowledged(), anew=True)
    assert kinds(reader) == [None, "click"]


def test_segments_that_were_dropped_are_no_fault(tmp_path):
    path = str(tmp_path / "stream")
    with_small = FileStreamConfig(path=path, partitions=1, segment_mib=1)
    writer = FileStream.create(with_small)
    reader = FileStream(FileStreamConfig(path=path, readonly=True, told=True))
    try:
        for n in range(40):
            writer.append(frame(*[f"u{k}" for k in range(2_000)]), received_at=n)
        reader.tell(writer.acknowledged())
        assert kinds(reader) is not None
        assert writer.drop_before({0: 80_000}) > 0
        start = reader.starts()[0]
        assert start > 0
        assert reader.read(0, start, limit=1) is not None
        assert reader.read(0, 79_999, limit=5).frame.height == 1
    finally:
        reader.close()
        writer.close()


def test_only_a_reader_is_told(tmp_path):
    with pytest.raises((ConfigError, ValueError), match="readonly"):
        FileStreamConfig(path=str(tmp_path), told=True)
