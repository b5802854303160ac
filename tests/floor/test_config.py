"""Configs: wrong keys name the nearest right one; recipes, overrides and import paths."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from muma.config import Config, Spec, build, config_type, load_recipe, locate, parse
from muma.errors import ConfigError


class Inner(Config):
    alpha: float = Field(default=0.5, gt=0)
    names: tuple[str, ...] = ()


class Outer(Config):
    inner: Inner = Inner()
    maybe: Inner | None = None
    steps: int = 3


class Part:
    def __init__(self, config: Inner = Inner()) -> None:
        self.config = config


class Bare:
    def __init__(self, size: int) -> None:
        self.size = size


HERE = __name__


def recipe(tmp_path, text, *overrides):
    (tmp_path / "r.toml").write_text(text)
    return load_recipe(tmp_path / "r.toml", overrides=overrides)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"step": 1}, r"here\.step: unknown key 'step'; did you mean 'steps'\?"),
        ({"zzz": 1}, "unknown key 'zzz'; allowed: inner, maybe, steps"),
        ({"inner": {"alfa": 1}}, r"here\.inner\.alfa: unknown key 'alfa'; did you mean 'alpha'"),
        ({"maybe": {"name": []}}, r"here\.maybe\.name: .*did you mean 'names'"),
        ({"inner": {"alpha": -1}}, r"here\.inner\.alpha: .*greater than 0 \(got -1\)"),
        ({"inner": {"alpha": float("nan")}}, r"here\.inner\.alpha"),
        ({"steps": "many"}, r"here\.steps: .*integer.*\(got 'many'\)"),
        ({"inner": 3}, r"here\.inner: "),
    ],
)
def test_wrong_data_is_explained(data, says):
    with pytest.raises(ConfigError, match=says):
        parse(Outer, data, where="here")


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {"step": 1, "inner": {"alpha": 0}})
    assert len(str(caught.value).splitlines()) == 2


def test_configs_are_frozen():
    config = parse(Outer, {"inner": {"alpha": 2, "names": ["a"]}})
    assert (config.inner.alpha, config.inner.names, config.steps) == (2.0, ("a",), 3)
    with pytest.raises(ValidationError):
        config.steps = 4


def test_overrides(tmp_path):
    text = "[a]\nx = 1\n[a.b]\ny = 'old'\n"
    data = recipe(
        tmp_path, text, "a.x=2.5", "a.b.y=new words", "c.d.e=[1, 2]", "a.b.z=true", "q='='"
    )
    assert data == {
        "a": {"x": 2.5, "b": {"y": "new words", "z": True}},
        "c": {"d": {"e": [1, 2]}},
        "q": "=",
    }
    for wrong in ("a.x", "=3", "a..b=1", ""):
        with pytest.raises(ConfigError, match=r"not of the form a.b=value"):
            recipe(tmp_path, text, wrong)
    with pytest.raises(ConfigError, match="'x' is a value, not a section"):
        recipe(tmp_path, text, "a.x.y=1")


def test_recipes_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"r\.toml is not valid TOML: .*line 1"):
        recipe(tmp_path, "a = = 3")
    (tmp_path / "b.toml").write_bytes(b"a = '\xff'")
    for place, says in [
        ("b.toml", "not valid TOML"),
        ("no.toml", "does not exist"),
        (".", "Is a directory"),
    ]:
        with pytest.raises(ConfigError, match=says):
            load_recipe(tmp_path / place)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("Outer", "is not an import path; write it as 'package.module.Class'"),
        ("muma.no_such.Thing", "there is no module 'muma.no_such'"),
        ("no_such_package.Thing", "there is no module 'no_such_package'"),
        ("muma.config.Confg", "muma.config has no class 'Confg'; did you mean 'Config'?"),
        ("muma.config.parse", "has no class 'parse'"),
        ("", "is not an import path"),
    ],
)
def test_import_paths_that_are_wrong(use, says):
    with pytest.raises(ConfigError) as caught:
        locate(use)
    assert says in str(caught.value)


def test_a_missing_import_inside_the_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "leaky_module.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        locate("leaky_module.Thing")


PARTS = """
from muma.config import Config

class Size(Config):
    size: int = 1

class Part:
    def __init__(self, config: Size | None = None) -> None:
        self.config = config
"""


def test_build(tmp_path, monkeypatch):
    (tmp_path / "our_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert build({"use": "our_parts.Part", "size": 4}).config.size == 4
    assert build(Spec(use="our_parts.Part"), size=5).config.size == 5
    with pytest.raises(ConfigError, match=r"a\.b\.sise: unknown key 'sise'; did you mean 'size'"):
        build({"use": "our_parts.Part", "sise": 4}, where="a.b")
    for spec in ({}, {"use": 3}, {"size": 4}):
        with pytest.raises(ConfigError, match=r"a\.b: 'use' is missing"):
            build(spec, where="a.b")


def test_config_type():
    assert config_type(Part) is Inner
    with pytest.raises(ConfigError, match=r"Bare cannot be used in a recipe.*'config'"):
        config_type(Bare)


@pytest.mark.parametrize("use", ["..B", "a..B", "1a.B", "muma.config."])
def test_a_malformed_import_path_is_a_config_error(use):
    with pytest.raises(ConfigError):
        locate(use)


def test_a_recipe_that_cannot_be_read_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "r.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_recipe(path)
