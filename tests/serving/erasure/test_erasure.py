"""The journal: what was begun is finished, in order, once; receipts tell when they were changed."""

import json
from dataclasses import replace

import polars as pl
import pytest

from evidence_support import opened, requests, start
from muma import artifact
from muma.errors import ConfigError, StoreError
from muma.events.log_folder import KIND, VERSION, open_log
from muma.events.vocabulary import Vocabulary
from muma.serving.erasure.erasable import Residue, Subject
from muma.serving.erasure.erasure import Erasure
from muma.serving.erasure.evidence import ErasableEvidence, blanked
from muma.serving.erasure.parts import ErasableCall, ErasableLog
from muma.serving.erasure.receipt import Receipt
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.segments import listed, sealed
from muma.testing.evidence_suite import small


class Part:
    """Fails as often as it is told to; notes who it was asked for."""

    def __init__(self, name, log, fails=0):
        self.name, self.log, self.fails = name, log, fails

    def erase(self, subject):
        self.log.append((self.name, subject))
        if self.fails:
            self.fails -= 1
            raise StoreError("the disk is full")
        return {"rows": 2}

    def residue(self, subject):
        return [Residue(self.name, "tomorrow", 9)]


def made(folder, *parts, find=lambda user: 7):
    times = iter(range(100, 1000))
    return Erasure(folder, parts, clock=lambda: next(times), find=find)


def test_a_part_that_fails_is_asked_again_and_the_others_not(tmp_path):
    log = []
    indices = iter([7, -1])
    erasure = made(tmp_path, Part("a", log), Part("b", log, fails=2), Part("c", log),
                   find=lambda user: next(indices))  # fmt: skip
    with pytest.raises(StoreError, match="disk is full"):
        erasure.erase("ann")
    assert erasure.unfinished() == 1
    again = made(tmp_path, *erasure._parts)
    with pytest.raises(StoreError):
        again.finish()
    receipt = again.erase("ann")  # goes on with what was begun, with the index of then
    assert [name for name, _ in log] == ["a", "b", "b", "b", "c"]
    assert {subject for _, subject in log} == {Subject("ann", "default", 7)}
    assert receipt.parts == {name: {"rows": 2} for name in "abc"}
    assert receipt.residue == tuple(Residue(name, "tomorrow", 9) for name in "abc")
    assert again.unfinished() == 0
    assert again.finish() == []
    assert "ann" not in "".join(p.read_text() for p in tmp_path.rglob("*.json"))
    fresh = again.erase("ann")
    assert fresh.id != receipt.id
    assert fresh.subject != receipt.subject  # another salt


def test_a_kill_between_receipt_and_journal(tmp_path):
    log = []
    erasure = made(tmp_path, Part("a", log, fails=1))
    with pytest.raises(StoreError):
        erasure.erase("ann")
    (journal,) = (tmp_path / "journal").glob("*.json")
    raw = journal.read_bytes()
    receipt = erasure.finish()[0]
    journal.write_bytes(raw)
    (tmp_path / "journal" / "x.json.draft").write_bytes(raw)
    assert erasure.finish() == [receipt]
    assert len(log) == 2
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_damaged_journal_is_said(tmp_path):
    erasure = made(tmp_path)
    (tmp_path / "journal" / "x.json").write_text("{")
    with pytest.raises(StoreError, match="it is not known whose"):
        erasure.finish()


def test_receipts_tell_when_they_were_changed(tmp_path):
    erasure = made(tmp_path, Part("a", []))
    receipt = erasure.erase("ann", tenant="t")
    assert receipt.sound
    assert receipt.is_of("ann", "t")
    assert not receipt.is_of("ann")
    assert Receipt.from_json(receipt.to_json()) == receipt
    for change in ({"finished": 5}, {"parts": {"a": {"rows": 3}}}, {"residue": ()}):
        assert not replace(receipt, **change).sound
    assert erasure.receipt(receipt.id) == receipt
    assert erasure.receipt("../journal/x") is None
    assert erasure.receipt("none") is None
    for text in ("", "[]", "{}", json.dumps({"residue": [{"x": 1}]})):
        with pytest.raises(StoreError, match="no receipt"):
            Receipt.from_json(text)


def test_parts_have_names_of_their_own(tmp_path):
    with pytest.raises(ConfigError, match="names must differ"):
        made(tmp_path, Part("a", []), Part("a", []))


