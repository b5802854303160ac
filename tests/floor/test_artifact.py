"""A folder with a manifest: whole or refused, replaced in one step, and nothing foreign is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from muma import artifact
from muma.errors import ArtifactError

KIND = "thing"


def save(folder: Path, text: str = "hello", **kw):
    with artifact.write(folder, kind=KIND, version=1, **kw) as writer:
        writer.path("a.txt").write_text(text)
        writer.path("deep/er/b.txt").write_text(text * 2)
        writer.arrays("n.npz", {"x": np.arange(3)})
        writer.meta["late"] = 1
    return folder


def load(folder: Path, **kw) -> artifact.Artifact:
    return artifact.read(folder, **{"kind": KIND, "version": 1, **kw})


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_round_trip(tmp_path):
    stored = load(save(tmp_path / "deep" / "a", config={"k": [1, None]}, meta={"early": 0}))
    assert (stored.config, stored.meta) == ({"k": [1, None]}, {"early": 0, "late": 1})
    assert set(stored.files) == {"a.txt", "deep/er/b.txt", "n.npz"}
    assert stored.path("deep/er/b.txt").read_text() == "hellohello"
    assert stored.arrays("n.npz")["x"].tolist() == [0, 1, 2]
    with pytest.raises(ArtifactError, match=r"lists no file 'c\.txt'"):
        stored.path("c.txt")
    assert artifact.exists(tmp_path / "deep" / "a")
    assert not artifact.exists(tmp_path)


def damage_size(home):
    path = load(home).path("a.txt")
    path.write_text("hell")


def damage_bytes(home):
    load(home).path("deep/er/b.txt").write_text("HELLOhello")


def remove_file(home):
    load(home).path("a.txt").unlink()


def manifest(change):
    def apply(home):
        path = home / artifact.MANIFEST
        found = json.loads(path.read_text())
        path.write_text(change(found) or json.dumps(found))

    return apply


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_size, "'a.txt' is damaged; make the artifact again"),
        (damage_bytes, "'deep/er/b.txt' is damaged"),
        (remove_file, "'a.txt' is missing; make the artifact again"),
        (manifest(lambda m: "{"), r"manifest\.json is damaged"),
        (manifest(lambda m: "\0" * 9), "is damaged"),
        (manifest(lambda m: "[]"), "is not a MUMA manifest"),
        (manifest(lambda m: '{"name": "a web app"}'), "is not a MUMA manifest"),
        (manifest(lambda m: m.pop("files") and None), "is not a MUMA manifest"),
        (manifest(lambda m: m.update(files={"a.txt": {}})), "is not a MUMA manifest"),
        (manifest(lambda m: m.update(data="../../elsewhere")), "is not a MUMA manifest"),
        (manifest(lambda m: m.update(files={"../x": {"bytes": 1, "sha256": ""}})), "is not a MUMA"),
        (manifest(lambda m: m.update(kind="other")), "kind is 'other', this version reads 'thing'"),
        (manifest(lambda m: m.update(version=9)), "version is 9, this version reads 1"),
        (manifest(lambda m: m.update(format=2)), "format is 2, this version reads 1"),
        (lambda home: (home / artifact.MANIFEST).unlink(), r"it has no manifest\.json"),
    ],
)
def test_what_is_wrong_is_said(harm, says, tmp_path):
    home = save(tmp_path / "a")
    harm(home)
    with pytest.raises(ArtifactError, match=says) as caught:
        load(home)
    assert str(home) in str(caught.value)


def test_places_that_are_no_artifacts(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir" / artifact.MANIFEST).mkdir(parents=True)
    for place in ("absent", "file", ".", "dir"):
        with pytest.raises(ArtifactError):
            load(tmp_path / place)


def test_only_size_is_checked_without_verify(tmp_path):
    home = save(tmp_path / "a")
    damage_bytes(home)
    assert load(home, verify=False).path("deep/er/b.txt").read_text() == "HELLOhello"


def test_replacing_leaves_one_version_and_open_files_readable(tmp_path):
    home = save(tmp_path / "a", "old")
    old = load(home)
    with old.path("a.txt").open() as stream:
        save(home, "newer")
        assert stream.read() == "old"  # never a mixture
    assert not old.root.exists()
    new = load(home)
    assert new.path("a.txt").read_text() == "newer"
    assert names(home) == {artifact.MANIFEST, ".lock", new.root.name}


def test_a_failing_block_changes_nothing(tmp_path):
    home = save(tmp_path / "a", "old")

    def failing(folder):
        with artifact.write(folder, kind=KIND, version=1) as writer:
            writer.path("a.txt").write_text("half")
            raise KeyError("stop")

    for folder in (home, tmp_path / "new"):
        with pytest.raises(KeyError, match="stop"):
            failing(folder)
    assert load(home).path("a.txt").read_text() == "old"
    assert names(home) == {artifact.MANIFEST, ".lock", load(home).root.name}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": Path()}])
def test_meta_that_is_not_json(meta, tmp_path):
    with pytest.raises(ArtifactError, match="plain JSON data"):
        save(tmp_path / "a", meta=meta)
    assert not (tmp_path / "a").exists()


def test_foreign_things_are_never_touched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / artifact.MANIFEST).write_text('{"name": "a web app"}')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data-2024").mkdir()
    for place, says in [("file", "is a file"), ("file/below", "below a file"), ("full", "not a MUMA"),
                        ("web", "not a MUMA manifest"), ("data", "not a MUMA artifact")]:  # fmt: skip
        with pytest.raises(ArtifactError, match=says):
            save(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path / "full") == {"thesis.tex"}
    assert names(tmp_path / "web") == {artifact.MANIFEST}
    assert names(tmp_path / "data") == {"data-2024"}

    home = save(tmp_path / "a")
    (home / "notes.md").write_text("mine")
    (home / "data-2024").mkdir()
    (home / "data-0123456789ab").mkdir()  # looks like ours, but no manifest ever named it
    save(home, "again")
    assert {"notes.md", "data-2024", "data-0123456789ab"} <= names(home)


def test_a_manifest_cannot_point_outside(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    home = save(tmp_path / "a")
    manifest(lambda m: m.update(replaces="../victim"))(home)
    (home / artifact.DRAFT).write_text('{"data": "../victim"}')
    save(home)
    assert victim.is_dir()
    manifest(lambda m: m.update(data="../victim"))(home)
    with pytest.raises(ArtifactError):
        save(home)
    assert victim.is_dir()


def test_one_writer_at_a_time(tmp_path):
    with artifact.write(tmp_path / "a", kind=KIND, version=1) as writer:
        writer.path("x").write_text("first")
        with pytest.raises(ArtifactError, match="being written by another process"):
            save(tmp_path / "a")
    assert load(tmp_path / "a").path("x").read_text() == "first"


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), PermissionError(13, "no"), ValueError("io: x (os error 28)")]
)
def test_a_disk_that_refuses(error, tmp_path):
    def write():
        with artifact.write(tmp_path / "a", kind=KIND, version=1):
            raise error

    with pytest.raises(ArtifactError, match=r"a cannot be written: .*unchanged.*another folder"):
        write()


def test_errors_that_are_not_the_disks_pass_through(tmp_path):
    def write(error):
        with artifact.write(tmp_path / "a", kind=KIND, version=1):
            raise error

    for error in (ValueError("x"), FileNotFoundError(2, "x"), ValueError("(os error 2)")):
        with pytest.raises(type(error)):
            write(error)


def test_library_versions():
    found = artifact.library_versions("numpy", "no-such-library-at-all")
    assert found == {"numpy": np.__version__, "no-such-library-at-all": "absent"}
