"""Versions on disk: kept whole or not at all, old ones go, the pointer moves in one step."""

import json

import pytest

from muma import artifact
from muma.app.versions import (
    Answering,
    KeptVersions,
    Pointer,
    Version,
    promoted,
    rolled_back,
    state_of,
)
from muma.errors import ArtifactError, RefusedError, UnknownIdError


@pytest.fixture
def part(tmp_path):
    with artifact.write(tmp_path / "part", kind="ranking", version=1) as writer:
        writer.path("deep/a.txt").write_text("weights")
    return artifact.read(tmp_path / "part", kind="ranking", version=1)


def kept_with(tmp_path, part, *names):
    kept = KeptVersions(tmp_path / "models")
    for at, name in enumerate(names):
        kept.keep(Version(name, at, "log", {"pool": 3}), {"sources": part})
    return kept


def test_a_version_outlives_what_it_was_made_of(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1")
    with artifact.write(tmp_path / "part", kind="ranking", version=1) as writer:
        writer.path("deep/a.txt").write_text("other weights")
    found = kept.part("v1", "sources", kind="ranking", version=1)  # checks every file
    assert found.path("deep/a.txt").read_text() == "weights"
    assert kept.get("v1").about == {"pool": 3}


def test_a_copy_will_do_where_there_are_no_links(tmp_path, part, monkeypatch):
    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refused)
    kept = kept_with(tmp_path, part, "v1")
    assert kept.part("v1", "sources", kind="ranking", version=1).files


def test_a_version_is_there_whole_or_not_at_all(tmp_path, part, monkeypatch):
    kept = KeptVersions(tmp_path / "models")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.link", full)
        patch.setattr("shutil.copy2", full)
        with pytest.raises(ArtifactError, match="No space left"):
            kept.keep(Version("v1", 0, "log", {}), {"sources": part})
    assert kept.list() == []
    (tmp_path / "models" / ".draft-v1" / "sources").mkdir(parents=True)  # of one that was killed
    kept.keep(Version("v1", 0, "log", {}), {"sources": part})
    assert [one.name for one in kept.list()] == ["v1"]
    assert not list((tmp_path / "models").glob(".draft*"))


def test_the_oldest_go_and_those_in_use_stay(tmp_path, part):
    kept = kept_with(tmp_path, part, *(f"v{n}" for n in range(8)))
    kept.point(Pointer("v0", "v1"))
    answering = Answering(kept)
    answering.loaded(["v2"])
    assert sorted(kept.retain(3, never=["v3"])) == ["v4"]
    assert [one.name for one in kept.list()] == ["v7", "v6", "v5", "v3", "v2", "v1", "v0"]
    answering.close()
    assert sorted(kept.retain(3)) == ["v2", "v3"]


def test_names_from_outside_lead_nowhere_else(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1")
    for name in ("v2", "../models/v1", ".", "", "v1/sources", "pointer.json"):
        with pytest.raises(UnknownIdError):
            kept.get(name)


def test_what_is_measured_is_noted(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1")
    kept.measured("v1", {"auc": 0.7})
    assert kept.get("v1").metrics == {"auc": 0.7}
    assert kept.keep(Version("v1", 9, "log", {}), {"sources": part}).metrics == {"auc": 0.7}


def test_the_pointer_goes_forward_and_back(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1", "v2", "v3")
    assert kept.pointer() == Pointer()
    assert kept.in_force().live == "v3"
    kept.point(promoted(kept.in_force(), "v2", at=7, who="k"))
    assert KeptVersions(kept.folder).pointer() == Pointer("v2", "v3", 7, "k")
    listed = kept.list()
    states = {one.name: state_of(one, kept.pointer(), listed) for one in listed}
    assert states == {"v1": "retired", "v2": "live", "v3": "previous"}
    kept.point(rolled_back(kept.pointer(), at=8, who="k"))
    assert kept.pointer() == Pointer("v3", None, 8, "k")
    with pytest.raises(RefusedError, match="no previous"):
        rolled_back(kept.pointer(), at=9, who="k")
    with pytest.raises(RefusedError, match="live already"):
        promoted(kept.pointer(), "v3", at=9, who="k")
    (kept.folder / "pointer.json").write_text('{"live": "v')
    with pytest.raises(ArtifactError, match="damaged"):
        kept.pointer()


def test_nobody_changes_by_hand_what_a_service_answers_from(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1")
    answering = Answering(kept)
    with pytest.raises(RefusedError, match="over HTTP"), kept.changing_by_hand():
        pass
    with pytest.raises(RefusedError, match="another service"):
        Answering(kept)
    answering.close()
    answering.close()
    with kept.changing_by_hand():
        pass


def test_a_damaged_version_is_said(tmp_path, part):
    kept = kept_with(tmp_path, part, "v1")
    (kept.folder / "v1" / "version.json").write_text(json.dumps({"name": "v1"}))
    with pytest.raises(ArtifactError, match="damaged"):
        kept.get("v1")