def test_a_cache_is_a_part(tmp_path):
    cache = {"ann": 1}
    part = ErasableCall("cache", lambda s: int(cache.pop(s.user, None) is not None))
    erasure = made(tmp_path, part)
    assert erasure.erase("ann").parts == {"cache": {"entries": 1}}
    assert erasure.erase("ann").parts == {"cache": {"entries": 0}}


def test_a_training_log_is_a_part(tmp_path):
    part = ErasableLog(tmp_path / "log")
    assert part.erase(Subject("ann")) == {"rows": 0}
    with artifact.write(tmp_path / "log", kind=KIND, version=VERSION) as writer:
        Vocabulary(pl.Series(["ann", "bob"])).save(writer.path("user_ids.parquet"))
        Vocabulary(pl.Series(["i"])).save(writer.path("item_ids.parquet"))
        users = pl.DataFrame({"user_id": [0, 1, 0]}, schema={"user_id": pl.UInt32})
        users.write_parquet(writer.path("users/part-0.parquet"))
    assert part.erase(Subject("ann")) == {"rows": 2}
    assert part.erase(Subject("ann")) == {"rows": 0}
    assert open_log(tmp_path / "log", verify=True).users.collect().to_series().to_list() == [1]


def test_a_request_that_holds_the_id_is_renamed():
    subject = Subject("ann")
    assert blanked(small("r-1"), subject).ask.request_id == "r-1"
    got = blanked(small("page-ann-1"), subject)
    assert got.ask.request_id == got.answer.request_id != "page-ann-1"
    assert "ann" not in got.ask.request_id


def test_erasing_under_living_writers(tmp_path):
    """Two processes write all the while; nothing of theirs is lost, and the person goes."""
    log = opened(tmp_path, worker=5)
    processes = [start(tmp_path, worker) for worker in range(2)]
    for process in processes:
        process.stdout.readline()
    for k in range(20):
        log.put(small(f"5-{k}", time=k, user="me"))
    part = ErasableEvidence(tmp_path, log=log)
    assert part.erase(Subject("me")) == {"decisions": 20}
    counts = [part.erase(Subject("u3"))["decisions"] for _ in range(3)]
    assert counts[0] > 0
    last = []
    for process in processes:
        process.kill()
        lines = [line.split() for line in process.stdout.readlines() if line.endswith("\n")]
        assert all(words[2:] == ["0", "None"] for words in lines)
        last.append(int(lines[-1][1]))
        process.wait()
    kept = requests(log)
    for worker, durable in enumerate(last):
        mine = [name for name in kept if name.startswith(f"{worker}-")]
        assert mine == [f"{worker}-{k}" for k in range(len(mine))]
        assert len(mine) > durable
    log.put(small("5-20", time=20))
    log.flush()
    assert log.get("5-20").ask.user == "ann"
    assert log.get("5-3").ask.user is None
    assert log.stats().lost == 0
    assert log.get("0-2").ask.user == "u2"
    log.close()


def test_bytes_that_are_no_record_go_too(tmp_path):
    log = opened(tmp_path, worker=0, codec="plain")
    for k in range(3):
        log.put(small(f"r{k}", time=k, user="needle"))
        log.flush()
    log.close()
    (place,) = listed(tmp_path)
    raw = bytearray(place.data(tmp_path).read_bytes())
    raw[raw.find(b"needle")] ^= 1  # the first is damaged: nobody can tell whose it is
    place.data(tmp_path).write_bytes(raw + raw[20:90])
    assert ErasableEvidence(tmp_path).erase(Subject("needle")) == {"decisions": 2}
    assert sealed(tmp_path, place)
    assert b"needle" not in place.data(tmp_path).read_bytes()
    assert requests(EvidenceReader(tmp_path)) == ["r1", "r2"]


def test_a_log_that_is_not_there(tmp_path):
    assert ErasableEvidence(tmp_path / "none").erase(Subject("x")) == {"decisions": 0}
    assert not (tmp_path / "none").exists()


def test_no_room_changes_nothing(tmp_path, monkeypatch):
    log = opened(tmp_path, worker=0)
    log.put(small("r", user="me"))
    log.close()
    before = listed(tmp_path)[0].data(tmp_path).read_bytes()

    def full(path, raw):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("muma.serving.erasure.evidence.replace_file", full)
    with pytest.raises(StoreError, match="No space left"):
        ErasableEvidence(tmp_path).erase(Subject("me"))
    assert listed(tmp_path)[0].data(tmp_path).read_bytes() == before
